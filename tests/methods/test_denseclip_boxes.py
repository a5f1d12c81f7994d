"""Boxes as dense targets, and the auxiliary loss of the detectors."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmcontrast.methods.denseclip.box_targets import dense_targets, pixel_text_loss
from tests.helpers.denseclip_case import Case


def test_golden_targets_loss_and_gradient():
    case = Case('seg_target')
    scores = case.input('score_map').requires_grad_()
    boxes = [torch.tensor(b) for b in case.meta['inputs']['boxes_xyxy']]
    labels = [torch.tensor(x) for x in case.meta['inputs']['labels']]
    image_size = case.meta['inputs']['image_size']
    target, mask = dense_targets(boxes, labels, 7, (24, 32), image_size)
    loss = pixel_text_loss(scores, boxes, labels, image_size)
    loss.backward()
    out = dict(target=target, mask=mask, loss=loss, d_score_map=scores.grad)
    assert set(out) == set(case.outputs)
    case.check(out)


def slow_targets(boxes, labels, num_classes, rows, cols, stride=4):
    """Box by box, as the method's description says it."""
    target = np.zeros((len(boxes), num_classes, rows, cols), bool)
    for i, (some, names) in enumerate(zip(boxes, labels, strict=True)):
        for box, name in zip(some.tolist(), names.tolist(), strict=True):
            x1, y1, x2, y2 = (int(value / stride) for value in box)
            x1, x2 = (min(max(x, 0), cols - 1) for x in (x1, x2))
            y1, y2 = (min(max(y, 0), rows - 1) for y in (y1, y2))
            target[i, name, y1:y2, x1:x2] = True
    return torch.from_numpy(target)


# Fewer boxes than class maps, and more: two ways to lay out the target rows.
@pytest.mark.parametrize('counts, num_classes', [((5, 0, 9), 11), ((40, 3, 60), 4)])
def test_random_boxes_agree_with_a_loop_over_boxes(counts, num_classes):
    draw = torch.Generator().manual_seed(0)
    rows, cols = 16, 20
    boxes = [100 * torch.rand(n, 4, generator=draw) - 10 for n in counts]
    # Half of them in order, the others may end before they start.
    boxes = [torch.cat([torch.cat([b[::2, :2].minimum(b[::2, 2:]),
                                   b[::2, :2].maximum(b[::2, 2:])], 1), b[1::2]])
             for b in boxes]
    labels = [torch.randint(num_classes, (n,), generator=draw) for n in counts]
    logits = torch.randn(3, num_classes, rows, cols, generator=draw).requires_grad_()
    image_size = (4 * rows, 4 * cols)
    target, mask = dense_targets(boxes, labels, num_classes, (rows, cols), image_size)
    want = slow_targets(boxes, labels, num_classes, rows, cols)
    assert target.equal(want) and mask.equal(want.any(1))

    loss = pixel_text_loss(logits, boxes, labels, image_size)
    got, = torch.autograd.grad(loss, logits)
    each = F.binary_cross_entropy_with_logits(logits, want.float(), reduction='none')
    slow = (each * want.any(1, keepdim=True)).sum() / (num_classes * want.any(1).sum())
    torch.testing.assert_close(loss, slow)
    torch.testing.assert_close(got, torch.autograd.grad(slow, logits)[0])


def test_a_box_of_four_cells():
    # Pixels 4 to 12 are cells 1 and 2 of a stride-4 map.
    boxes, labels = [torch.tensor([[4., 4., 12., 12.]])], [torch.tensor([1])]
    target, mask = dense_targets(boxes, labels, 2, (4, 4), (16, 16))
    assert target[0, 0].sum() == 0
    assert target[0, 1].nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert mask[0].equal(target[0, 1])
    # Logit 0 is probability 1/2 for the one positive and the one negative class.
    loss = pixel_text_loss(torch.zeros(1, 2, 4, 4), boxes, labels, (16, 16))
    torch.testing.assert_close(loss, torch.tensor(2.).log())


@pytest.mark.parametrize('boxes', [
    torch.zeros(0, 4), torch.tensor([[5., 5., 7., 7.]])], ids=['none', 'thin'])
def test_a_batch_without_covered_cells_costs_nothing_and_keeps_the_graph(boxes):
    logits = torch.randn(1, 3, 8, 8, requires_grad=True)
    loss = pixel_text_loss(logits, [boxes], [torch.zeros(len(boxes)).long()], (32, 32))
    loss.backward()
    assert loss.item() == 0 and logits.grad.abs().sum() == 0


def test_two_boxes_of_a_class_count_an_overlap_once():
    boxes = torch.tensor([[0., 0., 16., 16.], [8., 8., 24., 24.]])
    logits = torch.randn(1, 2, 8, 8)
    one_class, two_classes = (
        pixel_text_loss(logits, [boxes], [torch.tensor(labels)], (32, 32))
        for labels in ([1, 1], [1, 0]))
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[0:4, 0:4] = inside[2:6, 2:6] = True
    target = torch.stack([torch.zeros_like(inside), inside])[:, inside].float()
    want = F.binary_cross_entropy_with_logits(logits[0][:, inside], target)
    torch.testing.assert_close(one_class, want)
    assert not torch.isclose(two_classes, want)


def test_half_precision_scores_are_scored_in_single_precision():
    boxes = [torch.tensor([[0., 0., 120., 120.]])]
    logits = (10 * torch.randn(1, 5, 32, 32)).half()
    loss = pixel_text_loss(logits, boxes, [torch.tensor([2])], (128, 128))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, pixel_text_loss(
        logits.float(), boxes, [torch.tensor([2])], (128, 128)))
