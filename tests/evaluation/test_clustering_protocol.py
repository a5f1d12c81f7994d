"""Dense protocols: clusters, and probes on sampled cells."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmcontrast.evaluation.kmeans import kmeans, nearest_center
from mmcontrast.evaluation.mask_protocols import (
    fit_knn,
    fit_linear,
    in_batches,
    sample_cells,
    score_clusters,
    score_probe,
)


def bundles(count, per_bundle, channels=6, std=0.1, seed=0):
    """Directions around ``count`` axes, and the axis of each."""
    generator = torch.Generator().manual_seed(seed)
    owner = torch.arange(count).repeat_interleave(per_bundle)
    noise = torch.randn(len(owner), channels, generator=generator)
    return torch.eye(channels)[owner] + std * noise, owner


def labeled_maps(permutation, images=4, side=6, noise=0.0, seed=0):
    """Maps whose cells point along the axis of ``permutation[label]``."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(permutation), (images, side, side), generator=generator)
    axes = torch.eye(len(permutation))[torch.tensor(permutation)]
    maps = axes[labels].permute(0, 3, 1, 2)
    return maps + noise * torch.randn(maps.shape, generator=generator), labels


# ---- k-means

def test_kmeans_finds_bundles_of_directions_whatever_their_length():
    features, owner = bundles(5, 40)
    features = features * torch.linspace(0.1, 10, len(features))[:, None]
    centers = kmeans(features, 5)
    torch.testing.assert_close(centers.norm(dim=1), torch.ones(5))
    _, found = nearest_center(F.normalize(features, dim=1), centers)
    assert len({(int(a), int(b)) for a, b in zip(found, owner, strict=True)}) == 5


def test_a_center_is_the_direction_of_the_mean_of_its_features():
    features, _ = bundles(4, 30, std=0.4)
    centers = kmeans(features, 4)
    normalized = F.normalize(features, dim=1)
    _, own = nearest_center(normalized, centers)
    for i in range(4):
        mean = normalized[own == i].mean(0)
        torch.testing.assert_close(centers[i], F.normalize(mean, dim=0))


def test_more_restarts_never_fit_worse_and_one_seed_gives_one_result():
    features = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
    normalized = F.normalize(features, dim=1)
    fits = [nearest_center(normalized, kmeans(features, 12, restarts))[0].mean().item()
            for restarts in (1, 3, 9)]
    assert fits == sorted(fits) and fits[0] < fits[-1]
    assert torch.equal(kmeans(features, 12, seed=4), kmeans(features, 12, seed=4))


def test_no_center_stays_without_features():
    """Six places, most of them hardly taken: each gets a center."""
    places = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(1)))
    features = places.repeat_interleave(torch.tensor([100, 1, 1, 1, 1, 1]), 0)
    cosines, own = nearest_center(features, kmeans(features, 6, restarts=1))
    assert len(own.unique()) == 6 and cosines.min() > 1 - 1e-5


def test_fewer_features_than_clusters_are_rejected():
    with pytest.raises(ValueError, match='3 features are too few for 5 clusters'):
        kmeans(torch.randn(3, 2), 5)


# ---- clusters

def test_a_permuted_labeling_scores_a_hundred():
    batch = labeled_maps([2, 0, 3, 1])
    found = score_clusters(lambda: [batch], 4, 4)
    assert found['miou'] == found['accuracy'] == found['majority_miou'] == 1.0
    assert sorted(found['cluster_of_class']) == [0, 1, 2, 3]
    assert found['in_use'] == 4


def test_clusters_beyond_the_classes_count_as_wrong_but_not_in_the_majority():
    """Class 0 looks like two things: half of it goes to a cluster without a class."""
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[0, 2:] = 1
    looks = labels * 2
    looks[0, 0] = 1
    maps = torch.eye(3)[looks].permute(0, 3, 1, 2)
    found = score_clusters(lambda: [(maps, labels)], 1, 2, clusters=3)
    assert found['accuracy'] == 12 / 16 and found['miou'] == (0.5 + 1) / 2
    assert found['majority_accuracy'] == found['majority_miou'] == 1


