"""Formats, gray ranges, EXIF and the pixel limit of all readers of images."""
import io
import logging
import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image, TiffImagePlugin

from mmcontrast.apis.inferencers.images import list_images
from mmcontrast.datasets import gray_levels
from mmcontrast.datasets.bad_images import BadImage, Reason
from mmcontrast.datasets.image_files import FORMATS, decode_bytes, read_image
from mmcontrast.datasets.transforms import FastTwoViews, LoadImage
from mmcontrast.errors import UserValueError

ROOT = Path(__file__).parents[2]
# 4096 different values from 0 to 4095, row by row: 12 bits.
TWELVE_BITS = np.arange(4096).reshape(64, 64)


@pytest.fixture
def named(monkeypatch):
    """Nothing was warned about yet."""
    monkeypatch.setattr(gray_levels, '_named', bytearray(1))


@pytest.fixture
def warnings(named, caplog):
    """Warnings of this test."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield lambda: [r.getMessage() for r in caplog.records
                   if r.levelno == logging.WARNING]
    logger.removeHandler(caplog.handler)


def levels_of(path, **options):
    """(H, W) levels of a gray image, the same from all readers."""
    image = LoadImage(**options)(dict(img_path=str(path)))['img']
    pixels = np.array(image)
    assert image.mode == 'RGB' and (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


# ---- gray ranges; faults M

GRAY_FILES = {
    '12 bits in 16': TWELVE_BITS.astype(np.uint16),
    'thermal counts': (29000 + TWELVE_BITS // 4).astype(np.uint16),
    'signed 16 bits': (TWELVE_BITS - 2000).astype(np.int16),
    '32 bits': (TWELVE_BITS * 100_000).astype(np.int32),
    'float': TWELVE_BITS.astype(np.float32) / 7 - 100,
    'small float': TWELVE_BITS.astype(np.float32) / 1e6}


@pytest.mark.parametrize('kind', GRAY_FILES)
def test_the_range_of_a_file_becomes_the_whole_range(tmp_path, kind, warnings):
    cv2.imwrite(str(tmp_path / 'a.tif'), GRAY_FILES[kind])
    levels = levels_of(tmp_path / 'a.tif')
    assert levels.min() == 0 and levels.max() == 255
    # In steps of one size, and in order: 16 values each, up to the cut-off tails.
    exact = TWELVE_BITS // 16
    assert np.abs(levels.astype(int) - exact).max() <= 1
    assert (np.diff(levels.ravel().astype(int)) >= 0).all()
    assert not warnings()


@pytest.mark.parametrize('channels', [1, 3])
def test_values_that_fill_16_bits_keep_their_brightness(tmp_path, channels):
    values = np.dstack([TWELVE_BITS * 9 + 5000] * channels).astype(np.uint16)
    cv2.imwrite(str(tmp_path / 'a.png'), values)
    assert (levels_of(tmp_path / 'a.png') == values[..., 0] >> 8).all()


@pytest.mark.parametrize('outlier', [
    np.nan, np.inf, -np.inf, -9999, 1e30, -3.4e38])
def test_one_odd_pixel_does_not_darken_the_others(tmp_path, outlier):
    values = TWELVE_BITS.astype(np.float32)
    values[5, 5] = outlier
    Image.fromarray(values).save(tmp_path / 'a.tif')
    levels = levels_of(tmp_path / 'a.tif')
    assert levels[5, 5] == (255 if outlier > 0 else 0)
    levels[5, 5] = 5 * 64 + 5 >> 4
    assert np.abs(levels.astype(int) - TWELVE_BITS // 16).max() <= 1


def test_pixels_without_data_are_black_and_do_not_count(tmp_path):
    # A quarter of an elevation model, by GDAL's tag.
    values = TWELVE_BITS.astype(np.float32)
    values[:32, :32] = -3.4028234663852886e38
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[42113] = '-3.4028234663852886e+38'
    Image.fromarray(values).save(tmp_path / 'a.tif', tiffinfo=tags)
    levels = levels_of(tmp_path / 'a.tif')
    assert (levels[:32, :32] == 0).all() and levels[32, 0] in (126, 127, 128)
    assert levels[-1, -1] == 255


def test_few_bright_pixels_are_seen_on_a_constant_ground(tmp_path):
    values = np.full((64, 64), 1000, np.uint16)
    values[9, 9] = 1200
    Image.fromarray(values).save(tmp_path / 'a.png')
    levels = levels_of(tmp_path / 'a.png')
    assert levels[9, 9] == 255 and (levels == 0).sum() == 64 * 64 - 1


@pytest.mark.parametrize('suffix, channels', [
    ('png', 3), ('png', 4), ('tif', 3), ('tif', 4), ('jp2', 3), ('ppm', 3)])
def test_color_of_16_bits_is_scaled_by_one_range(tmp_path, suffix, channels):
    # Pillow reads the high byte of each: 16 levels.
    values = np.dstack([TWELVE_BITS // 4, TWELVE_BITS // 2, TWELVE_BITS, 0 * TWELVE_BITS
                        ][:channels]).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f'a.{suffix}'), values)
    pixels = np.asarray(read_image(str(tmp_path / f'a.{suffix}')), int)
    for channel, share in enumerate((1, 2, 4)):  # OpenCV writes blue first
        assert np.abs(pixels[..., channel] - TWELVE_BITS // 16 // share).max() <= 2


def test_one_range_for_a_data_set_keeps_its_images_comparable(tmp_path, monkeypatch):
    for name, values in (('dark', TWELVE_BITS // 4), ('bright', TWELVE_BITS)):
        Image.fromarray(values.astype(np.uint16)).save(tmp_path / f'{name}.png')
    expected = {'dark': TWELVE_BITS // 64, 'bright': TWELVE_BITS // 16}
    for name, levels in expected.items():
        path = tmp_path / f'{name}.png'
        assert (levels_of(path, gray_range=(0, 4095)) == levels).all()
        views = FastTwoViews(64, scale=(1, 1), ratio=(1, 1), flip_prob=0,
                             gray_range=(0, 4095))(dict(img_path=str(path)))
        assert (views['img'][0][..., 0].numpy() == levels).all()
    # Values beyond the range become its ends.
    assert (levels_of(tmp_path / 'bright.png', gray_range=(1000, 2000))
            == np.clip((TWELVE_BITS - 1000) * 256 // 1000, 0, 255)).all()
    # Every reader, also those of tools.
    monkeypatch.setenv('MMCONTRAST_GRAY_RANGE', '0-4095')
    with pytest.raises(UserValueError, match='MMCONTRAST_GRAY_RANGE must be'):
        read_image(str(tmp_path / 'dark.png'))
    monkeypatch.setenv('MMCONTRAST_GRAY_RANGE', '0,4095')
    source, = list_images(tmp_path / 'dark.png')
    assert (source.read()[..., 0] == expected['dark']).all()


@pytest.mark.parametrize('bad', [(5, 5), (9, 1), 7, 'file', (1, 2, 3), ('a', 'b')])
def test_a_range_that_is_none_is_named(bad):
    with pytest.raises(UserValueError, match=r'gray_range must be .*\(0, 4095\)'):
        LoadImage(gray_range=bad)


def test_images_without_contrast_are_warned_about_and_the_first_are_named(
        tmp_path, warnings):
    dark = (TWELVE_BITS >> 8).astype(np.uint8)
    for k in range(9):
        Image.fromarray(dark).save(tmp_path / f'{k}.png')
        Image.fromarray(dark * 16).save(tmp_path / f'good{k}.png')
        read_image(str(tmp_path / f'{k}.png'))
        read_image(str(tmp_path / f'good{k}.png'))
    found = warnings()
    assert len(found) == 6
    assert f'{tmp_path}/0.png has no contrast: its levels lie between 0 and 15' in (
        found[0])
    assert 'gray_range' in found[0] and 'not named' in found[5]


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_the_fast_pipeline_warns_as_well(tmp_path, warnings, suffix):
    Image.new('RGB', (64, 64), 'gray').save(tmp_path / f'a.{suffix}')
    FastTwoViews(32)(dict(img_path=f'{tmp_path}/a.{suffix}'))
    Image.linear_gradient('L').save(tmp_path / f'b.{suffix}')
    FastTwoViews(32)(dict(img_path=f'{tmp_path}/b.{suffix}'))
    assert [f'a.{suffix} has no contrast' in text for text in warnings()] == [True]


# ---- formats; faults O

def encoded(format, size=(8, 8), **options):
    file = io.BytesIO()
    Image.linear_gradient('L').resize(size).convert('RGB').save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize('format', FORMATS)
def test_raster_formats_are_opened(format):
    assert decode_bytes(encoded(format), 'a').size == (8, 8)


@pytest.mark.parametrize('format', ['EPS', 'ICO', 'PCX', 'SGI', 'DDS', 'ICNS'])
def test_other_formats_are_not_opened_and_named(format, monkeypatch):
    # Whatever their suffix says; no program is started for them.
    monkeypatch.setattr('subprocess.check_call', lambda *args, **kwargs: 1 / 0)
    data = encoded(format, (16, 16))
    with pytest.raises(BadImage, match=f'a.jpg: of a format that is not opened '
                                       f'.{format}; opened are JPEG, PNG') as caught:
        decode_bytes(data, 'a.jpg')
    assert caught.value.reason is Reason.OTHER_FORMAT


@pytest.mark.parametrize('data, kind', [
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:00', 'git lfs pull'),
    (b'\n<!DOCTYPE html><html>', 'a web page'),
    (b'\xef\xbb\xbf<svg xmlns="http://www.w3.org/2000/svg"/>', 'an SVG drawing'),
    (b'%PDF-1.7', 'a PDF'),
    (cv2.imencode('.tif', np.ones((2, 2)))[1].tobytes(), 'save it as 32-bit floats')])
def test_what_is_no_image_is_named(data, kind):
    with pytest.raises(BadImage, match=kind) as caught:
        decode_bytes(data, 'a.jpg')
    assert caught.value.reason is Reason.NOT_AN_IMAGE


def test_images_are_opened_in_one_place():
    bare = re.compile(r'\b(Image\.open|imread|imdecode|imfrombytes|decode_image)\(')
    found = {path.name for folder in ('mmcontrast', 'tools', 'projects')
             for path in (ROOT / folder).rglob('*.py')
             if bare.search(path.read_text(encoding='utf-8'))}
    assert found == {'image_files.py'}


# ---- pixel limit; faults Y

def png_header(width, height):
    """A PNG of a few bytes that says it is this large."""
    content = struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0)
    chunks = b''.join(
        struct.pack('>I', len(data)) + name + data
        + struct.pack('>I', zlib.crc32(name + data))
        for name, data in ((b'IHDR', content), (b'IDAT', b'\0' * 100)))
    return b'\x89PNG\r\n\x1a\n' + chunks


@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
@pytest.mark.parametrize('side', [9_460, 13_000, 60_000])
def test_an_image_of_too_many_pixels_is_refused_by_its_header(tmp_path, side):
    path = tmp_path / 'huge.png'
    path.write_bytes(png_header(side, side))
    for read in (lambda: read_image(str(path)),
                 lambda: LoadImage()(dict(img_path=str(path))),
                 lambda: FastTwoViews()(dict(img_path=str(path)))):
        with pytest.raises(BadImage, match='huge.png: more pixels than the limit .*'
                                           'MMCONTRAST_MAX_PIXELS') as caught:
            read()
        assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.filterwarnings('error::PIL.Image.DecompressionBombWarning')
def test_the_pixel_limit_can_be_set(monkeypatch):
    data = encoded('PNG', (100, 50))
    for max_pixels, fits in ((5000, True), (4999, False)):
        for limit in (dict(max_pixels=max_pixels), None):
            monkeypatch.setenv('MMCONTRAST_MAX_PIXELS',
                               '1' if limit else str(max_pixels))
            for load in (LoadImage, FastTwoViews):
                item = dict(img_bytes=data, img_path='a.png')
                if fits:
                    load(**limit or {})(item)
                    continue
                with pytest.raises(BadImage, match='100 x 50, the limit is 4999'):
                    load(**limit or {})(item)
    # Above Pillow's own limit: the header is accepted, the pixels are not there.
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    monkeypatch.setenv('MMCONTRAST_MAX_PIXELS', '10000')
    assert decode_bytes(data, 'a.png').size == (100, 50)
    monkeypatch.setenv('MMCONTRAST_MAX_PIXELS', '200 million')
    with pytest.raises(UserValueError, match="MMCONTRAST_MAX_PIXELS .*'200 million'"):
        decode_bytes(data, 'a.png')
