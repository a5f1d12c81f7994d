from itertools import combinations, permutations
from math import isnan

import numpy as np
import pytest
import torch

from mmcontrast.evaluation.cluster_scores import (
    ClusterCounts,
    foreground_ari,
    majority_scores,
    matched_scores,
)
from mmcontrast.models.upsampling import upsampled_argmax


def rows(*pixels):
    """One image a row of pixels."""
    return torch.tensor(pixels)[:, None]


# ---- foreground ARI

def test_ari_of_one_pixel_in_the_wrong_slot_by_hand():
    # 4 pixels, objects 1 1 2 2, slots 5 5 5 9. Pairs together: in both 1 (the first
    # two), by slot 3, by object 2, of 6. (1 - 3*2/6) / ((3+2)/2 - 1) = 0.
    assert foreground_ari(rows([5, 5, 5, 9]), rows([1, 1, 2, 2])).tolist() == [0]
    # 6 pixels, objects 1 1 1 2 2 2, slots 0 0 1 2 2 2: both 1+3, by slot 4, by
    # object 6, of 15. (4 - 24/15) / (5 - 24/15) = 2.4 / 3.4.
    found = foreground_ari(rows([0, 0, 1, 2, 2, 2]), rows([1, 1, 1, 2, 2, 2]))
    assert found.item() == pytest.approx(2.4 / 3.4)


def ari_by_pairs(slots, things):
    """Counts every pair of pixels; the definition, slowly."""
    pairs = list(combinations(range(len(slots)), 2))
    same_slot = np.array([slots[i] == slots[j] for i, j in pairs])
    same_thing = np.array([things[i] == things[j] for i, j in pairs])
    expected = same_slot.sum() * same_thing.sum() / len(pairs)
    middle = (same_slot.sum() + same_thing.sum()) / 2
    return ((same_slot & same_thing).sum() - expected) / (middle - expected)


