"""Check label maps: their size, labels outside of the classes, classes without any."""
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from mmengine.config import Config

from ...datasets.absent_classes import absence_note, only_one_class
from ...datasets.label_maps import open_label_map
from ...engine.distributed.unwrap import classes_of
from .report import Report, error_text, first_few

#: Of mmseg: heads, datasets and metrics ignore it unless they say otherwise.
DEFAULT_IGNORED = 255
MOST_MAPS = 1000


class LabelMaps:
    """The label maps of a dataset, and what is ignored in them.

    Args:
        cfg: The config, whose heads or metric ignore labels.
        loader: ``train_dataloader``, ``val_dataloader`` or ``test_dataloader``.
        dataset: Built dataset with the step ``LoadAnnotations`` in its pipeline.
        load: That step.
    """

    def __init__(self, cfg: Config, loader: str, dataset: object, load) -> None:
        self.dataset, self.load = dataset, load
        self.classes = classes_of(dataset) or ()
        self.ignored = ignored_labels(cfg, loader, dataset)
        self.seen: Counter = Counter()
        self.read: set[int] = set()

    def problems(self, idx: int, info: dict, size: tuple[int, int] | None,
                 turned: str = '') -> list[str]:
        """Problems of one map.

        Args:
            idx, info: Of its sample.
            size: (width, height) of its image as the pipeline reads it, if known.
            turned: On the EXIF orientation of the image.
        """
        path = info['seg_map_path']
        if '://' not in path and not Path(path).exists():
            return [f'{path}: label map not found']
        try:
            if '://' not in path:
                open_label_map(path)  # no JPEG, whatever the pipeline accepts
            labels = self.load(dict(info, seg_fields=[]))['gt_seg_map']
        except Exception as error:
            return [f'{path}: label map cannot be read ({error_text(error)})']
        problems = []
        if size is not None and labels.shape[:2] != size[::-1]:
            problems.append(
                f'{path}: label map of {labels.shape[1]} x {labels.shape[0]} pixels '
                f'for an image of {size[0]} x {size[1]}{turned}')
        values, counts = np.unique(labels, return_counts=True)
        self.read.add(idx)
        self.seen.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        outside = [value for value in values.tolist() if self._is_outside(value)]
        if len(self.classes) and outside:
            problems.append(f'{path}: {self._outside(outside)}')
        return problems

    def report_absent(self, report: Report, name: str, seconds: float) -> None:
        """Read more maps, in random order, and name the classes that none holds."""
        if not len(self.classes):
            return
        order = np.random.default_rng(0).permutation(len(self.dataset))[:MOST_MAPS]
        end, problems = time.monotonic() + seconds, []
        for idx in order.tolist():
            if time.monotonic() > end:
                break
            if idx not in self.read:
                info = self.dataset.get_data_info(idx)
                if info.get('seg_map_path'):
                    problems += self.problems(idx, info, None)
        if problems:
            report.fail('\n'.join([
                f'{name}: {len(problems)} problem(s) in {len(self.read)} label maps:',
                *first_few(problems)]))
        if not self.read:
            return
        ignored = next((v for v in self.seen if v in self.ignored.values()), None)
        labels = [v for v in self.seen if not self._is_outside(v)
                  and v not in self.ignored.values()]
        note = absence_note(self.classes, labels, 'mask', ignored)
        total, read = len(self.dataset), len(self.read)
        text = f'{name}: {note} ({read} of {total} masks read)'
        if not note:
            return
        if not labels:
            report.fail(f'{name}: every pixel of {read} masks is ignored ({ignored}).')
        elif ignored is not None and only_one_class(self.classes, labels):
            text += ('. Write the classes as 0, 1 and so on'
                     + (', or set reduce_zero_label=False, which turns label 0 into '
                        f'{DEFAULT_IGNORED}' if self._reduces_zero() else '') + '.')
            (report.fail if read == total else report.warn)(text)
        elif read == total:
            report.warn(f'{text}. A class without labels is not learned, and has no '
                        'score.')
        else:
            report.ok(text)

    def _is_outside(self, value: int) -> bool:
        return not (0 <= value < len(self.classes)
                    or value in self.ignored.values() and self._agreed(value))

    def _agreed(self, value: int) -> bool:
        return all(ignored == value for ignored in self.ignored.values())

    def _reduces_zero(self) -> bool:
        return bool(getattr(self.dataset, 'reduce_zero_label', False))

    def _outside(self, outside: list[int]) -> str:
        by_value: dict = {}
        for where, value in self.ignored.items():
            by_value.setdefault(value, []).append(where)
        ignored = ' and '.join(
            f'{"no label" if value is None else value} is ignored'
            + (f' by {", ".join(where)}' if len(by_value) > 1 else '')
            for value, where in by_value.items())
        text = (f'labels {outside[:8]} lie outside of the {len(self.classes)} classes '
                f'(0 to {len(self.classes) - 1}, {ignored})')
        if outside == [DEFAULT_IGNORED] and len(self.classes) == 2:
            return f'{text}; is 255 your foreground? Write it as 1'
        if len(outside) == 1:
            where = ' and '.join(place for place, value in self.ignored.items()
                                 if value != outside[0])
            text += f'; if {outside[0]} is ignored, set ignore_index of {where}'
        return f'{text}; see reduce_zero_label, or correct the file'


def ignored_labels(cfg: Config, loader: str, dataset: object) -> dict[str, int | None]:
    """What ignores labels, and which.

    In training these are the heads, in validation and test the metric. The dataset
    counts where there is neither.
    """
    found = {}
    if loader == 'train_dataloader':
        found = dict(_heads(cfg.get('model') or {}, 'model'))
    else:
        name = loader.replace('dataloader', 'evaluator')
        metrics = cfg.get(name) or ()
        for metric in [metrics] if isinstance(metrics, Mapping) else metrics:
            if _name(metric).endswith('IoUMetric'):
                found[name] = metric.get('ignore_index', DEFAULT_IGNORED)
    return found or {type(dataset).__name__: getattr(
        dataset, 'ignore_index', DEFAULT_IGNORED)}


def check_padding(report: Report, cfg: Config) -> None:
    """Whether the label of padded pixels is ignored by the heads."""
    model = cfg.get('model') or {}
    preprocessor = model.get('data_preprocessor') or {}
    if not preprocessor.get('size') and not preprocessor.get('size_divisor'):
        return
    if not _name(preprocessor).endswith('SegDataPreProcessor'):
        return
    padding = preprocessor.get('seg_pad_val', DEFAULT_IGNORED)
    wrong = [f'{where} ignores {value}' for where, value in _heads(model, 'model')
             if value is not None and value != padding]
    if wrong:
        report.warn(f'model.data_preprocessor pads label maps with {padding} '
                    f'(seg_pad_val), but {", ".join(wrong)}: padding is trained as a '
                    'class, or is an error. Set seg_pad_val to that number.')


def _heads(model: Mapping, path: str) -> Iterator[tuple[str, int | None]]:
    """The heads of an mmseg model that predict classes, and what they ignore."""
    for key, value in model.items():
        if not key.endswith('_head'):
            continue
        for head in value if isinstance(value, list | tuple) else [value]:
            if isinstance(head, Mapping) and 'num_classes' in head:
                yield f'{path}.{key}', head.get('ignore_index', DEFAULT_IGNORED)


def _name(cfg: Mapping) -> str:
    """The name of the class in a config, whether it is text or the class itself."""
    kind = cfg.get('type') if isinstance(cfg, Mapping) else None
    return kind if isinstance(kind, str) else getattr(kind, '__name__', '')
