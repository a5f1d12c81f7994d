"""Train the encoder of PropVG alone: which patches does the phrase mean?"""
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...registry import MODELS
from .targets import GroundingTargets


@MODELS.register_module()
class PhrasePatchHead(BaseModule):
    """Predict what share of each patch belongs to the objects that a phrase means.

    In place of :class:`PropVGHead` in :class:`PropVG` it trains an encoder from random
    weights, at a few times the speed of the whole model: for small worlds, where no
    file of BEiT-3 fits. Our own; in the paper the encoder is BEiT-3, pretrained. It
    only trains: it gives no boxes.

    Args:
        in_channels: C of the image tokens.
        patch_stride: Side of a patch in pixels.
    """

    def __init__(self, in_channels: int, patch_stride: int,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.patch_stride = patch_stride
        self.norm = nn.LayerNorm(in_channels)
        self.linear = nn.Linear(in_channels, 1)

    def forward(self, image: Tensor, text: Tensor, padding: Tensor) -> Tensor:
        """(B, C, h, w) image tokens -> (B, h, w) logits; words are not used."""
        return self.linear(self.norm(image.movedim(1, -1)))[..., 0]

    def loss(self, logits: Tensor, targets: GroundingTargets) -> dict[str, Tensor]:
        """Binary cross-entropy of the shares.

        Args:
            logits: (B, h, w) of the forward pass.
            targets: Of the same B pairs.
        """
        shares = F.avg_pool2d(targets.masks[:, None].float(), self.patch_stride)[:, 0]
        return dict(loss_patches=F.binary_cross_entropy_with_logits(
            logits.float(), shares))
