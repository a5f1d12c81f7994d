"""Replace each pixel by a similarity-weighted sum over its map."""
import torch
from torch import Tensor, nn

from ...models.functional import l2_normalize
from ...models.layers import ConvMLP
from ...registry import MODELS


@MODELS.register_module()
class PixelPropagation(nn.Module):
    """Replace each pixel by a similarity-weighted sum over its own map.

    For pixels i, j of one map with features x::

        s_ij = max(cos(x_i, x_j), clamp) ** power
        y_i  = sum_j s_ij g(x_j) / |g(x_j)|

    Source: PixPro (CVPR 2021), section 3.3. As in the released code g acts on the raw
    map, its output is normalized and the weights are not; the paper's formula does not
    show the normalization of g(x).

    Args:
        channels: Width of the map.
        transform_layers: 0 for the identity, 1 for a 1x1 convolution, 2 for a
            :class:`ConvMLP` (its norm stays local in distributed training, as in the
            released code).
        power: Exponent gamma; 2 sharpens, 1 is linear.
        clamp: Smallest similarity before the power; may be negative (-1 for no clamp)
            where the power is a whole number.

    Raises:
        ValueError: For other ``transform_layers``, ``power <= 0``, or a negative
            ``clamp`` with a fractional power.
    """

    def __init__(self, channels: int = 256, transform_layers: int = 1,
                 power: float = 2.0, clamp: float = 0.0):
        super().__init__()
        if transform_layers not in (0, 1, 2):
            raise ValueError('PixelPropagation: transform_layers must be 0, 1 or 2, '
                             f'got {transform_layers}.')
        if power <= 0:
            raise ValueError(f'PixelPropagation: power must be > 0, got {power}.')
        if clamp < 0 and power % 1:
            raise ValueError(
                f'PixelPropagation: power={power} is undefined for the negative '
                f'similarities that clamp={clamp} lets through. Set clamp >= 0 or a '
                'whole power.')
        self.power, self.clamp = power, clamp
        self.transform = (
            nn.Identity() if transform_layers == 0
            else nn.Conv2d(channels, channels, 1) if transform_layers == 1
            else ConvMLP(channels, channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) map, not normalized -> (N, C, H, W) propagated map."""
        values = self.transform(x)
        # float32 and no autocast: half precision loses the power's small terms.
        with torch.autocast(x.device.type, enabled=False):
            pixels, values = l2_normalize(x.flatten(2)), l2_normalize(values.flatten(2))
            similarity = (pixels.transpose(1, 2) @ pixels).clamp(min=self.clamp)
            if self.power < 1:
                # The slope of s ** p is infinite at 0.
                similarity = similarity + 1e-6
            if self.power != 1:
                similarity = similarity ** self.power
            # s is symmetric: sum_j s_ij v_j = (v s)_i.
            return (values @ similarity).view_as(x)
