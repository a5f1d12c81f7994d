"""Normalize maps over their channels."""
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of each cell of a (N, C, H, W) map.

    The output has the memory format ``channels_last``, in which no copy is needed and
    in which convolutions run as fast. Under autocast it is float32.

    Args:
        channels: C.
        eps: Added to the variance; 1e-6 as in the ViT detectors of DITO and ViTDet.
    """

    def __init__(self, channels: int, eps: float = 1e-6):
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias,
                            self.eps).permute(0, 3, 1, 2)
