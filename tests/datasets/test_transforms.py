"""Crops, flips and colors of the two views."""
import random
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from mmcontrast.datasets.transforms import (
    CenterCrops,
    Crop,
    LoadImage,
    OverlapCrops,
    PackViews,
    RandomResizedCrops,
    TwoViews,
    ViewColorJitter,
    ViewGaussianBlur,
    ViewSolarize,
)
from mmcontrast.structures import View

# An image whose red is the column and whose green is the row of each pixel.
ROWS, COLS = 200, 250


def coordinate_image():
    x, y = np.meshgrid(np.arange(COLS), np.arange(ROWS))
    return Image.fromarray(np.stack([x, y, 0 * x], -1).astype(np.uint8))


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('flip_prob', [0.0, 0.5, 1.0])
def test_view_says_where_each_pixel_comes_from(interpolation, flip_prob):
    rng = random.Random(0)
    two_views = TwoViews(size=64, interpolation=interpolation, flip_prob=flip_prob,
                         views='NULL')
    flips = set()
    for _ in range(20):
        results = two_views.transform(dict(img=coordinate_image()), rng)
        for image, view in zip(results['img'], results['views'], strict=True):
            # Pixel x covers [x, x + 1) in source pixels, so its center is x + 0.5.
            seen = torch.from_numpy(np.array(image))[..., :2] + 0.5
            inner = slice(4, -4)  # the filter is one-sided at the edge of the crop
            error = (seen - view.grid(64, 64))[inner, inner].abs()
            assert error.max() <= 0.6  # half a gray level, and rounding
            assert (view.source_width, view.source_height) == (COLS, ROWS)
            flips.add(view.flipped)
    assert flips == {0.0: {False}, 0.5: {False, True}, 1.0: {True}}[flip_prob]


def test_crops_stay_inside_and_keep_area_and_ratio():
    crops, rng = RandomResizedCrops(), random.Random(1)
    for _ in range(500):
        left, top, width, height = crops(300, 200, rng)
        assert 0 <= left and left + width <= 300 and 0 <= top and top + height <= 200
        # Rounding moves each side by up to half a pixel.
        assert 0.08 * 0.98 <= width * height / (300 * 200) <= 1
        assert 3 / 4 * 0.98 <= width / height <= 4 / 3 * 1.02


def test_area_of_crops_is_uniform_on_a_square():
    crops, rng = RandomResizedCrops(scale=(0.2, 0.6)), random.Random(2)
    shares = np.array([c.width * c.height / 1e6 for c in
                       (crops(1000, 1000, rng) for _ in range(4000))])
    # Uniform on [0.2, 0.6]: mean 0.4, standard deviation 0.4 / sqrt(12) = 0.115.
    assert abs(shares.mean() - 0.4) < 0.008
    assert abs(shares.std() - 0.4 / 12 ** 0.5) < 0.005


@pytest.mark.parametrize('size, crop', [
    ((900, 100), Crop(383, 0, 133, 100)),  # 100 * 4/3 = 133.3
    ((100, 900), Crop(0, 383, 100, 133)),  # 100 / (3/4) = 133.3
    ((400, 300), Crop(0, 0, 400, 300)),
    ((1, 1), Crop(0, 0, 1, 1))])
def test_fallback_is_the_centered_crop(size, crop):
    assert RandomResizedCrops().centered(*size) == crop


@pytest.mark.parametrize('first, second, shared', [
    (Crop(0, 0, 10, 20), Crop(4, 5, 100, 100), 6 * 15),
    (Crop(0, 0, 10, 20), Crop(2, 3, 4, 5), 4 * 5),
    (Crop(0, 0, 10, 20), Crop(10, 0, 10, 20), 0),     # side by side
    (Crop(0, 0, 10, 20), Crop(30, 40, 10, 20), 0)])   # apart in both directions
def test_crops_share_the_rectangle_that_both_show(first, second, shared):
    assert first.shared_area(second) == second.shared_area(first) == shared


def test_the_second_crop_shows_the_share_of_the_first_that_was_asked_for():
    # A tenth of the area each: independent crops of such an image rarely meet.
    crops, rng = RandomResizedCrops(scale=(0.1, 0.1)), random.Random(4)
    area = 0.1 * 800 * 600
    apart = {None: 0, 0.01: 0, 0.5: 0}
    for _ in range(300):
        apart[None] += crops(800, 600, rng).shared_area(crops(800, 600, rng)) == 0
        for least in (0.01, 0.5):
            first, second = OverlapCrops(least)(crops, 800, 600, rng)
            apart[least] += first.shared_area(second) < least * area
    # Some pairs stay apart: nothing asks for more than ten attempts.
    assert apart[0.01] < apart[None] / 5 and 0 < apart[0.5] < 300


def test_a_second_crop_that_cannot_meet_the_first_is_drawn_without_the_condition():
    # Of its area only all of it would do, and no two draws are alike.
    crops, rng = RandomResizedCrops(scale=(0.2, 0.9)), random.Random(5)
    pairs = [OverlapCrops(1.0)(crops, 400, 400, rng) for _ in range(50)]
    assert any(a.shared_area(b) < b.width * b.height for a, b in pairs)
    with pytest.raises(ValueError, match='min_overlap'):
        OverlapCrops(2.0)


def test_a_condition_on_the_crop_is_kept_or_gives_none():
    """SlotCon asks that the second crop covers part of the first one."""
    crops, rng = RandomResizedCrops(), random.Random(3)
    for _ in range(50):
        crop = crops.attempt(300, 200, rng, accept=lambda c, share: c.left < 20)
        assert crop is None or crop.left < 20
    shares = []
    assert crops.attempt(
        300, 200, rng, accept=lambda c, share: shares.append(share)) is None
    assert 0 < len(shares) <= 10 and all(0.08 <= s <= 1 for s in shares)


