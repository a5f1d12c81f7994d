"""Check the data of each loader: counts, readable images, labels within range."""
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.fileio import get_file_backend
from mmengine.registry import DATASETS

from ...datasets.absent_classes import absence_note
from ...datasets.bad_images import BadImage
from ...datasets.build_errors import explained_build_errors
from ...datasets.image_files import (
    encoded_bytes,
    load_upright,
    open_image,
    orientation,
)
from ...engine.distributed.unwrap import classes_of, leaf_datasets
from .boxes import check_boxes
from .budget import Budget
from .label_maps import LabelMaps, check_padding
from .machine import loaders
from .report import Report, error_text, first_few, suppress_output

# Images of which the size is compared with labels; a header is read in no time.
_MOST_SIZES = 200
_MOST_LABELS = 200_000
# By EXIF orientation, what a reader does to the stored pixels.
_TURNS = {2: 'mirrored', 3: 'turned by 180 degrees', 4: 'mirrored and turned by 180 '
          'degrees', 5: 'mirrored and turned by 90 degrees', 6: 'turned by 90 degrees',
          7: 'mirrored and turned by 270 degrees', 8: 'turned by 270 degrees'}


def check_data(report: Report, cfg: Config, num_samples: int,
               budget: Budget | None = None) -> None:
    """Build each dataset, count it, read a sample of its files and labels.

    Args:
        num_samples: Images to open of each dataset, evenly spaced.
        budget: Time of the doctor; the checks of labels take a part of it.
    """
    budget = budget or Budget(3)
    check_padding(report, cfg)
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
            with suppress_output(), explained_build_errors(loader.get('dataset')):
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
            try:
                _check_samples(report, cfg, name, part, num_samples, budget)
            except Exception as error:
                report.fail(f'{name}: {error_text(error)}')


def _check_count(report: Report, name: str, loader: dict, dataset: object) -> None:
    try:
        count = len(dataset)
    except TypeError:
        report.ok(f'{name}: {type(dataset).__name__}, a stream without a length')
        return
    batch = loader.get('batch_size') or 1
    text = f'{name}: {type(dataset).__name__} with {count} samples, batches of {batch}'
    classes = classes_of(dataset)
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


def _check_samples(report: Report, cfg: Config, name: str, dataset: object, num: int,
                   budget: Budget) -> None:
    """Open images, label maps and boxes of evenly spaced samples."""
    if not hasattr(dataset, 'get_data_info') or len(dataset) == 0:
        return
    _report_skipped(report, name, getattr(dataset, 'skipped', ()))
    load = _label_loader(dataset)
    maps = load and LabelMaps(cfg, name, dataset, load)
    picks = _evenly(len(dataset), num)
    problems, replaced, sizes, labeled = [], [], {}, bool(maps)
    for idx in picks:
        size = None
        try:
            info = _read_info(dataset, idx)
            if _is_file(info):
                size = sizes[idx] = read_size(info, dataset, decode=True)
        except (BadImage, OSError) as error:
            (replaced if hasattr(dataset, 'bad_images') else problems).append(
                str(error))
            continue
        except Exception as error:
            problems.append(f'sample {idx}: {error_text(error)}')
            continue
        labeled = labeled or not {'instances', 'gt_label'}.isdisjoint(info)
        if maps and info.get('seg_map_path'):
            problems += maps.problems(idx, info, size and size.read,
                                      size.turned if size else '')
        problems += check_labels(info, size and size.read, dataset)
    if replaced:
        _report_replaced(report, name, replaced, len(picks), dataset.max_bad_share)
    if problems:
        _report_problems(report, name, problems, len(picks))
    elif sizes and not replaced:
        report.ok(f'{name}: {len(sizes)} images spread over the data were opened'
                  + (', with their labels' if labeled else ''))
    if sizes and not hasattr(dataset, 'bad_images'):
        _check_sizes(report, name, dataset, sizes, budget.share(0.05, 5))
    if maps:
        maps.report_absent(report, name, budget.share(0.1, 15))
    check_boxes(report, name, dataset, budget.share(0.1, 15))
    _check_image_labels(report, name, dataset, budget.share(0.05, 5))


@dataclass(frozen=True)
class _Size:
    """Size of an image, (width, height).

    Attributes:
        stored, read: Without and with what the pipeline does about EXIF.
        orientation: EXIF orientation, 1 for an upright image.
    """

    stored: tuple[int, int]
    read: tuple[int, int]
    orientation: int

    @property
    def turned(self) -> str:
        """On EXIF, for a message about a size; '' for an upright image."""
        if self.orientation == 1:
            return ''
        stored = f'stored as {self.stored[0]} x {self.stored[1]}'
        turn = f'EXIF orientation {self.orientation}, {_TURNS[self.orientation]}'
        if self.read == self.stored and self.orientation >= 5:
            return f' ({turn} in viewers, but read as stored)'
        return f' ({stored}, {turn} when it is read)'


def read_size(info: dict, dataset: object, decode: bool = False) -> _Size:
    """The size of the image of a sample.

    Args:
        info: Of the sample.
        decode: Read all of the file, to find damaged ones.
    """
    path = info['img_path']
    image = open_image(encoded_bytes(info, _backend(dataset)), path)
    stored, turn = image.size, orientation(image)
    if decode:
        load_upright(image, path)
    upright = turn >= 5 and _turns_exif(dataset)
    return _Size(stored, stored[::-1] if upright else stored, turn)


