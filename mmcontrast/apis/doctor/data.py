"""Check the data of each loader: counts, readable images, labels within range."""
import json
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.fileio import get_file_backend
from mmengine.registry import DATASETS
from PIL import Image

from ...datasets.bad_images import BadImage
from ...datasets.image_files import decode_bytes, read_image
from ...engine.distributed.unwrap import leaf_datasets
from .machine import loaders
from .report import Report, error_text, suppress_output

IGNORED = 255
MAX_LISTED = 5


def check_data(report: Report, cfg: Config, num_samples: int) -> None:
    """Build each dataset, count it, read a sample of its files and labels.

    Args:
        num_samples: Images to open of each dataset, evenly spaced.
    """
    seen, broken = {}, set()
    for name, loader in loaders(cfg):
        settings = json.dumps(loader.get('dataset'), sort_keys=True, default=str)
        if settings in broken:
            continue
        if settings in seen:
            report.ok(f'{name}: the data of {seen[settings]}')
            continue
        seen[settings] = name
        try:
            with suppress_output():
                dataset = DATASETS.build(loader.dataset)
                if hasattr(dataset, 'full_init'):
                    dataset.full_init()
        except Exception as error:
            hint = ('. Put the data there, or correct data_root and the other paths.'
                    if isinstance(error, FileNotFoundError) else '')
            text = error_text(error)
            report.fail(f'{name}: {text.rstrip(".") + hint if hint else text}')
            broken.add(settings)
            continue
        _check_count(report, name, loader, dataset)
        for part in leaf_datasets(dataset):
            _check_samples(report, name, part, num_samples)


def _check_count(report: Report, name: str, loader: dict, dataset: object) -> None:
    try:
        count = len(dataset)
    except TypeError:
        report.ok(f'{name}: {type(dataset).__name__}, a stream without a length')
        return
    batch = loader.get('batch_size') or 1
    text = f'{name}: {type(dataset).__name__} with {count} samples, batches of {batch}'
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if classes:
        text += f', {len(classes)} classes'
    if count == 0:
        report.fail(f'{text}. Check data_root, data_prefix, ann_file, the suffixes of '
                    'the files and filter_cfg.')
    elif count < batch and loader.get('drop_last'):
        report.fail(f'{text}: with drop_last=True not one batch is left. Lower '
                    'batch_size.')
    elif count < batch:
        report.warn(f'{text}: fewer than one batch.')
    else:
        report.ok(text)


def _check_samples(report: Report, name: str, dataset: object, num: int) -> None:
    """Open images, label maps and boxes of evenly spaced samples."""
    if not hasattr(dataset, 'get_data_info') or len(dataset) == 0:
        return
    picks = np.unique(np.linspace(0, len(dataset) - 1, num).round().astype(int))
    _report_skipped(report, name, getattr(dataset, 'skipped', ()))
    problems, replaced, images = [], [], 0
    load = _label_loader(dataset)
    for idx in picks.tolist():
        size = None
        try:
            info = _read_info(dataset, idx)
            if _is_file(info):
                images += 1
                size = _read_image(info, dataset).size
        except (BadImage, OSError) as error:
            (replaced if hasattr(dataset, 'bad_images') else problems).append(
                str(error))
            continue
        except Exception as error:
            problems.append(f'sample {idx}: {error_text(error)}')
            continue
        problems += check_labels(info, size, dataset, load)
    if replaced:
        _report_replaced(report, name, replaced, len(picks), dataset.max_bad_share)
    if problems:
        _report_problems(report, name, problems, len(picks))
    elif images and not replaced:
        report.ok(f'{name}: {images} images spread over the data were opened, with '
                  'their labels')


def check_labels(info: dict, size: tuple[int, int] | None, dataset: object, load
                 ) -> list[str]:
    """Problems with the labels of one sample.

    Args:
        info: From ``get_data_info``.
        size: (width, height) of its image, if known.
        load: Reads the label map into ``gt_seg_map``; None without one.
    """
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes') or ()
    problems = []
    if load is not None and info.get('seg_map_path'):
        problems += _check_map(info, load, size, classes)
    for instance in info.get('instances') or ():
        problem = _check_box(instance, size, len(classes))
        if problem:
            problems.append(f'{info.get("img_path")}: {problem}')
    return problems


