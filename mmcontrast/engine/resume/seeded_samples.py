"""Samples that depend on their place in the run, and on nothing else."""
from collections.abc import Iterator
from typing import NamedTuple

from torch.utils.data import Dataset, Sampler, get_worker_info

from .rng_state import OwnStream, preserved_rng, seed_cpu

# Samplers that draw from the shared generators at the start of a pass at most.
_QUIET = {
    'torch.utils.data.sampler': ('BatchSampler', 'SequentialSampler', 'RandomSampler'),
    'torch.utils.data.distributed': ('DistributedSampler',),
    'mmengine.dataset.sampler': ('DefaultSampler', 'InfiniteSampler'),
    'mmdet.datasets.samplers.batch_sampler': ('AspectRatioBatchSampler',),
    'mmcontrast.datasets.shard_sampler': ('ShardSampler',)}


class Ticket(NamedTuple):
    """What a loader process is sent for a batch.

    Attributes:
        key: (seed, rank, pass over the data, number of the batch in it).
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
        rank: Number of this process.
    """

    def __init__(self, sampler, seed: int, rank: int) -> None:
        self.sampler, self.seed, self.rank = sampler, seed, rank
        self.pass_index, self.start = 0, 0
        self.is_quiet = all(type(part).__name__ in _QUIET.get(type(part).__module__, ())
                            for part in self.parts())

    def parts(self) -> Iterator[Sampler]:
        """The sampler, the one inside of it, and so on."""
        part = self.sampler
        while part is not None:
            yield part
            part = getattr(part, 'sampler', None)

    def place(self, pass_index: int, start: int = 0) -> int:
        """Let the next pass be ``pass_index``, without its first ``start`` batches.

        Returns:
            The number of its first batch: ``start``, unless a sampler that keeps its
            own place (:class:`ShardSampler`) stands somewhere else.
        """
        self.pass_index, self.start, self._to_skip = pass_index, start, start
        for part in self.parts():
            images = getattr(part, 'placed', None)
            if images is not None:
                self._to_skip = 0
                if not part.endless:
                    size = getattr(self.sampler, 'batch_size', None) or 1
                    self.start = (len(self.sampler) if images >= part.num_samples
                                  else images // size)
        return self.start

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Ticket]:
        # torch asks for an iterator twice when it starts workers that stay.
        return self._tickets(
            self.pass_index, self.start, self._to_skip if self.start else 0)

    def _tickets(self, pass_index: int, number: int, to_skip: int) -> Iterator[Ticket]:
        # What a sampler draws is drawn apart: a training step in between, or workers
        # that ask for batches ahead of time, make no difference to its order.
        stream = OwnStream(self.seed, pass_index)
        batches = iter(self.sampler)
        drawn = 0
        while True:
            try:
                if self.is_quiet and drawn:
                    indices = next(batches)
                else:
                    with stream:
                        indices = next(batches)
            except StopIteration:
                return
            drawn += 1
            if drawn > to_skip:
                yield Ticket((self.seed, self.rank, pass_index, number), indices)
                number += 1


class SeededSamples(Dataset):
    """A data set as the loader processes see it: seeded anew for every sample.

    Stands in the loader's place for the data set only while its processes start;
    ``loader.dataset`` is the data set itself. Attributes are those of the data set.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitems__(self, ticket: Ticket) -> list:
        if get_worker_info() is not None:
            return self._load(ticket)
        # In the main process the model draws from the same generators.
        with preserved_rng(cuda=False):
            return self._load(ticket)

    def __getitem__(self, ticket: Ticket):
        return self.__getitems__(Ticket(ticket.key, [ticket.indices]))[0]

    def _load(self, ticket: Ticket) -> list:
        load_batch = getattr(self.dataset, '__getitems__', None)
        if load_batch is not None:
            seed_cpu(*ticket.key)
            return load_batch(ticket.indices)
        batch = []
        for k, index in enumerate(ticket.indices):
            seed_cpu(*ticket.key, k)
            batch.append(self.dataset[index])
        return batch

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str):
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(name)  # While it is being unpickled.
        return getattr(self.dataset, name)
