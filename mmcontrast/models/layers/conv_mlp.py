"""Two 1x1 convolutions: the projector of dense contrastive methods."""
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from ...registry import MODELS


@MODELS.register_module()
class ConvMLP(nn.Module):
    """1x1 convolution, norm, ReLU, 1x1 convolution; both convolutions have a bias.

    Source: PixPro (CVPR 2021), ``MLP2d`` of the released code. Parameter names
    ``linear1``, ``bn1``, ``linear2`` are those of the released checkpoints.

    Args:
        in_channels, hidden_channels, out_channels: Widths.
        norm_cfg: Norm between the two, e.g. ``dict(type='SyncBN')``.
        out_norm_cfg: Norm after the second one, none in the released code. A batch norm
            without scale and shift keeps every channel spread out over the batch, as
            in SimSiam (CVPR 2021), which keeps short runs on few images from
            collapsing.
    """

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int,
                 norm_cfg: dict | None = None, out_norm_cfg: dict | None = None):
        super().__init__()
        self.out_channels = out_channels
        self.linear1 = nn.Conv2d(in_channels, hidden_channels, 1)
        self.bn1 = build_norm_layer(norm_cfg or dict(type='BN'), hidden_channels)[1]
        self.relu = nn.ReLU(inplace=True)
        self.linear2 = nn.Conv2d(hidden_channels, out_channels, 1)
        self.bn2 = nn.Identity() if out_norm_cfg is None else (
            build_norm_layer(out_norm_cfg, out_channels)[1])

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        return self.bn2(self.linear2(self.relu(self.bn1(self.linear1(x)))))
