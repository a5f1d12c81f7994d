"""Mask targets of DITO."""
import numpy as np
import pytest
import torch

from mmcontrast.methods.dito.mask_targets import (
    mask_targets,
    sampled_mask_targets,
    store_masks,
)
from mmcontrast.methods.dito.roi_targets import sample_rois


def test_stored_samples_span_the_box_from_edge_to_edge():
    ramp = torch.arange(10.0).expand(1, 5, 10)
    stored = store_masks(ramp, torch.tensor([[2.0, 0, 8, 4]]), 4)
    # Columns 2, 4, 6 and 8, times (W - 1) / W.
    torch.testing.assert_close(stored[0, 1], torch.tensor([1.8, 3.6, 5.4, 7.2]))


def test_a_stored_mask_is_zero_outside_the_image():
    stored = store_masks(torch.ones(1, 10, 10), torch.tensor([[-20.0, 0, 20, 9]]), 5)
    # Columns -18, -9, 0, 9 and 18 of 0 to 9.
    assert stored[0, 0].tolist() == [0, 0, 1, 1, 0]


def test_masks_of_mmdet_are_stored_like_tensors():
    masks = pytest.importorskip('mmdet.structures.mask')
    bitmap = np.zeros((2, 20, 30), np.uint8)
    bitmap[0, 3:12, 5:25] = bitmap[1, 10:, :9] = 1
    boxes = torch.tensor([[5.0, 3, 25, 12], [0, 10, 9, 20]])
    want = store_masks(torch.from_numpy(bitmap), boxes, 16)
    assert 0 < want.mean() and want.dtype == torch.float32
    assert store_masks(masks.BitmapMasks(bitmap, 20, 30), boxes, 16).equal(want)
    corners = [[np.array([x1, y1, x2, y1, x2, y2, x1, y2])]
               for x1, y1, x2, y2 in boxes.tolist()]
    polygons = masks.PolygonMasks(corners, 20, 30)
    assert store_masks(polygons, boxes, 16).equal(want)


def test_boxes_without_masks_are_reported():
    with pytest.raises(ValueError, match='got 2 boxes and 1 masks'):
        store_masks(torch.ones(1, 4, 4), torch.zeros(2, 4))


def test_a_target_is_read_in_the_frame_of_the_roi():
    full, gt = torch.ones(1, 112, 112), torch.tensor([[10.0, 10, 66, 66]])
    # Equal to the box; half a box to the right of it; twice its size.
    rois = torch.tensor([[10.0, 10, 66, 66], [38, 10, 94, 66], [-18, -18, 94, 94]])
    got = mask_targets(full, torch.zeros(3).long(), gt.expand(3, -1), rois)
    assert got[0].min() == 1
    assert got[1, :, :14].min() == 1 and got[1, :, 14:].max() == 0
    assert got[2, 7:21, 7:21].min() == 1 and got[2].sum() == 14 * 14


def test_targets_of_a_batch_agree_with_those_box_by_box():
    draw = torch.Generator().manual_seed(0)
    gt = [torch.tensor([[0.0, 0, 50, 40], [30, 20, 90, 90]]), torch.zeros(0, 4),
          torch.tensor([[10.0, 30, 60, 80]])]
    proposals = [torch.cat([boxes + 5, boxes - 3, torch.tensor([[70.0, 5, 99, 9]])])
                 for boxes in gt]
    labels = [torch.arange(len(boxes)) for boxes in gt]
    stored = [torch.rand(len(boxes), 112, 112, generator=draw) for boxes in gt]
    sampled = sample_rois(proposals, gt, labels, 3, 8, positive_fraction=0.75)
    index, positive = sampled.first_positives(6)
    got = sampled_mask_targets(sampled, index, stored, gt)
    assert got.shape == (3, 6, 28, 28) and positive.sum(1).tolist() == [6, 0, 3]
    for image, row in positive.nonzero().tolist():
        roi = index[image, row]
        # Labels count the ground truth of an image.
        which = sampled.labels[image, roi, None]
        want = mask_targets(stored[image], which, gt[image][which],
                            sampled.boxes[image, roi, None])
        torch.testing.assert_close(got[image, row], want[0])
