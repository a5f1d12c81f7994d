"""Predict class-agnostic masks of RoIs with normalized convolutions."""
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...models.layers import ChannelLayerNorm
from ...registry import MODELS
from .normed import NormedConv2d


@MODELS.register_module()
class NormedMaskHead(BaseModule):
    """Mask head of DITO: one mask a RoI, whatever its class.

    Normalized 3x3 convolutions ``conv{i}`` with LayerNorm ``ln{i}`` and ReLU, a plain
    transposed convolution ``up`` with ``up_ln`` and ReLU, and a normalized 1x1
    convolution ``logits``.

    Source: DITO (arXiv 2310.00161), the released code.

    Args:
        in_channels: Channels of RoI features.
        num_convs: Number of 3x3 convolutions.
        conv_channels: Their width.
        temperature: Factor of normalized inputs.
    """

    def __init__(self, in_channels: int = 256, num_convs: int = 4,
                 conv_channels: int = 256, temperature: float = 20.0,
                 init_cfg: dict | None = None):
        super().__init__(init_cfg)
        self.num_convs = num_convs
        width = in_channels
        for i in range(num_convs):
            self.add_module(f'conv{i}', NormedConv2d(
                width, conv_channels, 3, padding=1, temperature=temperature))
            self.add_module(f'ln{i}', ChannelLayerNorm(conv_channels))
            width = conv_channels
        self.up = nn.ConvTranspose2d(width, conv_channels, 2, stride=2)
        self.up_ln = ChannelLayerNorm(conv_channels)
        self.logits = NormedConv2d(conv_channels, 1, 1, temperature=temperature)
        self._draw_weights()

    def forward(self, roi_feats: Tensor) -> Tensor:
        """(N, C, s, s) RoI features -> (N, 1, 2s, 2s) mask logits."""
        x = roi_feats
        for i in range(self.num_convs):
            x = getattr(self, f'ln{i}')(getattr(self, f'conv{i}')(x)).relu()
        return self.logits(self.up_ln(self.up(x)).relu())

    def _draw_weights(self):
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(
                    layer.weight, mode='fan_out', nonlinearity='relu')
                nn.init.zeros_(layer.bias)
