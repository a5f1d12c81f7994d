"""Pairs of images and texts: regions, their wordings, crops and questions."""
import random

import numpy as np
import pytest

from mmcontrast.datasets.shapes import (
    HELD_OUT_COMBINATIONS,
    Region,
    ShapesDataset,
    ShapesQuestions,
    draw_scene,
    regions,
    scene_seed,
)
from mmcontrast.datasets.transforms import CropRegion, PackImageText
from mmcontrast.registry import TRANSFORMS

KINDS = dict(object=0.8, stuff=0.1, scene=0.1)
HELD_OUT_NAMES = [f'{color} {shape}' for color, shape in HELD_OUT_COMBINATIONS]


@pytest.fixture(scope='module')
def scenes():
    return [draw_scene(scene_seed('train', i), 96, combinations='seen')
            for i in range(40)]


def ramp(side=100):
    """An image whose red is the column and whose green is the row."""
    rows, columns = np.mgrid[:side, :side].astype(np.uint8)
    return np.stack([columns, rows, np.zeros_like(rows)], -1)


def cropped(box, rng=random, **settings):
    results = dict(img=ramp(), regions=dict(object=[Region(box, ('thing',))]))
    crop = CropRegion(kinds=dict(object=1), **settings)
    return crop.transform(results, rng)


# Regions.

def test_descriptions_of_an_object_are_true_and_never_texture_alone(scenes):
    for scene in scenes:
        for thing, region in zip(scene.objects, regions(scene)['object'], strict=True):
            assert region.box_xyxy == thing.box_xyxy
            for text in region.texts:
                words = set(text.split()) - {'a', 'an', 'the', 'shape'}
                assert words <= {thing.texture, thing.color, thing.shape}
                assert words & {thing.color, thing.shape}
            assert f'{thing.texture} {thing.color} {thing.shape}' in region.texts


def test_an_orange_circle_takes_an(scenes):
    texts = {text for scene in scenes for region in regions(scene)['object']
             for text in region.texts}
    assert 'an orange heart' in texts
    assert not [text for text in texts if text.startswith('a orange')]


def test_squares_of_stuff_hold_nothing_else(scenes):
    found = 0
    for scene in scenes:
        for region in regions(scene)['stuff']:
            left, top, right, bottom = region.box_xyxy
            part = scene.semantic_map[top:bottom, left:right]
            name = {8: 'sky', 9: 'ground'}[part[0, 0]]
            assert part.shape == (right - left,) * 2 and (part == part[0, 0]).all()
            assert name in region.texts
            plan = getattr(scene.plan, name)
            assert f'the {plan.texture} {plan.color} {name}' in region.texts
            found += 1
    assert found > 2 * len(scenes)


def test_held_out_pairs_are_never_named_where_they_are_not_shown(scenes):
    texts = [text for scene in scenes for part in regions(scene).values()
             for region in part for text in region.texts]
    assert not [text for text in texts for name in HELD_OUT_NAMES if name in text]


# Crops.

@pytest.mark.parametrize('option', ['centered', 'centred'])
def test_a_centered_crop_has_the_region_in_its_middle(option):
    # 20 px wide, 10 px high, times 2: 40 px around (30, 45) -> columns 10 to 49.
    image = cropped((20, 40, 40, 50), size=40, margin=(2, 2), **{option: True})['img']
    assert image[0, :, 0].tolist() == list(range(10, 50))
    assert image[:, 0, 1].tolist() == list(range(25, 65))


def test_a_child_config_switches_centering_off_by_the_former_name():
    kinds = dict(object=1)
    assert not CropRegion(8, kinds, centered=True, centred=False).centered
    assert CropRegion(8, kinds, centered=True).centered


def test_a_crop_stays_in_the_image():
    image = cropped((90, 0, 100, 10), size=30, margin=(3, 3), centered=True)['img']
    assert image[0, :, 0].tolist() == list(range(70, 100))
    assert image[:, 0, 1].tolist() == list(range(30))


def test_every_crop_holds_the_whole_region():
    rng = random.Random(0)
    starts = set()
    for _ in range(100):
        # Resizing keeps the edges of the ramp to within a pixel or two.
        image = cropped((40, 50, 60, 62), rng, size=64, margin=(1, 2))['img']
        red, green = image[0, :, 0], image[:, 0, 1]
        assert red[0] <= 41 and red[-1] >= 58
        assert green[0] <= 51 and green[-1] >= 60
        starts.add(int(red[0]))
    assert len(starts) > 10


