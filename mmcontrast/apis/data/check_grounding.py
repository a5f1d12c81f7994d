"""Count what a file of phrases holds, and find what would disturb a training."""
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...datasets.coco_annotations import OVER_THE_EDGE
from ...datasets.coco_masks import decode_mask
from ...datasets.grounding.checks import (
    check_foreground,
    check_groups,
    missing_images,
)
from ...datasets.grounding.files import read_grounding
from ...datasets.grounding.foreground import read_foreground
from ...datasets.grounding.records import (
    Element,
    GroundingFile,
    GroundingRecord,
    Target,
    records_of,
    targets_of,
)
from ...io.text_files import display_name
from ...progress import progress_bar


@dataclass(frozen=True)
class SplitCounts:
    """Numbers of one split.

    Attributes:
        name: Of the split.
        records: Items in training.
        sentences: Items in evaluation.
        without_target: Sentences that mean nothing in their image.
        several_targets: Sentences that mean more than one object.
        objects: Different objects that are meant.
        images: Different images.
    """

    name: str
    records: int
    sentences: int
    without_target: int
    several_targets: int
    objects: int
    images: int


@dataclass(frozen=True)
class GroundingReport:
    """Result of :func:`check_grounding`.

    Attributes:
        path, format: Of the file.
        splits: One entry each.
        problems: Sentences on what is wrong.
        notes: Sentences on what may be meant so.
    """

    path: str
    format: str
    splits: tuple[SplitCounts, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def check_grounding(path: str | Path, format: str = 'auto',
                    instances: str | Path | None = None,
                    index: str | Path | None = None,
                    foreground: str | Path | None = None,
                    images: str | Path | None = None, progress: bool = True
                    ) -> GroundingReport:
    """Check a file of phrases: its images, masks and boxes, and whether splits mix.

    Args:
        path, format, instances, index: See
            :func:`~mmcontrast.datasets.grounding.files.read_grounding`.
        foreground: File of all objects, which must be of the same images.
        images: Folder of the images; without it, they are not looked for.
        progress: Show a progress bar.

    Raises:
        FileNotFoundError: If a file or the folder does not exist.
        UserValueError: If an entry cannot be read at all; names it.
    """
    file = read_grounding(path, format, instances, index)
    problems, notes = [], []
    for name, elements in file.splits.items():
        if not is_training(name):
            check_groups(elements, f'{file.path}: {name}')
    everything = [e for elements in file.splits.values() for e in elements]
    if foreground is not None:
        check_foreground(read_foreground(foreground), everything, file.path)
    if images is not None:
        problems += _missing(everything, Path(images).expanduser())
    targets = list({(str(record.image_id), target.id): (record, target)
                    for record, target in targets_of(everything)}.values())
    problems += _bad_masks(targets, progress)
    problems += _bad_boxes(targets)
    joined = any(record.data_source for record in records_of(everything))
    (problems if joined else notes).extend(_shared_images(file))
    notes += _several_sentences(file)
    return GroundingReport(
        file.path, file.format,
        tuple(_counts(name, elements) for name, elements in file.splits.items()),
        tuple(problems), tuple(notes))


def is_training(split: str) -> bool:
    """Whether a split is trained on, by its name."""
    return split.startswith('train')


def _counts(name: str, elements: Sequence[Element]) -> SplitCounts:
    records = list(records_of(elements))
    numbers = [len(phrase.targets) for record in records for phrase in record.phrases]
    objects = {(str(record.image_id), target.id)
               for record, target in targets_of(elements)}
    return SplitCounts(
        name, len(elements), len(numbers), numbers.count(0),
        sum(number > 1 for number in numbers), len(objects),
        len({record.image_id for record in records}))


def _missing(elements: Iterable[Element], folder: Path) -> list[str]:
    if not folder.is_dir():
        raise FileNotFoundError(f'No folder of images at {folder}.')
    names = dict.fromkeys(record.file_name for record in records_of(elements))
    missing = missing_images(os.path.join(folder, name) for name in names)
    if not missing:
        return []
    listed = ', '.join(map(display_name, missing[:5]))
    return [f'{len(missing)} of {len(names)} images are missing, the first: {listed}']


def _bad_masks(targets: Sequence[tuple[GroundingRecord, Target]], progress: bool
               ) -> list[str]:
    without, damaged = [], []
    with progress_bar(progress) as bar:
        for record, target in bar.track(targets, description='masks'):
            place = f'annotation {target.id} of {record.place}'
            if not target.segmentation:
                without.append(place)
                continue
            try:
                empty = not decode_mask(
                    target.segmentation, (record.height, record.width)).any()
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                damaged.append(f'{place} ({error})')
            else:
                if empty:
                    damaged.append(f'{place} (no pixel)')
    return [f'{len(found)} of {len(targets)} objects have {what}, the first: {found[0]}'
            for found, what in ((without, 'no mask'), (damaged, 'a damaged mask'))
            if found]


def _bad_boxes(targets: Sequence[tuple[GroundingRecord, Target]]) -> list[str]:
    empty, beyond = [], []
    for record, target in targets:
        x, y, width, height = target.bbox
        place = f'annotation {target.id} of {record.place}, bbox {list(target.bbox)}'
        if not (width > 0 and height > 0):
            empty.append(place)
        if max(-x, -y, x + width - record.width,
               y + height - record.height) > OVER_THE_EDGE:
            beyond.append(f'{place} in {record.width} x {record.height} pixels')
    return [f'{len(found)} of {len(targets)} boxes {what}, the first: {found[0]}'
            for found, what in ((empty, 'have no width or height'),
                                (beyond, 'reach out of their image')) if found]


def _shared_images(file: GroundingFile) -> list[str]:
    """Images that are trained on and evaluated with."""
    images = {name: {record.image_id for record in records_of(elements)}
              for name, elements in file.splits.items()}
    return [
        f'{len(shared)} of {len(images[split])} images of split {split!r} are also in '
        f'{training!r}, the first: {min(shared, key=str)}'
        for training in filter(is_training, images)
        for split in images if not is_training(split)
        if (shared := images[training] & images[split])]


def _several_sentences(file: GroundingFile) -> list[str]:
    """The code of PropVG's authors draws one sentence, in evaluation too."""
    if file.format != 'converted':
        return []
    counts = {name: sum(len(record.phrases) > 1 for record in records_of(elements))
              for name, elements in file.splits.items() if not is_training(name)}
    return [f'{count} records of split {name!r} hold several sentences: all are '
            "evaluated here, the code of PropVG's authors draws one"
            for name, count in counts.items() if count]
