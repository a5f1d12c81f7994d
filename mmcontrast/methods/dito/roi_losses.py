"""Compute the losses of classes, boxes and masks of sampled RoIs.

Source: DITO (arXiv 2310.00161), the released code, whose divisors differ from mmdet's.
Class K, after the K classes, is the background, and -1 a RoI that does not count.
Nothing here synchronizes the device.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.functional import at_least_float


def class_loss(logits: Tensor, labels: Tensor, background_weight: float = 0.9,
               allowed: Tensor | None = None) -> Tensor:
    """Softmax cross entropy, averaged over all RoIs.

    Neither the weight of the background nor a label -1 changes the divisor.

    Args:
        logits: (..., K + 1), background last.
        labels: (...,) int64.
        background_weight: Factor of the terms of background RoIs.
        allowed: (K + 1,) bool: the classes that take part in the softmax, for instance
            of :func:`federated_classes`. Those of the labels must be among them.

    Returns:
        Scalar.
    """
    logits = at_least_float(logits).flatten(0, -2)
    if allowed is not None:
        logits = logits.masked_fill(~allowed, -torch.inf)
    labels = labels.flatten()
    loss = F.cross_entropy(logits, labels, ignore_index=-1, reduction='none')
    is_background = labels == logits.shape[-1] - 1
    weight = 1 - (1 - background_weight) * is_background
    return (loss * weight).sum() / max(len(labels), 1)


def box_loss(deltas: Tensor, targets: Tensor, positive: Tensor) -> Tensor:
    """Huber loss of positive RoIs, divided by four times their number.

    Args:
        deltas: (..., 4) predicted.
        targets: (..., 4).
        positive: (...,) bool, over the batch of this device.

    Returns:
        Scalar; 0 without a positive RoI.
    """
    loss = F.huber_loss(at_least_float(deltas), targets, reduction='none').sum(-1)
    return loss.where(positive, 0).sum() / (4 * positive.sum()).clamp(min=1)


def mask_loss(logits: Tensor, targets: Tensor, positive: Tensor) -> Tensor:
    """Binary cross entropy, averaged over the mask pixels of positive RoIs.

    Args:
        logits: (..., m, m).
        targets: (..., m, m) in [0, 1], not thresholded.
        positive: (...,) bool.

    Returns:
        Scalar; 0 without a positive RoI.
    """
    loss = F.binary_cross_entropy_with_logits(
        at_least_float(logits), targets, reduction='none').mean((-2, -1))
    return loss.where(positive, 0).sum() / positive.sum().clamp(min=1)


def federated_classes(labels: Tensor, frequency: Tensor, num_sampled: int = 50
                      ) -> Tensor:
    """Draw the classes of a federated loss: those present, and others at random.

    For vocabularies such as LVIS, whose images are not labeled for most classes. Other
    classes are drawn without replacement, in proportion to ``frequency``. Source: the
    federated loss of CenterNet2 (arXiv 2103.07461), for a softmax; DITO does without.

    Args:
        labels: (...,) int64 of the RoIs of a batch, background K, ignored -1.
        frequency: (K,) weight of each class, in that paper the root of its number of
            images.
        num_sampled: Number of classes, unless more are present.

    Returns:
        (K + 1,) bool, the background among them, for :func:`class_loss`.
    """
    num_classes = len(frequency)
    count = torch.zeros(num_classes + 1, device=labels.device)
    labels = labels.flatten()
    count.index_add_(0, labels.clamp(min=0), (labels >= 0).float())
    present = count[:-1] > 0
    # The k largest log(u) / w are a weighted draw without replacement.
    draw = torch.rand_like(count[:-1]).log() / frequency.to(count).clamp(min=1e-12)
    chosen = draw.masked_fill(present, torch.inf).topk(
        min(num_sampled, num_classes)).indices
    return F.pad(present.index_fill(0, chosen, True), (0, 1), value=True)
