"""Embed the class texts of a model, cache the embeddings, switch vocabularies."""
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...registry import MODELS
from ..functional import at_least_float, l2_normalize
from .templates import fill_templates, read_templates
from .tokenizer import token_lengths, tokenize
from .vocabulary import Vocabulary, read_vocabulary

# Positions of CLIP's text towers.
CLIP_LENGTH = 77
# Prompts per forward pass of the encoder.
BATCH_SIZE = 512
# Vocabularies whose embeddings are cached at a time.
MAX_CACHED = 2


class ClassTexts(BaseModule):
    """Class vocabulary, text encoder and embeddings, as one part of a model.

    A model contains it as ``class_texts``, where ``ClassCheckHook`` finds the
    vocabulary that it notes in checkpoints.

    The embeddings are computed once and cached where no gradient is needed: in eval
    mode under ``torch.no_grad``, and always if the encoder is frozen and there are no
    contexts. The cache is cleared by :meth:`train` and ``eval()``, new weights, an
    optimizer step and a move to another device or type.

    Args:
        vocabulary: Classes that the model is trained with, as for
            :func:`read_vocabulary`.
        text_encoder: The text encoder or its config. In a config, ``frozen`` and, with
            ``min_text_length``, ``context_length`` follow from the arguments here.
        num_contexts: Learnable vectors between the start token and the prompt, shared
            by all classes (CoOp; Zhou et al., IJCV 2022).
        templates: Prompt templates, as for :func:`read_templates`.
        normalize: L2-normalize the embedding of each prompt and the mean of a class
            (CLIP, ICML 2021, section 3.1.4). False: the plain mean.
        frozen: Whether the weights of an encoder that is built here are fixed.
        min_text_length: Build the encoder with no more positions than contexts and
            prompts need, with room for prompts of at least so many tokens (start and
            end included). None: all positions of the tower.

    Attributes:
        text_encoder: The text encoder.
        contexts: (1, N, width) parameter.
        trained_vocabulary: The vocabulary that the model was built with.

    Raises:
        ValueError: If a prompt has more tokens than the encoder has positions, or the
            vocabulary or the templates cannot be used.
    """

    def __init__(self, vocabulary: str | Path | Sequence | Mapping | Vocabulary,
                 text_encoder: dict | nn.Module, num_contexts: int = 0,
                 templates: str | Path | Sequence[str] = 'name', normalize: bool = True,
                 frozen: bool = True, min_text_length: int | None = None,
                 background: str | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.background = background
        self.trained_vocabulary = read_vocabulary(vocabulary)
        self.templates, self.normalize = read_templates(templates), normalize
        if not isinstance(text_encoder, nn.Module):
            sizes = {}
            if min_text_length is not None:
                longest = max(min_text_length, *token_lengths(
                    self._prompts(self.trained_vocabulary)[0]))
                sizes['context_length'] = min(num_contexts + longest, CLIP_LENGTH)
            text_encoder = MODELS.build(sizes | dict(text_encoder, frozen=frozen))
        self.text_encoder = text_encoder
        self.contexts = nn.Parameter(torch.empty(1, num_contexts, text_encoder.width),
                                     requires_grad=num_contexts > 0)
        nn.init.trunc_normal_(self.contexts)
        self._is_fixed = num_contexts == 0 and not self._learns()
        # Buffers, to move along with the model; not among the weights.
        self.register_buffer('_tokens', None, persistent=False)
        self.register_buffer('_counts', None, persistent=False)
        self._clear_cache()
        self.set_vocabulary(self.trained_vocabulary)

    def __len__(self) -> int:
        """K, the number of classes."""
        return len(self._vocabulary)

    @property
    def embed_dims(self) -> int:
        """D, width of the embeddings."""
        return self.text_encoder.embed_dims

    @property
    def vocabulary(self) -> Vocabulary:
        """The current vocabulary."""
        return self._vocabulary

    @property
    def class_names(self) -> list[str]:
        """One name a class of the current vocabulary."""
        return self._vocabulary.names

    @property
    def is_trained_vocabulary(self) -> bool:
        """Whether the current vocabulary is the one the model was built with."""
        return self._vocabulary == self.trained_vocabulary

    @property
    def tokens(self) -> Tensor:
        """(P, L) token ids of all prompts, class by class."""
        return self._tokens

    @property
    def notes(self) -> list[list[str]]:
        """The trained vocabulary as plain data, for the ``meta`` of a checkpoint."""
        return [list(names) for names in self.trained_vocabulary.synonyms]

    def set_vocabulary(
            self, vocabulary: str | Path | Sequence | Mapping | Vocabulary | None
            ) -> None:
        """Embed another vocabulary from now on.

        Args:
            vocabulary: As for :func:`read_vocabulary`; None for the trained one.

        Raises:
            ValueError: If a prompt has more tokens than the encoder has positions.
                The vocabulary stays as it was.
        """
        vocabulary = (self.trained_vocabulary if vocabulary is None
                      else read_vocabulary(vocabulary))
        if self._tokens is not None and vocabulary == self._vocabulary:
            return
        prompts, counts = self._prompts(vocabulary)
        tokens = tokenize(
            prompts, self.text_encoder.context_length - self.contexts.shape[1])
        self._tokens = tokens[:, :max(token_lengths(prompts))].to(self.contexts.device)
        self._counts = torch.tensor(counts, device=self.contexts.device)
        self._vocabulary = vocabulary

    @contextmanager
    def temporarily(
            self, vocabulary: str | Path | Sequence | Mapping | Vocabulary | None
            ) -> Iterator[None]:
        """Embed another vocabulary within a ``with`` block; both stay cached.

        Raises:
            ValueError: As :meth:`set_vocabulary`.
        """
        before = self._vocabulary
        self.set_vocabulary(vocabulary)
        try:
            yield
        finally:
            self.set_vocabulary(before)

    def forward(self, contexts: Tensor | None = None) -> Tensor:
        """Embed the classes of the current vocabulary.

        Args:
            contexts: (B, N, width) vectors instead of the learned ones, such as those
                a network makes for each image.

        Returns:
            (B, K, D) with ``contexts``; else (K, D), cached where possible. With a
            background K + 1, that last.
        """
        if contexts is not None:
            return self._embed(contexts)
        if not self._may_cache():
            return self._embed(self.contexts)[0]
        # An optimizer that steps in eval mode changes the versions.
        versions = [parameter._version for parameter in self.parameters()]
        cached = self._cache.get(self._vocabulary)
        if cached is None or cached[0] != versions:
            # It may be used in training later, and at another precision.
            with torch.inference_mode(False), torch.no_grad(), torch.autocast(
                    self.contexts.device.type, enabled=False):
                cached = versions, self._embed(self.contexts)[0]
            if len(self._cache) >= MAX_CACHED:
                del self._cache[next(iter(self._cache))]
            self._cache[self._vocabulary] = cached
        return cached[1]

    def train(self, mode: bool = True):
        """Also clears the cache: EMA hooks swap weights just before ``eval()``.

        Not from training to training: loops in iterations call ``train()`` before
        every step.
        """
        if not (mode and self.training):
            self._clear_cache()
        return super().train(mode)

    def _apply(self, *args, **kwargs):
        self._clear_cache()
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self._clear_cache()
        super()._load_from_state_dict(*args, **kwargs)

    def _clear_cache(self) -> None:
        self._cache: dict[Vocabulary, tuple[list[int], Tensor]] = {}

    def _learns(self) -> bool:
        return any(parameter.requires_grad for parameter in self.parameters())

    def _may_cache(self) -> bool:
        # Not in training without gradients: a momentum encoder is averaged there.
        if self._is_fixed and not self._learns():
            return True
        return not (self.training or torch.is_grad_enabled())

    def _prompts(self, vocabulary: Vocabulary) -> tuple[list[str], list[int]]:
        """The prompts of all classes, and how many each class has."""
        classes = fill_templates(vocabulary, self.templates)
        if self.background is not None:
            classes.append([text.format(self.background) for text in self.templates])
        return [prompt for prompts in classes for prompt in prompts], [
            len(prompts) for prompts in classes]

    def _embed(self, contexts: Tensor) -> Tensor:
        """(B, N, width) contexts -> (B, K, D)."""
        # Whole in training: parts would save no memory there, and the encoder packs the
        # tokens of a tensor only once.
        parts = ([self._tokens] if torch.is_grad_enabled() else
                 self._tokens.split(BATCH_SIZE))
        embeds = torch.cat(
            [self.text_encoder(tokens, contexts=contexts) for tokens in parts], dim=1)
        if not self.normalize:
            return mean_by_class(embeds, self._counts)
        means = mean_by_class(l2_normalize(embeds, dim=-1), self._counts)
        return l2_normalize(means, dim=-1)


def mean_by_class(embeds: Tensor, counts: Tensor) -> Tensor:
    """Average the embeddings of the prompts of each class.

    Args:
        embeds: (..., P, D), class by class.
        counts: (K, ) int64, prompts of each class; their sum is P.

    Returns:
        (..., K, D), averaged in float32 or more.
    """
    num_classes, num_prompts = len(counts), embeds.shape[-2]
    if num_classes == num_prompts:
        return embeds
    classes = torch.arange(num_classes, device=counts.device).repeat_interleave(
        counts, output_size=num_prompts)
    embeds_float = at_least_float(embeds)
    sums = embeds_float.new_zeros(*embeds.shape[:-2], num_classes, embeds.shape[-1])
    means = sums.index_add(-2, classes, embeds_float) / counts[:, None]
    return means.to(embeds.dtype)
