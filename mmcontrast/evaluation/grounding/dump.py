"""Write predictions and labels of phrases as JSON lines, and read them back."""
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from ...datasets.coco_masks import decode_mask
from ...errors import UserValueError
from ...io.atomic import atomic_write
from ...io.text_files import read_text, split_lines
from ...registry import METRICS
from .samples import (
    RESOLUTIONS,
    as_mapping,
    existence,
    labeled_boxes,
    predicted_boxes,
)

_IDS = 'img_id', 'group_id', 'sentence_id'
_META = (*_IDS, 'img_path', 'text', 'data_source')
# Of a number: int that no float holds are none either.
_LARGEST = float(np.finfo(np.float32).max)
_EXPECTED = 'Expected a file of the metric DumpGrounding, one JSON object a line.'


@METRICS.register_module()
class DumpGrounding(BaseMetric):
    """Write what a model predicts for each phrase, with the labels, as JSON lines.

    ``tools/analysis/score_grounding.py`` scores the file by any metric and threshold.
    A line is a phrase, in the order of the data set, also on several ranks::

        {"img_id": 1, "img_path": ..., "text": "the red car", "group_id": ...,
         "boxes": [[x1, y1, x2, y2], ...], "scores": [...], "exists": 0.98,
         "mask": {"size": [H, W], "counts": ...}, "mask_original": ...,
         "truth": {"boxes": [...], "mask": ..., "mask_original": ...}}

    Boxes are in pixels of the image; those of ``truth`` are what the phrase means.
    Masks are in COCO's run lengths, of the size of the network input and, where the
    model predicts it, of the image. What is missing is null.

    Args:
        out_file: File to write, at the end and atomically.
        masks: Whether masks are written, which most of the file consists of.
        collect_device, prefix: See mmengine's ``BaseMetric``.
    """

    default_prefix = 'dump'

    def __init__(self, out_file: str, masks: bool = True, collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.out_file, self.masks = str(out_file), masks

    def process(self, data_batch: dict, data_samples: Sequence) -> None:
        self.results += [self.line(as_mapping(sample)) for sample in data_samples]

    def line(self, sample: Mapping) -> str:
        """A sample as a line of the file."""
        boxes, scores = predicted_boxes(sample)
        exists = existence(sample)
        row = {key: sample[key] for key in _META if sample.get(key) is not None}
        row |= dict(boxes=boxes.tolist(), scores=scores.tolist(),
                    exists=None if np.isnan(exists) else exists, truth=None)
        if 'gt_instances' in sample:
            row['truth'] = dict(boxes=labeled_boxes(sample).tolist())
        for ending in RESOLUTIONS.values() if self.masks else ():
            row[f'mask{ending}'] = _encoded(sample.get(f'pred_mask{ending}'))
            if row['truth'] is not None:
                row['truth'][f'mask{ending}'] = _encoded(sample.get(f'gt_mask{ending}'))
        return json.dumps(row, ensure_ascii=False, default=_plain)

    def compute_metrics(self, results: list[str]) -> dict:
        """Write the lines; there are no scores."""
        with atomic_write(self.out_file) as file:
            for line in results:
                # What is no text, bytes in file names, is read back by JSON.
                file.write(f'{line}\n'.encode('utf-8', 'backslashreplace'))
        return {}


def _encoded(mask: Any) -> dict | None:
    """A mask in COCO's run lengths."""
    if mask is None:
        return None
    from pycocotools import mask as coco
    rows = torch.as_tensor(mask).cpu().numpy().astype(np.uint8)
    lengths = coco.encode(np.asfortranarray(rows.reshape(rows.shape[-2:])))
    return dict(size=list(map(int, lengths['size'])),
                counts=lengths['counts'].decode())


def _plain(value: Any) -> Any:
    """What JSON cannot write, as Python's numbers and lists."""
    return value.tolist() if hasattr(value, 'tolist') else str(value)


def count_lines(path: str | Path) -> int:
    """Number of phrases in a file of :class:`DumpGrounding`."""
    return len(_lines(path))


def read_dump(path: str | Path, resolutions: Sequence[str] = ()) -> Iterator[dict]:
    """Yield the data samples of a file of :class:`DumpGrounding`.

    Args:
        path: The file.
        resolutions: Which masks to decode: ``input``, ``original``.

    Raises:
        FileNotFoundError: If there is none.
        UserValueError: If a line is not such an object, has no labels, or lacks a mask;
            names file and line.
    """
    for number, line in _lines(path):
        place = f'{path}, line {number}'
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserValueError(f'{place} is not JSON ({error}). {_EXPECTED}'
                                 ) from None
        yield _sample(row, resolutions, place)


def _lines(path: str | Path) -> list[tuple[int, str]]:
    """Number and text of each line that is not empty."""
    if not Path(path).is_file():
        raise FileNotFoundError(f'No file {path}. {_EXPECTED}')
    lines = [(number, line) for number, line in enumerate(
        split_lines(read_text(path)), 1) if line.strip()]
    if not lines:
        raise UserValueError(f'{path} is empty. {_EXPECTED}')
    return lines


def _sample(row: Any, resolutions: Sequence[str], place: str) -> dict:
    if not isinstance(row, dict) or not {'boxes', 'scores', 'truth'} <= set(row):
        found = sorted(row) if isinstance(row, dict) else repr(row)[:60]
        raise UserValueError(f'{place} has no boxes, scores and truth, only {found}. '
                             f'{_EXPECTED}')
    truth = row['truth']
    if not isinstance(truth, dict) or 'boxes' not in truth:
        raise UserValueError(f'{place} has no labels (truth is {truth!r:.60}); dump a '
                             'test set with labels.')
    found, true = _boxes(row['boxes'], place), _boxes(truth['boxes'], place)
    for key in _IDS:
        if not isinstance(row.get(key), int | float | str | None):
            raise UserValueError(f'{place}: {key} must be a number or a text, got '
                                 f'{row[key]!r:.60}.')
    sample = {key: row[key] for key in _META if key in row} | dict(
        gt_instances=dict(bboxes=true, referred=np.ones(len(true), bool)),
        pred_instances=dict(bboxes=found, scores=_scores(row, len(found), place)))
    if row.get('exists') is not None:
        sample['pred_exists'] = _number(row['exists'], 'exists', place)
    for resolution in resolutions:
        ending = RESOLUTIONS[resolution]
        sample[f'pred_mask{ending}'] = _decoded(row, f'mask{ending}', place)
        sample[f'gt_mask{ending}'] = _decoded(
            truth, f'mask{ending}', f'{place}, truth')
    return sample


def _boxes(values: Any, place: str) -> np.ndarray:
    try:
        boxes = np.array(values, np.float64).reshape(-1, 4)
    except (ValueError, TypeError, OverflowError):
        boxes = np.full((1, 4), np.nan)
    if not np.isfinite(boxes).all():
        raise UserValueError(f'{place}: boxes must be a list of four numbers each, x1, '
                             f'y1, x2 and y2 in pixels, got {values!r:.60}.')
    return boxes


def _scores(row: dict, count: int, place: str) -> np.ndarray:
    values = row['scores']
    if not isinstance(values, list) or len(values) != count:
        raise UserValueError(f'{place}: scores must be a list of {count} numbers, one '
                             f'a box, got {values!r:.60}.')
    return np.array([_number(value, 'a score', place) for value in values], np.float32)


def _number(value: Any, what: str, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (
            abs(value) <= _LARGEST):
        raise UserValueError(f'{place}: {what} must be a number, got {value!r:.60}.')
    return float(value)


def _decoded(row: dict, key: str, place: str) -> np.ndarray:
    lengths = row.get(key)
    if lengths is None:
        raise UserValueError(
            f'{place} has no {key}. Dump with masks=True, and for those of the size of '
            'the image with keep_original_mask=True in PackGrounding.')
    try:
        return decode_mask(lengths, tuple(lengths['size']))
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise UserValueError(f"{place}: {key} is no mask in COCO's run lengths "
                             f'({type(error).__name__}: {error}).') from None
