"""Large-scale jitter: one pass equals resize, crop and pad; annotations follow."""
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

pytest.importorskip('mmdet')
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks

from mmcontrast.methods.dito.jitter import Placement, place_pixels
from mmcontrast.registry import TRANSFORMS


def results(height=60, width=80, masks='polygon'):
    rng = np.random.default_rng(0)
    boxes = np.array([[8, 12, 40, 48], [72, 52, 80, 60], [0, 0, 4, 4]], np.float32)
    corners = [[np.array([a, b, c, b, c, d, a, d], np.float32)] for a, b, c, d in boxes]
    found = PolygonMasks(corners, height, width)
    return dict(
        img=rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        gt_bboxes=HorizontalBoxes(torch.tensor(boxes)),
        gt_bboxes_labels=np.array([5, 6, 7]),
        gt_ignore_flags=np.array([False, True, False]),
        gt_masks=found if masks == 'polygon' else BitmapMasks(
            found.to_ndarray(), height, width))


def jitter(**options):
    return TRANSFORMS.build(dict(type='LargeScaleJitter', **options))


@pytest.mark.parametrize('draws', [
    (0.7, 0.4, 0.9), (0.2, 0.4, 0.9), (0.95, 0.0, 0.5), (0.999, 0.999, 0.999)])
def test_one_pass_shows_what_resize_crop_and_pad_show(draws):
    before, transform = results(), jitter(size=64)
    placement = transform.draw((60, 80), draws)
    whole = interpolate(torch.tensor(before['img']).permute(2, 0, 1)[None].float(),
                        placement.resized, mode='bilinear')[0].permute(1, 2, 0)
    (top, left), (height, width) = placement.offset, placement.shape
    after = transform.transform(before, draws)
    assert after['img'].shape == (64, 64, 3) and after['img'].dtype == np.uint8
    shown = torch.tensor(after['img'][:height, :width]).float()
    # Positions in a crop may be off by 1/64 pixel; the image is noise.
    difference = (shown - whole[top:top + height, left:left + width]).abs()
    assert difference.max() <= 4 and difference.mean() < 0.7
    assert after['img_shape'] == (height, width) and after['pad_shape'] == (64, 64)
    for side in (after['img'][height:], after['img'][:, width:]):
        assert (side == [104, 117, 123]).all()


def test_a_crop_of_an_image_that_is_hardly_resized_is_in_place():
    # Source and result drift apart by half a pixel over 1000 pixels.
    row = np.repeat(np.linspace(0, 250, 2000)[None].round().astype(np.uint8), 9, 0)
    image = np.stack([row] * 3, -1)
    placed = place_pixels(image, Placement((9, 2001), (1.0, 2001 / 2000), (0, 990), 64))
    whole = interpolate(torch.tensor(row)[None, None].float(), (9, 2001),
                        mode='bilinear')[0, 0]
    np.testing.assert_allclose(placed[:9, :, 0], whole[:, 990:1054], atol=1)
    sharp = np.zeros((9, 2000, 3), np.uint8)
    sharp[:, 1000:] = 240
    edge = place_pixels(sharp, Placement((9, 2001), (1.0, 2001 / 2000), (0, 990), 64))
    # The edge lies at 1000.5: half way in pixel 1000, the tenth of the crop.
    assert edge[0, 8:13, 0].tolist() == [0, 0, pytest.approx(120, abs=8), 240, 240]


def test_the_longest_side_fits_the_square_and_predictions_map_back_without_jitter():
    after = jitter(size=64, ratio_range=None).transform(results(height=100, width=50))
    assert after['img_shape'] == (64, 32) and after['scale_factor'] == (0.64, 0.64)
    np.testing.assert_allclose(after['gt_bboxes'].tensor.numpy()[0] / 0.64,
                               [8, 12, 40, 48], rtol=1e-6)


def test_the_homography_maps_source_pixels_also_after_a_crop():
    after = jitter(size=64).transform(results(), (0.7, 0.4, 0.9))
    corner = after['homography_matrix'] @ np.array([40, 48, 1])
    # Scale 1.15; 2 and 25 pixels are cut off.
    np.testing.assert_allclose(corner, [40 * 1.15 - 25, 48 * 1.15 - 2, 1], rtol=1e-6)
    np.testing.assert_allclose(after['gt_bboxes'].tensor.numpy()[0, 2:], corner[:2],
                               rtol=1e-6)


def test_boxes_that_are_cropped_away_take_labels_flags_and_masks_along():
    after = jitter(size=64).transform(results(), (0.7, 0.4, 0.9))
    assert after['gt_bboxes_labels'].tolist() == [5, 6]
    assert after['gt_ignore_flags'].tolist() == [False, True]
    assert len(after['gt_masks']) == 2
    again = jitter(size=64, max_boxes=1).transform(results(), (0.7, 0.4, 0.9))
    assert again['gt_bboxes_labels'].tolist() == [5]


@pytest.mark.parametrize('masks', ['polygon', 'bitmap'])
@pytest.mark.parametrize('draws', [(0.7, 0.4, 0.9), (0.2, 0.4, 0.9)])
def test_masks_fill_their_boxes(masks, draws):
    after = jitter(size=64).transform(results(masks=masks), draws)
    bitmaps = after['gt_masks'].to_ndarray()
    assert bitmaps.shape[1:] == (64, 64)
    for bitmap, box in zip(bitmaps, after['gt_bboxes'].tensor, strict=True):
        rows, columns = np.nonzero(bitmap)
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(edges, box, atol=1.01)


def test_images_without_boxes_keep_their_types():
    before = results()
    for key in ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags', 'gt_masks'):
        before[key] = before[key][[]]
    after = jitter(size=64).transform(before, (0.5, 0, 0))
    assert after['gt_bboxes'].tensor.shape == (0, 4)
    assert after['gt_masks'].masks == [] and after['gt_masks'].height == 64


def test_a_thin_image_keeps_a_row():
    after = jitter(size=64).transform(dict(img=np.zeros((2, 1000, 3), np.uint8)),
                                      (0.0, 0, 0))
    assert after['img_shape'] == (1, 6)


def test_ratios_cover_the_range_and_runs_repeat_with_a_seed():
    transform = jitter(size=100, ratio_range=(0.5, 1.5))
    np.random.seed(0)
    sides = [transform.draw((100, 100)).resized[0] for _ in range(300)]
    assert 50 <= min(sides) < 55 and 145 < max(sides) <= 150
    np.random.seed(0)
    assert [transform.draw((100, 100)).resized[0] for _ in range(300)] == sides


def test_a_range_that_is_none_and_segmentation_maps_are_rejected():
    with pytest.raises(ValueError, match=r'0 < low <= high.*\(2.0, 1.0\)'):
        jitter(ratio_range=(2.0, 1.0))
    with pytest.raises(ValueError, match='with_seg=False'):
        jitter().transform(dict(img=None, gt_seg_map=None))
