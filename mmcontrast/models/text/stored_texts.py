"""Read class embeddings from files, for models whose text tower is missing."""
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from mmengine.model import BaseModule
from torch import Tensor

from ...errors import UserValueError, did_you_mean
from ...io.file_kinds import describe_content
from .vocabulary import Vocabulary, read_vocabulary

Classes = str | Path | Sequence | Mapping | Vocabulary


class StoredClassTexts(BaseModule):
    """Stands in for :class:`ClassTexts` where embeddings come as arrays.

    DITO's release ships them as ``lvis_embed.npy`` and ``bg_empty_embed.npy``. Another
    vocabulary may hold any of the stored classes, in any order.

    Args:
        vocabulary: The classes of the training, as for :func:`read_vocabulary`.
        embeddings: A ``.npy`` file, (N, D).
        background: A ``.npy`` file of (D,) or (N, D), of which the first row is taken;
            it becomes the last row of the embeddings. None for none.
        stored_classes: The N classes of the rows; None for ``vocabulary``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is no array of floats or has other rows.
    """

    def __init__(self, vocabulary: Classes, embeddings: str | Path,
                 background: str | Path | None = None,
                 stored_classes: Classes | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.trained_vocabulary = read_vocabulary(vocabulary)
        self._stored = (self.trained_vocabulary if stored_classes is None
                        else read_vocabulary(stored_classes))
        rows = _read_rows(embeddings)
        if len(rows) != len(self._stored):
            raise UserValueError(
                f'{embeddings} holds {len(rows)} embeddings, but the vocabulary has '
                f'{len(self._stored)} classes. Give the class list that the file '
                'was made for, in its order; a row for the background, which the '
                'tools of DITO put first, goes to a file of its own.')
        # Not among the weights: a checkpoint would hold another copy of the file.
        self.register_buffer('_rows', rows, persistent=False)
        self.register_buffer('_chosen', None, persistent=False)
        self.register_buffer('_background', None, persistent=False)
        if background is not None:
            self._background = _read_rows(background)[:1]
            if self._background.shape[1] != rows.shape[1]:
                raise UserValueError(
                    f'{background} has {self._background.shape[1]} dimensions, '
                    f'{embeddings} has {rows.shape[1]}. Use files of one text tower.')
        self.set_vocabulary(None)

    def __len__(self) -> int:
        """K, the number of classes."""
        return len(self.vocabulary)

    @property
    def embed_dims(self) -> int:
        """D."""
        return self._rows.shape[1]

    @property
    def class_names(self) -> list[str]:
        """One name a class of the current vocabulary."""
        return self.vocabulary.names

    @property
    def is_trained_vocabulary(self) -> bool:
        """Whether the current vocabulary is that of the training."""
        return self.vocabulary == self.trained_vocabulary

    @property
    def notes(self) -> list[list[str]]:
        """The trained vocabulary as plain data, for the ``meta`` of a checkpoint."""
        return [list(names) for names in self.trained_vocabulary.synonyms]

    def set_vocabulary(self, vocabulary: Classes | None) -> None:
        """Select rows by their names from now on; None for the trained classes.

        Raises:
            ValueError: If a class is not in the file.
        """
        vocabulary = (self.trained_vocabulary if vocabulary is None
                      else read_vocabulary(vocabulary))
        if self._chosen is not None and vocabulary == self.vocabulary:
            return
        known = {name.lower(): row
                 for row, names in enumerate(self._stored.synonyms)
                 for name in names}
        for name in vocabulary.names:
            if name.lower() not in known:
                raise UserValueError(
                    f'There is no stored embedding of {name!r}'
                    f'{did_you_mean(name.lower(), known)} Only a text encoder embeds '
                    'classes that are not in the file.')
        self._chosen = torch.tensor([known[name.lower()] for name in vocabulary.names],
                                    device=self._rows.device)
        self.vocabulary = vocabulary

    @contextmanager
    def temporarily(self, vocabulary: Classes | None) -> Iterator[None]:
        """Use another vocabulary within a ``with`` block."""
        before = self.vocabulary
        self.set_vocabulary(vocabulary)
        try:
            yield
        finally:
            self.set_vocabulary(before)

    def forward(self) -> Tensor:
        """(K, D) embeddings of the current vocabulary; with a background (K + 1, D).
        """
        rows = self._rows[self._chosen]
        return rows if self._background is None else torch.cat([rows, self._background])


def _read_rows(path: str | Path) -> Tensor:
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f'No embeddings at {path}. Expected a .npy file of class embeddings.')
    try:
        rows = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        what = describe_content(path)
        what = f'{error}.' if what is None or '.npy' in what else what
        raise UserValueError(f'{path} is no .npy file of numbers: {what}') from error
    if not isinstance(rows, np.ndarray) or rows.dtype.kind != 'f' or rows.ndim > 2:
        raise UserValueError(f'{path} must hold a (K, D) array of floats.')
    return torch.from_numpy(np.atleast_2d(rows).astype(np.float32))
