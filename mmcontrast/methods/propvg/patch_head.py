"""Train the encoder of PropVG alone: which patches does the phrase mean?"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmengine.model import BaseModule
from torch import Tensor, nn
from torchvision.ops import roi_align

from ...errors import UserValueError
from ...registry import MODELS
from .targets import GroundingTargets


class PatchOutputs(NamedTuple):
    """What the head says of B pairs of image and phrase.

    Attributes:
        logits: (B, h, w), of the share of a patch that the phrase means.
        tokens: (B, C, h, w), normalized.
    """

    logits: Tensor
    tokens: Tensor


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
        attributes: Number of values of each attribute that annotated objects have, in
            their order. They are classified from the tokens in the box of the object,
            whatever the phrase, and teach the encoder to see before it reads.
        attribute_weight: Weight of each attribute's cross-entropy.
    """

    def __init__(self, in_channels: int, patch_stride: int,
                 attributes: Sequence[int] = (), attribute_weight: float = 0.2,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.patch_stride = patch_stride
        self.attributes, self.attribute_weight = list(attributes), attribute_weight
        self.norm = nn.LayerNorm(in_channels)
        self.linear = nn.Linear(in_channels, 1)
        if self.attributes:
            self.attribute_linear = nn.Linear(in_channels, sum(self.attributes))

    def forward(self, image: Tensor, text: Tensor, padding: Tensor) -> PatchOutputs:
        """(B, C, h, w) image tokens; words are not used."""
        tokens = self.norm(image.movedim(1, -1))
        return PatchOutputs(self.linear(tokens)[..., 0], tokens.movedim(-1, 1))

    def loss(self, outputs: PatchOutputs, targets: GroundingTargets
             ) -> dict[str, Tensor]:
        """Binary cross-entropy of the shares, and cross-entropy of the attributes.

        Args:
            outputs: Of the forward pass.
            targets: Of the same B pairs.

        Raises:
            UserValueError: If attributes are asked for that the objects do not have.
        """
        shares = F.avg_pool2d(targets.masks[:, None].float(), self.patch_stride)[:, 0]
        losses = dict(loss_patches=F.binary_cross_entropy_with_logits(
            outputs.logits.float(), shares))
        if self.attributes:
            losses['loss_attributes'] = self.attribute_weight * self._attribute_loss(
                outputs.tokens.float(), targets)
        return losses

    def _attribute_loss(self, tokens: Tensor, targets: GroundingTargets) -> Tensor:
        found = targets.attributes
        if found is None or found[0].shape[1] != len(self.attributes):
            raise UserValueError(
                f'PhrasePatchHead(attributes={self.attributes}) needs objects with '
                f'{len(self.attributes)} attributes each, which the samples do not '
                'have. Objects of ShapesGrounding have attributes=(4, 8, 8); for other '
                'data leave attributes empty.')
        size = tokens.new_tensor(tokens.shape[:1:-1]).repeat(2)
        boxes = [bbox_cxcywh_to_xyxy(boxes) * size for boxes in targets.boxes]
        pooled = roi_align(tokens, boxes, 1, sampling_ratio=2, aligned=True)
        logits = self.attribute_linear(pooled.flatten(1)).split(self.attributes, 1)
        labels = torch.cat(found).unbind(1)
        # Also without any object in the batch.
        return sum(F.cross_entropy(x, y, reduction='sum') / max(len(y), 1)
                   for x, y in zip(logits, labels, strict=True))
