"""Compute zero-shot class embeddings from prompts, and cache them on disk."""
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import Tensor

from ...io.checkpoint import read_checkpoint, write_checkpoint
from ..functional import l2_normalize
from .class_texts import mean_by_class
from .encoder import CLIPTextEncoder
from .templates import fill_templates, read_templates
from .tokenizer import tokenize
from .vocabulary import Vocabulary, read_vocabulary


def embed_classes(
        encoder: CLIPTextEncoder,
        classes: str | Path | Sequence | Mapping | Vocabulary,
        templates: str | Path | Sequence[str] = 'name',
        cache: 'str | Path | EmbeddingCache | None' = None,
        batch_size: int = 512) -> Tensor:
    """Zero-shot classifier of CLIP: an embedding per class, without learned contexts.

    Each prompt of a class, every synonym in every template, is embedded and
    normalized; their mean is normalized again (CLIP, ICML 2021, section 3.1.4), with
    synonyms as further members of the ensemble.

    Args:
        encoder: Text tower.
        classes: As for :func:`read_vocabulary`.
        templates: As for :func:`read_templates`.
        cache: Folder of cached embeddings; the same prompts through the same weights
            are not encoded again, in this run or a later one.
        batch_size: Prompts per forward pass of the encoder.

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


class EmbeddingCache:
    """Text embeddings on disk, one file for each tower, weights and list of prompts.

    Files are written atomically and read as data only; several processes may share a
    folder. The content of a file is compared with the request.

    Args:
        folder: Created when the first embeddings are written.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).expanduser()

    def fetch(self, tower: dict[str, str], prompts: list[list[str]],
              compute: Callable[[], Tensor]) -> Tensor:
        """Read the embeddings of prompts, or compute and write them.

        A damaged file is written again and a folder that cannot be written is left
        alone, both with a warning.

        Args:
            tower: What the embeddings depend on, from :func:`describe_tower`.
            prompts: Prompts of each of K classes.
            compute: Returns the (K, D) embeddings.

        Returns:
            (K, D), on the CPU if they were cached.
        """
        key = dict(tower, prompts=prompts)
        path = self.path_of(key)
        cached = self._read(path, key)
        if cached is not None:
            return cached
        embeds = compute()
        try:
            write_checkpoint(dict(key=key, embeddings=embeds.cpu()), path)
        except OSError as error:
            _warn(f'Text embeddings are not cached: {path} is not writable ({error}).')
        return embeds

    def path_of(self, key: dict) -> Path:
        """The file of a key, whether it exists or not."""
        text = json.dumps(key, sort_keys=True)
        return self.folder / f'{hashlib.sha256(text.encode()).hexdigest()[:32]}.pth'

    def _read(self, path: Path, key: dict) -> Tensor | None:
        """Embeddings of a file; None without a usable one."""
        if not path.is_file():
            return None
        try:
            content = read_checkpoint(path)
            embeds = content.get('embeddings')
            fits = (content.get('key') == key and isinstance(embeds, Tensor)
                    and embeds.ndim == 2 and len(embeds) == len(key['prompts'])
                    and bool(embeds.isfinite().all()))
        except (ValueError, OSError) as error:
            _warn(f'Text embeddings are computed again: {error}')
            return None
        if not fits:
            _warn(f'Text embeddings are computed again: {path} holds those of other '
                  'prompts or weights.')
        return embeds if fits else None


@torch.no_grad()
def describe_tower(encoder: CLIPTextEncoder) -> dict[str, str]:
    """Key of a text encoder in a cache: its architecture and a hash of its weights."""
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
    embeds = torch.cat([encoder(part) for part in tokens.split(batch_size)])
    counts = torch.tensor([len(group) for group in prompts], device=embeds.device)
    return l2_normalize(mean_by_class(l2_normalize(embeds, dim=-1), counts), dim=-1)


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