def test_a_region_larger_than_the_image_gives_the_image():
    image = cropped((0, 0, 100, 100), size=100, margin=(1.5, 1.5))['img']
    np.testing.assert_array_equal(image, ramp())


def test_kinds_come_as_often_as_they_should_and_texts_are_the_regions():
    region = {kind: [Region((0, 0, 9, 9), (kind,))] for kind in KINDS}
    crop, rng = CropRegion(8, kinds=KINDS), random.Random(0)
    texts = [crop.transform(dict(img=ramp(20), regions=region), rng)['text']
             for _ in range(1000)]
    for kind, share in KINDS.items():
        assert abs(texts.count(kind) / 1000 - share) < 0.04


def test_kinds_that_an_image_lacks_leave_their_share_to_the_others():
    region = dict(object=[], scene=[Region((0, 0, 20, 20), ('all',))])
    results = dict(img=ramp(20), regions=region)
    assert CropRegion(8, kinds=KINDS).transform(results)['text'] == 'all'


def test_an_image_without_any_region_is_named():
    results = dict(img=ramp(20), regions=dict(part=[1]), img_path='x.png')
    with pytest.raises(ValueError, match=r"x\.png.*\['part'\].*object"):
        CropRegion(8, kinds=KINDS).transform(results)


@pytest.mark.parametrize('settings, named', [
    (dict(size=0, kinds=KINDS), 'size'), (dict(size=8, kinds={}), 'kinds'),
    (dict(size=8, kinds=dict(object=-1)), 'object'),
    (dict(size=8, kinds=KINDS, margin=(2, 1)), 'margin')])
def test_settings_out_of_range_are_named(settings, named):
    with pytest.raises(ValueError, match=named):
        TRANSFORMS.build(dict(type='CropRegion', **settings))


# Datasets.

def test_a_training_item_is_an_image_with_its_text():
    dataset = ShapesDataset(
        4, combinations='seen', with_regions=True, cache=True,
        pipeline=[CropRegion(32, KINDS), PackImageText()])
    first, again = dataset[1], dataset[1]
    assert first['inputs'].shape == again['inputs'].shape == (3, 32, 32)
    texts = [text for part in regions(dataset.scene(1)).values()
             for region in part for text in region.texts]
    assert first['data_samples'].text in texts
    assert first['data_samples'].img_path == 'shapes://train/1'


def test_answers_of_the_questions_are_true():
    dataset = ShapesQuestions(12, num_captions=4)
    names = set()
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        scene = draw_scene(scene_seed('val', info['scene_idx']))
        answers = {name: choices[answer]
                   for name, (choices, answer) in info['questions'].items()}
        names |= set(answers)
        if info['kind'] == 'scene':
            assert answers['scene/caption'] == scene.captions[0]
            assert len(set(info['questions']['scene/caption'].choices)) == 4
            continue
        thing, = (thing for thing in scene.objects
                  if thing.box_xyxy == info['region'].box_xyxy)
        pair = (thing.color, thing.shape)
        group = 'held_out' if pair in HELD_OUT_COMBINATIONS else 'seen'
        assert answers[f'{group}/color'].split()[1:] == [thing.color, 'shape']
        assert answers[f'{group}/shape'].split()[1:] == [thing.shape]
        assert answers[f'{group}/pair'].split()[1:] == list(pair)
    assert len(names) == 7


def test_an_item_with_questions_shows_its_own_region():
    dataset = ShapesQuestions(3, num_captions=0, pipeline=[
        CropRegion(24, dict(object=1), (1, 1), centered=True), PackImageText()])
    item, info = dataset[0], dataset.get_data_info(0)
    left, top, right, bottom = info['region'].box_xyxy
    image = draw_scene(scene_seed('val', info['scene_idx'])).image
    mean = image[top:bottom, left:right].mean((0, 1))
    assert np.abs(item['inputs'].float().mean((1, 2)).numpy() - mean).max() < 25
    assert item['data_samples'].questions == info['questions']


@pytest.mark.parametrize('num_captions', [1, 5, -2])
def test_captions_that_cannot_be_asked_for_are_rejected(num_captions):
    with pytest.raises(ValueError, match='num_captions'):
        ShapesQuestions(4, num_captions=num_captions)
