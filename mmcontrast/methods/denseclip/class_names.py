"""The class names of a model as embeddings, computed when they must be."""
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ...models.text.tokenizer import token_lengths, tokenize
from ...models.text.vocabulary import Vocabulary, read_vocabulary
from ...registry import MODELS
from .checkpoint_check import check_weights

# Tokens of a class name, start and end included, in the released models, and positions
# of CLIP's text towers.
NAME_LENGTH, CLIP_LENGTH = 5, 77
# Vocabularies whose embeddings are kept at a time.
KEPT = 2


class ClassNames:
    """Mixin of a model: a text tower, learned contexts, and the names behind them.

    Without gradients in eval mode the embeddings are computed once and kept until
    :meth:`train` or :meth:`eval` is called, weights change, or names do.

    Attributes:
        text_encoder: The text tower.
        contexts: (1, N, width) parameter, learned vectors between the start token and
            the name.
        trained_names: The vocabulary that neck and heads are built for.
    """

    def add_names(self, vocabulary: Vocabulary, text_encoder: dict, num_contexts: int,
                  freeze: bool) -> None:
        """Build the tower with as many positions as the longest name needs.

        Raises:
            ValueError: If a name does not fit into the tower.
        """
        longest = max(NAME_LENGTH, *token_lengths(_words(vocabulary)))
        length = min(num_contexts + longest, CLIP_LENGTH)
        self.text_encoder = MODELS.build(dict(
            dict(context_length=length) | text_encoder, frozen=freeze))
        self.contexts = nn.Parameter(
            torch.empty(1, num_contexts, self.text_encoder.width))
        nn.init.trunc_normal_(self.contexts)
        self.trained_names = vocabulary
        self._forget()
        self.set_names(vocabulary)

    @property
    def vocabulary(self) -> Vocabulary:
        """Names and synonyms that the score map is of."""
        return self._vocabulary

    @property
    def class_names(self) -> list[str]:
        """One name for each class that the model tells apart."""
        return self._vocabulary.names

    @property
    def names_are_trained(self) -> bool:
        """Whether the classes are those that neck and heads were built for."""
        return self._vocabulary == self.trained_names

    def set_names(self, class_names: str | Sequence | Mapping | Vocabulary) -> None:
        """Match these names from now on; neck and heads are not told.

        Raises:
            ValueError: If a name is longer than the text tower has positions.
        """
        vocabulary = read_vocabulary(class_names)
        words = _words(vocabulary)
        room = self.text_encoder.context_length - self.contexts.shape[1]
        tokens = tokenize(words, room)[:, :max(token_lengths(words))]
        # (K, W): what each word counts in its class.
        share = torch.block_diag(*(
            torch.full((1, len(entry)), 1 / len(entry)) for entry in vocabulary.words))
        # Buffers, to move along with the model; not among the weights.
        for name, value in dict(_tokens=tokens, _share=share).items():
            self.register_buffer(name, value.to(self.contexts.device), persistent=False)
        self._vocabulary = vocabulary

    @contextmanager
    def other_names(self, vocabulary: Vocabulary) -> Iterator[None]:
        """Match other names for a while; the embeddings of both are kept."""
        before = self._vocabulary
        self.set_names(vocabulary)
        try:
            yield
        finally:
            self.set_names(before)

    def name_embeddings(self) -> Tensor:
        """(1, K, D) class embeddings, of which no picture knows."""
        if self.training or torch.is_grad_enabled():
            return self.embed_behind(self.contexts)
        # Steps of an optimizer in eval mode change the versions.
        versions = [parameter._version for parameter in
                    (self.contexts, *self.text_encoder.parameters())]
        kept = self._kept.get(self._vocabulary)
        if kept is None or kept[0] != versions:
            with torch.autocast(self.contexts.device.type, enabled=False):
                kept = versions, self.embed_behind(self.contexts)
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[self._vocabulary] = kept
        return kept[1]

    def embed_behind(self, contexts: Tensor) -> Tensor:
        """(B, K, D) embeddings of the names behind (B, N, width) contexts."""
        words = self.text_encoder(self._tokens, contexts=contexts)
        if words.shape[1] == len(self._share):
            return words
        return self._share.to(words.dtype) @ words

    def train(self, mode: bool = True):
        """Also drops the kept embeddings: weights may be swapped between epochs."""
        self._forget()
        return super().train(mode)

    def _apply(self, *args, **kwargs):
        self._forget()
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        # mmengine loads with strict=False and would only log a misfit.
        check_weights(self, state_dict, prefix)
        self._forget()
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _forget(self) -> None:
        self._kept: dict[Vocabulary, tuple[list[int], Tensor]] = {}


def _words(vocabulary: Vocabulary) -> list[str]:
    return [word for entry in vocabulary.words for word in entry]