def _check_map(info: dict, load, size: tuple[int, int] | None, classes) -> list[str]:
    path = info['seg_map_path']
    if '://' not in path and not Path(path).exists():
        return [f'{path}: label map not found']
    try:
        labels = load(dict(info, seg_fields=[]))['gt_seg_map']
    except Exception as error:
        return [f'{path}: label map cannot be read ({error_text(error)})']
    problems = []
    if size is not None and labels.shape[:2] != size[::-1]:
        problems.append(
            f'{path}: label map of {labels.shape[1]} x {labels.shape[0]} pixels for an '
            f'image of {size[0]} x {size[1]}')
    values = np.unique(labels)
    outside = values[(values >= len(classes)) & (values != IGNORED)]
    if len(classes) and outside.size:
        problems.append(
            f'{path}: labels {outside[:8].tolist()} lie outside of the {len(classes)} '
            f'classes (0 to {len(classes) - 1}, {IGNORED} is ignored); see '
            'reduce_zero_label, or correct the file')
    return problems


def _check_box(instance: dict, size: tuple[int, int] | None, num_classes: int
               ) -> str | None:
    box, label = instance.get('bbox'), instance.get('bbox_label')
    if num_classes and isinstance(label, int) and not -1 <= label < num_classes:
        return f'box of class {label}, there are {num_classes}'
    if size is None or box is None or len(box) != 4:
        return None
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        return f'box {list(map(float, box))} (x1, y1, x2, y2) has no area'
    # Annotations count from one or from zero: one pixel outside is accepted.
    if left < -1 or top < -1 or right > size[0] + 1 or bottom > size[1] + 1:
        return (f'box {list(map(float, box))} (x1, y1, x2, y2) leaves the image of '
                f'{size[0]} x {size[1]}')
    return None


def _label_loader(dataset: object):
    """The LoadAnnotations of a pipeline, if it reads label maps."""
    steps = getattr(dataset, 'pipeline', None)
    for step in getattr(steps, 'transforms', ()) if isinstance(steps, Compose) else ():
        if getattr(step, 'with_seg', False) or (
                type(step).__name__ == 'LoadAnnotations'
                and 'mmseg' in type(step).__module__):
            return step
    return None


def _read_info(dataset: object, idx: int) -> dict:
    """What is known of a sample; of one in a shard, with its content."""
    read = getattr(dataset, 'read_item', None) or dataset.get_data_info
    return read(idx)


def _read_image(info: dict, dataset: object) -> Image.Image:
    if 'img_bytes' in info:
        return decode_bytes(info['img_bytes'], info['img_path'])
    return read_image(info['img_path'], _backend(dataset))


def _is_file(info: object) -> bool:
    """Whether a sample names an image file; the toy world draws its images."""
    if not isinstance(info, dict) or not info.get('img_path') or 'img' in info:
        return False
    if 'img_bytes' in info:
        return True
    try:
        get_file_backend(info['img_path'])
    except KeyError:
        return False  # shapes://train/0
    return True


def _backend(dataset: object) -> dict | None:
    steps = getattr(dataset, 'pipeline', None)
    first = next(iter(getattr(steps, 'transforms', ()) or ()), None)
    return getattr(first, 'backend_args', None)


def _report_replaced(report: Report, name: str, bad: list[str], tried: int,
                     allowed: float) -> None:
    """Report the images that a dataset will replace; too many would stop the run."""
    text = (f'{name}: {len(bad)} of {tried} images spread over the data cannot be '
            'used. A run puts others in their place, up to '
            f'max_bad_share={allowed:g} of them:')
    add = report.fail if len(bad) > max(1, allowed * tried) else report.warn
    add('\n'.join([text, *_first(bad)]))


def _report_skipped(report: Report, name: str, skipped: list) -> None:
    """Report the image-text pairs that a dataset leaves out from the start."""
    if skipped:
        report.warn('\n'.join([
            f'{name}: {len(skipped)} image-text pairs without a usable caption or '
            'image are skipped:',
            *_first([f'{where}: {reason.sentence}' for where, reason in skipped])]))


def _report_problems(report: Report, name: str, problems: list[str], tried: int
                     ) -> None:
    report.fail('\n'.join([
        f'{name}: {len(problems)} problem(s) in {tried} samples spread over the data:',
        *_first(problems)]))


def _first(problems: list[str]) -> list[str]:
    more = len(problems) - MAX_LISTED
    return problems[:MAX_LISTED] + ([f'... and {more} more'] if more > 0 else [])
