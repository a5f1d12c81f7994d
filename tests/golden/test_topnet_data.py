"""TopNet's data against numbers of the public loaders and composites."""
import numpy as np
import pytest
from PIL import Image

from mmcontrast.methods.topnet.compositing import paste
from mmcontrast.methods.topnet.cutouts import CutOut
from mmcontrast.methods.topnet.relative import (
    boxes_of_placements,
    placements_of_boxes,
)
from mmcontrast.methods.topnet.transforms import PackPlacement, PrepareTopNetPair
from tests.helpers.topnet_case import Case, uint8_image

MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)


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
def test_background_object_and_mask_of_the_pair_network(from_files):
    """The same from the canvases of the release and from the object's own image."""
    case = Case('ref_dataset_item')
    size = case.config['newWidth'], case.config['newHeight']
    cutout = CutOut(uint8_image('ref_dataset_item/fg', case.config['fg_hw']),
                    ellipse(*case.config['fg_hw']))
    height, width = case.config['bg_hw']
    item = dict(background=uint8_image('ref_dataset_item/bg', (height, width)),
                cutout=cutout, background_wh=(width, height), object_size_wh=size,
                object_wh=cutout.size_wh, positives=[], negatives=[])
    if from_files:
        item['canvas'] = np.zeros((height, width, 4), np.uint8)
        rgb, mask = (Image.fromarray(x).resize(size) for x in (cutout.rgb,
                                                               cutout.alpha))
        left, top = (width - size[0]) // 2, (height - size[1]) // 2
        item['canvas'][top:top + size[1], left:left + size[0]] = np.dstack([rgb, mask])
    inputs = PackPlacement()(PrepareTopNetPair()(item))['inputs']
    background, item = (inputs[key].numpy().astype(np.float32) / 255
                        for key in ('background', 'object'))
    case.check(dict(bg=(background - MEAN) / STD, fg=(item[:3] - MEAN) / STD,
                    mask=item[3:]))


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
