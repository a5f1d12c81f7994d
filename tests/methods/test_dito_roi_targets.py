"""Box coder, RoI targets and RoI losses of DITO."""
import pytest
import torch
import torch.nn.functional as F

from mmcontrast.methods.dito.box_coder import (
    DeltaYXHWBoxCoder,
    clip_boxes,
    rescale_boxes,
)
from mmcontrast.methods.dito.roi_losses import (
    box_loss,
    class_loss,
    federated_classes,
    mask_loss,
)
from mmcontrast.methods.dito.roi_targets import sample_rois
from mmcontrast.registry import TASK_UTILS

# IoU with GT: 1, 0.64, 0.5, 0.25, 0.
GT = [0.0, 0, 100, 100]
BOXES = [[0.0, 0, 100, 100], [0, 0, 80, 80], [0, 0, 50, 100], [0, 0, 50, 50],
         [200, 200, 300, 300]]


def sample(proposals=(BOXES,), gt=((GT,),), labels=((2,),), num_samples=8, **kwargs):
    return sample_rois(
        [torch.tensor(x).reshape(-1, 4) for x in proposals],
        [torch.tensor(x).reshape(-1, 4) for x in gt],
        [torch.tensor(x, dtype=torch.long) for x in labels], 7, num_samples, **kwargs)


def test_an_iou_above_half_is_positive_and_half_is_neither():
    got = sample(positive_fraction=0.5)
    # The order of candidates; the ground truth box is the last one.
    assert got.boxes[0, :5].tolist() == [BOXES[0], BOXES[1], BOXES[3], BOXES[4], GT]
    assert got.labels[0].tolist() == [2, 2, 7, 7, 2, -1, -1, -1]
    assert got.positive[0].tolist() == [1, 1, 0, 0, 1, 0, 0, 0]
    assert got.deltas[0, 2:4].abs().max() == 0 and got.deltas[0, 5:].abs().max() == 0
    assert got.rois()[:, 0].tolist() == [0] * 8


def test_deltas_lead_to_the_ground_truth():
    got = sample(positive_fraction=0.5)
    boxes = DeltaYXHWBoxCoder().decode(got.boxes, got.deltas)
    torch.testing.assert_close(boxes[got.positive], torch.tensor([GT] * 3))


def test_positives_are_limited_and_the_largest_priorities_win():
    got = sample(num_samples=4, priority=torch.tensor([[1.0, 9, 0, 5, 4, 2]]))
    # One of three positives, two of two negatives, a row that does not count.
    assert got.labels[0].tolist() == [2, 7, 7, -1]
    assert got.boxes[0, 0].tolist() == BOXES[1]


def test_draws_are_random_and_follow_the_seed():
    many = [[[float(i), 0, i + 10, 10] for i in range(200)]]
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(sample(many, num_samples=16).boxes)
    assert draws[0].equal(draws[1]) and not draws[0].equal(draws[2])


def test_an_image_without_ground_truth_trains_the_background():
    got = sample((BOXES, BOXES), ((GT,), ()), ((2,), ()), num_samples=4)
    assert got.labels[1].tolist() == [7] * 4
    assert got.deltas[1].abs().max() == 0 and got.gt_index[1].tolist() == [0] * 4
    # So does a batch of such images alone.
    assert sample((BOXES,), ((),), ((),), num_samples=4).labels.tolist() == [[7] * 4]


def test_reference_fills_an_image_without_ground_truth_from_the_first_candidate():
    got = sample((BOXES,), ((),), ((),), num_samples=4, fill_with_unsampled=True)
    assert got.boxes[0].tolist() == BOXES[:4] and got.labels[0].tolist() == [7] * 4


def test_padding_rows_are_candidates_on_demand():
    corner = [-1.0] * 4
    assert corner not in sample().boxes[0].tolist()
    got = sample(sample_padding=4)
    assert got.boxes[0].tolist().count(corner) == 3
    assert got.labels[0][(got.boxes[0] == -1).all(1)].tolist() == [7] * 3


def test_images_of_a_batch_do_not_mix():
    shifted = [[x + 500 for x in GT]]
    torch.manual_seed(0)
    both = sample((BOXES, BOXES[:2]), ((GT,), (*shifted, GT)), ((2,), (3, 4)),
                  positive_fraction=0.5)
    assert both.labels[1].tolist() == [4, 4, 3, 4, -1, -1, -1, -1]
    assert both.gt_index[1, :4].tolist() == [1, 1, 0, 1]
    assert both.rois()[8:, 0].tolist() == [1] * 8


def test_first_positives_lead_the_rows_for_masks():
    got = sample((BOXES, BOXES), ((GT,), ()), ((2,), ()), positive_fraction=0.5)
    index, positive = got.first_positives(4)
    assert index[0].tolist() == [0, 1, 4] and positive.tolist() == [[1] * 3, [0] * 3]
    index, positive = got.first_positives(2)
    assert index[0].tolist() == [0, 1] and positive[1].tolist() == [0, 0]