def test_fewer_clusters_than_classes_leave_a_class_at_nothing():
    batch = labeled_maps([0, 1, 2])
    found = score_clusters(lambda: [batch], 4, 3, clusters=2)
    assert sorted(iou == 0 for iou in found['per_class_iou']) == [False, False, True]
    assert found['cluster_of_class'].count(-1) == 1


def test_unlabeled_pixels_help_to_cluster_and_count_nowhere():
    maps, labels = labeled_maps([1, 0])
    hidden = labels.clone()
    hidden[:, 0] = -1
    wrong = maps.clone()
    wrong[:, :, 0] = wrong[:, :, 0].flip(1)
    assert score_clusters(lambda: [(wrong, hidden)], 4, 2)['accuracy'] == 1
    assert score_clusters(lambda: [(wrong, labels)], 4, 2)['accuracy'] < 1


def test_masks_may_be_finer_than_maps():
    maps, labels = labeled_maps([2, 0, 1])
    fine = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)
    # Borders are cut where cosines are equal: half-way between cell centers.
    assert score_clusters(lambda: [(maps, fine)], 4, 3)['accuracy'] > 0.9


# ---- probes on sampled cells

@pytest.mark.parametrize('fit', ['knn', 'linear'])
def test_probes_segment_images_that_they_have_not_seen(fit):
    train, val = (labeled_maps([1, 2, 0], noise=0.1, seed=s) for s in (0, 1))
    cells = sample_cells([train], 4, 3)
    score = fit_knn(cells, 3) if fit == 'knn' else fit_linear(cells, 3, [1e-3, 1e-1])[0]
    assert score_probe(score, [val], 3)['miou'] > 0.99
    noise = torch.randn(val[0].shape, generator=torch.Generator().manual_seed(2))
    assert score_probe(score, [(noise, val[1])], 3)['miou'] < 0.6


def test_every_image_gives_its_share_of_the_cells():
    first = labeled_maps([0, 1], images=2)
    second = labeled_maps([0, 1], images=1, side=8)
    cells = sample_cells([first, second], 3, 2, max_cells=30)
    assert cells.images.bincount().tolist() == [10, 10, 10]
    assert torch.equal(cells.features.argmax(1), cells.targets)
    other = sample_cells([first, second], 3, 2, max_cells=30, seed=1)
    assert not torch.equal(cells.targets, other.targets)


def test_cells_without_a_label_are_left_out():
    maps, labels = labeled_maps([0, 1], images=1)
    labels[0, :5] = -1
    assert len(sample_cells([(maps, labels)], 1, 2).targets) == 6
    assert len(sample_cells([(maps, labels)], 1, 2, labeled_only=False).targets) == 36
    with pytest.raises(ValueError, match='no cell'):
        sample_cells([(maps, torch.full_like(labels, -1))], 1, 2)


def test_cells_or_pixels_are_judged():
    """3 of the 4 pixels of a cell agree with it: right by cell, 3/4 right by pixel."""
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[0, 0, 0] = labels[0, 0, 2] = labels[0, 2, 0] = labels[0, 2, 2] = 1
    maps = torch.zeros(1, 2, 2, 2)
    maps[:, 0] = 1
    found = {at: score_probe(lambda cells: cells, [(maps, labels)], 2, at)
             for at in ('input', 'feature')}
    assert found['input']['accuracy'] == 0.75 and found['feature']['accuracy'] == 1
    with pytest.raises(ValueError, match="got 'pixel'"):
        score_probe(lambda cells: cells, [(maps, labels)], 2, 'pixel')


def test_batches_hold_neighbors_of_one_size_in_their_order():
    items = [(torch.full((3, s, 4), i), torch.full((s, 4), i))
             for i, s in enumerate((4, 4, 4, 8, 4))]
    seen = list(in_batches(items, 2, lambda images: images[:, :1]))
    assert [tuple(maps.shape) for maps, _ in seen] == [
        (2, 1, 4, 4), (1, 1, 4, 4), (1, 1, 8, 4), (1, 1, 4, 4)]
    order = np.concatenate([labels[:, 0, 0] for _, labels in seen])
    assert order.tolist() == [0, 1, 2, 3, 4]
