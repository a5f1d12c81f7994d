"""Learn the inverse temperature of a contrastive loss."""
import math

import torch
from torch import Tensor, nn

from ...errors import UserValueError
from ...registry import MODELS
from ..functional import at_least_float


@MODELS.register_module()
class LogitScale(nn.Module):
    """An inverse temperature, learned as its logarithm, and a bias if asked for.

    Source: CLIP (Radford et al., ICML 2021) with the defaults; SigLIP (Zhai et al.,
    ICCV 2023) starts from ``init=10., bias=-10.``. As in CLIP the parameter itself is
    clamped, so that it can come back from the bound.

    ``criterion(image, text, logit_scale(), logit_scale.bias)`` serves every form.

    Args:
        init: First value.
        largest: Upper bound; the lower one is 1.
        bias: First value of ``bias``, added to the logits of the sigmoid form; without
            one ``bias`` is None.
        levels: Number of scales, and of biases; None for one that levels share.
    """

    def __init__(self, init: float = 1 / 0.07, largest: float = 100.,
                 bias: float | None = None, levels: int | None = None) -> None:
        super().__init__()
        if not 1 <= init <= largest:
            raise UserValueError(
                f'init must be in [1, largest] = [1, {largest}], got {init}. It is an '
                'inverse temperature: 1 / 0.07, not 0.07.')
        shape = () if levels is None else (levels,)
        self.largest = largest
        self.log_scale = nn.Parameter(torch.full(shape, math.log(init)))
        self.bias = None if bias is None else nn.Parameter(torch.full(shape, bias))

    def forward(self) -> Tensor:
        """The scale: a scalar, or (levels,)."""
        with torch.no_grad():
            self.log_scale.clamp_(0, math.log(self.largest))
        return at_least_float(self.log_scale).exp()
