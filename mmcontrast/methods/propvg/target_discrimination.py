"""Decide whether the target of a phrase exists at all (MTD)."""
from functools import lru_cache

import torch
from mmdet.models.layers import MLP, SinePositionalEncoding
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...models.functional import at_least_float
from .refer_scoring import check_choice

PIXEL_TOKEN_LAYOUTS = ('reference', 'channels_last')


class TargetDiscrimination(BaseModule):
    """Probability that a target exists, from proposals and from the mask branch.

    A learned token reads the proposals, biased by their refer scores, then the pixels
    of the mask branch, biased by the mask. What it says is multiplied by the best refer
    score and by the mean of the highest mask scores.

    Source: "PropVG", Dai et al., ICCV 2025, multi-granularity target discrimination.

    Args:
        channels: C of proposals and pixels.
        num_heads, feedforward, dropout: Of both layers.
        top_k: Number of mask scores that are averaged in evaluation.
        train_top_k: The same in training; 10 in the released code.
        pixel_token_layout: ``'channels_last'``, a token is a pixel, or ``'reference'``,
            the released code, with which the released weights were trained: it
            reinterprets the memory of (C, h, w) as (h w, C), so that a token is C
            consecutive pixels of one channel.

    Raises:
        UserValueError: If the layout is unknown.
    """

    def __init__(self, channels: int = 256, num_heads: int = 8,
                 feedforward: int = 1024, dropout: float = 0.1, top_k: int = 250,
                 train_top_k: int = 10, pixel_token_layout: str = 'reference',
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        check_choice('pixel_token_layout', pixel_token_layout, PIXEL_TOKEN_LAYOUTS)
        self.top_k, self.train_top_k = top_k, train_top_k
        self.pixel_token_layout = pixel_token_layout
        self.token = nn.Embedding(1, channels)
        self.object_layer, self.semantic_layer = (
            ScorePriorLayer(channels, num_heads, feedforward, dropout)
            for _ in range(2))
        self.mlp = MLP(channels, channels, 1, 3)

    def forward(self, query: Tensor, refer: Tensor, pixels: Tensor, mask: Tensor
                ) -> Tensor:
        """Probability that each phrase has a target.

        Args:
            query: (B, Q, C) proposals.
            refer: (B, Q) refer scores in [0, 1].
            pixels: (B, C, h, w) features of the mask branch.
            mask: (B, 1, h, w) mask scores in [0, 1].

        Returns:
            (B,) float32 in [0, 1]; the product is formed in float32, also under
            autocast.
        """
        logit = self.mlp(self.read(query, refer, pixels, mask))[:, 0, 0]
        most_certain = at_least_float(mask.flatten(1)).topk(self._top_k(mask)).values
        return (at_least_float(logit).sigmoid() * at_least_float(refer).amax(1)
                * most_certain.mean(1))

    def read(self, query: Tensor, refer: Tensor, pixels: Tensor, mask: Tensor
             ) -> Tensor:
        """(B, 1, C) the token after both layers."""
        token = self.token.weight.expand(len(query), 1, -1)
        token = self.object_layer(token, query, refer[:, None])
        code = pixel_position_code(*pixels.shape[1:], pixels.device)
        return self.semantic_layer(
            token, self._pixel_tokens(pixels), mask.flatten(2), code)

    def _pixel_tokens(self, pixels: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, h w, C)."""
        if self.pixel_token_layout == 'channels_last':
            return pixels.flatten(2).mT
        batch, channels, height, width = pixels.shape
        return pixels.reshape(batch, height * width, channels)

    def _top_k(self, mask: Tensor) -> int:
        """How many mask scores are averaged; small maps have no more than all."""
        return min(self.train_top_k if self.training else self.top_k,
                   mask.shape[-2:].numel())


class ScorePriorLayer(BaseModule):
    """Post-norm decoder layer whose cross-attention is biased by scores of the keys.

    Args:
        channels: C.
        num_heads: H, of both attentions.
        feedforward: Hidden channels of the FFN.
        dropout: Of the weights of the self-attention, the output of both attentions,
            and in the FFN.
    """

    def __init__(self, channels: int = 256, num_heads: int = 8,
                 feedforward: int = 1024, dropout: float = 0.1) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(
            channels, num_heads, dropout, batch_first=True)
        self.norm2 = nn.LayerNorm(channels)
        self.cross_attn = ScorePriorAttention(channels, num_heads)
        self.norm1 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, feedforward)
        self.linear2 = nn.Linear(feedforward, channels)
        self.norm3 = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, keys: Tensor, scores: Tensor,
                code: Tensor | None = None) -> Tensor:
        """Let tokens read keys.

        Args:
            x: (B, N, C) tokens.
            keys: (B, M, C).
            scores: (B, N, M), how much each key is worth to each token beforehand.
            code: (M, C) position code that is added to keys, not to values; None for
                keys without an order.

        Returns:
            (B, N, C).
        """
        read = self.self_attn(x, x, x, need_weights=False)[0]
        x = self.norm2(x + self.dropout(read))
        x = self.norm1(x + self.dropout(self.cross_attn(x, keys, scores, code)))
        hidden = self.dropout(self.linear1(x).relu())
        return self.norm3(x + self.dropout(self.linear2(hidden)))


class ScorePriorAttention(nn.Module):
    """Cross-attention with a bias g(score) for each head, for few tokens, many keys.

    Keys are not projected: a query is turned by its head's rows of ``k`` instead, and
    only the weighted sum of raw keys is projected by ``v``; both steps are linear. That
    leaves 5 % of the arithmetic where one token reads 6400 pixels.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q, self.k, self.v, self.proj = (
            nn.Linear(channels, channels) for _ in range(4))
        self.score_mlp = nn.Sequential(
            nn.Linear(1, 2 * channels), nn.ReLU(inplace=True),
            nn.Linear(2 * channels, num_heads, bias=False))

    def forward(self, x: Tensor, keys: Tensor, scores: Tensor, code: Tensor | None
                ) -> Tensor:
        """See :class:`ScorePriorLayer`."""
        shape = len(x), x.shape[1], self.num_heads
        query = self.q(x).unflatten(2, (self.num_heads, -1))
        rows, bias = self._by_head(self.k)
        # n: token, h: head, d: channel of the head, c: channel of the keys
        turned = torch.einsum('bnhd,hdc->bnhc', query, rows).flatten(1, 2)
        logits = turned @ keys.mT
        if code is not None:
            logits = logits + turned @ code.mT.to(turned.dtype)
        logits = logits.view(*shape, -1) + torch.einsum(
            'bnhd,hd->bnh', query, bias)[..., None]
        logits = logits * query.shape[-1] ** -0.5 + self.score_mlp(scores[..., None]).mT
        sums = logits.softmax(-1).flatten(1, 2).to(keys.dtype) @ keys
        rows, bias = self._by_head(self.v)
        heads = torch.einsum('bnhc,hdc->bnhd', sums.view(*shape, -1), rows) + bias
        return self.proj(heads.flatten(2))

    def _by_head(self, layer: nn.Linear) -> tuple[Tensor, Tensor]:
        """Weight (heads, channels of a head, C) and bias of a projection."""
        return tuple(x.unflatten(0, (self.num_heads, -1))
                     for x in (layer.weight, layer.bias))


@lru_cache(maxsize=8)
def pixel_position_code(channels: int, height: int, width: int,
                        device: torch.device) -> Tensor:
    """(height * width, channels) 2-D sine code; a size is computed once."""
    # Without this, a code made under inference_mode could not be used in training.
    with torch.inference_mode(False), torch.no_grad():
        encode = SinePositionalEncoding(channels // 2, normalize=True)
        # On the CPU: it sums up floats, which deterministic training forbids on a GPU.
        code = encode(torch.zeros(1, height, width, dtype=torch.bool))
        return code.flatten(2)[0].T.contiguous().to(device)
