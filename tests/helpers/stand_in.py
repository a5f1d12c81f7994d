"""The encoder of the small golden cases."""
import torch.nn.functional as F
from torch import Tensor, nn

from mmcontrast.registry import MODELS


@MODELS.register_module()
class GoldenEncoder(nn.Module):
    """One convolution over patches of 8 x 8 pixels, batch norm and ReLU."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 8, stride=8)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))
