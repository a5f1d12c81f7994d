"""Keep the folder of a placement bank: resume it, list its objects, count it."""
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from ...datasets.placement_bank import (
    BANK_FILE,
    FORMAT,
    OBJECTS,
    PLACES,
    BankObject,
    places_path,
    read_bank,
    read_record,
)
from ...errors import UserValueError
from ...io.atomic import write_text
from .object_pool import ObjectPool
from .run_folder import SKIPPED, RunFolder, check_same_settings


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
                '     classes=CLASSES),  # all classes of your dataset, in the order '
                'of its labels')


class BankFolder:
    """Folder of a bank while it is made; several processes may fill it at once.

    ``bank.json`` comes first, without objects, and again once these are cut out.

    Args:
        path: The folder.
        settings: Of the run; a bank with others is not continued.
        images: Names of the images.
        image_folder: Where they are.
    """

    def __init__(self, path: Path, settings: dict, images: list[str],
                 image_folder: Path) -> None:
        self.path, self.settings, self.images = path, settings, images
        self.image_folder, self.content = image_folder, {}
        self._folder = RunFolder(path, 'place_objects', {
            BANK_FILE: lambda _: read_bank(path) is not None}, (OBJECTS, PLACES))

    def check(self, **sources: str | Path | None) -> None:
        """Check that the folder holds nothing else; see :meth:`.RunFolder.check`."""
        self._folder.check(**sources)

    def resume(self) -> bool:
        """Continue a bank that has all its objects; whether there is one.

        Raises:
            FileExistsError: If there is one of other settings.
        """
        content = self._read()
        if content is None:
            return False
        also = ([] if content['images'] == self.images
                else ['the list of images differs'])
        check_same_settings(content['settings'], self.settings,
                            f'{self.path} holds a bank of other settings', also)
        self.content = content
        self._folder.create()
        return True

    def start(self, overwrite: bool) -> None:
        """Make the folder ready for objects."""
        if overwrite:
            old = read_bank(self.path) or {}
            self._folder.clear([
                *(thing['file'] for thing in old.get('objects') or ()),
                *(places_path(Path(), name).as_posix()
                  for name in old.get('images', ()))])
        self._folder.create()
        if self._read() is None:
            self._write(objects=None)

    def write(self, pool: ObjectPool, config: str, checkpoint: str) -> None:
        """Write the list of objects and images."""
        self._write(
            config=config, checkpoint=checkpoint, skipped=pool.skipped,
            objects=[asdict(thing) for thing in pool.objects],
            reasons=dict(pool.reasons))

    @property
    def objects(self) -> list[BankObject]:
        return [BankObject(**entry) for entry in self.content['objects']]

    def count(self, found: int, placed: int) -> BankMade:
        """Count what is there, and list what could not be used."""
        records = {name: read_record(places_path(self.path, name))
                   for name in self.images}
        there = {name: record for name, record in records.items() if record}
        problems = {name: record['problem'] for name, record in there.items()
                    if record['problem']}
        reasons = Counter(self.content['reasons']) + Counter(
            f'background: {problem}' for problem in problems.values())
        self._folder.write_skipped(reasons, [
            *self.content['skipped'], *(f'{name}\tbackground\t{problem}'
                                        for name, problem in problems.items())])
        if len(problems) == len(records):
            first, problem = next(iter(problems.items()))
            raise UserValueError(
                f'None of the {len(records)} images of {self.image_folder} can be '
                f'used. The first: {first}: {problem}. {self.path / SKIPPED} lists '
                'all.')
        without = [name for name, record in there.items()
                   if not record['places'] and not record['problem']]
        return BankMade(
            self.path, dict(Counter(thing.category for thing in self.objects)),
            len(records), placed, found, len(records) - len(there), len(without),
            reasons)

    def _read(self) -> dict | None:
        """A bank that has its objects."""
        content = read_bank(self.path)
        return content if content and content['objects'] is not None else None

    def _write(self, **content) -> None:
        self.content = dict(
            format=FORMAT, settings=self.settings, images=self.images,
            image_folder=str(self.image_folder), **content)
        write_text(self.path / BANK_FILE, json.dumps(self.content))
