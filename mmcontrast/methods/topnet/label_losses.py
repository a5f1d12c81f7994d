"""Learn from the labeled cells alone: sparse cross entropy and Gaussian peaks."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UserValueError
from ...models.functional import at_least_float
from ...registry import MODELS
from .cell_labels import CellLabels
from .negatives_watch import NegativesWatch


@MODELS.register_module()
class SparseCellBCE(nn.Module):
    """Binary cross entropy of the labeled cells: 1 for positives, 0 for negatives.

    The mean runs over all labels of the batch. Trained on positives alone, every score
    becomes 1: the data set must have negatives, and a warning says so if none is seen.

    Source: the loss of the unofficial code, bcmi/TopNet-Object-Placement.
    """

    def __init__(self) -> None:
        super().__init__()
        self._watch = NegativesWatch(
            'SparseCellBCE', "loss=dict(type='SparseContrastiveLoss')")

    def forward(self, logits: Tensor, positives: CellLabels, negatives: CellLabels
                ) -> dict[str, Tensor]:
        """(B, S, H, W) logits -> ``loss_bce``; 0 with a gradient path if no label."""
        self._watch.count(positives.total, negatives.total)
        with torch.autocast(logits.device.type, enabled=False):
            logits = at_least_float(logits).flatten(1)
            right = F.softplus(-logits.gather(1, positives.index)) * positives.valid
            wrong = F.softplus(logits.gather(1, negatives.index)) * negatives.valid
            total = max(positives.total + negatives.total, 1)
            return dict(loss_bce=(right.sum() + wrong.sum()) / total)


@MODELS.register_module()
class GaussianPeakFocalLoss(nn.Module):
    """Focal loss on Gaussian peaks at the positives, near labels only.

    A positive is a peak in its own scale bin, with the standard deviation of an eighth
    of the shorter side of its box, and counts up to three deviations around it; a
    negative is a square of zeros. All other cells take no part: as negatives, they
    would push every score to 0. The sum is divided by the number of positives.

    Source: CornerNet (Law and Deng, ECCV 2018), section 3.2. An option, not TopNet's
    own: the width of the peaks rewards blur.

    Args:
        alpha, beta: Exponents of the scores and of the distance from a peak.
        sigma_ratio: Standard deviation over the shorter side.
        window: Side of the squares of negatives, in cells; odd.
    """

    def __init__(self, alpha: float = 2.0, beta: float = 4.0,
                 sigma_ratio: float = 1 / 8, window: int = 5) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise UserValueError(
                f'GaussianPeakFocalLoss: window must be odd, got {window}.')
        self.alpha, self.beta = alpha, beta
        self.sigma_ratio, self.radius = sigma_ratio, window // 2

    def forward(self, logits: Tensor, positives: CellLabels, negatives: CellLabels
                ) -> dict[str, Tensor]:
        """(B, S, H, W) logits -> ``loss_focal``; 0 with a gradient path if no label."""
        with torch.autocast(logits.device.type, enabled=False):
            logits = at_least_float(logits)
            target, counts = self.targets(logits.shape, positives, negatives)
            probs = logits.sigmoid()
            peak = (1 - probs) ** self.alpha * F.logsigmoid(logits)
            other = ((1 - target) ** self.beta * probs ** self.alpha
                     * F.logsigmoid(-logits))
            losses = -torch.where(target == 1, peak, other) * counts
            return dict(loss_focal=losses.sum() / max(positives.total, 1))

    @torch.no_grad()
    def targets(self, shape: Sequence[int], positives: CellLabels,
                negatives: CellLabels) -> tuple[Tensor, Tensor]:
        """(B, S, H, W) targets in [0, 1], and which of them count."""
        device = positives.index.device
        target = torch.zeros(shape, device=device)
        counts = torch.zeros(shape, dtype=torch.bool, device=device)
        images = torch.arange(shape[0], device=device)
        for r in range(positives.index.shape[1]):
            bins, dx, dy = _offsets(positives, r, shape)
            # Below a third of a cell a peak is one cell, however small its box.
            sigma = (self.sigma_ratio * positives.sizes[:, r].amin(1)).clamp(min=1 / 3)
            variance = sigma[:, None, None] ** 2
            squared = dx ** 2 + dy ** 2
            near = (squared <= 9 * variance) & positives.valid[:, r, None, None]
            heights = torch.exp(-squared / (2 * variance)) * near
            target[images, bins] = torch.maximum(target[images, bins], heights)
            counts[images, bins] |= near
        for r in range(negatives.index.shape[1]):
            bins, dx, dy = _offsets(negatives, r, shape)
            near = (dx.abs() <= self.radius) & (dy.abs() <= self.radius)
            counts[images, bins] |= near & negatives.valid[:, r, None, None]
        return target, counts


def _offsets(labels: CellLabels, r: int, shape: Sequence[int]
             ) -> tuple[Tensor, Tensor, Tensor]:
    """Scale bins (B,) of label ``r`` of each image, and (B, 1, W) columns and
    (B, H, 1) rows counted from it."""
    bins, row, column = torch.unravel_index(labels.index[:, r], tuple(shape[1:]))
    device = bins.device
    rows = torch.arange(shape[2], device=device)[None, :, None] - row[:, None, None]
    columns = (torch.arange(shape[3], device=device)[None, None]
               - column[:, None, None])
    return bins, columns.float(), rows.float()
