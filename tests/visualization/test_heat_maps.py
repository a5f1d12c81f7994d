import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmcontrast.visualization.heat_maps import (
    HEAT,
    heat_overlays,
    peak_cosine,
    score_map_sheet,
    upsample_to_image,
)

GRAY = np.full((96, 144, 3), 90, np.uint8)


def maps(count: int) -> torch.Tensor:
    return torch.rand(count, 4, 6, generator=torch.Generator().manual_seed(0)) - 0.5


def test_maps_are_upsampled_bilinearly():
    found = upsample_to_image(maps(3), (96, 144))
    wanted = F.interpolate(maps(3)[None], (96, 144), mode='bilinear')[0]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_padding_is_cut_off():
    # The image fills the upper three quarters and the left half of the input.
    found = upsample_to_image(maps(3), (72, 72), covered=(0.75, 0.5))
    wanted = F.interpolate(maps(3)[None], (96, 144), mode='bilinear')[0, :, :72, :72]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    scores = torch.zeros(4, 6)
    scores[1, 2], scores[3, 0], scores[0, 3] = 0.4, 0.9, 0.8
    assert peak_cosine(scores) == pytest.approx(0.9)
    assert peak_cosine(scores, (0.75, 0.5)) == pytest.approx(0.4)


def test_overlays_are_brightest_where_their_map_peaks():
    scores = upsample_to_image(maps(5), (96, 144)).numpy()
    found = heat_overlays(GRAY, scores, float(scores.min()), float(scores.max()))
    for overlay, score in zip(found, scores, strict=True):
        # The image has one gray, so that the heat alone tells places apart.
        brightness = overlay.sum(2, dtype=int)
        assert brightness.flat[score.argmax()] >= brightness.max() - 3
        assert brightness.flat[score.argmin()] <= brightness.min() + 3


def test_one_score_has_one_color_in_all_overlays():
    scores = np.linspace(-0.2, 0.6, 3)[:, None, None] * np.ones((3, 4, 5))
    found = heat_overlays(GRAY[:4, :5], scores, -0.2, 1.0)
    for overlay, place in zip(found, (0, 85, 170), strict=True):
        wanted = 0.35 * 90 + 0.65 * HEAT[place]
        assert np.abs(overlay - wanted).max() <= 1
    beyond = heat_overlays(GRAY[:4, :5], scores, -0.1, 0.5)
    assert np.abs(beyond[0] - (0.35 * 90 + 0.65 * HEAT[0])).max() <= 1
    assert np.abs(beyond[2] - (0.35 * 90 + 0.65 * HEAT[255])).max() <= 1


def test_brighter_means_higher_in_the_whole_scale():
    assert (np.diff(HEAT.astype(int).sum(1)) >= -3).all()


@pytest.mark.parametrize('count', [1, 2, 5, 9, 40])
def test_a_sheet_has_a_tile_for_the_image_and_each_text(count):
    sheet = np.asarray(score_map_sheet(
        GRAY, maps(count), ['car', *['a rather long text of many words'] * (count - 1)],
        'photo.jpg'))
    assert 0.5 < sheet.shape[1] / sheet.shape[0] < 4.5
    for edge in (sheet[-3:], sheet[:, :3], sheet[:, -3:]):
        assert (edge == 255).all()
    _, _, stats, _ = cv2.connectedComponentsWithStats(
        (sheet[34:] < 250).any(2).astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    assert (areas > areas.max() / 2).sum() == count + 1  # the rest are letters


def test_a_ring_marks_the_peak_also_in_a_corner():
    scores = torch.zeros(1, 4, 6)
    scores[0, 0, 5] = 1
    flat = torch.full((1, 4, 6), 0.5)
    ringed, plain = (np.asarray(score_map_sheet(
        GRAY, x, ['x'], 'a', limits=(0, 1))).astype(int) for x in (scores, flat))
    tile = slice(34, 34 + 187), slice(8 + 288, 8 + 288 + 280)
    # White, the outline of the ring, lies in the upper right cell only, and whole.
    rows, columns = (ringed[tile] == 255).all(2).nonzero()
    assert len(rows) > 20 and rows.max() < 187 // 4 and columns.min() > 280 * 5 // 6
    assert ringed.shape == plain.shape