def test_image_of_one_pixel_gives_views():
    results = TwoViews(size=32)(dict(img=Image.new('RGB', (1, 1), (9, 9, 9))))
    assert [image.size for image in results['img']] == [(32, 32)] * 2
    assert results['views'][0].right == results['views'][0].left + 1 == 1


def test_views_can_be_taller_than_wide():
    results = TwoViews(size=(48, 32), views='NULL')(dict(img=coordinate_image()))
    assert [image.size for image in results['img']] == [(32, 48)] * 2


def test_val_views_show_the_center():
    # Short side 200 resized to 256, center 224: 175 source pixels.
    two_views = TwoViews(size=64, flip_prob=0, views='NULL',
                         crop_pair=dict(type='CenterCrops'))
    results = two_views(dict(img=coordinate_image()))
    assert results['views'] == (View(37, 12, 212, 187, False, COLS, ROWS),) * 2
    with pytest.raises(ValueError, match=r'share must be in \(0, 1\], got 1.5'):
        CenterCrops(1.5)


def test_byol_recipe_applies_each_step_as_often_as_published():
    """Count on 2000 draws; 4 standard errors of a share are below 0.045."""
    two_views, rng = TwoViews(size=8), random.Random(4)
    counts = [dict(), dict()]
    for k, steps in enumerate(two_views.steps):
        for step in steps:
            step.apply = partial(_count, counts[k], type(step).__name__)
    for _ in range(2000):
        two_views.transform(dict(img=Image.new('RGB', (8, 8))), rng)
    assert counts[0] == pytest.approx(dict(
        ViewColorJitter=0.8, ViewGrayscale=0.2, ViewGaussianBlur=1), abs=0.045)
    assert counts[1] == pytest.approx(dict(
        ViewColorJitter=0.8, ViewGrayscale=0.2, ViewGaussianBlur=0.1,
        ViewSolarize=0.2), abs=0.045)
    assert [type(s).__name__ for s in two_views.steps[1]] == [
        'ViewColorJitter', 'ViewGrayscale', 'ViewGaussianBlur', 'ViewSolarize']


def _count(counts, name, image, params):
    counts[name] = counts.get(name, 0) + 1 / 2000
    return image


def test_jitter_draws_all_four_in_any_order_and_in_range():
    jitter, rng = ViewColorJitter(0.4, 0.4, 0.2, 0.1), random.Random(5)
    draws = [jitter.draw(rng) for _ in range(400)]
    assert len({tuple(name for name, _ in draw) for draw in draws}) == 24
    low = {n: min(dict(d)[n] for d in draws) for n in dict(draws[0])}
    high = {n: max(dict(d)[n] for d in draws) for n in dict(draws[0])}
    assert low == pytest.approx(
        dict(brightness=0.6, contrast=0.6, saturation=0.8, hue=-0.1), abs=0.01)
    assert high == pytest.approx(
        dict(brightness=1.4, contrast=1.4, saturation=1.2, hue=0.1), abs=0.01)


def test_solarize_inverts_from_the_threshold_on():
    ramp = Image.fromarray(np.uint8([[[v] * 3 for v in (0, 127, 128, 255)]]))
    levels = np.array(ViewSolarize.apply(ramp, 128))[0, :, 0].tolist()
    assert levels == [0, 127, 255 - 128, 0]


@pytest.mark.parametrize(
    'recipe', ['BYOL', 'NULL', 'InstDisc', 'MoCov2', 'SimCLR', 'RandAug'])
def test_every_recipe_makes_two_views(recipe):
    two_views = TwoViews(size=32, views=recipe)
    results = two_views(dict(img=coordinate_image()))
    for image in results['img']:
        assert image.mode == 'RGB' and image.size == (32, 32)


def test_steps_can_be_written_out_in_the_config():
    two_views = TwoViews(size=32, views=[
        [], [dict(type='ViewGaussianBlur', sigma=(50, 50))]])
    views = two_views(dict(img=coordinate_image()))['img']
    sharp, flat = (np.array(view)[..., 0].std() for view in views)
    assert flat < sharp / 4


def test_unknown_names_suggest_the_right_one():
    with pytest.raises(ValueError, match="'MoCoV2'.*did you mean 'MoCov2'"):
        TwoViews(views='MoCoV2')
    with pytest.raises(ValueError, match="'bilinaer'.*did you mean 'bilinear'"):
        TwoViews(interpolation='bilinaer')
    with pytest.raises(ValueError, match='scale must be 0 < low <= high <= 1'):
        TwoViews(scale=(0.5, 0.1))
    with pytest.raises(ValueError, match='prob must be in'):
        ViewGaussianBlur(prob=1.2)
    with pytest.raises(ValueError, match='got 3 lists'):
        TwoViews(views=[[], [], []])


def test_packed_sample_holds_bytes_and_geometry():
    results = dict(img=coordinate_image(), img_path='a.jpg', sample_idx=3)
    for step in (LoadImage(), TwoViews(size=32, views='NULL'), PackViews()):
        results = step(results)
    assert set(results) == {'inputs', 'data_samples'}
    first, second = results['inputs']
    assert first.dtype == second.dtype == torch.uint8
    assert first.shape == second.shape == (3, 32, 32)
    sample = results['data_samples']
    assert (sample.img_path, sample.sample_idx) == ('a.jpg', 3)
    assert sample.ori_shape == (ROWS, COLS)
    # Red is the column: the tensor is (channel, row, column) of the first view.
    x = sample.views[0].grid(32, 32)[16, 16, 0]
    assert abs(first[0, 16, 16] + 0.5 - x) < 1
