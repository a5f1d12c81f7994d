"""Match image features with class texts, pixel by pixel."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...models.functional import l2_normalize
from ...models.inspection import feature_channels
from ...models.text.class_texts import ClassTexts
from ...models.text.vocabulary import Vocabulary
from ...registry import MODELS

# Tokens of a class name, start and end included, in the released models.
NAME_LENGTH = 5


class Matched(NamedTuple):
    """Features of the backbone, matched with K class texts.

    Attributes:
        features: Maps of the backbone; one has the score map concatenated.
        score_map: (B, K, h, w) cosine in [-1, 1] of each place with each class.
        logits: (B, K, h, w) score map divided by the temperature.
        text: (B, K, D) class embeddings, conditioned on the image.
    """

    features: tuple[Tensor, ...]
    score_map: Tensor
    logits: Tensor
    text: Tensor


class PixelTextPrompting(BaseModule):
    """Class texts that are conditioned on an image, and their score map over it.

    The arguments are those of the segmentor and of the detectors, which hand them on.

    Source: DenseCLIP (CVPR 2022), sections 3.2 and 3.3, and the released code.

    Args:
        backbone: Built backbone whose outputs are matched; not stored.
        class_names: Class vocabulary, as for :func:`read_vocabulary`. The embedding of
            a class with synonyms is the mean of theirs.
        text_encoder: Config of a text encoder. Its ``context_length`` follows from the
            contexts and the longest name; give a longer one (up to 77) for longer
            names at test time.
        context_decoder: Config of a :class:`ContextDecoder`; its widths follow.
        num_contexts: Learnable vectors between the start token and the name. 0 keeps
            to the names as the encoder learned them, for few labels.
        freeze_text: Keep the text encoder as it is. The released code gives it the
            learning rate 0, which its schedule then raises to 1e-6 in segmentation;
            False does the same.
        gamma: Initial weight of the context decoder's residual.
        temperature: Divides the score map in the auxiliary loss.
        concat_index: The map of the backbone that the score map is concatenated to.
        concat_logits: Concatenate the score map divided by the temperature, as in the
            released detectors, instead of cosines, as in the released segmentors.
        prompting: ``post``: the image corrects the class embeddings. ``pre``: it makes
            the contexts, out of learned queries, so that the text encoder runs for
            every image; in the paper only, which found it weaker.
        attention_pool: Config of a :class:`DenseAttentionPool` over the last map, for
            a backbone that is not CLIP's; its widths follow.

    Attributes:
        class_texts: :class:`ClassTexts`, vocabulary and encoder.

    Raises:
        ValueError: If a name does not fit into the text encoder or ``prompting`` is
            neither of the two.
    """

    def __init__(self, backbone: nn.Module,
                 class_names: str | Path | Sequence | Mapping | Vocabulary,
                 text_encoder: dict, context_decoder: dict, num_contexts: int = 8,
                 freeze_text: bool = True, gamma: float = 1e-4,
                 temperature: float = 0.07, concat_index: int = 3,
                 concat_logits: bool = False, prompting: str = 'post',
                 attention_pool: dict | None = None) -> None:
        super().__init__()
        if prompting not in ('post', 'pre'):
            raise ValueError(
                "prompting must be 'post' (the image corrects class embeddings) or "
                f"'pre' (it makes the contexts), got {prompting!r}.")
        self.temperature, self.prompting = temperature, prompting
        self.concat_index, self.concat_logits = concat_index, concat_logits
        self.backbone_name = type(backbone).__name__
        self.class_texts = ClassTexts(
            class_names, text_encoder, num_contexts, normalize=False,
            frozen=freeze_text, min_text_length=NAME_LENGTH)
        encoder = self.class_texts.text_encoder
        if prompting == 'post':
            self.gamma = nn.Parameter(torch.full((encoder.embed_dims,), gamma))
        self.context_decoder = MODELS.build(dict(
            context_decoder, visual_dim=encoder.embed_dims,
            text_dim=encoder.embed_dims if prompting == 'post' else encoder.width))
        self.attention_pool = None
        if attention_pool is not None:
            self.attention_pool = MODELS.build(dict(
                dict(in_channels=feature_channels(backbone)[-1]) | attention_pool,
                embed_dims=encoder.embed_dims))

    def forward(self, outputs: Sequence) -> Matched:
        """Compute the score map of the class texts and concatenate it to a map.

        Args:
            outputs: What the backbone returns: maps, then (with CLIP's) the pair of
                global (B, D) and local (B, D, h, w) features.

        Raises:
            ValueError: If those do not fit the text encoder.
        """
        maps, (whole, local) = self._split(outputs)
        tokens = torch.cat([whole[:, None], local.flatten(2).transpose(1, 2)], dim=1)
        text = self.embed_texts(tokens)
        scores = score_map(text, local)
        logits = scores / self.temperature
        target = maps[self.concat_index]
        added = logits if self.concat_logits else scores
        maps[self.concat_index] = torch.cat([target, added.to(target.dtype)], dim=1)
        return Matched(tuple(maps), scores, logits, text)

    def embed_texts(self, visual: Tensor) -> Tensor:
        """(B, K, D) class embeddings, conditioned on (B, P, D) visual tokens."""
        if self.prompting == 'pre':
            queries = self.class_texts.contexts.expand(len(visual), -1, -1)
            return self.class_texts(self.context_decoder(queries, visual))
        text = self.class_texts().expand(len(visual), -1, -1)
        return text + self.gamma * self.context_decoder(text, visual)

    def _split(self, outputs: Sequence) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
        """Maps, and the pair of global and local features."""
        if self.attention_pool is not None:
            return list(outputs), self.attention_pool(outputs[-1])
        *maps, pair = outputs
        wanted = self.class_texts.text_encoder.embed_dims
        if isinstance(pair, Tensor):
            raise ValueError(
                f'{self.backbone_name} returns maps without CLIP embeddings. Use '
                'CLIPResNetWithAttention, CLIPVisionTransformer with '
                'with_embeddings=True, or, on top of any backbone, '
                "attention_pool=dict(type='DenseAttentionPool').")
        if pair[0].shape[1] != wanted:
            raise ValueError(
                f'{self.backbone_name} gives embeddings of {pair[0].shape[1]} numbers, '
                f'but the text tower gives {wanted}: set embed_dims of one to that of '
                'the other, or name the same tower in both.')
        return maps, pair


def score_map(text: Tensor, local: Tensor) -> Tensor:
    """Cosine of each place with each class, in float32.

    Args:
        text: (B, K, D) class embeddings.
        local: (B, D, h, w) projected image features.

    Returns:
        (B, K, h, w) in [-1, 1].
    """
    with torch.autocast(local.device.type, enabled=False):
        places = l2_normalize(local).flatten(2)
        scores = l2_normalize(text, dim=-1).to(places.dtype) @ places
    return scores.unflatten(-1, local.shape[2:])
