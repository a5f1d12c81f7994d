"""Define phrases and the objects that they refer to, whatever the file they are from.

Every reader of this package returns a :class:`GroundingFile`, which
:class:`~.dataset.GroundingDataset` and the tools read.
"""
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...errors import UserValueError, did_you_mean
from .foreground import ForegroundObjects

#: Name of the only split of a file that has none.
WHOLE_FILE = 'all'


@dataclass(frozen=True, slots=True)
class Target:
    """An object that a phrase refers to.

    Attributes:
        id: Of its annotation.
        bbox: x, y, width and height in pixels.
        segmentation: Polygons or RLE, as in COCO; None without a mask.
        area: In pixels.
    """

    id: int
    bbox: Sequence[float]
    segmentation: list | dict | None
    area: float


@dataclass(frozen=True, slots=True)
class Phrase:
    """A sentence and what it refers to.

    Attributes:
        text: As written.
        targets: Empty if nothing in the image fits.
        sentence_id: Unique within the split.
    """

    text: str
    targets: tuple[Target, ...]
    sentence_id: int | str


@dataclass(frozen=True, slots=True)
class GroundingRecord:
    """An image with phrases that are about the same thing.

    Attributes:
        image_id: Id in the file.
        file_name: Path of the image below the folder of images.
        width, height: Of the image, in pixels.
        phrases: One or more; training draws one of them.
        place: Where it stands in the file, for messages.
        data_source: Benchmark that it is from, in files that join several.
        group_id: Of the object that its true and false sentences are about, in
            benchmarks that are evaluated by groups (R-RefCOCO).
    """

    image_id: int | str
    file_name: str
    width: int
    height: int
    phrases: tuple[Phrase, ...]
    place: str
    data_source: str | None = None
    group_id: int | str | None = None


#: What one visit of a sample draws from: a record, or several of a group of sentences.
Element = tuple[GroundingRecord, ...]


@dataclass(frozen=True)
class GroundingFile:
    """Content of a file of phrases.

    Attributes:
        path: The file.
        format: One of :data:`~.files.FORMATS`.
        splits: Name to elements, in the order of the file.
        objects: All annotated objects of its images, where the file has them.
    """

    path: str
    format: str
    splits: dict[str, list[Element]]
    objects: ForegroundObjects | None = None

    def select(self, names: str | Sequence[str] | None) -> list[Element]:
        """Elements of one split or of several, one after the other.

        Args:
            names: Splits; None if the file has only one.

        Raises:
            UserValueError: If a split is unknown or empty, named twice, or None of
                several; lists the splits of the file.
        """
        known = ', '.join(f'{name!r} ({len(elements)})'
                          for name, elements in self.splits.items())
        if names is None:
            if len(self.splits) != 1:
                raise UserValueError(
                    f'{self.path} has the splits {known}. Name one, or a list: '
                    'split=....')
            return next(iter(self.splits.values()))
        names = list(names) if isinstance(names, list | tuple) else [names]
        for name in names:
            if name not in self.splits:
                raise UserValueError(
                    f'{self.path} has no split {name!r}'
                    f'{did_you_mean(str(name), self.splits)} It has {known}.')
            if not self.splits[name]:
                raise UserValueError(f'{self.path}: split {name!r} is empty.')
        if len(set(names)) < len(names) or not names:
            raise UserValueError(f'split must name each split once, got {names}.')
        return [element for name in names for element in self.splits[name]]


def records_of(elements: Iterable[Element]) -> Iterator[GroundingRecord]:
    """All records, one after the other."""
    return (record for element in elements for record in element)


def targets_of(elements: Iterable[Element]) -> Iterator[tuple[GroundingRecord, Target]]:
    """All objects that are referred to, once for each record."""
    for record in records_of(elements):
        seen = {}
        for phrase in record.phrases:
            seen.update((target.id, target) for target in phrase.targets)
        for target in seen.values():
            yield record, target


def referred_objects(elements: Iterable[Element], path: str) -> ForegroundObjects:
    """The objects that phrases refer to, as foreground.

    Args:
        path: For messages.
    """
    images: dict[str, dict[int, tuple]] = {}
    for record, target in targets_of(elements):
        images.setdefault(str(record.image_id), {})[target.id] = (
            target.id, target.bbox, target.area)
    return ForegroundObjects.of(path, {
        image_id: found.values() for image_id, found in images.items()})
