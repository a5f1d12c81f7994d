"""Grouping, alignment and losses of SlotCon, one by one."""
import math

import pytest
import torch
from torch import nn

from mmcontrast.methods.slotcon import (
    Aligner,
    Overlap,
    SlotGrouping,
    Slots,
    distillation,
    overlaps,
    slot_contrast,
    update_center,
)
from mmcontrast.methods.slotcon.grouping import agreement, slot_usage
from mmcontrast.methods.slotcon.losses import gather_counts, gather_rows
from mmcontrast.models.layers import RowMLP
from mmcontrast.structures import View, ViewBatch
from mmcontrast.testing.ranks import on_ranks


def region(*views: View) -> tuple[Overlap, Overlap]:
    return overlaps(*(ViewBatch.stack([view]) for view in views))


def test_the_overlap_is_given_in_coordinates_of_each_view():
    first, second = region(View(0, 0, 100, 100), View(50, 20, 250, 120))
    # The common region is 50 to 100 by 20 to 100.
    torch.testing.assert_close(first.boxes, torch.tensor([[0.5, 0.2, 1.0, 1.0]]))
    torch.testing.assert_close(second.boxes, torch.tensor([[0.0, 0.0, 0.25, 0.8]]))


def test_a_mirrored_view_has_a_mirrored_overlap_that_keeps_its_order():
    first, _ = region(View(0, 0, 100, 100, flipped=True), View(50, 20, 250, 120))
    torch.testing.assert_close(first.boxes, torch.tensor([[0.0, 0.2, 0.5, 1.0]]))


@pytest.mark.parametrize('flips', [(False, False), (True, False), (True, True)])
def test_aligned_maps_of_two_views_show_the_same_places(flips):
    views = (View(0, 0, 80, 60, flips[0]), View(32, 12, 112, 84, flips[1]))
    aligned = []
    for view, part in zip(views, region(*views), strict=True):
        # A map whose features are the place of each cell in the image.
        places = view.grid(10, 10)[None]
        aligned.append(Aligner(part, 10, 10)(places))
    # The common region is 32 to 80 by 12 to 60: 4.8 pixels a cell. Bilinear samples of
    # a ramp are exact but for the outer half cell of a view.
    expected = View(32, 12, 80, 60).grid(10, 10)[None]
    inner = (slice(None), slice(1, 9), slice(1, 9))
    for got in aligned:
        torch.testing.assert_close(got[inner], expected[inner])


@pytest.mark.parametrize('other', [
    View(90, 0, 99, 10), View(0, 90, 10, 99), View(70, 70, 99, 99), View(60, 0, 99, 60),
    # Inverted by more than a map, on which torchvision's RoIAlign fails.
    View(2000, 0, 2060, 60)])
def test_disjoint_views_give_zeros_and_no_gradient(other):
    for part in region(View(0, 0, 60, 60), other):
        maps = torch.randn(1, 7, 7, 5, requires_grad=True)
        aligned = Aligner(part, 7, 7)(maps)
        aligned.sum().backward()
        assert not part.exists and not aligned.any() and not maps.grad.any()


def grouped(num_slots: int, cells: int = 3, channels: int = 6, images: int = 2):
    torch.manual_seed(0)
    grouping = SlotGrouping(channels, num_slots)
    features = torch.randn(images, channels, cells, cells, requires_grad=True)
    return grouping, features, grouping(features)


@pytest.mark.parametrize('num_slots', [4, 40])
def test_present_slots_are_those_of_the_full_pooling(num_slots):
    grouping, features, scores = grouped(num_slots)
    slots = grouping.present_slots(features, scores)
    # One-hot over the map, as the published description has it.
    winners = nn.functional.one_hot(scores.argmax(3), num_slots).sum((1, 2)) > 0
    assert torch.equal(slots.present, winners)
    image_idx, slot_idx = winners.nonzero().unbind(1)
    everything = grouping.pool(features, scores)
    torch.testing.assert_close(slots.rows(image_idx, slot_idx),
                               everything[image_idx, slot_idx])


def test_a_prototype_that_attracts_nothing_pools_the_plain_mean():
    grouping = SlotGrouping(2, 2, temperature=0.001)
    with torch.no_grad():
        grouping.prototypes.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    features = torch.tensor([[1.0, 3.0], [0.0, 2.0]])[None, :, None]    # two pixels
    slots = grouping.pool(features, grouping(features))
    torch.testing.assert_close(slots[0, 1], torch.tensor([2.0, 1.0]))


def test_one_prototype_leaves_nothing_to_distil():
    student, teacher = torch.rand(2, 2, 5, 5, 1)
    assert distillation(student, teacher, torch.zeros(1, 1)) == 0


def test_the_center_is_taken_from_the_teacher_only():
    student = torch.zeros(1, 1, 1, 2, requires_grad=True)
    teacher = torch.tensor([0.14, 0.0]).view(1, 1, 1, 2)
    loss = distillation(student, teacher, torch.tensor([[0.14, 0.0]]))
    # Both shares of the teacher are 1/2 after centering, the student's as well.
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()
    assert not student.grad.any()


