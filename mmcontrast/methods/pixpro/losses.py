"""Compute losses between the pixels of two views."""
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...registry import MODELS
from .pairs import pooled_keys, positive_pairs


class PixelLosses(NamedTuple):
    """Loss of view 1 against view 2 and back (scalars), and pairs (N,) an image."""

    one_to_two: Tensor
    two_to_one: Tensor
    num_pairs: Tensor


def pair_consistency(query: Tensor, pooled: Tensor, num_pairs: Tensor) -> Tensor:
    """Minus twice the mean cosine over positive pairs, image by image.

    Args:
        query: (N, C, A) normalized features that receive the gradient.
        pooled: (N, C, A) sums of the normalized positives of each pixel.
        num_pairs: (N,) number of positive pairs.

    Returns:
        (N,) in [-2, 2]. An image without a pair gives 0 with a gradient path, so that
        every rank takes part in the reduction.
    """
    return -2 * (query * pooled).sum((1, 2)) / (num_pairs + 1e-6)


@MODELS.register_module()
class PairConsistencyLoss(nn.Module):
    """Positive pixels agree; there are no negatives.

    Source: PixPro (CVPR 2021), equation 5. As in the released code the mean runs over
    all images: one without positives adds 0 and still counts. Crops down to 8 % of the
    image often share nothing; leaving those out would change the scale of the loss.

    Args:
        pos_ratio: Largest distance of a pair in cell diagonals.
    """

    def __init__(self, pos_ratio: float = 0.7):
        super().__init__()
        self.pos_ratio = pos_ratio

    def forward(self, queries: tuple[Tensor, Tensor], keys: tuple[Tensor, Tensor],
                coords: tuple[Tensor, Tensor]) -> PixelLosses:
        """Both directions.

        Args:
            queries: (N, C, H, W) normalized maps of the online branch, one a view.
            keys: The same of the momentum branch.
            coords: (N, 4) from :func:`published_coords`, one a view.
        """
        sums_1, sums_2, num_pairs = pooled_keys(*coords, *keys, self.pos_ratio)
        return PixelLosses(
            pair_consistency(queries[0].flatten(2), sums_1, num_pairs).mean(),
            pair_consistency(queries[1].flatten(2), sums_2, num_pairs).mean(),
            num_pairs)


@MODELS.register_module()
class PixContrastLoss(nn.Module):
    """Contrast of each pixel's positives with all pixels of the other view.

    ``-log(sum_positives exp(cos / t) / sum_all exp(cos / t))``, averaged over the
    pixels of an image that have a positive, then over images (0 for an image without).

    Source: PixPro (CVPR 2021), equation 2 and section 3.2; no code was released. The
    mean over images follows the consistency loss.

    Args:
        pos_ratio: Largest distance of a pair in cell diagonals.
        temperature: t; 0.3 in the paper.
    """

    def __init__(self, pos_ratio: float = 0.7, temperature: float = 0.3):
        super().__init__()
        self.pos_ratio, self.temperature = pos_ratio, temperature

    def forward(self, queries: tuple[Tensor, Tensor], keys: tuple[Tensor, Tensor],
                coords: tuple[Tensor, Tensor]) -> PixelLosses:
        """As :meth:`PairConsistencyLoss.forward`."""
        pairs = positive_pairs(*coords, keys[0].shape[2:], keys[1].shape[2:],
                               self.pos_ratio)
        return PixelLosses(
            self._one_way(queries[0], keys[1], pairs),
            self._one_way(queries[1], keys[0], pairs.transpose(1, 2)),
            pairs.sum((1, 2)).to(queries[0].dtype))

    def _one_way(self, query: Tensor, key: Tensor, pairs: Tensor) -> Tensor:
        logits = query.flatten(2).transpose(1, 2) @ key.detach().flatten(2)
        logits = logits / self.temperature                       # (N, A, B)
        matched = pairs.any(2)
        # Pixels without a positive get all of them, hence a difference of exactly 0
        # instead of log(0), whose gradient is not a number.
        chosen = logits.masked_fill(~(pairs | ~matched[:, :, None]), float('-inf'))
        each = torch.logsumexp(logits, 2) - torch.logsumexp(chosen, 2)
        return ((each * matched).sum(1) / matched.sum(1).clamp(min=1)).mean()
