"""Losses of PropVG's proposals and masks."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.losses import DiceLoss
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from .matching import Match, matched_queries, overlaps
from .refer_scoring import check_choice
from .targets import GroundingTargets

AUX_WEIGHTINGS = ('reference', 'all')
# The smoothing of 1 in numerator and denominator is this class's ``eps``.
DICE = DiceLoss(naive_dice=True, eps=1.0)


class SetLoss(nn.Module):
    """Class, box distance and box overlap of proposals, summed over decoder layers.

    Source: DETR's set criterion in the form of PropVG's released code. Every layer is
    compared by the matches of the last one. Sums over boxes are divided by the mean
    number of objects of a rank, at least 1.

    Args:
        class_weight, l1_weight, giou_weight: Of the three terms.
        no_object_weight: Of queries without an object in the class term.
        aux_weighting: The layers whose terms are weighted. ``'reference'``: the last
            one, and the others enter with weight 1, with which the published models
            were trained (its code looks weights up by names without the suffix of a
            layer); ``'all'``: all of them.
        loss_weight: Of the sum.

    Raises:
        UserValueError: If ``aux_weighting`` is unknown.
    """

    def __init__(self, class_weight: float = 1.0, l1_weight: float = 5.0,
                 giou_weight: float = 2.0, no_object_weight: float = 0.1,
                 aux_weighting: str = 'reference', loss_weight: float = 0.1):
        super().__init__()
        check_choice('aux_weighting', aux_weighting, AUX_WEIGHTINGS)
        self.term_weights = class_weight, l1_weight, giou_weight
        self.no_object_weight, self.loss_weight = no_object_weight, loss_weight
        self.aux_weighting = aux_weighting

    def forward(self, logits: Tensor, boxes: Tensor, targets: GroundingTargets,
                matches: Sequence[Match]) -> Tensor:
        """The weighted sum over terms and layers.

        Args:
            logits: (L, B, Q, 2): object, no object.
            boxes: (L, B, Q, 4) cxcywh in [0, 1].
            targets: Objects of the batch.
            matches: Of the last layer, from :func:`~.matching.match`.
        """
        terms = self.terms(logits, boxes, targets, matches)
        weights = terms.new_tensor(self.term_weights).repeat(len(terms), 1)
        if self.aux_weighting == 'reference':
            weights[:-1] = 1
        return self.loss_weight * (weights * terms).sum()

    def terms(self, logits: Tensor, boxes: Tensor, targets: GroundingTargets,
              matches: Sequence[Match]) -> Tensor:
        """(L, 3) class, L1 and GIoU losses of each layer, not weighted."""
        image, query = matched_queries(matches)
        wanted = torch.cat([each[index] for each, (_, index) in
                            zip(targets.boxes, matches, strict=True)]).float()
        found = boxes[:, image, query].float()
        count = reduce_mean(found.new_tensor(sum(targets.counts))).clamp(min=1)
        distance = (found - wanted).abs().sum((1, 2)) / count
        _, giou = overlaps(found, wanted)
        return torch.stack([self._class_terms(logits.float(), image, query), distance,
                            (1 - giou).sum(1) / count], 1)

    def _class_terms(self, logits: Tensor, image: Tensor, query: Tensor) -> Tensor:
        """(L,) weighted means over all queries of the batch."""
        labels = torch.ones(logits.shape[1:3], dtype=torch.int64, device=logits.device)
        labels[image, query] = 0
        weights = logits.new_tensor([1.0, self.no_object_weight])
        entropy = F.cross_entropy(
            logits.movedim(-1, 1), labels.expand(logits.shape[:3]), weights,
            reduction='none')
        return entropy.sum((1, 2)) / weights[labels].sum()


def probability_loss(probs: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of probabilities, NaN if one of them is.

    PyTorch's stops on NaN, on a GPU with an assertion that names nothing; here the loss
    reaches what watches for non-finite ones.

    Args:
        probs, labels: (...) in [0, 1].
    """
    loss = F.binary_cross_entropy(probs.nan_to_num(0.5), labels.to(probs))
    return loss + 0 * probs.sum()


def mask_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Dice loss, averaged over images, plus binary cross-entropy over all pixels.

    Args:
        logits: (B, 1, S, S).
        masks: (B, S, S) bool or float. An empty mask is learned like any other.
    """
    logits, masks = logits.float().flatten(1), masks.flatten(1).float()
    return DICE(logits, masks) + F.binary_cross_entropy_with_logits(logits, masks)
