"""Score labeled cells of a heat map above the others: sparse contrastive loss."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UserValueError
from ...models.functional import at_least_float
from ...registry import MODELS
from .cell_labels import CellLabels

# Above every score, so that a cell with it is never the lowest.
NO_SCORE = 2.0


@MODELS.register_module()
class SparseContrastiveLoss(nn.Module):
    """Score labeled cells above others, without a target for the others.

    For every positive g of an image, ``rank`` is the mean excess over h_g - margin of
    the cells that exceed it, and ``range`` the hinge of ``rho`` minus the distance of
    h_g from the lowest scores; ``neg`` compares all pairs of a negative and a positive,
    or is the mean score of the negatives of an image without a positive. Cells near a
    positive take no part in ``rank`` and ``range``. The terms of a batch are means over
    its images.

    Memory does not grow with the number of positives: scores enter ``rank`` linearly,
    so one weight a cell, summed over the positives without gradient, gives the same
    value and gradient.

    Source: TopNet (CVPR 2023) names this kind of loss without a formula; this one is
    ours.

    Args:
        margin: m of the rank term. With 0 and ``range_k=1``, a map that is equal but
            for one cell has no loss.
        rho: Distance of positives from the lowest scores.
        range_weight, negative_weight: Of the two other terms.
        negative_margin: By which positives must exceed negatives.
        radius_s, radius_xy: Chebyshev radii, in scale bins and in cells, of the
            neighborhood of positives that takes no part.
        range_k: Number of lowest scores whose mean counts.
    """

    def __init__(self, margin: float = 0.1, rho: float = 1.0,
                 range_weight: float = 1.0, negative_weight: float = 1.0,
                 negative_margin: float = 0.1, radius_s: int = 0, radius_xy: int = 0,
                 range_k: int = 1) -> None:
        super().__init__()
        if min(radius_s, radius_xy) < 0 or range_k < 1:
            raise UserValueError(
                'SparseContrastiveLoss: radii must not be negative and range_k must be '
                f'1 or more, got radius_s={radius_s}, radius_xy={radius_xy}, '
                f'range_k={range_k}.')
        self.margin, self.rho = margin, rho
        self.range_weight, self.negative_weight = range_weight, negative_weight
        self.negative_margin, self.range_k = negative_margin, range_k
        self.radii = radius_s, radius_xy, radius_xy

    def forward(self, logits: Tensor, positives: CellLabels, negatives: CellLabels
                ) -> dict[str, Tensor]:
        """(B, S, H, W) logits -> ``loss_rank``, ``loss_range``, ``loss_neg``.

        The terms are weighted: their sum is the loss. Without any label they are 0 with
        a gradient path.
        """
        rank, low, neg = self.terms(logits, positives, negatives).mean(0)
        return dict(loss_rank=rank, loss_range=self.range_weight * low,
                    loss_neg=self.negative_weight * neg)

    def terms(self, logits: Tensor, positives: CellLabels, negatives: CellLabels
              ) -> Tensor:
        """(B, 3) rank, range and negative terms of each image, without weights."""
        with torch.autocast(logits.device.type, enabled=False):
            heat = at_least_float(logits).sigmoid()
            free = self._free_cells(heat.shape, positives)
            heat = heat.flatten(1)
            anchors = heat.gather(1, positives.index)
            return torch.stack([
                self._rank(heat, anchors, positives, free),
                self._range(heat, anchors, positives, free),
                self._negative(heat, anchors, positives, negatives)], 1)

    def _free_cells(self, shape: Sequence[int], positives: CellLabels) -> Tensor:
        """(B, S * H * W) bool: cells that are not near a positive."""
        batch, *limits = shape
        cells = torch.stack(torch.unravel_index(positives.index, limits), -1)
        device = cells.device
        steps = torch.cartesian_prod(*(
            torch.arange(-radius, radius + 1, device=device) for radius in self.radii))
        near = cells[:, :, None] + steps                            # (B, R, K, 3)
        limits = torch.tensor(limits, device=device)
        is_cell = ((near >= 0) & (near < limits)).all(-1) & positives.valid[..., None]
        flat = (near[..., 0] * limits[1] + near[..., 1]) * limits[2] + near[..., 2]
        count = int(torch.Size(shape[1:]).numel())
        # Padding and neighbors outside of the map share one more cell.
        flat = torch.where(is_cell, flat, count).flatten(1)
        taken = torch.zeros(batch, count + 1, dtype=torch.bool, device=device)
        return ~taken.scatter_(1, flat, True)[:, :count]

    def _rank(self, heat: Tensor, anchors: Tensor, positives: CellLabels, free: Tensor
              ) -> Tensor:
        weights, violated = self._violations(heat, anchors, positives, free)
        above = (weights * heat).sum(1) / positives.valid.sum(1).clamp(min=1)
        return above + positives.mean_per_image((self.margin - anchors) * violated)

    @torch.no_grad()
    def _violations(self, heat: Tensor, anchors: Tensor, positives: CellLabels,
                    free: Tensor) -> tuple[Tensor, Tensor]:
        """Which cells exceed the positives.

        Returns:
            (B, S * H * W): sum over the positives of 1 / |V_g| in V_g; (B, R) bool:
            whether V_g has a cell.
        """
        weights, violated = torch.zeros_like(heat), torch.zeros_like(positives.valid)
        for r in range(anchors.shape[1]):
            over = free & (heat > anchors[:, r, None] - self.margin)
            over &= positives.valid[:, r, None]
            count = over.sum(1, keepdim=True)
            weights += over / count.clamp(min=1)
            violated[:, r] = count[:, 0] > 0
        return weights, violated

    def _range(self, heat: Tensor, anchors: Tensor, positives: CellLabels, free: Tensor
               ) -> Tensor:
        scores = torch.where(free, heat, NO_SCORE)
        if self.range_k == 1:
            low = scores.amin(1)
        else:
            lowest = scores.topk(min(self.range_k, scores.shape[1]), largest=False)
            is_free = lowest.values < NO_SCORE
            low = ((lowest.values * is_free).sum(1) / is_free.sum(1).clamp(min=1))
        gap = F.relu(self.rho - (anchors - low[:, None]))
        return positives.mean_per_image(gap) * free.any(1)

    def _negative(self, heat: Tensor, anchors: Tensor, positives: CellLabels,
                  negatives: CellLabels) -> Tensor:
        wrong = heat.gather(1, negatives.index)
        excess = F.relu(
            wrong[:, None] - anchors[..., None] + self.negative_margin)  # (B, P, N)
        per_positive = (excess * negatives.valid[:, None]).sum(2)
        per_positive = per_positive / negatives.valid.sum(1, True).clamp(min=1)
        return torch.where(positives.valid.any(1), positives.mean_per_image(
            per_positive), negatives.mean_per_image(wrong))
