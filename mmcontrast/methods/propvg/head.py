"""Turn encoded image and phrase into proposals, their scores, existence and a mask."""
from dataclasses import dataclass

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...errors import UserValueError
from ...models.functional import at_least_float
from ...models.layers import SimpleFeaturePyramid
from ...registry import MODELS
from .losses import SetLoss, mask_loss, probability_loss
from .mask_branch import UNetMaskDecoder, resize_aligned
from .matching import match, referred_queries
from .proposals import ProposalDecoder, Proposals
from .refer_scoring import ContrastiveReferScoring
from .target_discrimination import TargetDiscrimination
from .targets import GroundingTargets

# Side of a cell of the mask branch, in pixels of the image.
MASK_STRIDE = 4


@dataclass(frozen=True)
class HeadOutputs:
    """What the head says about B pairs of image and phrase.

    Attributes:
        proposals: Boxes of all foreground objects; they depend on the phrase only as
            far as the encoder mixes it into the image.
        refer: (B, Q) probability that the phrase means the proposal.
        exists: (B,) probability that the target is in the image, None for a head
            without that branch.
        mask_logits: (B, 1, H, W) at the size of the image.
        low_mask_logits: (B, 1, H / 4, W / 4), what they are interpolated from.
    """

    proposals: Proposals
    refer: Tensor
    exists: Tensor | None
    mask_logits: Tensor
    low_mask_logits: Tensor


@MODELS.register_module()
class PropVGHead(BaseModule):
    """Proposals of all foreground objects, scored against the phrase; one mask.

    A pyramid of the image tokens is split by channels: one half goes to the proposal
    decoder, the other to the mask decoder. Refer scoring (CRS) compares the proposals
    with the phrase, target discrimination (MTD) decides whether it means anything.

    Source: "PropVG", Dai et al., ICCV 2025, in the form of the released code, whose
    ``GTMHead`` is ``with_existence=True`` and ``REFHead`` is ``with_existence=False``.
    Modules that it builds and never runs are left out.

    Args:
        in_channels: Of image and text tokens.
        patch_stride: Side of the patches of the encoder in pixels.
        channels: Of the proposals and of the mask branch.
        num_queries: Q.
        num_layers, num_heads, dropout: Of the proposal decoder and of CRS; heads and
            dropout of MTD too.
        with_existence: Whether to have MTD.
        existence_top_k: See ``top_k`` of :class:`TargetDiscrimination`.
        sentence_pooling, word_pooling: See :class:`ContrastiveReferScoring`.
        pixel_token_layout: See :class:`TargetDiscrimination`.
        aux_weighting: See :class:`SetLoss`.
        det_weight, refer_weight, existence_weight: Weights of losses; that of the mask
            has weight 1.

    Raises:
        UserValueError: If one of the named variants is unknown.
    """

    def __init__(self, in_channels: int = 768, patch_stride: int = 16,
                 channels: int = 256, num_queries: int = 20, num_layers: int = 3,
                 num_heads: int = 8, dropout: float = 0.1, with_existence: bool = True,
                 existence_top_k: int = 250, sentence_pooling: str = 'reference',
                 word_pooling: str = 'reference', pixel_token_layout: str = 'reference',
                 aux_weighting: str = 'reference', det_weight: float = 0.1,
                 refer_weight: float = 1.0, existence_weight: float = 0.2,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        _check_counts(channels=channels, num_queries=num_queries, num_layers=num_layers,
                      num_heads=num_heads, existence_top_k=existence_top_k)
        if channels % num_heads:
            raise UserValueError(
                f'channels={channels} is not a multiple of num_heads={num_heads}.')
        self.image_embedding = nn.Conv2d(in_channels, 2 * channels, 1, bias=False)
        self.text_embedding = nn.Linear(in_channels, channels, bias=False)
        self.pyramid = SimpleFeaturePyramid(
            2 * channels, 2 * channels, patch_stride=patch_stride, upsample_bias=True)
        shared = dict(num_heads=num_heads, dropout=dropout)
        self.proposal_decoder = ProposalDecoder(
            channels, num_queries, num_layers, **shared)
        self.mask_decoder = UNetMaskDecoder(channels)
        self.refer_adapter = nn.Linear(channels, channels, bias=False)
        self.refer_scoring = ContrastiveReferScoring(
            channels, num_layers, sentence_pooling=sentence_pooling,
            word_pooling=word_pooling, **shared)
        self.target_discrimination = TargetDiscrimination(
            channels, top_k=existence_top_k, pixel_token_layout=pixel_token_layout,
            **shared) if with_existence else None
        self.set_loss = SetLoss(aux_weighting=aux_weighting, loss_weight=det_weight)
        self.refer_weight, self.existence_weight = refer_weight, existence_weight

    def forward(self, image: Tensor, text: Tensor, padding: Tensor) -> HeadOutputs:
        """Propose, score and segment.

        Args:
            image: (B, C, h, w) image tokens.
            text: (B, T, C) text tokens.
            padding: (B, T) bool, True = padding.
        """
        levels = self.pyramid(self.image_embedding(image))
        for_boxes, for_mask = zip(*(x.chunk(2, 1) for x in levels), strict=True)
        proposals = self.proposal_decoder(for_boxes)
        pixels, low_mask_logits = self.mask_decoder(for_mask)
        low_mask_logits = at_least_float(low_mask_logits)
        query = self.refer_adapter(proposals.states)
        refer = self.refer_scoring(query, self.text_embedding(text), padding)
        exists = None
        if self.target_discrimination is not None:
            exists = self.target_discrimination(
                query, refer, pixels, low_mask_logits.sigmoid())
        height, width = low_mask_logits.shape[-2:]
        mask_logits = resize_aligned(
            low_mask_logits, (MASK_STRIDE * height, MASK_STRIDE * width))
        return HeadOutputs(proposals, refer, exists, mask_logits, low_mask_logits)

    def scores(self, outputs: HeadOutputs) -> Tensor:
        """(B, Q) scores of the proposals: refer score times existence."""
        if outputs.exists is None:
            return outputs.refer
        return outputs.refer * outputs.exists[:, None]

    def loss(self, outputs: HeadOutputs, targets: GroundingTargets
             ) -> dict[str, Tensor]:
        """The named terms of the loss, whose sum is minimized.

        ``loss_label_nt`` keeps its name from the reference, though its target is 1
        where the phrase means something. Refer scores are compared with what each
        query was matched to, without existence in them.

        Args:
            outputs: Of the forward pass.
            targets: Of the same B pairs, on the same device.
        """
        logits, boxes = outputs.proposals.logits, outputs.proposals.boxes
        # Cross-entropy of probabilities is not for half types.
        with torch.autocast(boxes.device.type, enabled=False):
            matches = match(logits[-1], boxes[-1], targets)
            meant = referred_queries(matches, targets, boxes.shape[2])
            losses = dict(
                loss_det=self.set_loss(logits, boxes, targets, matches),
                loss_mask=mask_loss(outputs.mask_logits, targets.masks),
                loss_refer=self.refer_weight * probability_loss(
                    outputs.refer, meant))
            if outputs.exists is not None:
                losses['loss_label_nt'] = self.existence_weight * probability_loss(
                    outputs.exists, targets.exists)
        return losses


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise UserValueError(
                f'{name} of PropVGHead must be an integer, 1 or more, got {count!r}.')
