"""PropVG: matching and losses beyond the golden cases."""
import math
from itertools import permutations

import pytest
import torch

from mmcontrast.errors import UserValueError
from mmcontrast.methods.propvg.losses import SetLoss, mask_loss, probability_loss
from mmcontrast.methods.propvg.matching import (
    match,
    matching_costs,
    overlaps,
    referred_queries,
)
from mmcontrast.methods.propvg.targets import GroundingTargets
from mmcontrast.testing.ranks import on_ranks

QUERIES = 5


def batch(counts: list[int], layers: int = 2, seed: int = 0):
    """Logits, boxes and targets of images with these numbers of objects."""
    g = torch.Generator().manual_seed(seed)

    def draw(*size):
        return 0.2 + 0.6 * torch.rand(*size, generator=g)
    logits = torch.randn(layers, len(counts), QUERIES, 2, generator=g)
    targets = GroundingTargets(
        [draw(n, 4) for n in counts], [torch.arange(n) % 2 == 1 for n in counts],
        torch.zeros(len(counts), 4, 4), torch.tensor(counts) > 1)
    return logits, draw(layers, len(counts), QUERIES, 4), targets


def test_matches_have_the_lowest_total_cost_of_all_permutations():
    logits, boxes, targets = batch([3, 0, 2])
    costs = matching_costs(logits[-1], boxes[-1], targets).split([3, 0, 2])
    for cost, (query, index) in zip(
            costs, match(logits[-1], boxes[-1], targets), strict=True):
        rows = torch.arange(len(cost))
        best = min(cost[rows, list(order)].sum() for order in
                   permutations(range(QUERIES), len(cost)))
        assert sorted(index.tolist()) == rows.tolist()
        torch.testing.assert_close(cost[index, query].sum(), best)


def test_a_box_equal_to_an_object_is_matched_with_it():
    _, boxes, targets = batch([2])
    boxes[-1, 0, 4], boxes[-1, 0, 1] = targets.boxes[0]
    (query, index), = match(torch.zeros(1, QUERIES, 2), boxes[-1], targets)
    assert (query.tolist(), index.tolist()) == ([1, 4], [1, 0])


def test_of_more_objects_than_queries_as_many_are_matched_as_there_are_queries():
    logits, boxes, targets = batch([9])
    (query, index), = matches = match(logits[-1], boxes[-1], targets)
    assert query.tolist() == list(range(QUERIES)) and len(set(index.tolist())) == 5
    labels = referred_queries(matches, targets, QUERIES)
    assert labels[0].tolist() == (index % 2).tolist()


def test_queries_of_referred_objects_are_labeled():
    targets = batch([2, 0, 1])[-1]
    pairs = [([0, 3], [1, 0]), ([], []), ([2], [0])]
    matches = [tuple(torch.tensor(x, dtype=torch.int64) for x in pair)
               for pair in pairs]
    labels = referred_queries(matches, targets, QUERIES)
    # Objects of odd index are referred to: only the second one of the first image.
    assert labels.tolist() == [[1, 0, 0, 0, 0], [0] * 5, [0] * 5]


def test_overlaps_by_hand():
    # Two squares of side 0.2 that share a quarter of one; their hull has side 0.3.
    iou, giou = overlaps(torch.tensor([0.3, 0.3, 0.2, 0.2]),
                         torch.tensor([0.4, 0.4, 0.2, 0.2]))
    torch.testing.assert_close(iou, torch.tensor(1 / 7), atol=1e-4, rtol=0)
    torch.testing.assert_close(giou, torch.tensor(1 / 7 - 2 / 9), atol=1e-4, rtol=0)


@pytest.mark.parametrize(('weighting', 'first_layer'), [
    ('reference', [1.0, 1, 1]), ('all', [1.0, 5, 2])])
def test_weights_of_the_layers(weighting, first_layer):
    logits, boxes, targets = batch([3, 1])
    matches = match(logits[-1], boxes[-1], targets)
    loss = SetLoss(aux_weighting=weighting)
    terms = loss.terms(logits, boxes, targets, matches)
    expected = 0.1 * (terms * torch.tensor([first_layer, [1, 5, 2]])).sum()
    torch.testing.assert_close(loss(logits, boxes, targets, matches), expected)


def test_without_objects_only_the_class_is_learned():
    logits, boxes, targets = batch([0, 0])
    logits.requires_grad_(), boxes.requires_grad_()
    terms = SetLoss().terms(logits, boxes, targets,
                            match(logits[-1], boxes[-1], targets))
    terms.sum().backward()
    entropy = -logits.log_softmax(-1)[..., 1].mean((1, 2))
    torch.testing.assert_close(terms[:, 0], entropy)
    assert terms[:, 1:].abs().sum() == 0 and boxes.grad.abs().sum() == 0


def test_the_loss_of_outputs_that_are_not_finite_is_not_finite_either():
    logits, boxes, targets = batch([2, 1])
    logits[-1, 0, 2], boxes[-1, 1] = torch.nan, torch.inf
    matches = match(logits[-1], boxes[-1], targets)
    assert not SetLoss()(logits, boxes, targets, matches).isfinite()


def test_probabilities_that_are_not_finite_give_a_loss_that_is_not_either():
    probs = torch.tensor([torch.nan, 0.25], requires_grad=True)
    labels = torch.tensor([True, False])
    assert probability_loss(probs, labels).isnan()
    loss = probability_loss(probs[1:], labels[1:])
    loss.backward()
    # -log(1 - 0.25), whose derivative is 1 / 0.75.
    assert loss.item() == pytest.approx(math.log(4 / 3))
    assert probs.grad.tolist() == pytest.approx([0, 4 / 3])


COUNTS = [[3, 0], [1, 4]]


def rank_terms(rank: int) -> torch.Tensor:
    logits, boxes, targets = batch(COUNTS[rank], seed=rank)
    return SetLoss().terms(logits, boxes, targets,
                           match(logits[-1], boxes[-1], targets))


def test_box_terms_averaged_over_two_ranks_are_those_of_one_process():
    parts = [batch(counts, seed=rank) for rank, counts in enumerate(COUNTS)]
    logits, boxes = (torch.cat([part[i] for part in parts], 1) for i in (0, 1))
    targets = GroundingTargets(
        sum((part[2].boxes for part in parts), []), [], torch.empty(0), torch.empty(0))
    joint = SetLoss().terms(logits, boxes, targets,
                            match(logits[-1], boxes[-1], targets))
    averaged = torch.stack(on_ranks(2, rank_terms)).mean(0)
    torch.testing.assert_close(averaged[:, 1:], joint[:, 1:])


def test_the_mask_loss_by_hand():
    masks = torch.tensor([[[1.0, 1], [0, 0]]])
    # All probabilities are 1/2: dice 1 - (2 * 1 + 1) / (2 + 2 + 1), entropy log 2.
    expected = torch.tensor(0.4 + 0.693147)
    torch.testing.assert_close(mask_loss(torch.zeros(1, 1, 2, 2), masks), expected)
    sure = mask_loss(200 * masks[:, None] - 100, masks.bool())
    torch.testing.assert_close(sure, torch.tensor(0.0))
    # An empty mask that is predicted empty costs nothing.
    empty = mask_loss(torch.full((1, 1, 2, 2), -100.0), torch.zeros(1, 2, 2))
    torch.testing.assert_close(empty, torch.tensor(0.0))


def test_an_unknown_weighting_is_named():
    with pytest.raises(UserValueError, match="aux_weighting must be.*got 'al'.*'all'"):
        SetLoss(aux_weighting='al')
