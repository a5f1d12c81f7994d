"""Propose the foreground objects of an image: a few queries on the pyramid."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmdet.models.layers import (
    MLP,
    DeformableDetrTransformerDecoder,
    inverse_sigmoid,
)
from mmengine.model import BaseModule
from torch import Tensor, nn

from .deformable import SampledDeformableAttention

# Of the reference; mmdet's is 1e-5.
INVERSE_SIGMOID_EPS = 1e-3


@dataclass(frozen=True)
class Proposals:
    """What L decoder layers say of Q proposals.

    Attributes:
        states: (B, Q, C) of the last layer.
        logits: (L, B, Q, 2): object, no object.
        boxes: (L, B, Q, 4) cxcywh in [0, 1].
    """

    states: Tensor
    logits: Tensor
    boxes: Tensor


class ProposalDecoder(BaseModule):
    """Deformable DETR's decoder without an encoder and without box refinement.

    Source: PropVG (Dai et al., ICCV 2025), its released code. Content and position of
    the queries are learned. Reference points follow from the positions, so they are the
    same in all layers and for all images. The values carry no position code (the
    reference computes codes and ``level_embeds`` and uses neither). All layers share
    one class head and one box head.

    Args:
        channels: Of the levels and of the queries.
        num_queries: Q.
        num_layers: L.
        num_heads: Of both attentions.
        num_levels: Maps that the forward pass is given.
        num_points: That a head samples from one level.
        feedforward: Hidden channels of the layers.
        dropout: Of self-attention weights, deformable attention and feed-forward.
    """

    def __init__(self, channels: int = 256, num_queries: int = 20, num_layers: int = 3,
                 num_heads: int = 8, num_levels: int = 4, num_points: int = 4,
                 feedforward: int = 1024, dropout: float = 0.1,
                 init_cfg: dict | None = None):
        super().__init__(init_cfg)
        self.query_embed = nn.Embedding(num_queries, channels)
        self.query_pos = nn.Embedding(num_queries, channels)
        self.reference_points = nn.Linear(channels, 2)
        attention = dict(embed_dims=channels, num_heads=num_heads)
        sampling = dict(attention, num_levels=num_levels, num_points=num_points,
                        dropout=dropout, batch_first=True)
        self.decoder = DeformableDetrTransformerDecoder(
            num_layers=num_layers, return_intermediate=True, post_norm_cfg=None,
            layer_cfg=dict(
                self_attn_cfg=dict(attention, attn_drop=dropout, batch_first=True),
                cross_attn_cfg=sampling,
                ffn_cfg=dict(embed_dims=channels, feedforward_channels=feedforward,
                             ffn_drop=dropout)))
        for layer in self.decoder.layers:
            layer.cross_attn = SampledDeformableAttention(**sampling)
        self.class_embed = nn.Linear(channels, 2)
        self.bbox_embed = MLP(channels, channels, 4, 3)

    def init_weights(self) -> None:
        """Xavier for the decoder, then Deformable DETR's rules; boxes start small."""
        super().init_weights()
        for weight in self.decoder.parameters():
            if weight.dim() > 1:
                nn.init.xavier_uniform_(weight)
        for layer in self.decoder.layers:
            layer.cross_attn.init_weights()
        nn.init.xavier_normal_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)
        nn.init.constant_(self.bbox_embed.layers[-1].bias[2:], -2.0)

    def forward(self, levels: Sequence[Tensor]) -> Proposals:
        """Boxes and states of all queries.

        Args:
            levels: (B, channels, h, w) maps, fine to coarse.
        """
        value = torch.cat([x.flatten(2).transpose(1, 2) for x in levels], 1)
        batch, device = len(value), value.device
        reference = self.reference()
        states, _ = self.decoder(
            query=self.query_embed.weight.expand(batch, -1, -1),
            query_pos=self.query_pos.weight.expand(batch, -1, -1),
            value=value, key_padding_mask=None,
            reference_points=reference.expand(batch, -1, -1),
            spatial_shapes=torch.tensor([x.shape[-2:] for x in levels], device=device),
            level_start_index=None,
            valid_ratios=torch.ones(batch, len(levels), 2, device=device))
        return Proposals(states[-1], *self.predict(states, reference))

    def reference(self) -> Tensor:
        """(Q, 2) points (x, y) in [0, 1]; in full precision also under autocast."""
        with torch.autocast(self.query_pos.weight.device.type, enabled=False):
            return self.reference_points(self.query_pos.weight).sigmoid()

    def predict(self, states: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """States (L, B, Q, C) -> logits (L, B, Q, 2) and boxes (L, B, Q, 4).

        Centers start at the reference points. Full precision also under autocast:
        a sigmoid in bfloat16 has steps of more than a pixel.
        """
        centers = inverse_sigmoid(reference, eps=INVERSE_SIGMOID_EPS)
        start = torch.cat([centers, torch.zeros_like(centers)], -1)
        with torch.autocast(states.device.type, enabled=False):
            states = states.to(reference.dtype)
            boxes = (self.bbox_embed(states) + start).sigmoid()
            return self.class_embed(states), boxes
