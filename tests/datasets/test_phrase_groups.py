"""Phrases of one image stay together, and each comes once an epoch."""
import itertools
from collections import Counter

import pytest
import torch
from mmengine.structures import BaseDataElement

from mmcontrast.datasets.grounding import PhraseGroupSampler, collate_phrases
from mmcontrast.errors import UserValueError
from mmcontrast.registry import DATA_SAMPLERS, DATASETS
from tests.helpers import grounding_files as files


class Phrases:
    """Image i has ``counts[i]`` phrases; its items are not neighbors."""

    def __init__(self, counts):
        self.images = [f'{i}.jpg' for turn in range(max(counts))
                       for i, count in enumerate(counts) if turn < count]

    def __len__(self):
        return len(self.images)

    def image_ids(self):
        return self.images


def groups(dataset, order):
    """(image, number of neighbors) in an order."""
    return [(image, len(list(several))) for image, several in itertools.groupby(
        dataset.images[i] for i in order)]


def test_every_phrase_comes_once_in_groups_of_its_image():
    dataset = Phrases([7, 1, 4, 9, 2])
    sampler = PhraseGroupSampler(dataset, 4, seed=0)
    for epoch in range(20):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert sorted(order) == list(range(23)) and len(sampler) == 23
        # Groups of 4, and what is left; two of an image may happen to be neighbors.
        found = Counter()
        for image, count in groups(dataset, order):
            found[image] += -(-count // 4)
        assert {image: found[image] for image in dataset.images} == {
            '0.jpg': 2, '1.jpg': 1, '2.jpg': 1, '3.jpg': 3, '4.jpg': 1}


def test_groups_and_their_order_are_drawn_anew():
    dataset = Phrases([8] * 6)
    sampler = PhraseGroupSampler(dataset, 4, seed=3)
    first = list(sampler)
    assert first == list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    pairs = [{frozenset(order[i:i + 4]) for i in range(0, 48, 4)}
             for order in (first, second)]
    assert len(pairs[0] & pairs[1]) < 3
    assert list(PhraseGroupSampler(dataset, 4, seed=4)) != first
    assert list(PhraseGroupSampler(dataset, 4, shuffle=False)) == list(range(48))


@pytest.mark.parametrize('round_up, sizes', [(True, [8, 8, 8]), (False, [8, 7, 7])])
def test_ranks_read_parts_that_keep_groups_together(monkeypatch, round_up, sizes):
    dataset, parts = Phrases([4, 4, 4, 4, 4, 2]), []
    for rank in range(3):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda r=rank: (
            r, 3))
        sampler = PhraseGroupSampler(dataset, 4, seed=0, round_up=round_up)
        parts.append(list(sampler))
        assert len(sampler) == len(parts[-1])
    assert [len(part) for part in parts] == sizes
    assert sorted({i for part in parts for i in part}) == list(range(22))
    # At most two of the six groups are cut.
    assert sum(len(groups(dataset, part)) for part in parts) <= 6 + 2 + round_up


def test_datasets_of_phrases_tell_their_images(tmp_path):
    files.write_official(tmp_path)
    data = DATASETS.build(dict(
        type='GroundingDataset', ann_file='refs(unc).p', data_root=str(tmp_path),
        split='train', data_prefix=dict(img_path='train2014'), sentences='each',
        instances='instances.json'))
    toy = DATASETS.build(dict(type='ShapesGrounding', num_images=3, size=32))
    for dataset in (data, toy):
        assert dataset.image_ids() == [
            dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]
        sampler = DATA_SAMPLERS.build(dict(
            type='PhraseGroupSampler', dataset=dataset, group_size=2))
        assert sorted(sampler) == list(range(len(dataset)))


def test_neighbors_with_the_same_pixels_are_noted():
    """One image twice, the same mirrored, another one, and the first again."""
    first = torch.arange(12.).view(3, 2, 2)
    images = [first, first.clone(), first.flip(2), first + 1, first]
    batch = collate_phrases([
        dict(inputs=image, data_samples=BaseDataElement()) for image in images])
    assert [sample.shared_image for sample in batch['data_samples']] == [0, 0, 1, 2, 3]
    assert all(x is y for x, y in zip(batch['inputs'], images, strict=True))


def test_other_datasets_and_sizes_are_refused():
    with pytest.raises(UserValueError, match='needs GroundingDataset or .*, got list'):
        PhraseGroupSampler([1, 2])
    with pytest.raises(UserValueError, match='group_size must be 1 or more .* got 0'):
        PhraseGroupSampler(Phrases([1]), 0)
