"""Score how plausible a composite image looks with the classifier SimOPA."""
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torchvision.transforms import functional as tvf

from ...errors import UserValueError
from ...registry import MODELS
from .pair_trunk import FourChannelResNet


@MODELS.register_module()
class SimOPA(BaseModule):
    """A ResNet-18 over a composite and the mask of the pasted object.

    It sees colors from 0 to 1 that are **not** normalized by ImageNet's mean and std.

    Source: Liu et al., "OPA: Object Placement Assessment Dataset", arXiv 2107.01889,
    and github.com/bcmi/Object-Placement-Assessment-Dataset-OPA (commit 678aa70). Its
    weights are converted by ``tools/convert/official.py topnet``.

    Args:
        size: Height and width that composites are resized to.
        init_cfg: See mmengine's ``BaseModule``.
    """

    def __init__(self, size: int = 256, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.size = size
        self.trunk = FourChannelResNet()
        self.head = nn.Linear(self.trunk.out_channels[-1], 2, bias=False)

    def forward(self, composites: Tensor) -> Tensor:
        """(B, 4, H, W) RGB and mask from 0 to 1 -> logits (B, 2)."""
        return self.head(self.trunk(composites)[-1].mean((2, 3)))

    @torch.no_grad()
    def scores(self, images: Tensor | Sequence[Tensor], masks: Tensor | Sequence[Tensor]
               ) -> Tensor:
        """Probability that each placement is reasonable; B at least 1, in one pass.

        Args:
            images: (B, 3, H, W) uint8 RGB composites, or B of them with own sizes.
            masks: (B, 1, H, W) uint8, 255 where the object was pasted; likewise.

        Returns:
            (B,) float32 in [0, 1].

        Raises:
            ValueError: If one is not uint8: images that were scaled or normalized
                before would give other scores without a word.
        """
        composites = torch.stack([
            self._resized(*both) for both in zip(images, masks, strict=True)])
        return self(composites).float().softmax(1)[:, 1]

    def _resized(self, image: Tensor, mask: Tensor) -> Tensor:
        """(3, H, W) and (1, H, W) uint8 -> (4, size, size) from 0 to 1."""
        if image.dtype != torch.uint8 or mask.dtype != torch.uint8:
            raise UserValueError(
                'SimOPA.scores: images and masks must be uint8 from 0 to 255, got '
                f'{image.dtype} and {mask.dtype}. Do not normalize them.')
        both = torch.cat([image, mask]).to(self.head.weight.device).float() / 255
        return tvf.resize(both, [self.size, self.size], antialias=True)
