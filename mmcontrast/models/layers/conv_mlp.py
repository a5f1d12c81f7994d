"""Build projectors and predictors of dense contrastive methods."""
from mmcv.cnn import build_activation_layer, build_norm_layer
from torch import Tensor, nn

from ...io.config_types import type_name
from ...registry import MODELS


@MODELS.register_module()
class ConvMLP(nn.Module):
    """1x1 convolutions with norm and activation between them, all with a bias.

    Source: PixPro (CVPR 2021), ``MLP2d`` of the released code, with the defaults;
    SlotCon (NeurIPS 2022), its projector, with ``num_layers=3,
    act_cfg=dict(type='GELU'), init_std=0.02``. Parameter names are ``linear1``,
    ``bn1``, ``linear2`` and so on, those of the released PixPro checkpoints.

    Args:
        in_channels, hidden_channels, out_channels: Widths.
        norm_cfg: Norm between the layers, e.g. ``dict(type='SyncBN')``.
        out_norm_cfg: Norm after the last layer, none in the released code. A batch norm
            without scale and shift, as in SimSiam (CVPR 2021), keeps the variance of
            every channel and so short runs on few images from collapsing.
        num_layers: Number of convolutions.
        act_cfg: Activation between the layers.
        init_std: Std of a normal distribution for the weights, truncated at +-2, with
            zero biases; None keeps torch's default.
    """

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int,
                 norm_cfg: dict | None = None, out_norm_cfg: dict | None = None,
                 num_layers: int = 2, act_cfg: dict | None = None,
                 init_std: float | None = None):
        super().__init__()
        if num_layers < 1:
            raise ValueError(f'{type(self).__name__}: num_layers must be 1 or more, '
                             f'got {num_layers}.')
        self.out_channels, self.num_layers = out_channels, num_layers
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        for i in range(1, num_layers + 1):
            norm = (norm_cfg or dict(type='BN')) if i < num_layers else out_norm_cfg
            self.add_module(f'linear{i}', self._linear(widths[i - 1], widths[i]))
            self.add_module(f'bn{i}', nn.Identity() if norm is None else
                            self._norm(norm, widths[i]))
        self.act = build_activation_layer(act_cfg or dict(type='ReLU', inplace=True))
        if init_std is not None:
            self._draw_weights(init_std)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        for i in range(1, self.num_layers + 1):
            x = getattr(self, f'bn{i}')(getattr(self, f'linear{i}')(x))
            if i < self.num_layers:
                x = self.act(x)
        return x

    def _linear(self, in_channels: int, out_channels: int) -> nn.Module:
        return nn.Conv2d(in_channels, out_channels, 1)

    def _norm(self, norm_cfg: dict, channels: int) -> nn.Module:
        return build_norm_layer(norm_cfg, channels)[1]

    def _draw_weights(self, std: float):
        for i in range(1, self.num_layers + 1):
            linear = getattr(self, f'linear{i}')
            nn.init.trunc_normal_(linear.weight, std=std)
            nn.init.zeros_(linear.bias)


@MODELS.register_module()
class RowMLP(ConvMLP):
    """:class:`ConvMLP` with linear layers, for rows of features (R, C) instead of maps.

    Args:
        in_channels: As in :class:`ConvMLP`, and so are the others. A norm of type
            ``BN`` stands for ``BN1d`` here.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(R, in_channels) -> (R, out_channels)."""
        return super().forward(x)

    def _linear(self, in_channels: int, out_channels: int) -> nn.Module:
        return nn.Linear(in_channels, out_channels)

    def _norm(self, norm_cfg: dict, channels: int) -> nn.Module:
        if type_name(norm_cfg) in ('BN', 'BN2d', 'BatchNorm2d'):
            norm_cfg = dict(norm_cfg, type='BN1d')
        return super()._norm(norm_cfg, channels)
