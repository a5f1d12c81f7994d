"""What DenseCLIP adds to a segmentor or detector: texts, and where they match.

:class:`TextPrompting` is mixed into the model, so that its parameters stand at the top
level under the names of the released checkpoints: ``contexts``, ``gamma``,
``text_encoder.*``, ``context_decoder.*``.
"""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...models.backbone import feature_channels
from ...models.functional import l2_normalize
from ...models.text.vocabulary import Vocabulary, read_vocabulary
from ...registry import MODELS
from .class_names import ClassNames

# What the released code leaves as the modules' constructors made it.
HEADS = ('neck', 'decode_head', 'auxiliary_head', 'bbox_head', 'rpn_head', 'roi_head')


class Matched(NamedTuple):
    """What the backbone sees, matched with K class texts.

    Attributes:
        features: Maps of the backbone; one has the score map concatenated.
        score_map: (B, K, h, w) cosine in [-1, 1] of each place with each class.
        text: (B, K, D) class embeddings after the picture was looked at.
    """

    features: tuple[Tensor, ...]
    score_map: Tensor
    text: Tensor


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


class TextPrompting(ClassNames):
    """Mixin of a model with a ``backbone``: class texts and their score map.

    Call :meth:`add_prompting` at the end of the constructor and :meth:`match_text` on
    what the backbone returns. The embeddings of the names, before they look at a
    picture, are kept in eval mode: :class:`ClassNames`.

    Source: DenseCLIP (CVPR 2022), sections 3.2 and 3.3, and the released code.
    """

    def add_prompting(
            self, class_names: str | Sequence | Mapping | Vocabulary,
            text_encoder: dict, context_decoder: dict, num_contexts: int = 8,
            freeze_text: bool = True, gamma: float = 1e-4, temperature: float = 0.07,
            concat_index: int = 3, concat_temperature: float = 1.0,
            prompting: str = 'post', attention_pool: dict | None = None,
            init_heads: bool = True) -> None:
        """Build the text side; its sizes follow from the text tower.

        Args:
            class_names: The vocabulary, see :func:`read_vocabulary`. The embedding of
                a class with synonyms is the mean of theirs.
            text_encoder: Config of a text tower. Its ``context_length`` follows from
                the contexts and the longest name; give a longer one (up to 77) for
                longer names at test time.
            context_decoder: Config of a :class:`ContextDecoder`; its widths follow.
            num_contexts: Learnable vectors between the start token and the name. 0
                keeps to the names as the tower learned them, for few labels.
            freeze_text: Keep the text tower as it is. The released code gives it the
                learning rate 0, which its schedule then raises to 1e-6 in segmentation:
                False to train like that.
            gamma: Initial weight of what the context decoder adds to an embedding.
            temperature: Divides the score map in the auxiliary loss.
            concat_index: Which map of the backbone the score map is concatenated to.
            concat_temperature: Divides the score map that is concatenated: 1 in the
                released segmentors, ``temperature`` in the detectors.
            prompting: ``post``: the picture corrects the class embeddings. ``pre``: it
                makes the contexts, out of learned queries, so that the text tower runs
                for every picture; in the paper only, which found it weaker.
            attention_pool: Config of a :class:`DenseAttentionPool` over the last map,
                for a backbone that is not CLIP's; its widths follow.
            init_heads: Whether :meth:`init_weights` initializes neck and heads by
                their ``init_cfg``, as mmseg and mmdet do. The released code does not.

        Raises:
            ValueError: If a name does not fit into the text tower or ``prompting`` is
                neither of the two.
        """
        if prompting not in ('post', 'pre'):
            raise ValueError(
                "prompting must be 'post' (the picture corrects class embeddings) or "
                f"'pre' (it makes the contexts), got {prompting!r}.")
        self.temperature, self.concat_temperature = temperature, concat_temperature
        self.concat_index, self.prompting = concat_index, prompting
        self.init_heads = init_heads
        self.add_names(read_vocabulary(class_names), text_encoder, num_contexts,
                       freeze_text)
        width, embed_dims = self.text_encoder.width, self.text_encoder.embed_dims
        if prompting == 'post':
            self.gamma = nn.Parameter(torch.full((embed_dims,), gamma))
        self.context_decoder = MODELS.build(dict(
            context_decoder, visual_dim=embed_dims,
            text_dim=embed_dims if prompting == 'post' else width))
        if attention_pool is not None:
            self.attention_pool = MODELS.build(dict(
                dict(in_channels=feature_channels(self.backbone)[-1]) | attention_pool,
                embed_dims=embed_dims))

    def match_text(self, outputs: Sequence) -> Matched:
        """Score map of the class names, concatenated to one of the maps.

        Args:
            outputs: What the backbone returns: maps, then (with CLIP's) the pair of
                global (B, D) and local (B, D, h, w) features.

        Raises:
            ValueError: If those do not fit the text tower.
        """
        maps, (whole, local) = self._split(outputs)
        tokens = torch.cat([whole[:, None], local.flatten(2).transpose(1, 2)], dim=1)
        text = self.embed_names(tokens)
        scores = score_map(text, local)
        target = maps[self.concat_index]
        maps[self.concat_index] = torch.cat(
            [target, (scores / self.concat_temperature).to(target.dtype)], dim=1)
        return Matched(tuple(maps), scores, text)

    def embed_names(self, visual: Tensor) -> Tensor:
        """(B, K, D) class embeddings that looked at the (B, P, D) visual tokens."""
        if self.prompting == 'pre':
            queries = self.contexts.expand(len(visual), -1, -1)
            return self.embed_behind(self.context_decoder(queries, visual))
        text = self.name_embeddings().expand(len(visual), -1, -1)
        return text + self.gamma * self.context_decoder(text, visual)

    def init_weights(self) -> None:
        """As mmengine does; neck and heads only if ``init_heads``."""
        heads = [] if self.init_heads else [
            getattr(self, name) for name in HEADS if getattr(self, name, None)]
        for module in nn.ModuleList(heads).modules():
            if isinstance(module, BaseModule):
                module.is_init = True
        super().init_weights()

    def _split(self, outputs: Sequence) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
        """Maps, and the pair of global and local features."""
        if hasattr(self, 'attention_pool'):
            return list(outputs), self.attention_pool(outputs[-1])
        *maps, pair = outputs
        name, wanted = type(self.backbone).__name__, self.text_encoder.embed_dims
        if isinstance(pair, Tensor):
            raise ValueError(
                f'{name} returns maps without CLIP embeddings. Use '
                'CLIPResNetWithAttention, CLIPVisionTransformer with '
                'with_embeddings=True, or, on top of any backbone, '
                "attention_pool=dict(type='DenseAttentionPool').")
        if pair[0].shape[1] != wanted:
            raise ValueError(
                f'{name} gives embeddings of {pair[0].shape[1]} numbers, but the text '
                f'tower gives {wanted}: set embed_dims of one to that of the other, or '
                'name the same tower in both.')
        return maps, pair
