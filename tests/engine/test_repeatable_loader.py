"""Batches follow from (seed, rank, pass, number), wherever a loader starts."""
import random
from itertools import islice
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset

from mmcontrast.engine.resume.loader import check_first_batch, repeatable_loader
from mmcontrast.engine.resume.rng_state import (
    OwnStream,
    get_rng_state,
    restore_rng_state,
    rng_state_from_data,
    rng_state_to_data,
    seed_cpu,
)
from mmcontrast.engine.resume.seeded_samples import NumberedBatches
from mmcontrast.engine.runner.run_errors import DataError


class Data(Dataset):
    metainfo = dict(classes=('a',))

    def __init__(self):
        self.asked = []

    def __len__(self):
        return 22

    def __getitem__(self, k):
        self.asked.append(k)
        return torch.tensor([k, random.random(), np.random.rand(), torch.rand(())],
                            dtype=torch.float64)


class Grouped(BatchSampler):
    """Odd and even samples in batches of their own, as mmdet groups by shape."""

    def __iter__(self):
        for rest in (0, 1):
            chosen = [k for k in self.sampler if k % 2 == rest]
            for start in range(0, 11, self.batch_size):
                np.random.shuffle(chosen)
                yield chosen[start:start + self.batch_size]

    def __len__(self):
        return 2 * -(-11 // self.batch_size)


LOADERS = dict(
    default=lambda data: dict(batch_size=4, sampler=DefaultSampler(data, seed=1)),
    infinite=lambda data: dict(batch_size=4, sampler=InfiniteSampler(data, seed=1)),
    torch=lambda data: dict(batch_size=4, shuffle=True, drop_last=True),
    generator=lambda data: dict(batch_size=4, shuffle=True,
                                generator=torch.Generator().manual_seed(5)),
    grouped=lambda data: dict(batch_sampler=Grouped(DefaultSampler(data, seed=1), 4,
                                                    False)),
    no_batches=lambda data: dict(batch_size=None, shuffle=True))


def loader(kind, workers=0, rank=0):
    data = Data()
    made = DataLoader(data, num_workers=workers, persistent_workers=workers > 0,
                      **LOADERS[kind](data))
    return repeatable_loader(made, seed=3, rank=rank)


def batches(made, pass_index, start=0, count=6):
    made.numbered.start_at(pass_index, start)
    random.random(), np.random.rand(), torch.rand(1)  # Drawn by somebody else.
    return [batch.tolist() for batch in islice(iter(made), count)]


@pytest.mark.parametrize('kind', LOADERS)
def test_starting_anywhere_gives_the_rest_of_the_pass(kind):
    whole = loader(kind)
    first, second = batches(whole, 0), batches(whole, 1, count=3)
    begun = loader(kind)
    begun.dataset.asked.clear()
    assert batches(begun, 0, 2, 4) == first[2:]
    # Nothing before the start was loaded.
    assert len(begun.dataset.asked) == sum(
        len(batch) if isinstance(batch[0], list) else 1 for batch in first[2:])
    if kind != 'infinite':  # Goes on with its one endless pass.
        assert batches(loader(kind), 1, 1, 2) == second[1:]
        assert first[:3] != second


@pytest.mark.parametrize('kind', ['default', 'torch', 'grouped'])
def test_workers_make_no_difference(kind):
    alone, helped = loader(kind), loader(kind, workers=2)
    for pass_index, start in ((0, 1), (1, 0)):  # The workers stay for the second.
        assert batches(helped, pass_index, start, 5) == batches(
            alone, pass_index, start, 5)


def test_ranks_draw_differently():
    mine, theirs = batches(loader('default'), 0), batches(loader('default', rank=1), 0)
    assert [row[0] for row in mine[0]] == [row[0] for row in theirs[0]]
    assert all(a[1:] != b[1:] for a, b in zip(mine[0], theirs[0], strict=True))


def test_every_sample_draws_its_own_numbers():
    rows = [row for pass_index in (0, 1) for batch in
            batches(loader('default'), pass_index) for row in batch]
    for column in (1, 2, 3):
        assert len({row[column] for row in rows}) == len(rows) == 44


@pytest.mark.parametrize('kind', LOADERS)
@pytest.mark.parametrize('workers', [0, 2])
def test_loading_leaves_the_generators_of_the_training_alone(kind, workers):
    made = loader(kind, workers)
    before = rng_state_to_data(get_rng_state())
    iterator = iter(made)
    next(iterator), next(iterator)
    after = rng_state_to_data(get_rng_state())
    assert torch.equal(before['torch'], after['torch'])
    assert torch.equal(before['python']['words'], after['python']['words'])
    assert torch.equal(before['numpy']['key'], after['numpy']['key'])
    assert before['numpy']['pos'] == after['numpy']['pos']


def test_the_loader_looks_as_it_did_to_hooks_and_metrics():
    data = Data()
    made = repeatable_loader(DataLoader(data, 4, sampler=DefaultSampler(data)), 0, 0)
    iter(made)
    assert made.dataset is data and isinstance(made, DataLoader)
    assert isinstance(made.sampler, DefaultSampler) and made.batch_size == 4
    assert type(made.batch_sampler) is BatchSampler and len(made) == 6


def test_streams_are_left_alone():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(5))
    assert repeatable_loader(DataLoader(Stream(), 2), 0, 0) is None
    assert repeatable_loader([1, 2], 0, 0) is None


def test_batches_of_mmdet_switch_generators_once_a_pass():
    sampler = pytest.importorskip('mmdet.datasets.samplers').AspectRatioBatchSampler
    data = Data()
    data.get_data_info = lambda k: dict(width=k % 3, height=1)
    numbered = NumberedBatches(sampler(DefaultSampler(data), 2), seed=0, rank=0)
    batches = iter(numbered)
    next(batches)
    state = torch.default_generator.get_state()
    with mock.patch.object(OwnStream, '__enter__', side_effect=AssertionError):
        assert len(list(batches)) == 10
    assert torch.equal(state, torch.default_generator.get_state())


def test_states_survive_a_checkpoint(tmp_path):
    random.gauss(0, 1), np.random.randn()  # Each keeps a second number for later.
    torch.save(rng_state_to_data(get_rng_state()), tmp_path / 'states.pth')
    drawn = random.gauss(0, 1), np.random.randn(), torch.randn(3).tolist()
    saved = torch.load(tmp_path / 'states.pth', weights_only=True)
    restore_rng_state(rng_state_from_data(saved))
    assert (random.gauss(0, 1), np.random.randn(), torch.randn(3).tolist()) == drawn


def test_a_stream_of_its_own_resumes_where_it_was():
    def draw():
        return random.random(), np.random.rand(), float(torch.rand(()))
    seed_cpu(1, 2)
    expected = [draw(), draw()]
    stream, drawn = OwnStream(1, 2), []
    for _ in range(2):
        with stream:
            drawn.append(draw())
        seed_cpu(9)
    assert drawn == expected


def test_a_set_smaller_than_a_batch_is_named_with_the_batch_size_to_take():
    class Photos(torch.utils.data.TensorDataset):
        pass

    data = Photos(torch.zeros(5))
    check_first_batch(DataLoader(data, 5, drop_last=True))
    check_first_batch(DataLoader(data, 8))
    with pytest.raises(DataError, match=(
            'Photos of train_dataloader has 5 samples: less than a batch of 8.*'
            'batch_size to 5 or less')):
        check_first_batch(DataLoader(data, 8, drop_last=True))
