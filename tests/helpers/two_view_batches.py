"""Small batches and backbones for the tests of two-view methods."""
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmcontrast.registry import MODELS
from mmcontrast.structures import View

RESNET18 = dict(type='mmpretrain.ResNet', depth=18, norm_eval=False,
                strides=(1, 2, 2, 1))


def batch(images: int = 4, size: int = 64, seed: int = 0
          ) -> tuple[list[Tensor], list[BaseDataElement]]:
    """Two random views and where they lie; all pairs overlap."""
    generator = torch.Generator().manual_seed(seed)
    views = [torch.randn(images, 3, size, size, generator=generator) for _ in range(2)]
    return views, [sample(View(0, 0, 80, 80, False, 128, 128),
                          View(20, 10 + i, 100, 90 + i, bool(i % 2), 128, 128))
                   for i in range(images)]


def sample(*views: View) -> BaseDataElement:
    """A data sample with two views."""
    result = BaseDataElement()
    result.views = views
    return result


@MODELS.register_module()
class InstanceNormNet(nn.Module):
    """A backbone whose norm does not mix samples, for the comparison of ranks."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 8, stride=8), nn.GroupNorm(4, 16), nn.ReLU(),
            nn.Conv2d(16, 24, 1))

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.body(x),)
