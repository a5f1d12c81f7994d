"""Draw data samples of phrases: what is annotated, and what was predicted."""
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..structures import GroundedPhrase
from .grounding import box_with_text, tinted
from .sheet import SheetRow, fitted_size, image_sheet, wrap_text

_WIDTH, _LEGEND = 360, 300
_MEANT, _OTHER = (0, 200, 255), (240, 240, 240)
_HEADINGS = 'foreground objects (blue: meant)', 'mask of what is meant'


def image_of(inputs: Tensor, sample: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB, of the original size, of a (3, S, S) BGR input."""
    rgb = inputs.flip(0).permute(1, 2, 0).cpu().numpy()
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize(
        sample.ori_shape[1::-1], Image.BICUBIC))


def annotated(sample: Any) -> GroundedPhrase:
    """What the annotations of a sample say, in pixels of the original image."""
    boxes = _annotated_boxes(sample)[_numpy(sample.gt_instances.referred)]
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    return GroundedPhrase(
        f'annotated: {sample.text}', bool(len(boxes)), None, boxes,
        np.ones(len(boxes), np.float32), _full_mask(sample, 'gt_mask'), *none)


def predicted(sample: Any, score_thr: float) -> GroundedPhrase:
    """What was found, in pixels of the original image."""
    boxes = _numpy(sample.pred_instances.bboxes)
    scores = _numpy(sample.pred_instances.scores.float())
    kept = scores.astype(np.float64) > score_thr
    prob = float(sample.pred_exists) if 'pred_exists' in sample else None
    return GroundedPhrase(
        f'predicted: {sample.text}', bool(kept.any()), prob, boxes[kept], scores[kept],
        _full_mask(sample, 'pred_mask') & kept.any(), boxes, scores)


def draw_annotated(inputs: Sequence[Tensor], samples: Sequence, title: str = ''
                   ) -> Image.Image:
    """A row for each sample: all objects, the mask, the phrase and what it means.

    Args:
        inputs: (3, S, S) uint8 BGR each.
        samples: Their data samples, of mmdet.
        title: Line above the rows.
    """
    rows = [_row(*pair) for pair in zip(inputs, samples, strict=True)]
    return image_sheet(rows, _WIDTH, title, _HEADINGS)


def _row(inputs: Tensor, sample: Any) -> SheetRow:
    image = image_of(inputs, sample)
    size = fitted_size(image.shape, _WIDTH)
    small = np.asarray(Image.fromarray(image).resize(size, Image.BICUBIC))
    drawn = Image.fromarray(small)
    boxes = _annotated_boxes(sample) * np.tile(
        np.divide(size, sample.ori_shape[1::-1]), 2)
    referred = _numpy(sample.gt_instances.referred)
    # What is meant comes last, on top of the others.
    for i in np.argsort(referred, kind='stable').tolist():
        box_with_text(ImageDraw.Draw(drawn), boxes[i],
                      _MEANT if referred[i] else _OTHER, str(i + 1),
                      width=3 if referred[i] else 1)
    mask = np.asarray(Image.fromarray(_full_mask(sample, 'gt_mask')).resize(size))
    font = ImageFont.load_default(15)
    count = int(referred.sum())
    legend = [*wrap_text(sample.text, _LEGEND, font),
              f'means {count} of {len(referred)} objects' if count else
              f'not there ({len(referred)} objects)']
    if 'gt_mask' not in sample:
        legend.append('without masks')
    name = PurePath(str(sample.get('img_path', ''))).name
    return SheetRow([np.asarray(drawn), tinted(small, mask)], name,
                    [(None, line) for line in legend])


def _annotated_boxes(sample: Any) -> np.ndarray:
    """(N, 4) in pixels of the original image; annotated are those of the input."""
    scale = np.divide(sample.ori_shape[1::-1], sample.img_shape[1::-1])
    return _numpy(sample.gt_instances.bboxes) * np.tile(scale, 2)


def _full_mask(sample: Any, key: str) -> np.ndarray:
    """A mask at the original size; empty where a sample has none."""
    mask = sample.get(key)
    if mask is None:
        return np.zeros(sample.ori_shape[:2], bool)
    return np.asarray(Image.fromarray(_numpy(mask)).resize(
        sample.ori_shape[1::-1], Image.NEAREST))


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy()
