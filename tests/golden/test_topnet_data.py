"""TopNet's data against numbers of the public loaders and composites."""
import json

import numpy as np
import pytest
import torch
from PIL import Image

from mmcontrast.methods.topnet.compositing import paste
from mmcontrast.methods.topnet.cutouts import CutOut
from mmcontrast.methods.topnet.pair_labels import labeled_pixels
from mmcontrast.methods.topnet.preprocessor import PlacementPreprocessor
from mmcontrast.methods.topnet.relative import (
    boxes_of_placements,
    placements_of_boxes,
)
from mmcontrast.registry import DATASETS
from tests.helpers.topnet_case import Case, uint8_image


@pytest.mark.parametrize('number', range(3))
def test_an_object_is_pasted_at_a_box_that_may_leave_the_image(number):
    case = Case('ref_composite')
    hw, fg_hw = case.config['hw'], case.config['fg_hw']
    rgb = uint8_image('ref_composite/fg', fg_hw, smooth=4)
    mask = uint8_image('ref_composite/mask', fg_hw, 1, smooth=4)
    composite, mask = paste(uint8_image('ref_composite/bg', hw, smooth=4),
                            CutOut(rgb, mask), case.config['boxes'][number])
    case.check({f'comp{number}': composite, f'mask{number}': mask})


def test_relative_placements_become_boxes():
    case = Case('ref_graco_geometry')
    background, item, placements = (
        np.array([entry[key] for entry in case.config['cases']])
        for key in ('bg_wh', 'fg_wh', 'trans'))
    case.check(dict(boxes_xywh=boxes_of_placements(placements, background, item)))


def test_boxes_become_relative_placements():
    case = Case('ref_graco_geometry')
    boxes = case.arrays['box_to_trans'][:, :4]
    background = np.array([case.config['cases'][k]['bg_wh'] for k in (0, 5, 10)])
    placements = placements_of_boxes(boxes, background)
    case.check(dict(box_to_trans=np.hstack([boxes, placements])))


def ellipse(height, width):
    y, x = np.mgrid[:height, :width]
    return (255 * (((y - height / 2) / (height / 2)) ** 2
                   + ((x - width / 2) / (width / 2)) ** 2 <= 1)).astype(np.uint8)


@pytest.mark.parametrize('from_files', [True, False])
def test_an_item_of_the_pair_files_is_what_the_network_is_given(from_files, tmp_path):
    """The same from the canvases of the release and from the object's own image."""
    case = Case('ref_dataset_item')
    write_release(tmp_path, case.config)
    dataset = DATASETS.build(dict(
        type='OPAPairs', ann_file='train_pair_new.json', data_root=str(tmp_path),
        canvas_files=from_files,
        pipeline=[dict(type='PrepareTopNetPair'), dict(type='PackPlacement')]))
    item = dataset[0]
    inputs = PlacementPreprocessor(with_mask=True)(dict(
        inputs={key: [value] for key, value in item['inputs'].items()}))['inputs']
    canvas, = inputs['object']
    case.check(dict(bg=inputs['background'][0], fg=canvas[:3], mask=canvas[3:]))
    pixels = labeled_pixels([item['data_samples']], 256)
    target = pixels.target_map(1, 256)[0]
    rows, cols = (target != 255).nonzero().unbind(1)
    # The release pads the positions of all labels to 50.
    positions = torch.zeros(50, 2)
    positions[:len(pixels.cols)] = torch.stack([pixels.cols, pixels.rows], 1).float()
    case.check(dict(
        labelled_yxv=torch.stack([rows, cols, target[rows, cols].long()], 1),
        num=torch.tensor(len(pixels.cols)), feature_pos=positions))


def write_release(root, config):
    """Files of one pair; PNG bytes, though their names end in .jpg."""
    cutout = np.dstack([uint8_image('ref_dataset_item/fg', config['fg_hw']),
                        ellipse(*config['fg_hw'])])
    size, (height, width) = (config['newWidth'], config['newHeight']), config['bg_hw']
    canvas = np.zeros((height, width, 4), np.uint8)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    canvas[top:top + size[1], left:left + size[0]] = np.dstack([
        Image.fromarray(x).resize(size) for x in (cutout[..., :3], cutout[..., 3])])
    name = f'123_456_{size[0]}_{size[1]}.jpg'
    files = {'bg/000000000456.jpg': uint8_image('ref_dataset_item/bg', config['bg_hw']),
             'fg/foreground/123.jpg': cutout[..., :3],
             'fg/foreground/mask_123.jpg': cutout[..., 3],
             f'fg/train/{name}': canvas[..., :3], f'mask/train/{name}': canvas[..., 3]}
    for path, pixels in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / path, format='png')
    (root / 'train_pair_new.json').write_text(json.dumps([dict(
        imgID='456', annID='123', scID='456', scale='0.4', newWidth=size[0],
        newHeight=size[1], pos_label=config['pos'], neg_label=config['neg'])]))


def test_composites_of_every_label():
    """The loader of the release renders them; ours does not, but ``paste`` agrees."""
    case = Case('ref_dataset_item')
    config = case.config
    background = uint8_image('ref_dataset_item/bg', config['bg_hw'])
    cutout = CutOut(uint8_image('ref_dataset_item/fg', config['fg_hw']),
                    ellipse(*config['fg_hw']))
    width, height = config['newWidth'], config['newHeight']
    # Its filter; that of FOPA's composites is Pillow's default.
    cutout = cutout.resized((width, height), Image.BILINEAR)
    composites = []
    for x, y in config['pos'] + config['neg']:
        box = int(x - width / 2), int(y - height / 2), width, height
        composites.append(np.dstack([
            Image.fromarray(pixels).resize((256, 256), Image.BILINEAR)
            for pixels in paste(background, cutout, box)]))
    composites = np.stack(composites).transpose(0, 3, 1, 2) / np.float32(255)
    case.check(dict(composites=composites))
