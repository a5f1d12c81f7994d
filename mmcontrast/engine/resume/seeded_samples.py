"""Seed every sample from its position in the run, so that any batch can be repeated."""
from collections.abc import Iterator
from contextlib import nullcontext
from typing import NamedTuple

from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import (
    BatchSampler,
    Dataset,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    get_worker_info,
)

from .rng_state import OwnStream, preserved_rng, seed_cpu
from .transform_state import TransformWatch

# Draw from the shared generators when a pass begins and not later. Other samplers may
# say so in a class attribute draws_at_start_only.
_DRAW_AT_START = (BatchSampler, SequentialSampler, RandomSampler, DistributedSampler,
                  DefaultSampler, InfiniteSampler)
# By name: mmdet need not be installed.
_DRAW_AT_START_NAMES = (
    'mmdet.datasets.samplers.batch_sampler.AspectRatioBatchSampler',)


class SeededIndices(NamedTuple):
    """What a loader process is sent for a batch: samples, and what to seed them with.

    Attributes:
        key: (seed, rank, pass over the data, index of the batch in it).
        indices: What the (batch) sampler gave.
    """

    key: tuple[int, int, int, int]
    indices: object


class NumberedBatches:
    """The batches of a sampler with their numbers, from any number on.

    Args:
        sampler: What the loader takes indices from: its batch sampler, or its sampler
            if it makes no batches.
        seed: Seed of the run.
        rank: Rank of this process.
    """

    def __init__(self, sampler, seed: int, rank: int) -> None:
        self.sampler, self.seed, self.rank = sampler, seed, rank
        self.pass_index, self.start = 0, 0
        self._draws_later = not all(
            kind in _DRAW_AT_START
            or f'{kind.__module__}.{kind.__qualname__}' in _DRAW_AT_START_NAMES
            or getattr(kind, 'draws_at_start_only', False)
            for kind in map(type, self.samplers()))

    def samplers(self) -> Iterator[Sampler]:
        """The sampler, the one it draws from, and so on."""
        part = self.sampler
        while part is not None:
            yield part
            part = getattr(part, 'sampler', None)

    def start_at(self, pass_index: int, start: int = 0) -> int:
        """Let the next pass be ``pass_index``, without its first ``start`` batches.

        Returns:
            The number of its first batch: ``start``, unless a sampler that keeps its
            own position (:class:`ShardSampler`) stands somewhere else.
        """
        self.pass_index, self.start, self._to_skip = pass_index, start, start
        for part in self.samplers():
            images = getattr(part, 'num_skipped', None)
            if images is not None:
                self._to_skip = 0
                if not part.endless:
                    size = getattr(self.sampler, 'batch_size', None) or 1
                    self.start = (len(self.sampler) if images >= part.num_samples
                                  else images // size)
        return self.start

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[SeededIndices]:
        # torch asks for an iterator twice when it starts workers that stay.
        return self._requests(
            self.pass_index, self.start, self._to_skip if self.start else 0)

    def _requests(self, pass_index: int, number: int, to_skip: int
                  ) -> Iterator[SeededIndices]:
        # A sampler draws from a stream of its own: neither training steps in between
        # nor workers that prefetch batches change its order.
        stream = OwnStream(self.seed, pass_index)
        batches = iter(self.sampler)
        drawn = 0
        while True:
            try:
                with stream if self._draws_later or not drawn else nullcontext():
                    indices = next(batches)
            except StopIteration:
                return
            drawn += 1
            if drawn > to_skip:
                yield SeededIndices((self.seed, self.rank, pass_index, number), indices)
                number += 1


class SeededSamples(Dataset):
    """A data set as the loader processes see it: seeded for every sample.

    Attributes are those of the data set.

    Args:
        dataset: The data set.
        watch: Whether the first batch of the first process is to show which transforms
            remember samples; a warning names them.
    """

    def __init__(self, dataset: Dataset, watch: bool = False) -> None:
        self.dataset, self.watch = dataset, watch

    def __getitems__(self, request: SeededIndices) -> list:
        # In the main process the model draws from the same generators.
        worker = get_worker_info()
        watching = TransformWatch(self.dataset) if (
            self.watch and request.key[1] == 0 and not (worker and worker.id)) else None
        self.watch = False
        with preserved_rng(cuda=False) if worker is None else nullcontext():
            batch = self._load(request)
        if watching:
            watching.warn()
        return batch

    def __getitem__(self, request: SeededIndices):
        return self.__getitems__(SeededIndices(request.key, [request.indices]))[0]

    def _load(self, request: SeededIndices) -> list:
        load_batch = getattr(self.dataset, '__getitems__', None)
        if load_batch is not None:
            seed_cpu(*request.key)
            return load_batch(request.indices)
        batch = []
        for k, index in enumerate(request.indices):
            seed_cpu(*request.key, k)
            batch.append(self.dataset[index])
        return batch

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str):
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(name)  # While it is being unpickled.
        return getattr(self.dataset, name)
