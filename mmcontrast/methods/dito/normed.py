"""Apply linear layers to L2-normalized inputs and weights, scaled by a temperature.

Source: the released code of DITO (arXiv 2310.00161). mmdet's ``NormedLinear`` and
``NormedConv2d`` agree up to where their eps stands; theirs divide by a norm, whose
gradient at a zero vector is NaN.
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.functional import at_least_float


class NormedLinear(nn.Linear):
    """``temperature`` times the cosine of the input and each row of the weight."""

    def __init__(self, in_features: int, out_features: int, bias: bool = False,
                 temperature: float = 20.0):
        super().__init__(in_features, out_features, bias)
        self.temperature = temperature

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_features) -> (N, out_features)."""
        return F.linear(self.temperature * unit(x, 1), unit(self.weight, 1), self.bias)


class NormedConv2d(nn.Conv2d):
    """Convolution of L2-normalized cells with a kernel normalized tap by tap."""

    def __init__(self, *args, temperature: float = 20.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.temperature = temperature

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H', W')."""
        return self._conv_forward(
            self.temperature * unit(x, 1), unit(self.weight, 1), self.bias)


def unit(x: Tensor, dim: int) -> Tensor:
    """x * rsqrt(sum x^2 + 1e-12), in float32 also under autocast."""
    with torch.autocast(x.device.type, enabled=False):
        x = at_least_float(x)
        return x * torch.rsqrt(x.square().sum(dim, keepdim=True) + 1e-12)
