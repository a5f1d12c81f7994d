"""Load batches that do not depend on where a run was stopped and resumed."""
import inspect
import logging
from collections.abc import Iterator

import torch
from mmengine.logging import print_log
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ...errors import DataError
from .rng_state import OwnStream
from .seeded_samples import NumberedBatches, SeededSamples

# Samplers whose only pass never ends, by name: mmdet need not be installed.
_ENDLESS = ('InfiniteSampler', 'MultiSourceSampler', 'GroupMultiSourceSampler')


def check_first_batch(loader) -> None:
    """Reject a loader without a single batch, with which training would do nothing.

    Raises:
        DataError: Names the data set, its samples and the batch that they do not fill.
    """
    if not isinstance(loader, DataLoader) or isinstance(
            loader.dataset, IterableDataset) or len(loader):
        return
    samples, size = len(loader.dataset), loader.batch_size
    if not samples or size is None:
        raise DataError(
            f'The {type(loader.dataset).__name__} of train_dataloader has {samples} '
            'samples, and its loader gives no batch.')
    share = len(loader.sampler)
    each = '' if share == samples else f', {share} for each process'
    raise DataError(
        f'The {type(loader.dataset).__name__} of train_dataloader has {samples} samples'
        f'{each}: less than a batch of {size}, and drop_last=True leaves out a batch '
        f'that is not full. Set train_dataloader.batch_size to {share} or less.')


def never_ends(loader) -> bool:
    """Whether a pass over the data has no end: the sampler begins again by itself."""
    return isinstance(loader, RepeatableLoader) and any(
        kind.__name__ in _ENDLESS for part in loader.numbered.samplers()
        for kind in type(part).__mro__)


def warn_about_repeated_samples(loader) -> None:
    """Warn if an endless sampler fills a batch with the same samples several times."""
    if never_ends(loader) and loader.batch_size and (
            len(loader.sampler) < loader.batch_size):
        samples = len(loader.sampler)
        print_log(
            f'The {type(loader.dataset).__name__} of train_dataloader has {samples} '
            f'samples for each process, less than a batch of {loader.batch_size}: a '
            'batch holds some of them several times. Set train_dataloader.batch_size '
            f'to {samples} or less to avoid that.', 'current', logging.WARNING)


def repeatable_loader(loader, seed: int, rank: int) -> 'RepeatableLoader | None':
    """A loader of the same data and settings whose batches can start anywhere.

    Args:
        loader: A torch ``DataLoader``, not iterated yet.
        seed: Seed of the run.
        rank: Rank of this process.

    Returns:
        None if the batches cannot be numbered: the data set is a stream, or the loader
        is not torch's own class.
    """
    if isinstance(loader, RepeatableLoader):
        return loader
    if type(loader) is not DataLoader or isinstance(loader.dataset, IterableDataset):
        return None
    if loader.batch_size is None:
        batching = dict(batch_size=None, sampler=loader.sampler) if (
            loader.batch_sampler is None) else dict(batch_sampler=loader.batch_sampler)
    else:
        batching = dict(batch_size=loader.batch_size, sampler=loader.sampler,
                        drop_last=loader.drop_last)
    return RepeatableLoader(
        loader.dataset, seed=seed, rank=rank, **batching, **_loading_settings(loader))


class RepeatableLoader(DataLoader):
    """A ``DataLoader`` whose batches follow from (seed, rank, pass, number) alone.

    Neither the number of workers nor what is drawn elsewhere changes them, the loader
    draws nothing from the generators of the training, and ``numbered.start_at`` lets it
    start anywhere without loading what comes before.

    Args:
        dataset, settings: As for ``DataLoader``.
        seed: Seed of the run.
        rank: Rank of this process.
    """

    def __init__(self, dataset: Dataset, *, seed: int, rank: int, **settings) -> None:
        super().__init__(dataset, **settings)
        self.numbered = NumberedBatches(self._index_sampler, seed, rank)
        self._watch = True
        given = (getattr(part, 'generator', None)
                 for part in (self, *self.numbered.samplers()))
        self._generators = {generator: generator.initial_seed() for generator in given
                            if isinstance(generator, torch.Generator)}

    def __iter__(self) -> Iterator:
        numbered = self.numbered
        # Generators that were given to the loader follow from the pass, too.
        for generator, first_seed in self._generators.items():
            generator.manual_seed((first_seed + 7919 * numbered.pass_index) % 2**63)
        try:
            with OwnStream(numbered.seed, numbered.rank, numbered.pass_index):
                return super().__iter__()
        finally:
            numbered.start = 0  # For a hook that iterates over the data, too.

    def _get_iterator(self) -> Iterator:
        # Called by torch for each pass, or once if its workers persist.
        batching = dict(batch_size=None, sampler=self.numbered) if (
            self.batch_sampler is None) else dict(batch_sampler=self.numbered)
        watch, self._watch = self._watch, False
        return iter(DataLoader(
            SeededSamples(self.dataset, watch), **batching, **_loading_settings(self)))


def _loading_settings(loader: DataLoader) -> dict:
    """Arguments of ``DataLoader`` other than what is loaded in which order."""
    names = inspect.signature(DataLoader).parameters.keys() - {
        'dataset', 'batch_size', 'shuffle', 'sampler', 'batch_sampler', 'drop_last'}
    return {name: getattr(loader, name) for name in names}


def sampler_seeds(loader: RepeatableLoader) -> list[int | None]:
    """Seeds of a loader's samplers, the outermost first."""
    return [getattr(part, 'seed', None) for part in loader.numbered.samplers()]


def set_sampler_seeds(loader: RepeatableLoader, seeds: list[int | None]) -> None:
    """Give the samplers the seeds of an earlier run, before they are iterated."""
    for part, seed in zip(loader.numbered.samplers(), seeds, strict=False):
        if seed is not None and hasattr(part, 'seed'):
            part.seed = seed
