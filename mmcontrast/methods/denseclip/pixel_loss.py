"""Soft-max cross entropy of small logit maps, enlarged to the labels strip by strip.

The usual way enlarges K logits to every pixel and keeps several copies of that: at 150
classes and 512 x 512 pixels 0.16 GB each, a picture. Here a strip of rows is enlarged
at a time, and its gradient is taken at once, with respect to the small map.
"""
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...models.unit_vectors import at_least_float

# Elements of the enlarged logits that are alive at a time: 16 MB in float32.
STRIP = 2 ** 22


class PixelLoss(NamedTuple):
    """Sums over the pixels that are not ignored.

    Attributes:
        loss: Cross entropy, with gradient.
        correct: How many pixels have their highest logit at the label.
    """

    loss: Tensor
    correct: Tensor


def resized_cross_entropy(logits: Tensor, labels: Tensor, ignore_index: int = 255,
                          strip: int = STRIP) -> PixelLoss:
    """Cross entropy of ``logits`` enlarged bilinearly to the size of ``labels``.

    Value and gradient are those of ``F.interpolate(..., align_corners=False)`` and
    ``F.cross_entropy(..., reduction='sum')``. Computed in float32, also under
    autocast.

    Args:
        logits: (B, K, h, w).
        labels: (B, H, W) int64 below K, or ``ignore_index``.
        ignore_index: Label of pixels that do not count.
        strip: Most elements of enlarged logits that are alive at a time.
    """
    return PixelLoss(*_ResizedCrossEntropy.apply(logits, labels, ignore_index, strip))


class _ResizedCrossEntropy(torch.autograd.Function):
    """The gradient is taken strip by strip in the forward pass and kept small."""

    @staticmethod
    def forward(ctx, logits, labels, ignore_index, strip):
        with torch.autocast(logits.device.type, enabled=False):
            small = at_least_float(logits.detach())
            gradient = torch.zeros_like(small) if ctx.needs_input_grad[0] else None
            loss, correct = small.new_zeros(2).unbind()
            for image in range(len(small)):
                for rows in _strips(small.shape[1], *labels.shape[1:], strip):
                    part = _strip(small[image], labels[image], rows, ignore_index,
                                  None if gradient is None else gradient[image])
                    loss, correct = loss + part.loss, correct + part.correct
        ctx.save_for_backward(*([] if gradient is None else [gradient]))
        ctx.dtype = logits.dtype
        ctx.mark_non_differentiable(correct)
        return loss, correct

    @staticmethod
    @once_differentiable
    def backward(ctx, d_loss, _):
        gradient, = ctx.saved_tensors
        return (gradient * d_loss).to(ctx.dtype), None, None, None


def _strip(small: Tensor, labels: Tensor, rows: slice, ignore_index: int,
           gradient: Tensor | None) -> PixelLoss:
    """Loss of some rows of one image; adds to the (K, h, w) ``gradient``."""
    near = _rows_needed(rows, small.shape[1], len(labels))
    part = small[None, :, near].requires_grad_(gradient is not None)
    with torch.set_grad_enabled(gradient is not None):
        logits = _enlarge(part, rows, near.start, small.shape[1], labels.shape)
        target = labels[None, rows]
        loss = F.cross_entropy(logits, target, reduction='sum',
                               ignore_index=ignore_index)
    if gradient is not None:
        gradient[:, near] += torch.autograd.grad(loss, part)[0][0]
    return PixelLoss(loss.detach(), _correct(logits.detach(), target, ignore_index))


def _correct(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """How many pixels no class fits better than the label; argmax is slower."""
    label = target.clamp(0, logits.shape[1] - 1)[:, None]
    hit = logits.gather(1, label).squeeze(1) >= logits.amax(1)
    return (hit & (target != ignore_index)).sum().float()


def _enlarge(part: Tensor, rows: slice, first: int, height: int, size: torch.Size
             ) -> Tensor:
    """Rows ``rows`` of the (H, W) enlargement of a map of ``height`` rows.

    ``part`` holds the rows of that map from ``first`` on.
    """
    above, below, weight = _neighbours(rows, height, size[0], part.device)
    mixed = torch.lerp(part.index_select(2, above - first),
                       part.index_select(2, below - first),
                       weight.to(part.dtype)[:, None])
    return F.interpolate(mixed, (len(above), size[1]), mode='bilinear',
                         align_corners=False)


def _neighbours(rows: slice, height: int, target: int, device: torch.device
                ) -> tuple[Tensor, Tensor, Tensor]:
    """For each row of the enlargement the two rows it lies between, and how far."""
    place = torch.arange(rows.start, rows.stop, device=device, dtype=torch.float32)
    place = ((place + 0.5) * (height / target) - 0.5).clamp(min=0)
    above = place.long().clamp(max=height - 1)
    return above, (above + 1).clamp(max=height - 1), place - above


def _rows_needed(rows: slice, height: int, target: int) -> slice:
    """The rows of the small map between which ``rows`` of the enlargement lie."""
    first = max(int((rows.start + 0.5) * height / target - 0.5), 0)
    last = int(max(rows.stop - 0.5, 0) * height / target - 0.5) + 2
    # One more on either side: float32 on the device may round the other way.
    return slice(max(first - 1, 0), min(last + 1, height))


def _strips(channels: int, height: int, width: int, most: int) -> list[slice]:
    step = max(1, most // (channels * width))
    return [slice(start, min(start + step, height))
            for start in range(0, height, step)]
