"""Provide images from tar shards in the WebDataset layout."""
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import UserValueError
from ..io.size_limit import check_size
from ..registry import DATASETS
from .bad_images import BadImage, Reason
from .image_lists import IMAGE_SUFFIXES
from .images import UnlabeledImages
from .storage.shard_names import expand_shards
from .storage.tar_headers import NO_LABEL
from .storage.tar_index import ImageTable, read_table

_MAX_OPEN = 64


@DATASETS.register_module()
class ShardedImages(UnlabeledImages):
    """Images of tar shards in the layout of WebDataset, read without unpacking.

    The headers of the shards are read once and indexed in a file beside them. So the
    dataset has a length and is read by index, like any other: ``ShardSampler`` goes
    through it shard by shard, splits it by rank, and can start in the middle of an
    epoch; the loader gives every worker whole batches. (WebDataset's streams would have
    to read everything up to a resume position, give workers parts of unequal length,
    and do not know their number of images.)

    The pipeline gets ``img_bytes``, the encoded file, and ``img_path``,
    ``SHARD.tar/MEMBER``, for messages. Images that cannot be decoded are replaced and
    listed as those of :class:`UnlabeledImages`.

    Args:
        shards: ``'data/train-{000000..000099}.tar'``, a glob, or a list of both.
            Local files only; nothing is ever executed (``pipe:``) or downloaded.
        data_root: Folder that ``shards`` is relative to.
        with_label: Whether every sample must have an integer ``.cls``.
        suffixes: Endings of images, in any case. Of several images in a sample, the one
            first in this list is taken. The ending starts at the first dot of a name.
        max_bad_share: See :class:`UnlabeledImages`.
        index_file: File of the index, by default beside the first shard; see
            :func:`~mmcontrast.datasets.storage.tar_index.read_table`.
        pipeline: Transforms.
        kwargs: See mmengine's ``BaseDataset``.

    Raises:
        FileNotFoundError: If a shard is missing.
        ValueError: If a shard is damaged, cut short or without an image; names it.
    """

    #: Whether the table of the shards locates texts.
    with_texts = False

    def __init__(self, shards: str | Sequence[str], data_root: str = '',
                 with_label: bool = False, suffixes: Sequence[str] = IMAGE_SUFFIXES,
                 max_bad_share: float = 0.1, index_file: str | None = None,
                 pipeline: Sequence[dict | Callable] = (), **kwargs) -> None:
        # By name, so that the lint can follow what is done with kwargs.
        given = dict(ann_file=kwargs.get('ann_file'),
                     data_prefix=kwargs.get('data_prefix'))
        foreign = [name for name, value in given.items() if value]
        if foreign:
            name = type(self).__name__
            raise ValueError(
                f'{name} takes no {" and no ".join(sorted(foreign))}. If it is '
                'inherited from another data set, write dataset=dict(_delete_=True, '
                f"type='{name}', shards=..., pipeline=...).")
        self.shards = shards if isinstance(shards, str) else list(shards)
        self.index_file = index_file
        self._files = _OpenFiles()
        super().__init__(
            data_root=data_root, with_label=with_label, suffixes=suffixes,
            max_bad_share=max_bad_share, pipeline=pipeline, serialize_data=False,
            **kwargs)

    @property
    def archive(self) -> None:
        return None

    @property
    def source(self) -> str:
        return str(self.shards)

    def load_data_list(self) -> ImageTable:
        paths = expand_shards(self.shards, self.data_root)
        table = read_table(
            paths, self.suffixes, self.index_file, with_texts=self.with_texts)
        if self.with_label and (table.label == NO_LABEL).any():
            first = table[int(np.argmax(table.label == NO_LABEL))]['img_path']
            raise ValueError(
                f'with_label=True expects an integer .cls in every sample; that of '
                f'{first} has none, as {int((table.label == NO_LABEL).sum())} of '
                f'{len(table)}.')
        return table

    def shard_starts(self) -> np.ndarray:
        """Indices at which the images of another shard begin; the first is 0."""
        self.full_init()
        return self.data_list.shard_starts()

    def prepare_data(self, idx: int) -> dict:
        return self.pipeline(self.read_item(idx))

    def read_item(self, idx: int) -> dict:
        """Item ``idx`` as the pipeline gets it."""
        info = self.get_data_info(idx)
        place = [info.pop(key) for key in ('shard', 'offset', 'size')]
        if not self.with_label:
            info.pop('label', None)
        try:
            check_size(info['img_path'], place[2])
        except UserValueError as error:
            raise BadImage(
                info['img_path'], Reason.UNREADABLE, str(error)) from None
        return info | dict(img_bytes=self._files.read(*place))

    def _get_unserialized_subset(self, indices: int | Sequence[int]) -> ImageTable:
        if isinstance(indices, int):
            return super()._get_unserialized_subset(indices)
        return self.data_list.take(list(indices))


class _OpenFiles:
    """The most recently used files, kept open; positional reads are safe in forks."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, int] = OrderedDict()

    def read(self, path: str, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` on.

        Raises:
            ValueError: If the file cannot be read or is shorter than that.
        """
        try:
            data = os.pread(self._file(path), size, offset)
        except OSError as error:
            raise ValueError(f'Shard {path} cannot be read: {error}.') from None
        if len(data) < size:
            raise ValueError(
                f'Shard {path} has become shorter since the start: expected {size:,} '
                f'bytes at {offset:,}, got {len(data):,}. Was it rewritten?')
        return data

    def _file(self, path: str) -> int:
        if path not in self._open:
            self._open[path] = os.open(path, os.O_RDONLY)
            if len(self._open) > _MAX_OPEN:
                os.close(self._open.popitem(last=False)[1])
        self._open.move_to_end(path)
        return self._open[path]

    def __reduce__(self) -> tuple:
        return _OpenFiles, ()  # spawned processes and copies open the files themselves

    def __del__(self) -> None:
        for file in self._open.values():
            os.close(file)
