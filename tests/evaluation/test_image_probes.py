"""kNN and the linear layer on features of images."""
import numpy as np
import pytest
import torch

from mmcontrast.evaluation import probes
from mmcontrast.evaluation.image_probes import (
    LabeledFeatures,
    knn_accuracies,
    linear_accuracy,
    stratified,
)
from mmcontrast.evaluation.probes import best_linear_scores, nearest_neighbors, vote


def random_set(count, classes, channels=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return LabeledFeatures(
        torch.randn(count, channels, generator=generator),
        torch.randint(classes, (count,), generator=generator))


def on_circle(*degrees):
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float))
    return torch.stack([angles.cos(), angles.sin()], 1)


# ---- neighbors

def test_a_vote_weighs_exp_of_cosine_over_temperature():
    # Cosines 1, 0.5, 0.5 at temperature 0.5: weights e^2, e, e.
    shares = vote(torch.tensor([[1.0, 0.5, 0.5]]), torch.tensor([[0, 1, 1]]), 3, 0.5)
    e = np.e
    expected = [[e / (e + 2), 2 / (e + 2), 0]]
    np.testing.assert_allclose(shares, expected, rtol=1e-6)


def test_one_near_neighbor_outweighs_two_far_ones_at_low_temperature_only():
    train = LabeledFeatures(on_circle(0, 60, -60), torch.tensor([0, 1, 1]))
    val = LabeledFeatures(on_circle(0), torch.tensor([0]))
    # Cosines 1, 1/2, 1/2: e^(1/T) against 2 e^(1/2T) turns at 2T = 1 / log 2.
    assert knn_accuracies(train, val, 2, [3], temperature=0.7) == {3: 1.0}
    assert knn_accuracies(train, val, 2, [3], temperature=0.75) == {3: 0.0}


def test_each_k_takes_its_own_neighbors():
    # The nearest says 0; with the next two, 1 has the majority.
    train = LabeledFeatures(on_circle(0, 10, 20, 180), torch.tensor([0, 1, 1, 0]))
    val = LabeledFeatures(on_circle(-1), torch.tensor([0]))
    found = knn_accuracies(train, val, 2, [1, 3, 50], temperature=10)
    # All four: two votes each, but those of 1 are nearer.
    assert found == {1: 1.0, 3: 0.0, 4: 0.0}


@pytest.mark.parametrize('block', [7, 64, 10_000])
def test_blocks_of_the_bank_find_the_neighbors_of_the_whole(monkeypatch, block):
    monkeypatch.setattr(probes, '_BANK_ROWS', block)
    monkeypatch.setattr(probes, 'CHUNK', 500)
    generator = torch.Generator().manual_seed(0)
    bank, queries = (torch.nn.functional.normalize(
        torch.randn(n, 8, generator=generator)) for n in (203, 31))
    cosines, places = nearest_neighbors(queries, bank, 5)
    product = queries.numpy() @ bank.numpy().T
    order = np.argsort(-product, axis=1)[:, :5]
    np.testing.assert_array_equal(places, order)
    np.testing.assert_allclose(
        cosines, np.take_along_axis(product, order, 1), rtol=1e-5)


def test_length_of_a_feature_does_not_matter():
    train, val = random_set(60, 4), random_set(30, 4, seed=1)
    stretched = LabeledFeatures(
        train.features * torch.linspace(0.1, 9, 60)[:, None], train.labels)
    assert knn_accuracies(train, val, 4) == knn_accuracies(stretched, val, 4)


def test_accuracy_agrees_with_a_plain_loop():
    train, val = random_set(90, 5), random_set(40, 5, seed=1)
    a, b = (x.features / x.features.norm(dim=1, keepdim=True) for x in (train, val))
    hits = 0
    for feature, label in zip(b.numpy(), val.labels.tolist(), strict=True):
        cosines = a.numpy() @ feature
        votes = np.zeros(5)
        for i in np.argsort(-cosines)[:20]:
            votes[train.labels[i]] += np.exp(cosines[i] / 0.07)
        hits += votes.argmax() == label
    assert knn_accuracies(train, val, 5, [20])[20] == pytest.approx(hits / 40)


# ---- the linear layer

def test_separable_features_are_classified_without_error():
    centers = 3 * torch.eye(8)[:6]
    parts = []
    for seed, count in ((0, 120), (1, 60)):
        noise = random_set(count, 6, channels=8, seed=seed)
        parts.append(LabeledFeatures(
            centers[noise.labels] + 0.2 * noise.features, noise.labels))
    found = linear_accuracy(*parts, 6)
    assert found['top1'] == found['top5'] == 1.0


def test_features_that_know_nothing_stay_at_chance():
    train, val = random_set(400, 10, channels=8), random_set(1000, 10, 8, seed=1)
    found = linear_accuracy(train, val, 10)
    # Five standard deviations of a fair guess.
    assert abs(found['top1'] - 0.1) < 5 * (0.09 / 1000) ** 0.5
    assert abs(found['top5'] - 0.5) < 5 * (0.25 / 1000) ** 0.5


def test_the_penalty_is_picked_on_training_images_only():
    """Few noisy images of many channels: an unpenalized layer learns the noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    features = torch.randn(60, 200, generator=generator)
    features[:, 0] += 4 * labels
    held_out = stratified(labels, 2)
    score, tried = best_linear_scores(features, labels, 2, held_out, [1e-6, 1e-1, 1e3])
    best = max(tried.values())
    assert set(tried) == {1e-6, 1e-1, 1e3} and best < 1
    rest = ~held_out
    for penalty, accuracy in tried.items():
        alone = probes.LinearScores(features[rest], labels[rest], 2, penalty)
        hits = alone(features[held_out]).argmax(1) == labels[held_out]
        assert accuracy == pytest.approx(hits.float().mean().item())
    picked = max(p for p, accuracy in tried.items() if accuracy == best)
    again = probes.LinearScores(features, labels, 2, picked)
    torch.testing.assert_close(score.weight, again.weight)


def test_a_fifth_of_each_class_is_held_out():
    labels = torch.tensor([0] * 50 + [1] * 10 + [2] * 3)[
        torch.randperm(63, generator=torch.Generator().manual_seed(3))]
    held_out = stratified(labels, 4, seed=1)
    assert labels[held_out].bincount(minlength=4).tolist() == [10, 2, 0, 0]
    assert torch.equal(held_out, stratified(labels, 4, seed=1))
    assert not torch.equal(held_out, stratified(labels, 4, seed=2))


def test_what_does_not_fit_is_said():
    train, val = random_set(10, 3), random_set(10, 3, seed=1)
    with pytest.raises(ValueError, match=r'must lie in \[0, 2\), found 0 to 2'):
        knn_accuracies(train, val, 2)
    with pytest.raises(ValueError, match='one layer'):
        linear_accuracy(train, random_set(10, 3, channels=4), 3)
    broken = LabeledFeatures(train.features / 0, train.labels)
    with pytest.raises(ValueError, match='diverged'):
        knn_accuracies(broken, val, 3)
    with pytest.raises(ValueError, match='k must be 1 or more'):
        knn_accuracies(train, val, 3, [0])
