"""Objects to place: what is read of their files, and what is wrong with them."""
import pickle

import numpy as np
import pytest
from PIL import Image

from mmcontrast.datasets import BadImage
from mmcontrast.errors import UserValueError
from mmcontrast.methods.topnet.compositing import paste
from mmcontrast.methods.topnet.cutouts import (
    CutOut,
    UnusableObject,
    check_fits,
    open_cutout,
    read_cutout,
    read_mask,
)


def rgba(size=(40, 50), box=(10, 5, 20, 30)):
    """(h, w) pixels, opaque in a box (x, y, w, h); colors differ everywhere."""
    pixels = np.zeros((*size, 4), np.uint8)
    pixels[..., :3] = np.random.default_rng(0).integers(256, size=(*size, 3))
    x, y, w, h = box
    pixels[y:y + h, x:x + w, 3] = 255
    return pixels


def saved(tmp_path, pixels, name='object.png', **options):
    Image.fromarray(pixels).save(tmp_path / name, **options)
    return tmp_path / name


def test_an_rgba_file_is_cropped_to_its_object(tmp_path):
    pixels = rgba()
    cutout = read_cutout(saved(tmp_path, pixels))
    assert cutout.size_wh == (20, 30)
    np.testing.assert_array_equal(cutout.rgba, pixels[5:35, 10:30])


def test_an_image_and_its_mask_are_the_same_object(tmp_path):
    pixels = rgba()
    image = saved(tmp_path, pixels[..., :3], 'image.png')
    mask = saved(tmp_path, pixels[..., 3], 'mask.png')
    np.testing.assert_array_equal(read_cutout(image, mask).rgba, pixels[5:35, 10:30])


def test_noise_of_a_jpeg_mask_is_not_part_of_the_object(tmp_path):
    y, x = np.mgrid[:100, :120]
    disc = np.where((x - 60) ** 2 + (y - 50) ** 2 <= 30 ** 2, 255, 0).astype(np.uint8)
    mask = saved(tmp_path, disc, 'mask.jpg', quality=75)
    stored = np.asarray(Image.open(mask))
    assert (stored[16:20] > 0).any() and stored.max() >= 254 and (stored == 254).any()
    image = saved(tmp_path, np.dstack([disc] * 3), 'image.jpg')
    assert read_cutout(image, mask).size_wh == (61, 61)


def test_soft_edges_stay():
    pixels = rgba()
    pixels[4, 10:30, 3] = 100
    assert CutOut.from_rgba(pixels).alpha[0].tolist() == [100] * 20


def test_a_translucent_object_has_its_own_edge():
    pixels = rgba()
    pixels[..., 3] = pixels[..., 3] // 5
    assert CutOut.from_rgba(pixels).size_wh == (20, 30)


def test_without_a_tight_crop_the_image_stays_as_it_is(tmp_path):
    assert read_cutout(saved(tmp_path, rgba()), tight=False).size_wh == (50, 40)


@pytest.mark.parametrize('mode', ['1', 'L01', 'P'])
def test_masks_of_zeros_and_ones_are_fully_opaque(tmp_path, mode):
    marked = rgba()[..., 3] > 0
    image = Image.fromarray(marked.astype(np.uint8))
    if mode == '1':
        image = Image.fromarray(marked)
    elif mode == 'P':
        image = image.convert('P')
        image.putpalette([0, 0, 0, 40, 0, 0])
    image.save(tmp_path / 'mask.png')
    np.testing.assert_array_equal(read_mask(tmp_path / 'mask.png'), 255 * marked)


def test_gray_images_with_alpha_and_palettes_with_transparency_are_objects(tmp_path):
    gray = Image.fromarray(rgba()).convert('LA')
    gray.save(tmp_path / 'gray.png')
    assert read_cutout(tmp_path / 'gray.png').size_wh == (20, 30)
    indices = Image.fromarray((rgba()[..., 3] > 0).astype(np.uint8)).convert('P')
    indices.putpalette([0, 0, 0, 200, 10, 20])
    indices.save(tmp_path / 'palette.png', transparency=0)
    cutout = read_cutout(tmp_path / 'palette.png')
    assert cutout.size_wh == (20, 30) and cutout.rgb[0, 0].tolist() == [200, 10, 20]


def test_an_image_without_alpha_or_mask_is_no_object(tmp_path):
    path = saved(tmp_path, rgba()[..., :3], 'dog.jpg')
    with pytest.raises(UserValueError, match=r'dog\.jpg has no alpha channel .*RGB.*'
                       r'RGBA PNG, or give its mask'):
        read_cutout(path)


@pytest.mark.parametrize('strongest', [0, 5])
def test_a_fully_transparent_object_cannot_be_placed(tmp_path, strongest):
    pixels = rgba()
    pixels[..., 3] = np.minimum(pixels[..., 3], strongest)
    with pytest.raises(UserValueError, match=r'empty\.png is fully transparent: .*'
                       f'above {strongest} of 255'):
        read_cutout(saved(tmp_path, pixels, 'empty.png'))


