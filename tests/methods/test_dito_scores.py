"""Fused scores and the selection of detections of DITO."""
import pytest
import torch

from mmcontrast.methods.dito.detections import select_detections
from mmcontrast.methods.dito.scores import (
    cosine_logits,
    fuse_scores,
    weight_by_objectness,
)


def test_fused_scores_by_hand():
    p = torch.tensor([[0.5, 0.3, 0.2]])
    q = torch.tensor([[0.1, 0.1, 0.8]])
    base = torch.tensor([True, False])
    raw = torch.tensor([[0.5 ** 0.75 * 0.1 ** 0.25, 0.3 ** 0.5 * 0.1 ** 0.5, 0.2]])
    got = fuse_scores(p.log(), q.log(), base, 0.25, 0.5, renormalize=False)
    torch.testing.assert_close(got, raw)
    got = fuse_scores(p.log(), q.log(), base, 0.25, 0.5)
    torch.testing.assert_close(got, raw / raw.sum())
    got = fuse_scores(p.log(), q.log(), base, 0.25, 0.5, renormalize=False,
                      fuse_background=True)
    raw[0, 2] = 0.2 ** 0.75 * 0.8 ** 0.25
    torch.testing.assert_close(got, raw)


def test_without_weights_the_detector_decides():
    logits = torch.randn(4, 6)
    got = fuse_scores(logits, torch.randn(4, 6), None, 0, 0)
    torch.testing.assert_close(got, logits.softmax(-1))


def test_a_class_that_is_masked_out_scores_zero():
    logits = torch.randn(4, 6)
    logits[:, 2] = -torch.inf
    got = fuse_scores(logits, logits)
    assert got.isfinite().all() and got[:, 2].abs().max() == 0


def test_base_must_fit_the_classes():
    with pytest.raises(ValueError, match='each of the 5 classes'):
        fuse_scores(torch.zeros(2, 6), torch.zeros(2, 6), torch.ones(6).bool())


def test_objectness_weights_by_its_power():
    got = weight_by_objectness(torch.ones(2, 3), torch.tensor([0.5, 1.0]))
    assert got.tolist() == [[0.125] * 3, [1] * 3]


def test_a_zero_vector_has_no_similarity_and_no_gradient():
    x = torch.zeros(1, 4, requires_grad=True)
    logits = cosine_logits(x, torch.randn(3, 4), 0.01)
    logits.sum().backward()
    assert logits.abs().max() == 0 and x.grad.abs().max() == 0


def slow_detections(boxes, scores, limit, threshold, score_thr, max_per_class):
    """Class by class and box by box."""
    found = []
    for k in range(scores.shape[1]):
        order = sorted(range(len(boxes)), key=lambda r: -scores[r, k])[:max_per_class]
        kept = []
        for r in order:
            if scores[r, k] > score_thr and all(
                    iou(boxes[r], boxes[other]) < threshold for other in kept):
                kept.append(r)
        found += [(float(scores[r, k]), k, r) for r in kept]
    return sorted(found, key=lambda item: -item[0])[:limit]


def iou(a, b) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(width * height / (area - width * height))


def crowd(num_boxes: int, num_classes: int, levels: int | None = None):
    """Overlapping boxes on whole pixels, and scores, in few levels for many ties."""
    draw = torch.Generator().manual_seed(num_boxes)
    first = torch.randint(0, 8, (num_boxes, 2), generator=draw).float()
    size = torch.randint(4, 9, (num_boxes, 2), generator=draw).float()
    scores = torch.rand(num_boxes, num_classes, generator=draw)
    if levels:
        scores = (scores * levels).floor() / levels
    return torch.cat([first, first + size], dim=1), scores


# Examined in one go, and in steps that must be extended.
@pytest.mark.parametrize('first_candidates', [4000, 3])
@pytest.mark.parametrize('levels', [None, 4, 1])
@pytest.mark.parametrize('limit, score_thr, max_per_class', [
    (12, 0.0, 1000), (1000, 0.3, 1000), (40, -1.0, 5)])
def test_detections_agree_with_a_loop_over_classes(
        first_candidates, levels, limit, score_thr, max_per_class):
    boxes, scores = crowd(25, 6, levels)
    got = select_detections(boxes, scores, limit, 0.5, score_thr, max_per_class,
                            first_candidates)
    want = slow_detections(boxes, scores, limit, 0.5, score_thr, max_per_class)
    assert list(zip(got.scores.tolist(), got.labels.tolist(), got.roi_index.tolist(),
                    strict=True)) == want
    assert got.boxes.equal(boxes[got.roi_index])


def test_an_iou_equal_to_the_threshold_suppresses():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 5, 10], [0, 0, 4, 10]])
    scores = torch.tensor([[0.9], [0.8], [0.7]])
    # The third overlaps the second by 0.8, which the first has suppressed.
    assert select_detections(boxes, scores).roi_index.tolist() == [0, 2]


def test_boxes_of_the_thousandth_class_keep_their_digits():
    # IoU 0.5 - 3e-6 at coordinates where float32 with an offset would round it.
    boxes = torch.tensor([[0.0, 0, 1000, 1000], [0, 0, 499.99, 1000]])
    scores = torch.zeros(2, 1200)
    scores[:, 1199] = torch.tensor([0.9, 0.8])
    assert len(select_detections(boxes, scores).scores) == 2


def test_no_boxes_give_no_detections():
    got = select_detections(torch.zeros(0, 4), torch.zeros(0, 5))
    assert got.boxes.shape == (0, 4) and not len(got.labels)
