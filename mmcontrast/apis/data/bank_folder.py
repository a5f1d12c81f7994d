"""Keep the folder of a placement bank: resume it, fill it image by image, count it."""
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...datasets.bad_images import BadImage
from ...datasets.placement_bank import (
    BANK_FILE,
    FORMAT,
    OBJECTS,
    PLACES,
    BankObject,
    places_path,
    read_bank,
    read_record,
    record_text,
)
from ...datasets.transforms.loading import decode_bytes, read_bytes
from ...errors import UserValueError
from ...io.atomic import write_text
from ...io.manifest import file_sha256
from .object_pool import ObjectPool

SKIPPED = 'skipped.txt'


@dataclass(frozen=True)
class BankMade:
    """Result of :func:`~.place_objects.place_objects`.

    Attributes:
        path: The folder.
        objects: Number of objects by class.
        num_images: Images of the bank.
        num_placed: Images that this call searched for places.
        num_found: Images that were done already, by this command or another process.
        num_waiting: Images that are left, for other parts.
        without_place: Images in which no object has a place.
        reasons: Reason -> how many objects or images it kept out.
    """

    path: Path
    objects: dict[str, int]
    num_images: int
    num_placed: int
    num_found: int
    num_waiting: int
    without_place: int
    reasons: Counter

    @property
    def config(self) -> str:
        """The step of a pipeline that uses it, right after ``LoadAnnotations``."""
        return (f"dict(type='mmcontrast.PlacedCopyPaste', bank={str(self.path)!r},\n"
                f'     classes={list(self.objects)!r}),  # all of the dataset, in its '
                'order')


def prepare_folder(out: Path, overwrite: bool) -> None:
    """Make the folder, or see that it is one of ours."""
    ours = (BANK_FILE, OBJECTS, PLACES, SKIPPED)
    if out.is_file():
        raise FileExistsError(f'{out} is a file; give the name of a folder.')
    if out.is_dir():
        others = [path for path in out.iterdir()
                  if path.name not in ours and not path.name.endswith('.partial')]
        if others:
            raise FileExistsError(
                f'{out} holds {others[0].name}, which place_objects does not write; '
                'give another folder.')
    if overwrite:
        for name in (OBJECTS, PLACES):
            shutil.rmtree(out / name, ignore_errors=True)
        for name in (BANK_FILE, SKIPPED):
            (out / name).unlink(missing_ok=True)
    for folder in (out, out / OBJECTS, out / PLACES):
        folder.mkdir(parents=True, exist_ok=True)


def reusable_bank(out: Path, settings: dict, names: list[str]) -> dict | None:
    """The list of an earlier call with the same settings, whose objects stay."""
    bank = read_bank(out)
    if bank is None:
        return None
    # As they read back, to be compared.
    new = json.loads(json.dumps(settings))
    differ = [f'{key} was {bank["settings"].get(key)!r} and is {value!r}'
              for key, value in new.items() if bank['settings'].get(key) != value]
    if bank['images'] != names:
        differ.append('the list of images differs')
    if differ:
        raise FileExistsError(
            f'{out} holds a bank of other settings: {"; ".join(differ)}. Use the same '
            'to resume it, give another folder, or --overwrite (overwrite=True) to '
            'start again.')
    return bank


def write_bank(out: Path, settings: dict, pool: ObjectPool, image_folder: Path,
               images: list[str], config: str, checkpoint: str) -> dict:
    """Write the list of objects and images, and return it."""
    bank = dict(
        format=FORMAT, settings=settings, config=str(config),
        checkpoint=str(checkpoint), image_folder=str(image_folder), images=images,
        objects=[asdict(thing) for thing in pool.objects], skipped=pool.skipped,
        reasons=dict(pool.reasons))
    write_text(out / BANK_FILE, json.dumps(bank))
    return bank


class ImagePlacer:
    """Places objects in images, unless that was done."""

    def __init__(self, folder: Path, out: Path, objects: Sequence[BankObject],
                 settings: dict, placer: Callable) -> None:
        self.folder, self.out, self.objects = folder, out, objects
        self.settings, self.placer = settings, placer
        self.hashes = [file_sha256(out / thing.file) for thing in objects]

    def __call__(self, name: str) -> bool:
        """Whether there was something to do."""
        path, target = self.folder / name, places_path(self.out, name)
        data, problem = b'', None
        try:
            data = read_bytes(str(path))
        except BadImage as bad:
            problem = bad.reason.sentence
        chosen = self._choose(name, path)
        key = self._key(data, chosen)
        if (read_record(target) or {}).get('key') == key:
            return False
        size, places = (0, 0), []
        if problem is None:
            try:
                image = np.asarray(decode_bytes(data, str(path)))
                size, places = image.shape[1::-1], self.placer(image, chosen)
            except BadImage as bad:
                problem = bad.reason.sentence
        write_text(target, record_text(key, name, size, len(data), places, problem))
        return True

    def _choose(self, name: str, path: Path) -> list[int]:
        """Some objects, of other images if there are any."""
        others = [k for k, thing in enumerate(self.objects)
                  if thing.source != str(path)] or range(len(self.objects))
        rng = np.random.default_rng([self.settings['seed'], *name.encode()])
        count = min(self.settings['objects_per_image'], len(others))
        return sorted(rng.choice(others, count, replace=False).tolist())

    def _key(self, data: bytes, chosen: Sequence[int]) -> str:
        """Of the network, the image file, the object files and how boxes are ranked."""
        ranking = [self.settings[name] for name in ('network', 'k', 'nms_iou')]
        parts = [FORMAT, ranking, hashlib.sha256(data).hexdigest(),
                 [(k, self.hashes[k]) for k in chosen]]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def count_bank(out: Path, bank: dict, objects: Sequence[BankObject], found: int,
            placed: int) -> BankMade:
    """Count what is there, and list what could not be used."""
    records = {name: read_record(places_path(out, name)) for name in bank['images']}
    there = {name: record for name, record in records.items() if record}
    problems = {name: record['problem'] for name, record in there.items()
                if record['problem']}
    reasons = Counter(bank['reasons']) + Counter(
        f'background: {problem}' for problem in problems.values())
    lines = [f'# {count} x {reason}' for reason, count in reasons.most_common()]
    lines += [*bank['skipped'], *(f'{name}\tbackground\t{problem}'
                                  for name, problem in problems.items())]
    write_text(out / SKIPPED, '\n'.join(lines) + '\n')
    if len(problems) == len(records):
        first, problem = next(iter(problems.items()))
        raise UserValueError(
            f'None of the {len(records)} images of {bank["image_folder"]} can be used. '
            f'The first: {first}: {problem} {out / SKIPPED} lists all.')
    without = [name for name, record in there.items()
               if not record['places'] and not record['problem']]
    return BankMade(out, dict(Counter(thing.category for thing in objects)),
                    len(records), placed, found, len(records) - len(there),
                    len(without), reasons)