def _turns_exif(dataset: object) -> bool:
    """Whether the reader in the pipeline applies the EXIF orientation; mmcv's does."""
    first = _first_step(dataset)
    return (getattr(first, 'color_type', 'color') in ('color', 'grayscale')
            and getattr(first, 'imdecode_backend', 'cv2') in (None, 'cv2', 'pillow'))


def _check_sizes(report: Report, name: str, dataset: object, sizes: dict[int, _Size],
                 seconds: float) -> None:
    """Compare the sizes of images with those in annotations; look for EXIF."""
    end, wrong, turned, labeled = time.monotonic() + seconds, [], [], False
    for idx in dict.fromkeys([*sizes, *_evenly(len(dataset), _MOST_SIZES)]):
        if time.monotonic() > end:
            break
        info = _read_info(dataset, idx)
        labeled |= bool(info.get('seg_map_path') or info.get('instances'))
        try:
            size = sizes[idx] = sizes.get(idx) or read_size(info, dataset)
        except (BadImage, OSError):
            continue  # Only those of check_data's own sample are reported.
        if size.orientation != 1:
            turned.append((info['img_path'], size))
        written = info.get('width'), info.get('height')
        if None not in written and tuple(written) != size.read:
            wrong.append(f'{info["img_path"]}: {written[0]} x {written[1]} is written, '
                         f'the image is {size.read[0]} x {size.read[1]}{size.turned}')
    if wrong:
        report.warn('\n'.join([
            f'{name}: width and height in the annotations are not those of {len(wrong)}'
            f' of {len(sizes)} images. Boxes are dropped by the written size:',
            *first_few(wrong)]))
    if turned and labeled:
        path, size = turned[0]
        rule = ('The pipeline turns them upright' if _turns_exif(dataset) else
                'The pipeline reads them as they are stored')
        report.warn(
            f'{name}: {len(turned)} of {len(sizes)} images have an EXIF orientation, '
            f'the first: {path} ({size.orientation}, {_TURNS[size.orientation]}). '
            f'{rule}; boxes and label maps must be drawn on that. If they were drawn '
            "on the stored pixels, set color_type='color_ignore_orientation' in "
            'LoadImageFromFile, or remove the tag from the files.')


def _check_image_labels(report: Report, name: str, dataset: object, seconds: float
                        ) -> None:
    """Name the classes that no image has, for labels of whole images."""
    classes = classes_of(dataset)
    end, seen, count = time.monotonic() + seconds, set(), 0
    if not classes or len(dataset) > _MOST_LABELS:
        return
    for count in range(len(dataset)):  # noqa: B007
        label = dataset.get_data_info(count).get('gt_label')
        if label is None or time.monotonic() > end:
            return
        seen.update(np.atleast_1d(label).tolist())
    note = absence_note(classes, seen, 'image')
    if note:
        report.warn(f'{name}: {note}')
    outside = sorted(label for label in seen if not 0 <= label < len(classes))
    if outside:
        report.fail(f'{name}: labels {outside[:8]} lie outside of the {len(classes)} '
                    f'classes (0 to {len(classes) - 1})')


def check_labels(info: dict, size: tuple[int, int] | None, dataset: object
                 ) -> list[str]:
    """Problems with the boxes of one sample.

    Args:
        info: From ``get_data_info``.
        size: (width, height) of its image, if known.
    """
    classes = classes_of(dataset) or ()
    problems = (_check_box(instance, size, len(classes))
                for instance in info.get('instances') or ())
    return [f'{info.get("img_path")}: {problem}' for problem in problems if problem]


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
    return getattr(_first_step(dataset), 'backend_args', None)


def _first_step(dataset: object) -> object | None:
    steps = getattr(dataset, 'pipeline', None)
    return next(iter(getattr(steps, 'transforms', ()) or ()), None)


def _evenly(count: int, most: int) -> Sequence[int]:
    return np.unique(np.linspace(0, count - 1, most).round().astype(int)).tolist()


def _report_replaced(report: Report, name: str, bad: list[str], tried: int,
                     allowed: float) -> None:
    """Report the images that a dataset will replace; too many would stop the run."""
    text = (f'{name}: {len(bad)} of {tried} images spread over the data cannot be '
            'used. A run puts others in their place, up to '
            f'max_bad_share={allowed:g} of them:')
    add = report.fail if len(bad) > max(1, allowed * tried) else report.warn
    add('\n'.join([text, *first_few(bad)]))


def _report_skipped(report: Report, name: str, skipped: list) -> None:
    """Report the image-text pairs that a dataset leaves out from the start."""
    if skipped:
        report.warn('\n'.join([
            f'{name}: {len(skipped)} image-text pairs without a usable caption or '
            'image are skipped:',
            *first_few([f'{where}: {reason.sentence}' for where, reason in skipped])]))


def _report_problems(report: Report, name: str, problems: list[str], tried: int
                     ) -> None:
    report.fail('\n'.join([
        f'{name}: {len(problems)} problem(s) in {tried} samples spread over the data:',
        *first_few(problems)]))
