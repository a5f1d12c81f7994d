"""Check the boxes of a COCO-style annotation file against what a dataset loads."""
import time
from contextlib import suppress
from pathlib import Path

from ...datasets.absent_classes import absence_note
from ...datasets.box_problems import BoxProblems, find_box_problems
from ...datasets.coco_annotations import check_class_names, check_lists, read_json
from ...engine.distributed.unwrap import classes_of
from ...errors import UserValueError
from .report import Report


def check_boxes(report: Report, name: str, dataset: object, seconds: float) -> None:
    """Report what is dropped between the annotation file and the samples, and why.

    Of other files than COCO's, the loaded boxes are counted alone.

    Args:
        seconds: To count what the dataset loaded.
    """
    path = str(getattr(dataset, 'ann_file', None) or '')
    # Shards, pretraining images, videos, segmentation: no boxes.
    if hasattr(dataset, 'read_item') or 'instances' not in dataset.get_data_info(0):
        return
    data = _read_coco(path)
    if data is None:
        _check_loaded(report, name, dataset, path, seconds)
        return
    classes = classes_of(dataset) or ()
    ids = getattr(dataset, 'cat_ids', None)
    if ids is not None and 'Coco' in type(dataset).__name__:
        check_class_names(path, classes, [c.get('name') for c in data['categories']])
        _check_order(report, name, path, classes, ids, data)
    found = find_box_problems(data, ids, _reads_masks(dataset))
    dropped = sum(found.dropped.values())
    if dropped or found.hints:
        report.warn('\n'.join([
            f'{name}: {dropped} of {found.total} boxes in {path} are dropped:',
            *found.lines(found.dropped), *found.hints]))
    others = found.counts.get('not_asked')
    if others:
        report.ok(f'{name}: {found.lines(["not_asked"])[0]}')
    if 'reaching_out' in found.counts:
        report.warn(f'{name}: {found.lines(["reaching_out"])[0]}. They are cut at its '
                    'edge.')
    if 'infinite' in found.counts:
        report.fail(f'{name}: {found.lines(["infinite"])[0]}. Correct or remove them.')
    if 'no_mask' in found.counts:
        report.fail(f'{name}: {found.lines(["no_mask"])[0]}. LoadAnnotations reads '
                    'masks (with_mask=True): remove these boxes, or add masks.')
    if 'bad_mask' in found.counts:
        report.warn(f'{name}: {found.lines(["bad_mask"])[0]}. Training ignores these '
                    'boxes, or stops: correct or remove them.')
    if ids is None:
        return  # Such as expressions: a sample is no image.
    seen = _compare_with_loaded(report, name, path, dataset, found, seconds)
    if seen is None:  # By the file, then.
        seen = {label for label, category_id in enumerate(ids)
                if category_id in found.labeled}
    _report_absent(report, name, classes, seen, path)


def _read_coco(path: str) -> dict | None:
    """The content of a COCO-style file with boxes; None for any other."""
    if not path.lower().endswith('.json') or not Path(path).is_file():
        return None
    with suppress(UserValueError):  # The dataset could read it: another format.
        data = read_json(path)
        check_lists(data, path)
        # Panoptic files have masks alone.
        if not any('segments_info' in entry for entry in data['annotations'][:1]):
            return data
    return None


def _check_loaded(report: Report, name: str, dataset: object, path: str,
                  seconds: float) -> None:
    """Name the classes without boxes in files of other formats, such as VOC's."""
    classes = classes_of(dataset) or ()
    end, labels, count = time.monotonic() + seconds, set(), 0
    for idx in range(len(dataset)):
        instances = dataset.get_data_info(idx).get('instances') or ()
        if time.monotonic() > end:
            return
        count += len(instances)
        labels.update(instance.get('bbox_label') for instance in instances)
    if not count:
        # Test sets may be published without boxes.
        add = report.warn if getattr(dataset, 'test_mode', False) else report.fail
        add(f'{name}: not one box is loaded by way of {path}. The names in the '
            f'annotations must be those of metainfo.classes: '
            f'{", ".join(map(str, classes[:12]))}.')
        return
    report.ok(f'{name}: {count} boxes are loaded, in {len(dataset)} images')
    _report_absent(report, name, classes, labels, path)


def _report_absent(report: Report, name: str, classes, seen: set[int] | None, path: str
                   ) -> None:
    note = absence_note(classes, seen, f'box of {path}') if seen else ''
    if note:
        report.warn(f'{name}: {note}. A class without boxes is not learned, and has no '
                    'score.')


def _check_order(report: Report, name: str, path: str, classes, ids, data: dict
                 ) -> None:
    """mmdet counts labels in the order of the file, whatever metainfo.classes says."""
    names = {c.get('id'): c.get('name') for c in data['categories']}
    order = [names.get(category) for category in ids]
    if order != list(classes) and sorted(order) == sorted(classes):
        k = next(k for k, pair in enumerate(zip(order, classes, strict=True))
                 if pair[0] != pair[1])
        report.warn(
            f'{name}: metainfo.classes is in another order than the categories of '
            f'{path}, and labels are counted in the order of the file: what is '
            f'{order[k]!r} there is called {classes[k]!r} in predictions. Write '
            'metainfo.classes in the order of the file.')


def _compare_with_loaded(report: Report, name: str, path: str, dataset: object,
                         found: BoxProblems, seconds: float) -> set[int] | None:
    """Boxes before and after loading, and images that are left out.

    Returns:
        The labels of the loaded boxes; None if the time was over before all were read.
    """
    end, loaded, expected, labels = time.monotonic() + seconds, 0, 0, set()
    kept = sum(found.kept.values())
    text = f'{name}: {found.total} boxes in {path}'
    for idx in range(len(dataset)):
        if time.monotonic() > end:
            report.ok(f'{text}, {kept} can be used')
            return None
        info = dataset.get_data_info(idx)
        instances = info.get('instances') or ()
        loaded += len(instances)
        labels.update(instance.get('bbox_label') for instance in instances)
        expected += found.kept.get(info.get('img_id'), 0)
    if found.total and not loaded:
        report.fail(f'{text}, not one is loaded.')
        return labels
    if loaded != expected:
        report.warn(f'{text}, {loaded} are loaded, expected {expected}: '
                    f'{type(dataset).__name__} leaves out boxes for another reason, or '
                    'cuts them in pieces.')
        return labels
    text += f', {loaded} are loaded, in {len(dataset)} images'
    if kept != loaded:
        text += (f'; {kept - loaded} are in images that are left out (filter_cfg, '
                 'indices)')
    report.ok(text)
    return labels


def _reads_masks(dataset: object) -> bool:
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
    return any(getattr(step, 'with_mask', False) for step in steps)
