"""Loaders that give the same batches however often they are stopped."""
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, IterableDataset

from ..runner.run_errors import DataError
from .rng_state import OwnStream
from .seeded_samples import NumberedBatches, SeededSamples


def check_first_batch(loader) -> None:
    """Refuse a loader without a single batch, for which training would do nothing.

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


def make_repeatable(loader, seed: int, rank: int) -> bool:
    """Let a loader's batches follow from (seed, rank, pass, number) alone.

    From then on neither the number of workers nor what is drawn elsewhere changes them,
    the loader draws nothing from the generators of the training, and
    ``loader.numbered.place`` lets it start anywhere without loading what comes before.
    The loader stays the object that it is; its data set, sampler and other attributes
    stay what hooks and metrics expect.

    Args:
        loader: A torch ``DataLoader``, not iterated yet.
        seed: Seed of the run.
        rank: Number of this process.

    Returns:
        False, with nothing done, if the loader has no indices to number: a data set
        that is a stream, or a loader that is not torch's.
    """
    if not isinstance(loader, DataLoader) or isinstance(
            loader.dataset, IterableDataset):
        return False
    if not isinstance(loader, RepeatableLoader):
        loader.numbered = NumberedBatches(loader._index_sampler, seed, rank)
        kind = type(loader)
        loader.__class__ = RepeatableLoader if kind is DataLoader else type(
            f'Repeatable{kind.__name__}', (RepeatableLoader, kind), {})
    return True


class RepeatableLoader(DataLoader):
    """torch's loader after :func:`make_repeatable`."""

    @property
    def _index_sampler(self) -> NumberedBatches:
        return self.numbered

    def __iter__(self) -> Iterator:
        numbered, dataset = self.numbered, self.dataset
        self._seed_generators()
        # Past torch's __setattr__, which wants the data set to stay: it does, outside.
        vars(self)['dataset'] = SeededSamples(dataset)
        try:
            with OwnStream(numbered.seed, numbered.rank, numbered.pass_index):
                return super().__iter__()
        finally:
            vars(self)['dataset'] = dataset
            numbered.start = 0  # For a hook that goes through the data, too.

    def _seed_generators(self) -> None:
        """Let generators that were given to the loader follow from the pass, too."""
        given = [getattr(part, 'generator', None)
                 for part in (self, *self.numbered.parts())]
        for generator in {id(g): g for g in given
                          if isinstance(g, torch.Generator)}.values():
            first = vars(self).setdefault('_first_seeds', {}).setdefault(
                id(generator), generator.initial_seed())
            generator.manual_seed((first + 7919 * self.numbered.pass_index) % 2**63)


def sampler_seeds(loader) -> list[int | None]:
    """Seeds of a loader's samplers, from outside to inside."""
    return [getattr(part, 'seed', None) for part in loader.numbered.parts()]


def set_sampler_seeds(loader, seeds: list[int | None]) -> None:
    """Give the samplers the seeds of an earlier run, before they are iterated."""
    for part, seed in zip(loader.numbered.parts(), seeds, strict=False):
        if seed is not None and hasattr(part, 'seed'):
            part.seed = seed
