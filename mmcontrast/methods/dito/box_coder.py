"""Encode boxes as deltas of RoIs, decode, clip and rescale them.

Source: DITO (arXiv 2310.00161), the released code. A box from pixel x1 to x2 is
x2 - x1 + 1 wide, and the last pixel of an image is at size - 1.
"""
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...registry import TASK_UTILS


@TASK_UTILS.register_module()
class DeltaYXHWBoxCoder:
    """Box coder of mmdet's interface, with deltas in the order dy, dx, dh, dw.

    mmdet's ``LegacyDeltaXYWHBBoxCoder`` has the targets in another order, and decodes
    them to boxes that are half a pixel off.

    Args:
        weights: Factors of the four targets, 1 over their std.
        max_scale: Largest factor by which a side grows, 1000 / 16 as in Faster R-CNN.
        clip_border: Whether decoded boxes are clipped where ``max_shape`` is given.
    """

    encode_size = 4
    use_box_type = False

    def __init__(self, weights: Sequence[float] = (10.0, 10.0, 5.0, 5.0),
                 max_scale: float = 1000 / 16, clip_border: bool = True):
        if len(weights) != 4:
            raise ValueError('DeltaYXHWBoxCoder: weights must be four numbers, for dy, '
                             f'dx, dh and dw, got {weights}.')
        self.weights = tuple(weights)
        self.max_scale, self.clip_border = max_scale, clip_border

    def encode(self, bboxes: Tensor, gt_bboxes: Tensor) -> Tensor:
        """Targets of RoIs.

        Args:
            bboxes: (..., 4) RoIs: x1, y1, x2, y2 in pixels.
            gt_bboxes: (..., 4) the boxes that they should become.

        Returns:
            (..., 4) dy, dx, dh, dw, weighted.
        """
        x, y, width, height = _center_size(bboxes.float())
        gt_x, gt_y, gt_width, gt_height = _center_size(gt_bboxes.float())
        deltas = ((gt_y - y) / height, (gt_x - x) / width,
                  (gt_height / height).log(), (gt_width / width).log())
        return torch.stack([delta * weight for delta, weight in zip(
            deltas, self.weights, strict=True)], dim=-1)

    def decode(self, bboxes: Tensor, pred_bboxes: Tensor,
               max_shape: Sequence[int] | None = None) -> Tensor:
        """Boxes that deltas of RoIs stand for.

        Args:
            bboxes: (..., 4) RoIs.
            pred_bboxes: (..., 4) dy, dx, dh, dw, weighted.
            max_shape: Height and width of the image, which boxes are clipped to.

        Returns:
            (..., 4) in float32. As a pixel is taken off the far sides, a box may be
            inverted by up to a pixel.
        """
        x, y, width, height = _center_size(bboxes.float())
        dy, dx, dh, dw = (delta / weight for delta, weight in zip(
            pred_bboxes.float().unbind(-1), self.weights, strict=True))
        limit = math.log(self.max_scale)
        center = torch.stack([x + dx * width, y + dy * height], dim=-1)
        half = torch.stack([width * dw.clamp(max=limit).exp(),
                            height * dh.clamp(max=limit).exp()], dim=-1) / 2
        boxes = torch.cat([center - half, center + half - 1], dim=-1)
        if max_shape is None or not self.clip_border:
            return boxes
        return clip_boxes(boxes, max_shape)


def clip_boxes(boxes: Tensor, image_size: Sequence[int]) -> Tensor:
    """Limit (..., 4) boxes to the pixels 0 to size - 1 of a (height, width) image."""
    height, width = image_size[:2]
    x, y = boxes[..., 0::2], boxes[..., 1::2]
    clipped = torch.stack([x.clamp(0, width - 1), y.clamp(0, height - 1)], dim=-1)
    return clipped.flatten(-2)


def rescale_boxes(boxes: Tensor, scale: float) -> Tensor:
    """Scale the sides of (..., 4) boxes about their centers."""
    first, last = boxes[..., :2], boxes[..., 2:]
    center, half = (first + last) / 2, (last - first) * (scale / 2)
    return torch.cat([center - half, center + half], dim=-1)


def _center_size(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x1, y1, x2, y2 = boxes.unbind(-1)
    width, height = x2 - x1 + 1, y2 - y1 + 1
    return x1 + width / 2, y1 + height / 2, width, height
