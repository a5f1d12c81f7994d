"""Text embeddings on disk, so that nothing is encoded twice."""
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

from mmengine.logging import print_log
from torch import Tensor

from ...io.checkpoint import read_checkpoint, write_checkpoint


class EmbeddingCache:
    """A folder of text embeddings, a file for each tower, weights and list of texts.

    Files appear whole or not at all and are read as data; several processes may share a
    folder. What is in a file is compared with what was asked for.

    Args:
        folder: Made when the first embeddings are written.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).expanduser()

    def fetch(self, tower: dict[str, str], prompts: list[list[str]],
              compute: Callable[[], Tensor]) -> Tensor:
        """The embeddings of the prompts: those kept, or computed now and kept.

        A damaged file is written anew, with a warning; a folder that cannot be
        written costs a warning and the next run the same work.

        Args:
            tower: What the embeddings depend on, from :func:`describe_tower`.
            prompts: Texts of each of K classes.
            compute: Gives the (K, D) embeddings.

        Returns:
            (K, D), on the CPU if they were kept.
        """
        key = dict(tower, prompts=prompts)
        path = self.path_of(key)
        kept = self._read(path, key)
        if kept is not None:
            return kept
        embeds = compute()
        try:
            write_checkpoint(dict(key=key, embeddings=embeds.cpu()), path)
        except OSError as error:
            _warn(f'Text embeddings are not kept: {path} cannot be written ({error}).')
        return embeds

    def path_of(self, key: dict) -> Path:
        """Where the embeddings of a tower and texts lie."""
        text = json.dumps(key, sort_keys=True)
        return self.folder / f'{hashlib.sha256(text.encode()).hexdigest()[:32]}.pth'

    def _read(self, path: Path, key: dict) -> Tensor | None:
        """Embeddings of a file, None if there is none that can be used."""
        if not path.is_file():
            return None
        try:
            kept = read_checkpoint(path)
            embeds = kept.get('embeddings')
            fits = (kept.get('key') == key and isinstance(embeds, Tensor)
                    and embeds.ndim == 2 and len(embeds) == len(key['prompts'])
                    and bool(embeds.isfinite().all()))
        except (ValueError, OSError) as error:
            _warn(f'Text embeddings are computed again: {error}')
            return None
        if not fits:
            _warn(f'Text embeddings are computed again: {path} holds others than its '
                  'name says.')
        return embeds if fits else None


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
