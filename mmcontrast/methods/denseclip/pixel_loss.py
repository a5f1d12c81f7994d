"""Compute the cross entropy of upsampled logits in strips, to save memory.

The usual way upsamples K logits to every pixel and keeps several copies: at 150 classes
and 512 x 512 pixels 0.16 GB each, per image. Here a strip of rows is upsampled at a
time, and its gradient with respect to the small map is computed right away.
"""
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...models.functional import at_least_float
from ...models.upsampling import STRIP, rows_needed, strips, upsample_rows


class PixelLoss(NamedTuple):
    """Sums over the pixels that are not ignored.

    Attributes:
        loss: Cross entropy, with gradient.
        correct: Number of pixels whose highest logit is that of the label.
    """

    loss: Tensor
    correct: Tensor


def upsampled_cross_entropy(logits: Tensor, labels: Tensor, ignore_index: int = 255,
                            strip: int = STRIP) -> PixelLoss:
    """Cross entropy of ``logits`` upsampled bilinearly to the size of ``labels``.

    Value and gradient are those of ``F.interpolate(..., align_corners=False)`` and
    ``F.cross_entropy(..., reduction='sum')``. Computed in float32, also under
    autocast.

    Args:
        logits: (B, K, h, w).
        labels: (B, H, W) int64 below K, or ``ignore_index``.
        ignore_index: Label of ignored pixels.
        strip: Maximum number of elements of the upsampled logits in memory.
    """
    return PixelLoss(*_UpsampledCrossEntropy.apply(logits, labels, ignore_index, strip))


class _UpsampledCrossEntropy(torch.autograd.Function):
    """Computes the gradient of the small map in the forward pass, strip by strip."""

    @staticmethod
    def forward(ctx, logits, labels, ignore_index, strip):
        with torch.autocast(logits.device.type, enabled=False):
            small = at_least_float(logits.detach())
            gradient = torch.zeros_like(small) if ctx.needs_input_grad[0] else None
            loss, correct = small.new_zeros(2).unbind()
            for image in range(len(small)):
                for rows in strips(small.shape[1], *labels.shape[1:], strip):
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
    near = rows_needed(rows, small.shape[1], len(labels))
    part = small[None, :, near].requires_grad_(gradient is not None)
    with torch.set_grad_enabled(gradient is not None):
        logits = upsample_rows(part, rows, near.start, small.shape[1], labels.shape)
        target = labels[None, rows]
        loss = F.cross_entropy(logits, target, reduction='sum',
                               ignore_index=ignore_index)
    if gradient is not None:
        gradient[:, near] += torch.autograd.grad(loss, part)[0][0]
    return PixelLoss(loss.detach(), _correct(logits.detach(), target, ignore_index))


def _correct(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Number of pixels whose label has the highest logit; argmax is slower."""
    label = target.clamp(0, logits.shape[1] - 1)[:, None]
    hit = logits.gather(1, label).squeeze(1) >= logits.amax(1)
    return (hit & (target != ignore_index)).sum().float()