def test_encoding_agrees_with_the_legacy_coder_of_mmdet_and_decoding_inverts_it():
    coders = pytest.importorskip('mmdet.models.task_modules.coders')
    legacy = coders.LegacyDeltaXYWHBBoxCoder(
        target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2])
    ours = TASK_UTILS.build(dict(type='DeltaYXHWBoxCoder'))
    first, size = 100 * torch.rand(2, 50, 2), 1 + 90 * torch.rand(2, 50, 2)
    rois, gt = torch.cat([first, first + size], dim=-1)
    swap = [1, 0, 3, 2]
    deltas = ours.encode(rois, gt)
    torch.testing.assert_close(deltas, legacy.encode(rois, gt)[:, swap],
                               rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        ours.decode(rois, deltas), gt, rtol=1e-4, atol=1e-3)


def test_decoded_sides_grow_by_a_limited_factor():
    # A box of 10 pixels grows to 10 * 1000 / 16 = 625, about its center at 5.
    roi = torch.tensor([0.0, 0, 9, 9])
    box = DeltaYXHWBoxCoder().decode(roi, torch.tensor([0.0, 0, 99, 99]))
    torch.testing.assert_close(box, torch.tensor([-307.5, -307.5, 316.5, 316.5]))


def test_boxes_are_clipped_to_the_last_pixel():
    boxes = torch.tensor([[-5.0, -6, 70, 80], [3, 4, 5, 6], [60, 50, 90, 90]])
    # An image of height 40 and width 60.
    assert clip_boxes(boxes, (40, 60)).tolist() == [
        [0, 0, 59, 39], [3, 4, 5, 6], [59, 39, 59, 39]]


def test_boxes_shrink_about_their_centers():
    got = rescale_boxes(torch.tensor([10.0, 0, 30, 100]), 0.5)
    assert got.tolist() == [15, 25, 25, 75]


def test_class_loss_by_hand():
    # Uniform logits: each term is log 3. Background counts 0.5, -1 counts 0; four rows.
    loss = class_loss(torch.zeros(4, 3), torch.tensor([0, 2, -1, 1]), 0.5)
    assert loss == pytest.approx(2.5 * torch.log(torch.tensor(3.0)).item() / 4)


def test_losses_without_positives_keep_the_graph():
    deltas = torch.randn(6, 4, requires_grad=True)
    masks = torch.randn(6, 4, 4, requires_grad=True)
    none = torch.zeros(6, dtype=torch.bool)
    loss = box_loss(deltas, torch.zeros(6, 4), none) + mask_loss(
        masks, torch.zeros(6, 4, 4), none)
    loss.backward()
    assert loss == 0 and deltas.grad.abs().max() == masks.grad.abs().max() == 0


def test_losses_are_float32_of_half_inputs():
    logits = torch.randn(5, 3).half()
    labels = torch.tensor([0, 1, 2, -1, 0])
    assert class_loss(logits, labels).dtype == torch.float32
    torch.testing.assert_close(
        class_loss(logits, labels), class_loss(logits.float(), labels))


def test_federated_classes_hold_those_present_and_the_drawn():
    torch.manual_seed(0)
    labels = torch.tensor([[3, 9, -1], [10, 3, 10]])
    frequency = torch.ones(10)
    frequency[:3] = 0
    for _ in range(20):
        allowed = federated_classes(labels, frequency, 5)
        # Two present, three drawn of those with a frequency, and the background.
        assert allowed[[3, 9, 10]].all() and allowed.sum() == 6
        assert not allowed[:3].any()
    assert federated_classes(labels, frequency, 1)[[3, 9, 10]].all()


def test_federated_draws_follow_the_frequency():
    torch.manual_seed(0)
    frequency = torch.tensor([1.0, 1, 8])
    count = sum(federated_classes(torch.tensor([3]), frequency, 1)
                for _ in range(500))
    assert count[2] / 500 == pytest.approx(0.8, abs=0.06) and count[3] == 500


def test_classes_left_out_get_no_gradient():
    logits = torch.randn(4, 6, requires_grad=True)
    allowed = torch.tensor([1, 0, 1, 1, 0, 1]).bool()
    labels = torch.tensor([0, 5, 2, -1])
    loss = class_loss(logits, labels, 1.0, allowed)
    want = F.cross_entropy(
        logits[:3, allowed], torch.tensor([0, 3, 1]), reduction='sum') / 4
    torch.testing.assert_close(loss, want)
    loss.backward()
    assert logits.grad[:, ~allowed].abs().max() == 0 and logits.grad.isfinite().all()