def test_the_center_moves_by_a_tenth():
    center = torch.tensor([[1.0, 0.0]])
    rows = torch.tensor([[0.0, 1.0], [0.0, 3.0]])
    update_center(center, [rows, rows], 0.9)
    torch.testing.assert_close(center, torch.tensor([[0.9, 0.2]]))


def slots(present: list[list[int]], num_slots: int = 4, channels: int = 6,
          seed: int = 0) -> Slots:
    """Random slots of images that show only the listed ones."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.full((len(present), num_slots), num_slots)
    for row, own in zip(place, present, strict=True):
        row[own] = torch.tensor(own, dtype=torch.int64)
    vectors = torch.randn(len(present), num_slots, channels, generator=generator)
    return Slots(vectors.requires_grad_(), place,
                 torch.tensor([own[:1] or [0] for own in present]))


def predictor() -> RowMLP:
    torch.manual_seed(0)
    return RowMLP(6, 8, 6, num_layers=3, act_cfg=dict(type='GELU')).train()


def test_queries_are_shared_slots_and_keys_all_slots_of_the_teacher():
    result, = slot_contrast([(slots([[0, 1], [1, 3]]), slots([[1, 2], [0, 1, 3]]))],
                            predictor())
    # Keys in order: image 0 has 1, 2; image 1 has 0, 1, 3. Queries: 1; 1, 3.
    assert result.logits.shape == (3, 5)
    assert result.labels.tolist() == [0, 3, 4]


@pytest.mark.parametrize('student', [[[], []], [[0], []], [[2], [3]]])
def test_fewer_than_two_shared_slots_give_zero_and_keep_the_predictor(student):
    query, net = slots(student), predictor()
    result, = slot_contrast([(query, slots([[0, 1], [1]], seed=1))], net)
    assert result.loss == 0 and result.logits is None
    result.loss.backward()
    # Zeros, not None: DDP waits for every parameter.
    assert all(not p.grad.any() for p in net.parameters())
    assert not query.vectors.grad.any()
    assert net.bn1.num_batches_tracked == 0


def test_only_shared_slots_of_the_student_have_a_slope():
    query, key = slots([[0, 1], [1]]), slots([[0, 1], [1, 2]], seed=1)
    result, = slot_contrast([(query, key)], predictor())
    result.loss.backward()
    moved = query.vectors.grad.abs().sum(2) > 0
    assert moved.nonzero().tolist() == [[0, 0], [0, 1], [1, 1]]
    assert key.vectors.grad is None


def rows_of(rank: int) -> list[torch.Tensor]:
    """Rank 0 has 3 and 0 rows, rank 1 has 1 and 2; each row names itself."""
    sizes = [(3, 0), (1, 2)][rank]
    return [100.0 * rank + 10 * part + torch.arange(float(size))[:, None].repeat(1, 2)
            for part, size in enumerate(sizes)]


def gather_on_rank(rank: int) -> list:
    parts = rows_of(rank)
    counts = gather_counts(torch.tensor([len(part) for part in parts]))
    return [counts, gather_rows(parts, counts)]


def test_ranks_with_different_numbers_of_rows_get_all_rows_in_order():
    expected = [torch.cat(parts)
                for parts in zip(rows_of(0), rows_of(1), strict=True)]
    for counts, gathered in on_ranks(2, gather_on_rank):
        assert counts == [[3, 0], [1, 2]]
        for got, want in zip(gathered, expected, strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=0)


def usage_of(winners: list[list[int]], num_slots: int) -> Slots:
    table = torch.tensor(winners)
    present = nn.functional.one_hot(table, num_slots).sum(1) > 0
    place = torch.where(present, torch.arange(num_slots), num_slots)
    return Slots(torch.zeros(len(table), num_slots, 2), place, table)


def test_usage_counts_slots_and_how_evenly_they_are_used():
    student = usage_of([[0, 0, 0, 1], [2, 2, 2, 2]], 8)
    teacher = usage_of([[0, 0, 1, 1], [0, 0, 1, 1]], 8)
    usage = slot_usage([(student, teacher)] * 2)
    # Teacher: slots 0 and 1 in both images; the student shares both in the first only.
    assert usage['slots_per_image'] == 2 and usage['shared_slots'] == 1
    assert usage['slots_alive'] == 2 / 8
    # Two slots with half of the pixels each, out of 8: log 2 / log 8.
    assert usage['slot_entropy'].item() == pytest.approx(1 / 3)


def test_agreement_leaves_disjoint_pairs_out():
    teacher = torch.eye(2)[torch.tensor([[0, 1], [0, 1]])][:, None]     # (2, 1, 2, 2)
    student = torch.eye(2)[torch.tensor([[0, 0], [0, 1]])][:, None]
    assert agreement(student, teacher, torch.tensor([True, False])) == 0.5
    assert agreement(student, teacher, torch.tensor([False, False])) == 0


@pytest.mark.parametrize('wrong', [dict(num_slots=0), dict(temperature=0.0)])
def test_a_grouping_that_cannot_work_is_rejected(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SlotGrouping(4, **wrong)