def test_a_mask_of_another_size_is_an_error(tmp_path):
    image = saved(tmp_path, rgba()[..., :3], 'image.png')
    mask = saved(tmp_path, rgba((20, 25), (1, 2, 3, 4))[..., 3], 'mask.png')
    with pytest.raises(UserValueError, match=r'mask\.png has 25 x 20 pixels and its '
                       r'image .*image\.png has 50 x 40'):
        read_cutout(image, mask)


def test_damaged_and_missing_files_are_named(tmp_path):
    path = saved(tmp_path, rgba())
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BadImage, match='object.png: truncated or damaged'):
        read_cutout(path)
    with pytest.raises(BadImage, match='gone.png: file not found'):
        read_cutout(tmp_path / 'gone.png')


def test_pixels_that_are_not_rgba_are_an_error():
    with pytest.raises(UserValueError, match=r'must be \(h, w, 4\) uint8 RGBA'):
        CutOut.from_rgba(np.zeros((4, 4, 3), np.uint8))


def test_a_mask_takes_the_place_of_the_opacity_of_any_source(tmp_path):
    pixels = rgba()
    mask = saved(tmp_path, pixels[..., 3], 'mask.png')
    wanted = read_cutout(saved(tmp_path, pixels), mask)
    opaque = np.dstack([pixels[..., 2::-1], np.full(pixels.shape[:2], 255, np.uint8)])
    whole = CutOut(pixels[..., :3], opaque[..., 3])
    for source in (opaque, opaque[..., :3], whole, Image.fromarray(pixels[..., :3])):
        np.testing.assert_array_equal(open_cutout(source, mask).rgba, wanted.rgba)
    with pytest.raises(UserValueError, match='mask.png has 50 x 40 pixels and its '
                                             'image cup has 20 x 30'):
        open_cutout(wanted, mask, 'cup')


def test_an_object_larger_than_the_scene_does_not_fit():
    check_fits((640, 480), (640, 480))
    with pytest.raises(UserValueError, match=r'car\.png is to be pasted at 800 x 400 '
                       r'pixels, larger than the scene of 640 x 480\. .*at most '
                       r'640 x 320'):
        check_fits((800, 400), (640, 480), 'car.png')


@pytest.mark.parametrize('high', [1, 255, 65535])
def test_masks_of_16_bits_mark_the_object_at_any_scale(tmp_path, high):
    marked = rgba()[..., 3] > 0
    Image.fromarray(high * marked.astype(np.uint16)).save(tmp_path / 'mask.png')
    assert Image.open(tmp_path / 'mask.png').mode.startswith('I')
    np.testing.assert_array_equal(read_mask(tmp_path / 'mask.png'), 255 * marked)


def test_a_gray_image_of_16_bits_keeps_its_shades_and_its_transparent_one(tmp_path):
    gray = np.full((40, 50), 300, np.uint16)
    gray[5:35, 10:30] = 40000
    gray[10:20, 15:20] = 20000
    Image.fromarray(gray).save(tmp_path / 'gray.png', transparency=300)
    cutout = read_cutout(tmp_path / 'gray.png')
    assert cutout.size_wh == (20, 30) and (cutout.alpha == 255).all()
    np.testing.assert_array_equal(cutout.rgb[..., 0], gray[5:35, 10:30] >> 8)


def disc(color, around):
    """A disc of one color, another one where it is fully transparent."""
    y, x = np.mgrid[:40, :40]
    inside = (x - 19.5) ** 2 + (y - 19.5) ** 2 <= 18 ** 2
    pixels = np.full((40, 40, 4), (*around, 0), np.uint8)
    pixels[inside] = (*color, 255)
    return pixels


@pytest.mark.parametrize('size', [9, 25, 40, 90])
def test_black_around_an_rgba_object_leaves_no_dark_fringe(tmp_path, size):
    light = np.full((100, 100, 3), 200, np.uint8)
    pixels = disc((200, 200, 200), (0, 0, 0))
    for cutout in (read_cutout(saved(tmp_path, pixels)), open_cutout(pixels),
                   open_cutout(Image.fromarray(pixels))):
        composite, mask = paste(light, cutout, (5, 5, size, size))
        assert mask.max() == 255 and composite.min() >= 198


def test_colors_are_filled_with_the_nearest_of_the_object(tmp_path):
    pixels = disc((0, 0, 0), (9, 9, 9))
    pixels[:, :20, 0], pixels[:, 20:, 2] = 250, 250
    corners = read_cutout(saved(tmp_path, pixels), tight=False).rgb[::39, ::39]
    assert corners.tolist() == [[[250, 0, 0], [0, 0, 250]]] * 2


def test_colors_beside_a_mask_stay_as_they_are(tmp_path):
    """Golden composites are made from them."""
    pixels = disc((200, 0, 0), (9, 9, 9))
    image = saved(tmp_path, pixels[..., :3], 'image.png')
    mask = saved(tmp_path, pixels[..., 3], 'mask.png')
    np.testing.assert_array_equal(
        read_cutout(image, mask, tight=False).rgb, pixels[..., :3])


def test_an_object_that_cannot_be_used_comes_back_from_a_worker():
    with pytest.raises(UnusableObject) as caught:
        CutOut.from_rgba(np.zeros((4, 4, 4), np.uint8), 'a.png')
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.reason == 'fully transparent' and str(again) == str(caught.value)
    assert str(again).startswith('a.png is fully transparent: no pixel')
