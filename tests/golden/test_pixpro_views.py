"""Crops, coordinates and pixels of the views against the released PixPro code."""
from pathlib import Path

import pytest
import torch

from mmcontrast.datasets.transforms import (
    Crop,
    RandomResizedCrops,
    TwoViews,
    crop_and_resize,
    image_to_tensor,
)
from mmcontrast.methods.pixpro.pairs import published_coords
from mmcontrast.models.preprocessor import TwoViewPreprocessor
from mmcontrast.structures import View, ViewBatch
from mmcontrast.testing.golden import Case
from tests.helpers.listed_choices import (
    ListedDraws,
    apply_choice,
    force_steps,
    made_up_image,
)

FOLDER = str(Path(__file__).parent / 'pixpro')


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
    image, size = made_up_image(VIEW_PIXELS), VIEW_PIXELS.meta['config']['size']
    choices = [tuple(choice) for choice in VIEW_PIXELS.meta['rows'][idx]['choices']]
    (_, top, left, height, width), *changes = choices
    crop, flipped = Crop(left, top, width, height), ('hflip',) in changes
    view = crop_and_resize(image, crop, flipped, (size, size))
    for name, *params in changes:
        view = apply_choice(view, name, *params)
    normalize = TwoViewPreprocessor()
    batch = normalize(dict(inputs=[image_to_tensor(view)[None]], data_samples=None))
    coords = published_coords(ViewBatch.stack([View(*crop.box, flipped, *image.size)]))
    VIEW_PIXELS.check({f'out_{idx}': batch['inputs'][0][0], f'coord_{idx}': coords[0]})


@pytest.mark.parametrize('number', [1, 2])
def test_byol_recipe_replays_the_released_views(number):
    """The whole transform, its draws forced to what the reference chose."""
    size = VIEW_PIXELS.meta['config']['size']
    image = made_up_image(VIEW_PIXELS)
    for idx, row in enumerate(VIEW_PIXELS.meta['rows']):
        if row['view'] != number:
            continue
        choices = {name: params for name, *params in row['choices']}
        top, left, height, width = choices['resized_crop']
        two_views = TwoViews(size=size)
        crop = Crop(left, top, width, height)
        two_views.crop_pair = lambda *args, crop=crop: (crop, crop)
        two_views.flip_prob = float('hflip' in choices)
        force_steps(two_views.steps[number - 1], row['choices'])
        view = two_views(dict(img=image))['img'][number - 1]
        batch = TwoViewPreprocessor()(
            dict(inputs=[image_to_tensor(view)[None]], data_samples=None))
        VIEW_PIXELS.check({f'out_{idx}': batch['inputs'][0][0]})
