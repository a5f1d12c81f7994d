"""Class embeddings: prompts through a text tower, averaged as CLIP does."""
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..functional import l2_normalize
from .cache import EmbeddingCache
from .encoder import CLIPTextEncoder
from .templates import fill_templates, read_templates
from .tokenizer import tokenize
from .vocabulary import Vocabulary, read_vocabulary


def embed_classes(
        encoder: CLIPTextEncoder,
        classes: str | Path | Sequence | Mapping | Vocabulary,
        templates: str | Path | Sequence[str] = 'name',
        cache: str | Path | EmbeddingCache | None = None,
        batch_size: int = 512) -> Tensor:
    """Embeddings of classes, without learned contexts.

    Each prompt of a class, every synonym in every template, is embedded and
    normalized; their mean is normalized again: the zero-shot classifier of CLIP (ICML
    2021, section 3.1.4), with synonyms as further members of the ensemble.

    Args:
        encoder: Text tower.
        classes: As for :func:`read_vocabulary`.
        templates: As for :func:`read_templates`.
        cache: Folder in which embeddings are kept; the same prompts through the same
            weights are not encoded again, in this run or a later one.
        batch_size: Prompts that go through the tower at a time.

    Returns:
        (K, embed_dims) unit vectors in float32 on the encoder's device; no gradient.

    Raises:
        ValueError: If a prompt is longer than the tower's context, or the vocabulary or
            the templates cannot be used.
    """
    prompts = fill_templates(read_vocabulary(classes), read_templates(templates))

    def compute() -> Tensor:
        return _mean_embeddings(encoder, prompts, batch_size)

    if cache is None:
        return compute()
    if not isinstance(cache, EmbeddingCache):
        cache = EmbeddingCache(cache)
    embeds = cache.fetch(describe_tower(encoder), prompts, compute)
    return embeds.to(encoder.positional_embedding.device)


@torch.no_grad()
def describe_tower(encoder: CLIPTextEncoder) -> dict[str, str]:
    """What the embeddings of a text depend on: the tower and a hash of its weights."""
    digest = hashlib.sha256()
    for key, value in sorted(encoder.state_dict().items()):
        digest.update(f'{key} {tuple(value.shape)} {value.dtype}'.encode())
        digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return dict(tower=f'{type(encoder).__name__} heads={encoder.sizes.heads} '
                      f'quick_gelu={encoder.quick_gelu}', weights=digest.hexdigest())


@torch.no_grad()
def _mean_embeddings(encoder: CLIPTextEncoder, prompts: list[list[str]],
                     batch_size: int) -> Tensor:
    texts = [text for group in prompts for text in group]
    tokens = tokenize(texts, encoder.context_length)
    embeds = l2_normalize(
        torch.cat([encoder(part) for part in tokens.split(batch_size)])
    )
    groups = embeds.split([len(group) for group in prompts])
    return l2_normalize(torch.stack([group.mean(0) for group in groups]))