def test_ari_agrees_with_counting_every_pair():
    rng = np.random.default_rng(0)
    slots, things = rng.integers(0, 7, (5, 6, 8)), rng.integers(0, 4, (5, 6, 8))
    slots[3] = things[3] + rng.integers(0, 2, (6, 8))
    found = foreground_ari(torch.from_numpy(slots), torch.from_numpy(things))
    wanted = [ari_by_pairs(s[t > 0], t[t > 0])
              for s, t in zip(slots, things, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_ari_is_1_for_equal_partitions_and_0_on_average_for_chance():
    things = torch.arange(64).view(1, 8, 8) // 16 + 1
    assert foreground_ari(things * 11, things).item() == 1
    chance = torch.randint(8, (400, 8, 8), generator=torch.Generator().manual_seed(0))
    assert abs(foreground_ari(chance, things.expand(400, 8, 8)).mean()) < 0.005


def test_names_of_slots_and_ids_do_not_change_the_ari():
    generator = torch.Generator().manual_seed(1)
    slots = torch.randint(6, (3, 9, 9), generator=generator)
    things = torch.randint(5, (3, 9, 9), generator=generator)
    renamed = torch.randperm(2048, generator=generator)[:6][slots]
    new_ids = torch.tensor([0, 70_000, 3, 9, 4])[things]
    torch.testing.assert_close(
        foreground_ari(renamed, new_ids), foreground_ari(slots, things),
        rtol=1e-12, atol=0)


def test_the_background_counts_nowhere():
    things = rows([0, 0, 0, 1, 1, 2, 2])
    for background in ([4, 4, 4], [1, 2, 3]):
        assert foreground_ari(rows([*background, 4, 4, 5, 5]), things).item() == 1


def test_images_of_a_batch_are_scored_on_their_own():
    slots, things = rows([3, 3, 3, 3], [3, 3, 7, 7]), rows([1, 1, 2, 2], [1, 1, 2, 2])
    assert foreground_ari(slots, things).tolist() == [0, 1]


def test_one_object_in_one_slot_is_right_and_images_without_objects_say_nothing():
    found = foreground_ari(rows([8, 8, 1], [8, 9, 1], [1, 1, 1], [1, 1, 2]),
                           rows([1, 1, 0], [1, 1, 0], [0, 0, 0], [5, 0, 0]))
    assert found[:2].tolist() == [1, 0]
    assert isnan(found[2]) and isnan(found[3])
    assert isnan(foreground_ari(rows([1, 2]), rows([0, 0])).item())


def test_a_large_object_does_not_overflow():
    things = torch.ones(1, 900, 900, dtype=torch.int32)
    things[:, :, 450:] = 2
    assert foreground_ari(things, things).item() == 1


# ---- classes

def counted(slots, labels, num_classes, num_slots, **kwargs):
    counts = ClusterCounts(num_classes, num_slots, **kwargs)
    counts.add(slots, labels)
    return counts.counts


def test_matching_by_hand():
    # Class 0: 6 pixels of slot 0, 4 of slot 1; class 1: 5 of slot 0, none of slot 1.
    # 0-1 and 1-0 have 9 pixels in common, 0-0 and 1-1 only 6.
    found = matched_scores(torch.tensor([[6, 4], [5, 0]]))
    assert found['cluster_of_class'] == [1, 0]
    assert found['accuracy'] == pytest.approx(9 / 15)
    # IoU: 4 / (10 + 4 - 4), 5 / (5 + 11 - 5).
    assert found['per_class_iou'] == pytest.approx([4 / 10, 5 / 11])
    assert found['miou'] == pytest.approx((4 / 10 + 5 / 11) / 2)


def test_pixels_of_slots_without_a_class_are_wrong():
    # Slot 2 takes half of class 0; only one slot may stand for it.
    found = matched_scores(torch.tensor([[5, 0, 5], [0, 10, 0]]))
    assert found['accuracy'] == 15 / 20
    assert found['per_class_iou'] == [0.5, 1]


def test_majority_lets_slots_share_a_class():
    found = majority_scores(torch.tensor([[5, 0, 5, 0], [0, 10, 0, 0]]))
    assert found['class_of_cluster'] == [0, 1, 0, -1]
    assert found['miou'] == found['accuracy'] == 1
    # Slots 0 and 1 both go to class 0: 7 of 10 right; IoU 7/10 and 0.
    found = majority_scores(torch.tensor([[4, 3], [2, 1]]))
    assert (found['accuracy'], found['per_class_iou']) == (0.7, [0.7, 0])


def test_fewer_slots_than_classes_leave_classes_at_zero():
    found = matched_scores(torch.tensor([[3], [4], [0]]))
    assert found['cluster_of_class'] == [-1, 0, -1]
    assert found['per_class_iou'][:2] == pytest.approx([0, 4 / 7])
    # Class 2 does not occur and is no failure.
    assert isnan(found['per_class_iou'][2]) and found['miou'] == pytest.approx(2 / 7)


def test_no_other_matching_has_more_pixels_right():
    counts = torch.randint(50, (5, 5), generator=torch.Generator().manual_seed(0))
    best = max(sum(counts[c, k] for c, k in enumerate(order))
               for order in permutations(range(5)))
    assert matched_scores(counts)['accuracy'] == pytest.approx(
        (best / counts.sum()).item())


def test_the_order_of_slots_changes_no_score():
    generator = torch.Generator().manual_seed(2)
    counts = torch.randint(90, (4, 9), generator=generator)
    shuffled = counts[:, torch.randperm(9, generator=generator)]
    for scores in (matched_scores, majority_scores):
        assert scores(shuffled)['miou'] == pytest.approx(scores(counts)['miou'])


def test_counts_of_parts_add_up_to_those_of_the_whole():
    generator = torch.Generator().manual_seed(3)
    slots = torch.randint(6, (7, 5, 4), generator=generator)
    labels = torch.randint(3, (7, 5, 4), generator=generator)
    labels[0, 0] = 255
    whole = counted(slots, labels, 3, 6)
    parts = ClusterCounts(3, 6)
    for part in zip(slots.split(2), labels.split(2), strict=True):
        parts.add(*part)
    assert torch.equal(parts.counts, whole)
    slow = torch.zeros(3, 6, dtype=torch.int64)
    for slot, label in zip(slots.flatten(), labels.flatten(), strict=True):
        if label != 255:
            slow[label, slot] += 1
    assert torch.equal(whole, slow) and whole.sum() == 7 * 5 * 4 - 4


def test_ignored_pixels_count_nowhere():
    labels = rows([0, 11, 1, 11])
    found = counted(rows([0, 0, 1, 1]), labels, 2, 2, ignore_index=11)
    assert found.tolist() == [[1, 0], [0, 1]]


def test_maps_and_labels_that_do_not_fit_are_named():
    counts = ClusterCounts(2, 3)
    with pytest.raises(ValueError, match=r'labels must lie in \[0, 2\), found 0 to 2'):
        counts.add(rows([0, 1]), rows([0, 2]))
    with pytest.raises(ValueError,
                       match=r'clusters must lie in \[0, 3\), found 0 to 3'):
        counts.add(rows([0, 3]), rows([0, 1]))
    with pytest.raises(ValueError, match=r'got \(1, 1, 2\) and \(1, 1, 3\)'):
        counts.add(rows([0, 1]), rows([0, 1, 1]))
    with pytest.raises(ValueError, match='no labeled pixel'):
        matched_scores(counts.counts)


# ---- assignment

def test_scores_are_upsampled_before_they_are_compared():
    # At the middle of the two cells slot 1 wins though it wins neither cell.
    scores = torch.tensor([[1.0, 0.0], [0.7, 0.7], [0.0, 1.0]])[None, :, None]
    assert upsampled_argmax(scores, (1, 6)).flatten().tolist() == [0, 0, 1, 1, 2, 2]
    assert upsampled_argmax(scores, (1, 2)).flatten().tolist() == [0, 2]


