"""Crops, coordinates and pixels of the views against the released PixPro code."""
import math
from pathlib import Path

import fill
import numpy as np
import pytest
import torch
from PIL import Image
from pixpro.case import Case

from mmcontrast.datasets.transforms import (
    Crop,
    RandomResizedCrops,
    TwoViews,
    ViewColorJitter,
    ViewGaussianBlur,
    ViewGrayscale,
    ViewSolarize,
    cut,
    image_to_tensor,
)
from mmcontrast.methods.pixpro.pairs import published_coords
from mmcontrast.models.preprocessor import TwoViewPreprocessor
from mmcontrast.structures import View, ViewBatch

FOLDER = str(Path(__file__).parent / 'pixpro')


class ListedDraws:
    """Hands out the unit draws that a golden row lists."""

    def __init__(self, row):
        self.uniforms = iter(row['unit_uniform'])
        self.randints = iter(row['unit_randint'])

    def uniform(self, low, high):
        return low + (high - low) * next(self.uniforms)

    def randint(self, low, high):
        return low + math.floor(next(self.randints) * (high - low + 1))


def test_crops_and_coordinates_follow_the_released_code():
    case = Case(FOLDER, 'crop_coords')
    config = case.meta['config']
    crops = RandomResizedCrops(config['scale'], config['ratio'], config['attempts'])
    views, boxes = [], []
    for row in case.meta['rows']:
        size = row['width'], row['height']
        crop = crops(*size, ListedDraws(row))
        boxes.append([crop.top, crop.left, crop.height, crop.width])
        views.append(View(*crop.box, row['flip_draw'] < config['flip_p'], *size))
    unflipped = [View(v.left, v.top, v.right, v.bottom, False, v.source_width,
                      v.source_height) for v in views]
    case.check(dict(
        box_i_j_h_w=torch.tensor(boxes),
        coord=published_coords(ViewBatch.stack(unflipped)),
        coord_after_flip=published_coords(ViewBatch.stack(views)),
        flipped=torch.tensor([v.flipped for v in views])))


VIEW_PIXELS = Case(FOLDER, 'view_pixels')


@pytest.mark.parametrize('idx', range(len(VIEW_PIXELS.meta['rows'])))
def test_pixels_of_a_view_follow_the_released_code(idx):
    image, size = _picture(), VIEW_PIXELS.meta['config']['size']
    choices = [tuple(choice) for choice in VIEW_PIXELS.meta['rows'][idx]['choices']]
    (_, top, left, height, width), *changes = choices
    crop, flipped = Crop(left, top, width, height), ('hflip',) in changes
    view = cut(image, crop, flipped, (size, size))
    for name, *params in changes:
        view = _change(view, name, *params)
    normalise = TwoViewPreprocessor()
    batch = normalise(dict(inputs=[image_to_tensor(view)[None]], data_samples=None))
    coords = published_coords(ViewBatch.stack([View(*crop.box, flipped, *image.size)]))
    VIEW_PIXELS.check({f'out_{idx}': batch['inputs'][0][0], f'coord_{idx}': coords[0]})


@pytest.mark.parametrize('number', [1, 2])
def test_byol_recipe_replays_the_released_views(number):
    """The whole transform, its draws forced to what the reference chose."""
    size = VIEW_PIXELS.meta['config']['size']
    image = _picture()
    for idx, row in enumerate(VIEW_PIXELS.meta['rows']):
        if row['view'] != number:
            continue
        choices = {name: params for name, *params in row['choices']}
        top, left, height, width = choices['resized_crop']
        two_views = TwoViews(size=size)
        crop = Crop(left, top, width, height)
        two_views.crop_pair = lambda *args, crop=crop: (crop, crop)
        two_views.flip_prob = float('hflip' in choices)
        _force(two_views.steps[number - 1], row['choices'])
        view = two_views(dict(img=image))['img'][number - 1]
        batch = TwoViewPreprocessor()(
            dict(inputs=[image_to_tensor(view)[None]], data_samples=None))
        VIEW_PIXELS.check({f'out_{idx}': batch['inputs'][0][0]})


def _force(steps, choices):
    """Make each step happen, or not, with the listed parameters."""
    jitter = [(name.removeprefix('adjust_'), params[0]) for name, *params in choices
              if name.startswith('adjust_')]
    listed = {ViewColorJitter: jitter}
    for name, *params in choices:
        listed |= {'rgb_to_grayscale': {ViewGrayscale: None},
                   'blur': {ViewGaussianBlur: (params or [0])[0]},
                   'solarize': {ViewSolarize: 128}}.get(name, {})
    for step in steps:
        value = listed.get(type(step))
        step.prob = float(type(step) in listed and value != [])
        step.draw = lambda rng, value=value: value


def _change(view, name, *params):
    if name.startswith('adjust_'):
        return ViewColorJitter.apply(
            view, [(name.removeprefix('adjust_'), params[0])])
    return {'hflip': lambda: view,
            'rgb_to_grayscale': lambda: ViewGrayscale.apply(view),
            'blur': lambda: ViewGaussianBlur.apply(view, params[0]),
            'solarize': lambda: ViewSolarize.apply(view, 128)}[name]()


def _picture():
    """The made-up picture of the case: coloured blocks and a ramp."""
    height, width, _ = VIEW_PIXELS.meta['inputs']['image']['shape']
    key = VIEW_PIXELS.meta['inputs']['image']['key']
    blocks = fill.rand(key, (math.ceil(height / 8), math.ceil(width / 8), 3))
    blocks = np.kron(blocks.double().numpy(), np.ones((8, 8, 1)))[:height, :width]
    ramp = np.arange(width)[None, :, None] * 55 / width
    return Image.fromarray(np.floor(blocks * 200 + ramp).astype(np.uint8))
