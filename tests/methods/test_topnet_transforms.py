"""Prepared backgrounds and objects, and what flips and jitters do to them."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmcontrast.errors import UserValueError
from mmcontrast.methods.topnet.cutouts import CutOut
from mmcontrast.methods.topnet.transforms import (
    MEAN_COLOR,
    FlipPlacement,
    JitterObject,
    PackPlacement,
    PrepareTopNet,
    PrepareTopNetPair,
    flipped,
    object_canvas,
    square_object,
)
from mmcontrast.registry import TRANSFORMS

ROOT = Path(__file__).parents[2]


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(256, size=shape).astype(np.uint8)


def item(**more):
    """A 100 x 60 background and a 20 x 30 object."""
    return dict(
        background=pixels(60, 100, 3), cutout=CutOut(pixels(30, 20, 3, seed=1),
                                                     pixels(30, 20, seed=2)),
        positives=np.array([[10., 5, 20, 30], [0, 0, 100, 60]]),
        negatives=np.array([[70.5, 1, 15, 22.5]]), background_wh=(100, 60),
        object_wh=(20, 30), background_path='b.jpg', object_path='o.png',
        background_id='b', object_id='o', object_size_wh=(30, 45)) | more


def test_a_flip_moves_boxes_with_the_pixels():
    mirrored = flipped(item())
    assert mirrored['positives'].tolist() == [[70, 5, 20, 30], [0, 0, 100, 60]]
    assert mirrored['negatives'].tolist() == [[14.5, 1, 15, 22.5]]
    # The pixels under the box are the mirror image of those under the old box.
    np.testing.assert_array_equal(mirrored['background'][5:35, 70:90],
                                  item()['background'][5:35, 10:30][:, ::-1])
    np.testing.assert_array_equal(mirrored['cutout'].rgba,
                                  item()['cutout'].rgba[:, ::-1])


def test_a_flip_leaves_the_item_that_it_was_given():
    """Items may be kept in memory by the dataset."""
    given = item()
    before = item()
    flipped(given)
    np.testing.assert_array_equal(given['positives'], before['positives'])
    np.testing.assert_array_equal(given['background'], before['background'])


def test_two_flips_are_none_also_with_a_canvas():
    given = item(canvas=pixels(60, 100, 4, seed=3))
    twice = flipped(flipped(given))
    for key in ('background', 'canvas', 'positives', 'negatives'):
        np.testing.assert_array_equal(twice[key], given[key])


@pytest.mark.parametrize('prob', [0, 1])
def test_flips_have_a_probability(prob):
    result = FlipPlacement(prob)(item())
    assert (result['positives'][0, 0] == 70) == bool(prob)


def test_jitter_changes_the_colors_of_the_object_alone():
    given = item()
    result = JitterObject(prob=1, brightness=0.5)(given)
    assert (result['cutout'].rgb != given['cutout'].rgb).any()
    np.testing.assert_array_equal(result['cutout'].alpha, given['cutout'].alpha)
    np.testing.assert_array_equal(result['background'], given['background'])
    np.testing.assert_array_equal(given['cutout'].rgb, item()['cutout'].rgb)


def test_a_square_object_lies_in_the_middle_of_the_mean_color():
    alpha = np.full((40, 80), 255, np.uint8)
    alpha[:, :40] = 0
    rgb = np.full((40, 80, 3), 10, np.uint8)
    square = square_object(CutOut(rgb, alpha), 80)
    assert (square[:18, :, :3] == MEAN_COLOR).all() and (square[:18, :, 3] == 0).all()
    assert (square[62:, :, :3] == MEAN_COLOR).all()
    # Transparent: mean color, though the file holds another one there.
    assert (square[25:55, :35, :3] == MEAN_COLOR).all()
    assert (square[25:55, 45:] == (10, 10, 10, 255)).all()


@pytest.mark.parametrize('size', [(3, 20000), (20000, 3), (5000, 2500)])
def test_the_square_of_a_long_object_needs_little_memory(size, monkeypatch):
    made = []
    new = Image.new
    monkeypatch.setattr(Image, 'new', lambda mode, size, *more: (
        made.append(size), new(mode, size, *more))[1])
    alpha = np.full(size, 255, np.uint8)
    square = square_object(CutOut(np.dstack([alpha] * 3), alpha), 64)
    assert max(width * height for width, height in made) <= 4096 ** 2
    # Half of the square for the last.
    share = min(size) / max(size)
    assert abs((square[..., 3] / 255).mean() - share) < 0.01


def test_an_object_keeps_its_aspect_ratio_and_a_background_does_not():
    alpha = np.full((30, 20), 255, np.uint8)
    white = CutOut(np.dstack([alpha] * 3), alpha)
    result = PrepareTopNet(64, 48)(item(cutout=white))
    assert result['background'].shape == (64, 64, 3)
    shown = result['object'][..., 3] > 127
    assert shown.any(0).sum() == 32 and shown.any(1).sum() == 48


def test_backgrounds_made_by_inpainting_are_blurred():
    def sharpness(result):
        return np.abs(np.diff(result['background'].astype(int), axis=1)).mean()

    plain = sharpness(PrepareTopNet()(item()))
    assert sharpness(PrepareTopNet()(item(inpainted=True))) < plain / 4
    assert sharpness(PrepareTopNet(blur='none')(item(inpainted=True))) == plain
    assert sharpness(PrepareTopNet(blur='all')(item())) < plain / 4
    assert sharpness(PrepareTopNet(blur='all', blur_sigma=0.1)(item())) == plain


def test_a_model_of_inpainted_backgrounds_sees_those_of_users_blurred_likewise():
    """All that it is trained on are blurred; inference calls prepare_background."""
    config = Config.fromfile(
        ROOT / 'configs/topnet/topnet_vit-s16_8xb8-25e_inpainted-256x256.py')
    steps = [TRANSFORMS.build(step) for loader in (
        config.train_dataloader, config.test_dataloader, config.val_dataloader)
        for step in loader.dataset.pipeline if step.type == 'PrepareTopNet']
    image, seen = item()['background'], [
        steps[0](item(inpainted=True))['background']]
    seen += [step.prepare_background(image) for step in steps]
    assert len(seen) == 4
    for other in seen[1:]:
        np.testing.assert_array_equal(other, seen[0])


def test_an_object_stands_at_its_size_in_the_middle_of_its_canvas():
    canvas = object_canvas(CutOut(np.full((3, 2, 3), 9, np.uint8),
                                  np.full((3, 2), 255, np.uint8)), (31, 44), (100, 60))
    assert canvas.shape == (60, 100, 4)
    rows, columns = (canvas[..., 3] > 0).nonzero()
    # (60 - 44) // 2 = 8 and (100 - 31) // 2 = 34.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 51, 34, 64)


def test_an_object_larger_than_the_background_has_no_canvas():
    with pytest.raises(UserValueError, match='larger than the scene of 100 x 60'):
        PrepareTopNetPair()(item(object_size_wh=(30, 61)))


def test_the_pair_network_needs_a_size():
    given = item()
    del given['object_size_wh']
    with pytest.raises(UserValueError, match="'object_size_wh'. Datasets of pair"):
        PrepareTopNetPair()(given)


@pytest.mark.parametrize('prepare, side', [(PrepareTopNet, 224),
                                           (PrepareTopNetPair, 256)])
def test_a_packed_item_has_what_model_and_metrics_need(prepare, side):
    packed = PackPlacement()(prepare()(item(seed=7)))
    background, obj = packed['inputs']['background'], packed['inputs']['object']
    assert background.shape == (3, 256, 256) and background.dtype == torch.uint8
    assert obj.shape == (4, side, side) and obj.dtype == torch.uint8
    sample = packed['data_samples']
    assert sample.positives.tolist() == item()['positives'].tolist()
    assert sample.negatives.dtype == torch.float64
    assert (sample.background_wh, sample.object_wh, sample.seed) == (
        (100, 60), (20, 30), 7)
    assert sample.object_size_wh == (30, 45) and sample.background_path == 'b.jpg'


def test_packing_without_preparation_is_an_error():
    with pytest.raises(UserValueError, match='no object of 4 channels'):
        PackPlacement()(item())


@pytest.mark.parametrize('make, message', [
    (lambda: FlipPlacement(1.5), r'prob must be in \[0, 1\], got 1.5'),
    (lambda: PrepareTopNet(blur='some'), "blur must be one of .*'some'"),
    (lambda: PrepareTopNet(blur_sigma=0), "blur='none' switches it off")])
def test_wrong_options_are_named(make, message):
    with pytest.raises(UserValueError, match=message):
        make()
