"""Score slots as a segmentation of labeled images, beside random prototypes."""
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...datasets.absent_classes import result_note
from ...datasets.labeled_images import evenly_spaced
from ...datasets.segmented_images import (
    SegmentedImage,
    SegmentedImages,
    open_segmented_images,
)
from ...progress import track
from ...registry import FUNCTIONS
from ..loading import has_baseline
from .slots import load_slot_model


def score_slots(config: str, checkpoint: str, data: str, split: str = 'test',
                out: str | None = None, size: int | None = None,
                max_images: int | None = None, random_prototypes: int = 3,
                kmeans: bool = False, baseline: str | None = None,
                branch: str = 'momentum', num_classes: int | None = None,
                ignore_index: int = 255, seed: int = 0, device: str = 'cpu',
                progress: bool = True) -> dict:
    """Segment labeled images by slots and compare with objects and classes.

    Args:
        config: Config of a method with slots.
        checkpoint: A checkpoint of its training.
        data: Folder of labeled images, see
            :func:`~mmcontrast.datasets.segmented_images.open_segmented_images`.
        split: Part of it.
        out: JSON file for the result.
        size: Short side the images are resized to; their own if None.
        max_images: Use so many images, evenly spread; all if None.
        random_prototypes: Also score so many draws of random prototypes on the same
            features, and average them.
        kmeans: Also score as many k-means centers of the same features, found on these
            images: what the features alone give.
        baseline: 'random' also scores a network that was never trained.
        branch: ``momentum`` (the teacher) or ``online``.
        num_classes, ignore_index: Of folders in mmseg's layout without
            ``classes.json``.
        seed: Of everything random.

    Returns:
        What was asked for, ``num_images``, ``num_slots``, ``classes``,
        ``things_classes`` (all kinds of objects as one class; empty if the set does
        not say what is an object), ``per_class_iou`` of the trained slots, and
        ``rows``: name to ``fg_ari`` (where the set has instances), ``in_use`` (slots
        that win a pixel), and ``miou``, ``accuracy`` (one slot per class),
        ``majority_miou``, ``majority_accuracy`` (each slot its commonest class), the
        four again as ``things_...``, and ``object_iou`` of them.

    Raises:
        FileNotFoundError: If a file or folder is missing.
        ValueError: If config, checkpoint and data do not fit, or ``baseline`` is
            something else.
    """
    with_untrained = has_baseline(baseline)
    scenes = open_segmented_images(data, split, num_classes, ignore_index)
    picks = evenly_spaced(len(scenes), max_images)
    model, note = load_slot_model(config, checkpoint, branch, seed, device)
    untrained = None
    if with_untrained:
        untrained, _ = load_slot_model(config, None, branch, seed, device)

    def read(what: str) -> Iterator[SegmentedImage]:
        for i in track(picks, what, progress):
            yield scenes[i]

    rows, per_class_iou = FUNCTIONS.get('compare_prototypes')(
        model, read, len(scenes.classes), scenes.is_thing, size, branch,
        random_prototypes, kmeans, untrained, seed)
    absent = [index for index, iou in enumerate(per_class_iou) if iou != iou]
    note = '\n'.join(filter(None, [
        note, result_note(scenes.classes, absent, f'mask of {split}')]))
    result = dict(
        config=config, checkpoint=checkpoint, data=str(data), split=split, size=size,
        branch=branch, seed=seed, num_images=len(picks),
        num_slots=len(model.slot_prototypes(branch)), note=note,
        classes=list(scenes.classes), things_classes=_things(scenes),
        per_class_iou=per_class_iou, rows=rows)
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps(result, indent=1), encoding='utf-8')
    return result


def slot_table(result: Mapping) -> str:
    """The rows of :func:`score_slots` as text, in per cent."""
    columns = [('in_use', 'in use'), ('fg_ari', 'fg ARI')]
    names = dict(miou='mIoU', accuracy='accuracy', majority_miou='majority mIoU')
    groups = [('', f'{len(result["classes"])} classes')]
    if result['things_classes']:
        groups.append(('things_', f'{len(result["things_classes"])} classes, all '
                       'objects as one'))
    above = ' ' * 40
    for prefix, title in groups:
        columns += [(prefix + key, name) for key, name in names.items()]
        above += f' | {title:35}'
    if result['things_classes']:
        columns.append(('object_iou', 'object IoU'))
    lines = [f'{result["num_images"]} images, {result["num_slots"]} slots, '
             'scores in %:', above.rstrip(),
             _line('', [name for _, name in columns])]
    for name, row in result['rows'].items():
        cells = [_cell(row, key) for key, _ in columns]
        lines.append(_line(name, cells))
    return '\n'.join(lines + [result['note']] * bool(result['note']))


def _line(name: str, cells: Sequence[str]) -> str:
    text = f'{name:22}{cells[0]:>9}{cells[1]:>9}'
    for i in range(2, len(cells), 3):
        group = cells[i:i + 3]
        widths = (9, 11, 16) if len(group) == 3 else (12,)
        text += ' |' + ''.join(
            f'{cell:>{width}}' for cell, width in zip(group, widths, strict=True))
    return text


def _cell(row: Mapping, key: str) -> str:
    if row.get(key) is None:
        return '-'
    return f'{row[key]:.0f}' if key == 'in_use' else f'{100 * row[key]:.1f}'


def _things(scenes: SegmentedImages) -> list[str]:
    """Class names with all kinds of objects as one."""
    if scenes.is_thing is None:
        return []
    return ['object', *(name for name, thing in zip(
        scenes.classes, scenes.is_thing, strict=True) if not thing)]
