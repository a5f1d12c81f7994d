"""What DenseCLIP adds to a segmentor or detector: texts, and where they match.

:class:`TextPrompting` is mixed into the model, so that its parameters stand at the top
level under the names of the released checkpoints: ``contexts``, ``gamma``,
``text_encoder.*``, ``context_decoder.*``.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...models.unit_vectors import unit
from ...registry import MODELS

# Tokens of a class name with start and end in the released models; their position
# tables have num_contexts + NAME_LENGTH rows.
NAME_LENGTH = 5


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
        places = unit(local).flatten(2)
        scores = unit(text, dim=-1).to(places.dtype) @ places
    return scores.unflatten(-1, local.shape[2:])


class TextPrompting:
    """Mixin of a model with a ``backbone``: class texts and their score map.

    Call :meth:`add_prompting` at the end of the constructor and :meth:`match_text` on
    what the backbone returns.

    Without gradients in eval mode the embeddings of the class names, before they look
    at a picture, are computed once and kept until :meth:`train` or :meth:`eval` is
    called, weights are loaded or moved, or names change.

    Source: DenseCLIP (CVPR 2022), sections 3.2 and 3.3, and the released code.
    """

    def add_prompting(
            self, class_names: str | Sequence[str], text_encoder: dict,
            context_decoder: dict, num_contexts: int = 8, freeze_text: bool = True,
            gamma: float = 1e-4, temperature: float = 0.07, concat_index: int = 3,
            concat_temperature: float = 1.0, prompting: str = 'post',
            attention_pool: dict | None = None, init_heads: bool = True) -> None:
        """Build the text side; its sizes follow from the text tower.

        Args:
            class_names: The vocabulary, see :func:`class_list`.
            text_encoder: Config of a text tower. Its ``context_length`` follows from
                the contexts and the longest name unless it is given.
            context_decoder: Config of a :class:`ContextDecoder`; its widths follow.
            num_contexts: Learnable vectors between the start token and the name.
            freeze_text: Keep the text tower as it is. The released code gives it the
                learning rate 0, which its schedule then raises to 1e-6 in segmentation:
                False to train like that.
            gamma: Initial weight of what the context decoder adds to an embedding.
            temperature: Divides the score map in the auxiliary loss.
            concat_index: Which map of the backbone the score map is concatenated to.
            concat_temperature: Divides the score map that is concatenated: 1 in the
                released segmentors, ``temperature`` in the detectors.
            prompting: ``post``: the picture corrects the class embeddings. ``pre``: it
                makes the contexts, so that the tower runs for every picture.
            attention_pool: Config of a :class:`DenseAttentionPool` over the last map,
                for a backbone that is not CLIP's.
            init_heads: Whether :meth:`init_weights` initialises neck and heads by
                their ``init_cfg``, as mmseg and mmdet do. The released code does not.
        """
        if prompting not in ('post', 'pre'):
            raise ValueError(
                f"prompting must be 'post' (the picture corrects class embeddings) or "
                f"'pre' (it makes the contexts), got {prompting!r}.")
        from ...models.text.tokenizer import token_lengths
        from ...models.text.vocabulary import class_list
        names = class_list(class_names)
        longest = max(NAME_LENGTH, *token_lengths(names))
        self.text_encoder = MODELS.build(dict(
            dict(context_length=num_contexts + longest) | text_encoder,
            frozen=freeze_text))
        width = self.text_encoder.token_embedding.embedding_dim
        embed_dims = self.text_encoder.text_projection.shape[1]
        self.contexts = nn.Parameter(torch.empty(1, num_contexts, width))
        nn.init.trunc_normal_(self.contexts)
        if prompting == 'post':
            self.gamma = nn.Parameter(torch.full((embed_dims,), gamma))
        self.context_decoder = MODELS.build(dict(
            context_decoder, visual_dim=embed_dims,
            text_dim=embed_dims if prompting == 'post' else width))
        if attention_pool is not None:
            self.attention_pool = MODELS.build(attention_pool)
        self.temperature, self.concat_temperature = temperature, concat_temperature
        self.concat_index, self.prompting = concat_index, prompting
        self.init_heads = init_heads
        self._set_names(names)

    def match_text(self, outputs: Sequence) -> Matched:
        """Score map of the class names, concatenated to one of the maps.

        Args:
            outputs: What the backbone returns: maps, then (with CLIP's) the pair of
                global (B, D) and local (B, D, h, w) features.
        """
        maps, (whole, local) = self._split(outputs)
        tokens = torch.cat([whole[:, None], local.flatten(2).transpose(1, 2)], dim=1)
        text = self.embed_names(tokens)
        scores = score_map(text, local)
        index = self.concat_index
        maps[index] = torch.cat(
            [maps[index], (scores / self.concat_temperature).to(maps[index])], dim=1)
        return Matched(tuple(maps), scores, text)

    def embed_names(self, visual: Tensor) -> Tensor:
        """(B, K, D) class embeddings that looked at the (B, P, D) visual tokens."""
        if self.prompting == 'pre':
            queries = self.contexts.expand(len(visual), -1, -1)
            return self.text_encoder(
                self._tokens, contexts=self.context_decoder(queries, visual))
        text = self.name_embeddings().expand(len(visual), -1, -1)
        return text + self.gamma * self.context_decoder(text, visual)

    def name_embeddings(self) -> Tensor:
        """(1, K, D) class embeddings before any picture is looked at."""
        if self.training or torch.is_grad_enabled():
            return self.text_encoder(self._tokens, contexts=self.contexts)
        # An optimizer that steps in eval mode is seen by the version.
        version = self.contexts._version
        if self._kept is None or self._kept[0] != version:
            embeddings = self.text_encoder(self._tokens, contexts=self.contexts)
            self._kept = version, embeddings
        return self._kept[1]

    def _set_names(self, names: list[str]) -> None:
        from ...models.text.tokenizer import tokenize
        self.class_names = tuple(names)
        self.register_buffer('_tokens', tokenize(names), persistent=False)
        self._kept = None

    def _split(self, outputs: Sequence) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
        if hasattr(self, 'attention_pool'):
            return list(outputs), self.attention_pool(outputs[-1])
        return list(outputs[:-1]), outputs[-1]
