"""Batched photometric steps give Pillow's pixels."""
import numpy as np
import pytest
import torch
from PIL import Image

from mmcontrast.datasets.transforms import image_to_tensor, view_steps
from mmcontrast.models.photometric import (
    AugmentParams,
    BatchedSteps,
    Op,
    batched_recipe,
)
from mmcontrast.models.photometric.batch import (
    augment_one_by_one,
    augment_together,
    augment_with_pillow,
)


def compiled(views, choices):
    kernels = pytest.importorskip('mmcontrast.models.photometric.kernels')
    return augment_one_by_one(views, choices, kernels.augment)


# By tensor operations, as on a GPU, or by compiled kernels, as on a CPU with numba.
PATHS = dict(together=augment_together, compiled=compiled)
paths = pytest.mark.parametrize('path', PATHS.values(), ids=PATHS)


def natural_image(seed, height=96, width=120):
    """Light that varies at all scales, as in photographs, and an edge."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3))
    for size in (2, 4, 8, 16, 32, 64):
        noise = rng.normal(size=(size, size, 3)) + rng.normal(size=(size, size, 1))
        layers = [Image.fromarray(noise[..., c].astype(np.float32)).resize(
            (width, height), Image.Resampling.BICUBIC) for c in range(3)]
        image += np.stack(layers, -1) / size ** 0.7
    image[:, width // 3:] += rng.normal(size=3)
    return Image.fromarray(np.clip(128 + 60 * image, 0, 255).astype(np.uint8))


NATURAL_IMAGES = [natural_image(seed) for seed in range(6)]


def difference(path, images, choices):
    """Gray levels between a path and the steps that work on one image."""
    batch = torch.stack([image_to_tensor(image) for image in images])
    expected = augment_one_by_one(batch, choices, augment_with_pillow)
    return (path(batch, choices).float() - expected.float()).abs()


def same_for_all(n, *steps):
    ops, values = zip(*steps, strict=True)
    return AugmentParams(torch.tensor([ops] * n), torch.tensor([values] * n).float())


@paths
@pytest.mark.parametrize('op, value', [
    (Op.BRIGHTNESS, 0.6), (Op.BRIGHTNESS, 1.4), (Op.BRIGHTNESS, 0.0),
    (Op.CONTRAST, 0.6), (Op.CONTRAST, 1.4), (Op.CONTRAST, 0.0),
    (Op.SATURATION, 0.8), (Op.SATURATION, 1.8), (Op.SATURATION, 0.0),
    (Op.HUE, 0.1), (Op.HUE, -0.1), (Op.HUE, 0.5), (Op.HUE, -0.5), (Op.HUE, 0.0),
    (Op.GRAYSCALE, 0), (Op.SOLARIZE, 128), (Op.SOLARIZE, 0), (Op.SOLARIZE, 256)])
def test_color_ops_give_the_same_pixels(path, op, value):
    """Not one gray level apart, but where a product falls on a whole number."""
    choices = same_for_all(len(NATURAL_IMAGES), (op, value))
    off = difference(path, NATURAL_IMAGES, choices)
    assert off.max() <= 1 and off.mean() < 1e-4


@paths
@pytest.mark.parametrize('sigma', [0.0, 0.1, 0.3, 0.7, 1.0, 1.31, 1.74, 2.0, 3.3, 6.0])
def test_blur_gives_the_same_pixels(path, sigma):
    """Pillow rounds in fixed point: ties, frequent at 2, may fall the other way."""
    choices = same_for_all(len(NATURAL_IMAGES), (Op.BLUR, sigma))
    off = difference(path, NATURAL_IMAGES, choices)
    assert off.max() <= 2 and off.mean() < (0.1 if sigma == 2 else 1e-2)


@paths
def test_every_color_survives_the_way_through_hsv(path):
    levels = np.array([0, 1, 2, 3, 42, 85, 86, 127, 128, 170, 213, 254, 255])
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).astype(np.uint8)
    image = Image.fromarray(cube.reshape(13, -1, 3))
    for shift in (0.0, 0.07, -0.1):
        assert difference(path, [image], same_for_all(1, (Op.HUE, shift))).max() == 0


@paths
@pytest.mark.parametrize('view', [0, 1])
@pytest.mark.parametrize('recipe', ['BYOL', 'InstDisc', 'MoCov2', 'SimCLR'])
def test_whole_recipes_give_the_pixels_of_the_images(path, recipe, view):
    """Promised: 0.5 gray levels in the mean and 2 at the 99th percentile."""
    steps = batched_recipe(recipe)[view]
    images = NATURAL_IMAGES * 5
    choices = steps.draw(len(images), torch.Generator().manual_seed(view))
    off = difference(path, images, choices)
    assert off.mean() < 0.05 and off.flatten().kthvalue(int(off.numel() * 0.99))[0] <= 1


@paths
@pytest.mark.parametrize('height, width', [(1, 1), (1, 7), (5, 1), (33, 17)])
def test_views_may_have_any_size(path, height, width):
    images = [natural_image(k, height, width) for k in range(3)]
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


def test_part_of_a_batch_is_augmented_as_it_would_be_in_the_whole():
    steps, views = batched_recipe('BYOL')[0], torch.randint(
        0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    choices = steps.draw(6)
    whole = augment_together(views, choices)
    assert whole[2:5].equal(augment_together(views[2:5], choices[2:5]))


@pytest.mark.parametrize('recipe', ['BYOL', 'SimCLR'])
def test_kernels_and_tensor_operations_agree_to_the_last_bit(recipe):
    views = torch.stack([image_to_tensor(image) for image in NATURAL_IMAGES * 5])
    for steps in batched_recipe(recipe):
        choices = steps.draw(len(views), torch.Generator().manual_seed(2))
        assert compiled(views, choices).equal(augment_together(views, choices))


def test_pillow_repeats_choices_as_the_steps_themselves_would():
    """What the other tests compare with."""
    jitter, gray, blur, solarize = (type(step).apply for step in view_steps('BYOL')[1])
    image = NATURAL_IMAGES[0]
    expected = jitter(image, [('hue', 0.06), ('contrast', 1.3), ('brightness', 0.8),
                              ('saturation', 0.9)])
    expected = solarize(blur(expected, 1.5), 100)
    choices = same_for_all(
        1, (Op.HUE, 0.06), (Op.CONTRAST, 1.3), (Op.BRIGHTNESS, 0.8),
        (Op.SATURATION, 0.9), (Op.SKIP, 0.5), (Op.BLUR, 1.5), (Op.SOLARIZE, 100))
    view = image_to_tensor(image)[None]
    found = augment_one_by_one(view, choices, augment_with_pillow)
    assert found[0].equal(image_to_tensor(expected))
    found = augment_one_by_one(
        view, same_for_all(1, (Op.GRAYSCALE, 0)), augment_with_pillow)
    assert found[0].equal(image_to_tensor(gray(image)))


def test_the_host_never_waits_for_the_device():
    """Meta tensors hold no numbers: asking one for its value is an error."""
    choices = batched_recipe('SimCLR')[0].draw(16, torch.Generator().manual_seed(4))
    views = torch.zeros(16, 3, 8, 9, dtype=torch.uint8, device='meta')
    out = BatchedSteps.apply(views, choices)
    assert (out.shape, out.dtype, out.device.type) == (views.shape, torch.uint8, 'meta')


def test_threads_change_no_pixel():
    views = torch.randint(0, 256, (7, 3, 16, 16), dtype=torch.uint8)
    choices, threads = batched_recipe('BYOL')[0].draw(7), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = compiled(views, choices)
        torch.set_num_threads(3)
        assert compiled(views, choices).equal(alone)
    finally:
        torch.set_num_threads(threads)


def test_no_steps_leave_every_pixel():
    views = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    nothing = BatchedSteps([])
    assert nothing.apply(views, nothing.draw(2)).equal(views)
    for path in PATHS.values():
        assert path(views, nothing.draw(2)).equal(views)


def test_wrong_views_are_named():
    steps = batched_recipe('BYOL')[0]
    with pytest.raises(TypeError, match='needs uint8 views.*got torch.float32'):
        steps.apply(torch.zeros(2, 3, 4, 4), steps.draw(2))
    with pytest.raises(ValueError, match='for 3 views, got 2 views'):
        steps.apply(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), steps.draw(3))
