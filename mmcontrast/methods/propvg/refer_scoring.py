"""Score proposals against a sentence and its words (CRS)."""
import torch
from mmdet.models.layers import DetrTransformerDecoder
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...errors import UserValueError, did_you_mean
from ...models.functional import at_least_float, l2_normalize

SENTENCE_POOLINGS = ('reference', 'masked_max')
WORD_POOLINGS = ('reference', 'masked')


class ContrastiveReferScoring(BaseModule):
    """Similarity of each proposal to the sentence and to the best of its words.

    Proposals attend to the words first; their cosine similarities to the sentence
    vector and to the most similar word are then mixed by a gate that the sentence
    vector opens.

    Source: "PropVG", Dai et al., ICCV 2025, contrastive-based refer scoring, in the
    form of the released code: the temperature is constant and the gate one linear
    layer (paper: learnable, and an MLP).

    Args:
        channels: C of proposals and words.
        num_layers, num_heads, feedforward, dropout: Of the attention to the words.
        temperature: That cosines are divided by.
        sentence_pooling: ``'masked_max'``, the maximum over the real tokens as in the
            paper, or ``'reference'``, the released code, with which the released
            weights were trained: it uses a negated integer mask as an index and so
            takes the maximum of the last two positions of a padded sentence, which are
            padding as a rule, and the last one of a sentence without padding.
        word_pooling: Which words the best one is chosen from: ``'masked'``, the real
            ones, or ``'reference'``, all positions with the padding.

    Raises:
        UserValueError: If a pooling is unknown.
    """

    def __init__(self, channels: int = 256, num_layers: int = 3, num_heads: int = 8,
                 feedforward: int = 512, dropout: float = 0.1,
                 temperature: float = 0.07, sentence_pooling: str = 'reference',
                 word_pooling: str = 'reference',
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        check_choice('sentence_pooling', sentence_pooling, SENTENCE_POOLINGS)
        check_choice('word_pooling', word_pooling, WORD_POOLINGS)
        self.temperature = temperature
        self.sentence_pooling, self.word_pooling = sentence_pooling, word_pooling
        # A dict each: mmdet writes batch_first into them.
        attention = [dict(embed_dims=channels, num_heads=num_heads, attn_drop=dropout,
                          batch_first=True) for _ in range(2)]
        self.word_attention = DetrTransformerDecoder(
            num_layers,
            dict(self_attn_cfg=attention[0], cross_attn_cfg=attention[1],
                 ffn_cfg=dict(embed_dims=channels, feedforward_channels=feedforward,
                              ffn_drop=dropout)),
            return_intermediate=False)
        self.gate = nn.Linear(channels, 1, bias=False)

    def forward(self, query: Tensor, text: Tensor, padding: Tensor) -> Tensor:
        """Probability that the sentence refers to each proposal.

        Args:
            query: (B, Q, C) proposals.
            text: (B, T, C) words.
            padding: (B, T) bool, True = padding; at least one word of each is real.

        Returns:
            (B, Q) float32 in (0, 1). Cosines are computed in float32, also under
            autocast: divided by the temperature, rounding of a half type shows.
        """
        query = self.attend(query, text, padding)
        with torch.autocast(query.device.type, enabled=False):
            query, text = at_least_float(query), at_least_float(text)
            sentence = self.sentence_vector(text, padding)
            to_sentence = _cosine(query, sentence[:, None])[..., 0]
            to_word = _cosine(query, text)
            if self.word_pooling == 'masked':
                to_word = to_word.masked_fill(padding[:, None], -torch.inf)
            gate = self.gate(sentence).sigmoid()
            mixed = gate * to_sentence + (1 - gate) * to_word.amax(-1)
            return (mixed / self.temperature).sigmoid()

    def attend(self, query: Tensor, text: Tensor, padding: Tensor) -> Tensor:
        """(B, Q, C) proposals that have read the words."""
        code = text_position_code(text.shape[1], text.shape[2], text.device)
        return self.word_attention(
            query, key=text, value=text, query_pos=None,
            key_pos=code.to(text.dtype).expand_as(text), key_padding_mask=padding)[0]

    def sentence_vector(self, text: Tensor, padding: Tensor) -> Tensor:
        """(B, C) vector of each sentence."""
        if self.sentence_pooling == 'masked_max':
            return text.masked_fill(padding[..., None], -torch.inf).amax(1)
        last_two = torch.maximum(text[:, -1], text[:, -2])
        return torch.where(padding.any(1, keepdim=True), last_two, text[:, -1])


def text_position_code(num_tokens: int, channels: int, device=None) -> Tensor:
    """(T, C) position code of words, as the released code computes it.

    Its frequencies are truncated to integers: channels 0 and 1 hold sine and cosine of
    the position, all others sin 0 and cos 0.
    """
    positions = torch.arange(num_tokens, dtype=torch.float32, device=device)[:, None]
    frequencies = torch.zeros(channels // 2, device=device)
    frequencies[:1] = 1
    angles = positions * frequencies
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    """Check an option that names a variant.

    Raises:
        UserValueError: If ``value`` is none of the known ones.
    """
    if value not in known:
        raise UserValueError(
            f'{name} must be one of {known}, got {value!r}'
            f'{did_you_mean(str(value), known)}')


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    """(B, N, C), (B, M, C) -> (B, N, M) cosine similarities."""
    return l2_normalize(one, -1) @ l2_normalize(other, -1).mT
