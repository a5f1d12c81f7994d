"""Transforms of image-text pairs: texts, and images that must still fit them."""
import random

import numpy as np
import pytest
from PIL import Image

from mmcontrast.datasets import BadImage, Reason, ShapesDataset
from mmcontrast.datasets.shapes import draw_scene, scene_seed
from mmcontrast.datasets.transforms import (
    CaptionFromClass,
    ChooseText,
    CleanText,
    CropImage,
    CropImageCenter,
    FlipImageText,
    PackImageText,
)
from mmcontrast.registry import TRANSFORMS


def ramp(width=100, height=60):
    """An image whose red is the column and whose green is the row."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return Image.fromarray(np.stack([columns, rows, np.zeros_like(rows)], -1))


# Texts.

def test_every_caption_is_drawn_about_equally_often_and_the_first_on_demand():
    rng, choose = random.Random(0), ChooseText()
    drawn = [choose.transform(dict(texts=('a', 'b', 'c')), rng) for _ in range(900)]
    counts = [sum(item['text'] == text for item in drawn) for text in 'abc']
    assert min(counts) > 260 and sum(counts) == 900 and 'texts' not in drawn[0]
    assert ChooseText('first')(dict(texts=['x', 'y']))['text'] == 'x'
    with pytest.raises(KeyError, match="a.png has no 'texts'"):
        choose(dict(img_path='a.png'))


def test_texts_are_cleaned_before_one_is_chosen():
    clean = CleanText(replace={'<PERSON>': 'person'})
    assert clean(dict(texts=('A  <PERSON>\n Runs ',)))['texts'] == ('a person runs',)
    assert clean(dict(texts=('A', ' '), img_path=''))['texts'] == ('a',)
    assert CleanText(lower=False)(dict(texts=[' A b']))['texts'] == ('A b',)
    with pytest.raises(BadImage, match='x.png: empty caption') as said:
        CleanText(replace={'<b>': ''})(dict(texts=['<b>'], img_path='x.png'))
    assert said.value.reason is Reason.EMPTY_TEXT
    with pytest.raises(KeyError, match='x.png.*CleanText belongs before ChooseText'):
        clean(ChooseText()(dict(texts=['a'], img_path='x.png')))


def test_captions_are_made_from_class_names():
    make = CaptionFromClass(['cat', 'hot {dog}'], ['a photo of a {}.', 'the {}'])
    assert make(dict(label=1))['texts'] == ('a photo of a hot {dog}.', 'the hot {dog}')
    with pytest.raises(ValueError, match='label 2, there are 2'):
        make(dict(label=2))
    with pytest.raises(ValueError, match="one '{}' each, got 'a photo'"):
        CaptionFromClass(['cat'], ['a photo'])


# Images.

def test_a_crop_keeps_the_share_of_the_image_that_open_clip_keeps():
    rng, crop = random.Random(0), CropImage(size=(48, 80))
    for _ in range(50):
        source = ramp(80, 70)
        image = np.asarray(crop.transform(dict(img=source), rng)['img']).astype(int)
        assert image.shape == (48, 80, 3)
        # Ends of the ramp, to a pixel or two: the sides of the crop.
        width = image[0, -1, 0] - image[0, 0, 0] + 1
        height = image[-1, 0, 1] - image[0, 0, 1] + 1
        assert 0.9 * 5600 - 300 < width * height <= 5600


def test_the_centered_crop_is_the_largest_of_its_shape():
    image = np.asarray(CropImageCenter(60)(dict(img=ramp()))['img'])
    np.testing.assert_array_equal(image, np.asarray(ramp())[:, 20:80])
    image = np.asarray(CropImageCenter((30, 100))(dict(img=ramp()))['img'])
    np.testing.assert_array_equal(image, np.asarray(ramp())[15:45])


def flip(sides, **texts):
    results = FlipImageText(1., sides)(dict(img=ramp(), **texts))
    return results['img'].getpixel((0, 0))[0] == 99, results


@pytest.mark.parametrize('text, other', [
    ('a dog left of a cat', 'a dog right of a cat'),
    ('Right-hand LEFT leftmost', 'Left-hand RIGHT rightmost')])
def test_a_flip_respects_the_sides_that_a_text_names(text, other):
    for sides, flipped, said in (
            ('skip', False, text), ('swap', True, other), ('ignore', True, text)):
        assert flip(sides, text=text) == (flipped, flip(sides, text=text)[1])
        assert flip(sides, text=text)[1]['text'] == said
        found = flip(sides, texts=('a dog', text))
        assert found[0] == flipped and found[1]['texts'] == ('a dog', said)


@pytest.mark.parametrize('text', ['bright leftovers', 'a dog', 'copyright'])
def test_other_words_do_not_stop_a_flip(text):
    for sides in ('skip', 'swap'):
        flipped, results = flip(sides, text=text)
        assert flipped and results['text'] == text


def test_half_of_the_images_are_flipped():
    rng, transform = random.Random(0), FlipImageText()
    flipped = [transform.transform(dict(img=ramp(4, 4), text=''), rng)['img'].getpixel(
        (0, 0))[0] == 3 for _ in range(400)]
    assert 160 < sum(flipped) < 240


@pytest.mark.parametrize('settings, said', [
    (dict(type='FlipImageText', prob=2), 'prob'),
    (dict(type='FlipImageText', sides='mirror'), 'sides must be one of'),
    (dict(type='ChooseText', choose='last'), 'choose'),
    (dict(type='CropImage', scale=(0.5, 2)), 'scale'),
    (dict(type='CropImage', interpolation='cubic'), 'bicubic')])
def test_settings_out_of_range_are_named(settings, said):
    with pytest.raises(ValueError, match=said):
        TRANSFORMS.build(settings)


# Together.

def test_the_toy_world_gives_whole_images_with_their_captions():
    dataset = ShapesDataset(
        3, size=64, combinations='seen', with_captions=True,
        pipeline=[CropImage(64, (1, 1), (1, 1)), ChooseText(), PackImageText()])
    scene = draw_scene(scene_seed('train', 1), 64, combinations='seen')
    item = dataset[1]
    np.testing.assert_array_equal(item['inputs'].permute(1, 2, 0), scene.image)
    assert item['data_samples'].text in scene.captions


def test_packing_several_texts_says_what_is_missing():
    with pytest.raises(KeyError, match="x.png has 2 'texts'.*ChooseText"):
        PackImageText()(dict(img=ramp(), texts=['a', 'b'], img_path='x.png'))
    packed = PackImageText(keys=['texts'])(dict(img=ramp(), texts=['a', 'b']))
    assert packed['data_samples'].texts == ['a', 'b']
