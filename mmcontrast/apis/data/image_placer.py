"""Write the places of objects in one image of a placement bank."""
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ...datasets.bad_images import BadImage
from ...datasets.image_files import decode_bytes, read_bytes
from ...datasets.placement_bank import (
    BankObject,
    places_path,
    read_record,
    record_text,
)
from ...io.atomic import write_text
from ...io.manifest import file_sha256


class ImagePlacer:
    """Places objects in images, unless that was done.

    Args:
        folder: Of the images.
        out: Of the bank.
        objects: All of the bank.
        seed: Of which objects an image gets.
        objects_per_image: Their number.
        placer: Finds places of objects in an image.

    Raises:
        FileNotFoundError: If the file of an object is missing.
    """

    def __init__(self, folder: Path, out: Path, objects: Sequence[BankObject],
                 seed: int, objects_per_image: int, placer: Callable) -> None:
        self.folder, self.out, self.objects = folder, out, objects
        self.seed, self.objects_per_image, self.placer = seed, objects_per_image, placer
        self.hashes = [_object_hash(out / thing.file) for thing in objects]

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
        rng = np.random.default_rng([self.seed, *name.encode()])
        count = min(self.objects_per_image, len(others))
        return sorted(rng.choice(others, count, replace=False).tolist())

    def _key(self, data: bytes, chosen: Sequence[int]) -> str:
        """Of the image file and the object files; settings are those of the bank."""
        parts = [hashlib.sha256(data).hexdigest(),
                 [(k, self.hashes[k]) for k in chosen]]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _object_hash(path: Path) -> str:
    try:
        return file_sha256(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f'{path} is missing: bank.json lists it. Put it back, or make the bank '
            'again with --overwrite (overwrite=True).') from None
