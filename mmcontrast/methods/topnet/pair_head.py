"""Decode fused maps to two logits per pixel, at all pixels or at chosen ones."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.functional import at_least_float


class PairDecoder(nn.Module):
    """Upsample the fused map five times and add the background's maps on the way.

    Source: github.com/bcmi/TopNet-Object-Placement (commit 9fef7d6). The last
    upsampling alone aligns corners, as there.

    Args:
        in_channels: Of the fused map.
    """

    def __init__(self, in_channels: int = 1024) -> None:
        super().__init__()
        self.up32, self.up16 = up_conv(in_channels, 512), up_conv(512, 256)
        self.up8, self.up4 = up_conv(256, 128), up_conv(128, 64)
        self.up2, self.up1 = up_conv(64, 64), up_conv(64, 64)

    def forward(self, fused: Tensor, background_maps: Sequence[Tensor]) -> Tensor:
        """(B, C, h, w) -> (B, 64, 32 h, 32 w).

        Args:
            fused: Map of stride 32.
            background_maps: Those of strides 2, 4, 8 and 16; of B backgrounds or of
                one for all.
        """
        x = self.up32(fused)
        for up, skip in zip((self.up16, self.up8, self.up4, self.up2),
                            background_maps[3::-1], strict=True):
            x = F.interpolate(up(x), scale_factor=2, mode='bilinear') + skip
        return self.up1(F.interpolate(x, scale_factor=2, mode='bilinear',
                                      align_corners=True))


def up_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution without bias, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class PairHead(nn.Module):
    """A transposed 3x3 and a 1x1 convolution, computed as one 3x3 convolution.

    There is nothing between the two, so that their product is one linear map with few
    outputs: the released code computes 512 channels of full size first, 134 MB an
    image. Gradients reach the parameters of both through the product.

    Args:
        in_channels: Of the decoder.
        hidden_channels: Between the two convolutions.
    """

    def __init__(self, in_channels: int = 64, hidden_channels: int = 512) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(in_channels, hidden_channels, 3, padding=1)
        self.classifier = nn.Conv2d(hidden_channels, 2, 1)

    def kernel(self) -> tuple[Tensor, Tensor]:
        """Weight (2, C, 3, 3) and bias (2,) of the one convolution, in float32."""
        with torch.autocast(self.deconv.weight.device.type, enabled=False):
            classifier = self.classifier.weight.flatten(1)
            # A transposed convolution meets its kernel back to front.
            # o: logit, k: hidden channel, c: input channel
            weight = torch.einsum('ok,ckyx->ocyx', classifier,
                                  self.deconv.weight.flip(2, 3))
            return weight, classifier @ self.deconv.bias + self.classifier.bias

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, 2, H, W) of 'not plausible' and 'plausible'."""
        return F.conv2d(x, *self.kernel(), padding=1)

    def at(self, x: Tensor, images: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
        """Logits of N pixels alone, in float32: (N, 2).

        Args:
            x: (B, C, H, W).
            images, rows, cols: (N,) int64 indices of the pixels.
        """
        height, width = x.shape[2:]
        shift = torch.arange(-1, 2, device=x.device)
        y, x_ = rows[:, None] + shift, cols[:, None] + shift
        inside = (((y >= 0) & (y < height))[:, :, None]
                  & ((x_ >= 0) & (x_ < width))[:, None])        # (N, 3, 3)
        # (N, 3, 3, C): advanced indices around a slice put it last.
        near = x[images[:, None, None], :, y.clamp(0, height - 1)[:, :, None],
                 x_.clamp(0, width - 1)[:, None]]
        with torch.autocast(x.device.type, enabled=False):
            near = at_least_float(near) * inside[..., None]
            weight, bias = self.kernel()
            return torch.einsum('nyxc,ocyx->no', near, weight) + bias
