import math

import pytest
import torch

from mmcontrast.methods.slotcon.retrieval import SlotStatistics, retrieval_scores

# Two images of two pixels, three slots.
TWO_IMAGES = torch.tensor([
    [[0.9, 0.2], [0.1, 0.4], [0.0, 0.1]],
    [[0.5, 0.7], [0.2, 0.1], [0.3, 0.0]]])[:, :, None]


def test_scores_are_means_over_the_pixels_won():
    found = retrieval_scores(TWO_IMAGES)
    # Image 0: slot 0 wins pixel 0, slot 1 pixel 1, slot 2 none: its plain mean.
    wanted = [[0.9, 0.4, 0.05], [0.6, 0.15, 0.15]]
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=0, atol=2e-6)


def test_scores_agree_with_the_formula_of_the_reference():
    dots = torch.rand(4, 7, 5, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = torch.zeros_like(dots).scatter_(1, dots.argmax(1, keepdim=True), 1.0) + 1e-6
    wanted = (dots * mask).sum((2, 3)) / mask.sum((2, 3))
    torch.testing.assert_close(retrieval_scores(dots), wanted)


def test_statistics_counts_cells_and_images():
    statistics = SlotStatistics(num_slots=3, top=2)
    statistics.add(TWO_IMAGES, torch.tensor([0, 1]))
    assert statistics.cells.tolist() == [3, 1, 0]
    assert statistics.images.tolist() == [2, 1, 0]
    assert statistics.alive.tolist() == [0, 1]
    share = (0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(3)
    assert statistics.entropy == pytest.approx(-share)


def test_statistics_in_batches_gives_the_top_of_all_images():
    dots = torch.rand(30, 6, 3, 3, generator=torch.Generator().manual_seed(1))
    numbers = torch.arange(30) + 100
    statistics = SlotStatistics(num_slots=6, top=4)
    for part in zip(dots.split(7), numbers.split(7), strict=True):
        statistics.add(*part)
    best = retrieval_scores(dots).T.topk(4)
    torch.testing.assert_close(statistics.scores, best.values)
    assert torch.equal(statistics.nearest, best.indices + 100)
    assert statistics.num_images == 30 and statistics.cells.sum() == 30 * 9


def test_fewer_images_than_asked_for_are_all_shown():
    statistics = SlotStatistics(num_slots=3, top=5)
    statistics.add(TWO_IMAGES, torch.tensor([4, 9]))
    assert statistics.nearest.tolist() == [[4, 9], [4, 9], [9, 4]]


def test_entropy_is_0_for_one_slot_and_1_for_even_use():
    one, even = SlotStatistics(4), SlotStatistics(4)
    one.add(torch.eye(4)[:, :1].expand(4, 9)[None, :, None], torch.tensor([0]))
    even.add(torch.eye(4)[None, :, None], torch.tensor([0]))
    assert one.entropy == 0 and even.entropy == pytest.approx(1)
