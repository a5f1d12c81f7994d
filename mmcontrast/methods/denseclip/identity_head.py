"""The score map as the logits of a segmentor: DenseCLIP's auxiliary head."""
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor

from ...registry import MODELS


@MODELS.register_module()
class IdentityHead(BaseDecodeHead):
    """A decode head without parameters: what comes in are the logits.

    Source: DenseCLIP (CVPR 2022), section 3.4, the auxiliary loss of segmentation.

    Args:
        num_classes: K; the logits have as many channels.
        loss_decode: Config of the loss; by default a soft-max cross entropy of weight
            0.4, averaged over all pixels, the ignored ones included.
        kwargs: The other arguments of mmseg's ``BaseDecodeHead``.
    """

    def __init__(self, num_classes: int, loss_decode: dict | None = None, **kwargs):
        # No init_cfg: mmseg's default asks for the conv_seg that this head lacks.
        super().__init__(
            num_classes, num_classes, num_classes=num_classes, dropout_ratio=0,
            loss_decode=loss_decode or dict(
                type='mmseg.CrossEntropyLoss', loss_weight=0.4),
            init_cfg=None, **kwargs)
        self.conv_seg = None

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, K, h, w) logits, as they are."""
        return inputs
