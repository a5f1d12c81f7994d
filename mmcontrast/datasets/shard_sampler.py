"""Sample from tar shards: shuffling, split by rank, resumable position."""
import zlib
from collections.abc import Iterator

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from ..registry import DATA_SAMPLERS
from .shards import ShardedImages


@DATA_SAMPLERS.register_module()
class ShardSampler(Sampler):
    """Shuffle shards, shuffle images within a buffer, split by rank.

    An epoch is a sequence of all images: the shards one after the other, in an order
    drawn from (seed, epoch). Rank r of R reads the r-th of R equal parts of it, in
    which every image moves by less than ``buffer_size`` positions. So a rank reads few
    shards, each from start to end, and nothing is held in memory. The loader assigns
    whole batches to its workers in turn: number and content of the batches do not
    depend on the number of workers.

    The parts have ceil(N / R) images, so every rank has the same number of batches; the
    last part wraps around to the start, and at most R - 1 images are read twice in an
    epoch.

    Args:
        dataset: :class:`ShardedImages`.
        shuffle: Whether to shuffle; else images come in the order of the shards.
        buffer_size: Range of the shuffle. Larger mixes better; smaller reads disks and
            networks more sequentially.
        seed: By default one that all ranks share.
    """

    # Exact resume: between two batches nothing is drawn from the shared generators.
    draws_at_start_only = True

    def __init__(self, dataset: ShardedImages, shuffle: bool = True,
                 buffer_size: int = 10000, seed: int | None = None) -> None:
        if not isinstance(dataset, ShardedImages):
            raise TypeError(
                f'ShardSampler reads ShardedImages, got {type(dataset).__name__}. For '
                "other datasets: sampler=dict(type='DefaultSampler', shuffle=True).")
        if buffer_size < 1:
            raise ValueError(f'buffer_size must be 1 or more, got {buffer_size}.')
        self.dataset = dataset
        self.shuffle = shuffle
        self.buffer_size = buffer_size
        self.seed = sync_random_seed() if seed is None else seed
        self.rank, self.world_size = get_dist_info()
        self.num_samples = -(-len(dataset) // self.world_size)
        self.epoch = 0
        # Whether epochs follow each other endlessly, for iteration-based loops.
        self.endless = False
        self._done = 0
        self._has_position = False

    def __len__(self) -> int:
        """Images of one rank in a whole epoch, also after :meth:`set_position`."""
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        done, self._done = self._done, 0
        epoch = self.epoch
        yield from self.order(epoch)[done:].tolist()
        while self.endless:
            epoch += 1
            yield from self.order(epoch).tolist()

    def order(self, epoch: int) -> np.ndarray:
        """(num_samples,) indices that this rank reads in an epoch."""
        starts = self.dataset.shard_starts()
        counts = np.diff(starts, append=len(self.dataset))
        shards = np.arange(len(starts))
        if self.shuffle:
            shards = np.random.default_rng([self.seed, epoch]).permutation(shards)
        ends = counts[shards].cumsum()
        first = self.rank * self.num_samples
        positions = np.arange(first, first + self.num_samples) % len(self.dataset)
        which = ends.searchsorted(positions, side='right')
        order = positions + (starts[shards] - (ends - counts[shards]))[which]
        if not self.shuffle:
            return order
        rng = np.random.default_rng([self.seed, epoch, self.rank])
        moved = np.arange(len(order)) + rng.random(len(order)) * self.buffer_size
        return order[moved.argsort(kind='stable')]

    def set_position(self, epoch: int, done: int) -> None:
        """Start the next pass in ``epoch``, after the first ``done`` images of it."""
        self.epoch, self._done, self._has_position = epoch, done, True

    @property
    def num_skipped(self) -> int | None:
        """Images of its epoch that the next pass skips; None if no position was set."""
        return self._done if self._has_position else None

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch; that of :meth:`set_position` continues from its position."""
        if not self.endless and epoch != self.epoch:
            self.epoch, self._done = epoch, 0

    def skip(self, num_samples: int) -> None:
        """Resume iteration-based loops as mmengine does, by the images since the start.

        :meth:`set_position`, which is exact, takes precedence.
        """
        if not self._has_position:
            self.set_position(*divmod(num_samples, self.num_samples))

    def layout(self) -> dict[str, int | bool]:
        """What determines the order; a position is valid for the same layout only."""
        names = self.dataset.data_list.names
        return dict(
            seed=int(self.seed), shuffle=self.shuffle, buffer_size=self.buffer_size,
            world_size=self.world_size, num_images=len(self.dataset),
            names=zlib.crc32(names), shards=zlib.crc32(self.dataset.shard_starts()))
