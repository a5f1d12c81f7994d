"""Batched photometric steps give Pillow's pixels."""
import numpy as np
import pytest
import torch
from PIL import Image

from mmcontrast.datasets.transforms import (
    ViewColorJitter,
    ViewGaussianBlur,
    ViewGrayscale,
    ViewSolarize,
    image_to_tensor,
)
from mmcontrast.models.photometric import BatchedSteps, Choices, Op, batched_recipe
from mmcontrast.models.photometric.batch import change, change_together

# How the batch is worked on: whole, as on a GPU, or image by image, as on a CPU.
PATHS = dict(together=change_together, one_by_one=change)
paths = pytest.mark.parametrize('path', PATHS.values(), ids=PATHS)


def photograph(seed, height=96, width=120):
    """Light that varies at all scales, as in photographs, and an edge."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for size in (2, 4, 8, 16, 32, 64):
        noise = rng.normal(size=(size, size, 3)) + rng.normal(size=(size, size, 1))
        layers = [Image.fromarray(noise[..., c].astype(np.float32)).resize(
            (width, height), Image.Resampling.BICUBIC) for c in range(3)]
        picture += np.stack(layers, -1) / size ** 0.7
    picture[:, width // 3:] += rng.normal(size=3)
    return Image.fromarray(np.clip(128 + 60 * picture, 0, 255).astype(np.uint8))


PHOTOGRAPHS = [photograph(seed) for seed in range(6)]


def with_pillow(image, ops, values):
    """The same choices, by the steps that work on one picture."""
    for op, value in zip(ops.tolist(), values.tolist(), strict=True):
        name = Op(op).name.lower()
        if op in (Op.BRIGHTNESS, Op.CONTRAST, Op.SATURATION, Op.HUE):
            image = ViewColorJitter.apply(image, [(name, value)])
        elif op == Op.GRAYSCALE:
            image = ViewGrayscale.apply(image)
        elif op == Op.BLUR:
            image = ViewGaussianBlur.apply(image, value)
        elif op == Op.SOLARIZE:
            image = ViewSolarize.apply(image, int(value))
    return image


def difference(path, images, choices):
    """Grey levels between the batched and Pillow's pixels."""
    batch = torch.stack([image_to_tensor(image) for image in images])
    expected = torch.stack([
        image_to_tensor(with_pillow(*row))
        for row in zip(images, choices.ops, choices.values, strict=True)])
    return (path(batch, choices).float() - expected.float()).abs()


def same_for_all(n, *changes):
    ops, values = zip(*changes, strict=True)
    return Choices(torch.tensor([ops] * n), torch.tensor([values] * n).float())


@paths
@pytest.mark.parametrize('op, value', [
    (Op.BRIGHTNESS, 0.6), (Op.BRIGHTNESS, 1.4), (Op.BRIGHTNESS, 0.0),
    (Op.CONTRAST, 0.6), (Op.CONTRAST, 1.4), (Op.CONTRAST, 0.0),
    (Op.SATURATION, 0.8), (Op.SATURATION, 1.8), (Op.SATURATION, 0.0),
    (Op.HUE, 0.1), (Op.HUE, -0.1), (Op.HUE, 0.5), (Op.HUE, -0.5), (Op.HUE, 0.0),
    (Op.GRAYSCALE, 0), (Op.SOLARIZE, 128), (Op.SOLARIZE, 0), (Op.SOLARIZE, 256)])
def test_changes_of_colour_give_the_same_pixels(path, op, value):
    """Not one grey level apart, but where a product falls on a whole number."""
    choices = same_for_all(len(PHOTOGRAPHS), (op, value))
    off = difference(path, PHOTOGRAPHS, choices)
    assert off.max() <= 1 and off.mean() < 1e-4


@paths
@pytest.mark.parametrize('sigma', [0.1, 0.3, 0.7, 1.0, 1.31, 1.74, 2.0, 3.3, 6.0])
def test_blur_gives_the_same_pixels(path, sigma):
    """Pillow rounds in fixed point: ties, frequent at 2, may fall the other way."""
    choices = same_for_all(len(PHOTOGRAPHS), (Op.BLUR, sigma))
    off = difference(path, PHOTOGRAPHS, choices)
    assert off.max() <= 2 and off.mean() < (0.1 if sigma == 2 else 1e-2)


@paths
def test_every_colour_survives_the_way_through_hsv(path):
    levels = np.array([0, 1, 2, 3, 42, 85, 86, 127, 128, 170, 213, 254, 255])
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).astype(np.uint8)
    image = Image.fromarray(cube.reshape(13, -1, 3))
    for shift in (0.0, 0.07, -0.1):
        assert difference(path, [image], same_for_all(1, (Op.HUE, shift))).max() == 0


@paths
@pytest.mark.parametrize('view', [0, 1])
@pytest.mark.parametrize('recipe', ['BYOL', 'InstDisc', 'MoCov2', 'SimCLR'])
def test_whole_recipes_give_the_pixels_of_the_pictures(path, recipe, view):
    """Promised: 0.5 grey levels in the mean and 2 at the 99th percentile."""
    steps = batched_recipe(recipe)[view]
    images = PHOTOGRAPHS * 5
    choices = steps.draw(len(images), torch.Generator().manual_seed(view))
    off = difference(path, images, choices)
    assert off.mean() < 0.05 and off.flatten().kthvalue(int(off.numel() * 0.99))[0] <= 1


@paths
@pytest.mark.parametrize('height, width', [(1, 1), (1, 7), (5, 1), (33, 17)])
def test_views_may_have_any_size(path, height, width):
    images = [photograph(k, height, width) for k in range(3)]
    choices = batched_recipe('BYOL')[0].draw(3, torch.Generator().manual_seed(0))
    assert difference(path, images, choices).max() <= 2


def test_the_views_that_came_in_stay_as_they_are():
    views = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    before, steps = views.clone(), batched_recipe('SimCLR')[0]
    assert not steps.apply(views, steps.draw(4)).equal(views)
    assert views.equal(before)


@paths
def test_memory_layout_changes_no_pixel(path):
    views = torch.randint(0, 256, (3, 3, 9, 8), dtype=torch.uint8)
    choices = batched_recipe('BYOL')[0].draw(3, torch.Generator().manual_seed(1))
    last = path(views.to(memory_format=torch.channels_last), choices)
    assert last.equal(path(views, choices)) and last.is_contiguous()


def test_a_repeated_choice_gives_the_same_views():
    steps, views = batched_recipe('BYOL')[1], torch.randint(
        0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    choices = steps.draw(6)
    assert steps.apply(views, choices).equal(steps.apply(views, choices))


def test_part_of_a_batch_is_changed_as_it_would_be_in_the_whole():
    steps, views = batched_recipe('BYOL')[0], torch.randint(
        0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    choices = steps.draw(6)
    whole = change_together(views, choices)
    assert whole[2:5].equal(change_together(views[2:5], choices[2:5]))


def test_no_steps_leave_every_pixel():
    views = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    nothing = BatchedSteps([])
    assert nothing.apply(views, nothing.draw(2)).equal(views)
    for change_ in PATHS.values():
        assert change_(views, nothing.draw(2)).equal(views)


def test_wrong_views_are_named():
    steps = batched_recipe('BYOL')[0]
    with pytest.raises(TypeError, match='needs uint8 views.*got torch.float32'):
        steps.apply(torch.zeros(2, 3, 4, 4), steps.draw(2))
    with pytest.raises(ValueError, match='3 choices do not fit 2 views'):
        steps.apply(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), steps.draw(3))
