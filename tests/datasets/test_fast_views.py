"""FastTwoViews against LoadImage and TwoViews, with every decoder that is here."""
import io
import random

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from mmcontrast.datasets import UnlabeledImages, seed_worker
from mmcontrast.datasets.bad_images import BadImage, Reason
from mmcontrast.datasets.shapes import draw_scene, scene_seed
from mmcontrast.datasets.transforms import (
    Crop,
    FastTwoViews,
    LoadImage,
    PackViews,
    TwoViews,
    decoding,
)
from mmcontrast.datasets.transforms.resampling import (
    DecodedImage,
    crop_decoded,
    stored_box,
)

ORIENTATION = 0x0112


def jpeg(image: np.ndarray, orientation: int = 1, **options) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'jpeg', **dict(quality=92, exif=exif) | options)
    return file.getvalue()


@pytest.fixture(scope='module')
def scene() -> np.ndarray:
    """A drawn image, (300, 401, 3): no multiple of a block."""
    return draw_scene(scene_seed('train', 3), 401).image[:300]


@pytest.fixture(params=['simplejpeg', 'Pillow'])
def decoder(request, monkeypatch):
    """Each decoder by itself."""
    if request.param == 'Pillow':
        monkeypatch.setattr(decoding, 'simplejpeg', None)
    elif decoding.simplejpeg is None:
        pytest.skip('simplejpeg is not installed')
    return request.param


@pytest.fixture
def always_shrink(monkeypatch):
    monkeypatch.setattr(decoding, 'MIN_REDUCTION', 0)


def slow(data: bytes, seed: int, **options) -> dict:
    """What the strict pipeline makes of it, without colors."""
    results = LoadImage().transform(dict(img_path='a.jpg', img_bytes=data))
    return TwoViews(views='NULL', **options).transform(results, random.Random(seed))


def fast(data: bytes, seed: int, **options) -> dict:
    results = dict(img_path='a.jpg', img_bytes=data)
    return FastTwoViews(**options).transform(results, random.Random(seed))


def gray_levels(first, second) -> np.ndarray:
    """Absolute differences between the views of two results."""
    return np.stack([np.abs(np.asarray(a, dtype=int) - np.asarray(b, dtype=int))
                     for a, b in zip(first['img'], second['img'], strict=True)])


# The same views, as TwoViews draws them.

@pytest.mark.parametrize('orientation', range(1, 9))
def test_views_are_those_of_the_strict_pipeline(decoder, scene, orientation):
    data = jpeg(scene, orientation)
    for seed in range(6):
        theirs, ours = (make(data, seed, size=(64, 96)) for make in (slow, fast))
        for key in ('views', 'ori_shape', 'img_shape'):
            assert ours[key] == theirs[key]
        assert gray_levels(theirs, ours).max() <= 1


def test_bicubic_differs_at_few_pixels(decoder, scene):
    differences = np.stack([gray_levels(
        *(make(jpeg(scene), seed, size=96, interpolation='bicubic')
          for make in (slow, fast))) for seed in range(10)])
    assert (differences > 1).mean() < 1e-3 and differences.max() <= 4


@pytest.mark.parametrize('options', [
    dict(subsampling=0), dict(subsampling=1), dict(progressive=True), dict(quality=30)])
def test_all_kinds_of_jpeg_decode_alike(decoder, scene, options):
    data = jpeg(scene, **options)
    assert gray_levels(slow(data, 1, size=96), fast(data, 1, size=96)).max() <= 1


def test_gray_jpegs_become_rgb(decoder, scene):
    data = jpeg(scene[..., 0])
    assert gray_levels(slow(data, 1, size=96), fast(data, 1, size=96)).max() <= 1


@pytest.mark.parametrize('format, mode', [
    ('jpeg', 'CMYK'), ('png', 'RGB'), ('png', 'P'), ('png', 'LA'), ('png', 'I;16'),
    ('webp', 'RGB'), ('tiff', 'F')])
def test_other_files_take_the_way_of_load_image(scene, format, mode):
    image = Image.fromarray(scene)
    if mode == 'I;16':
        image = Image.fromarray(scene[..., 0].astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, format, **dict(lossless=True) if format == 'webp' else {})
    data = file.getvalue()
    assert gray_levels(slow(data, 1, size=96), fast(data, 1, size=96)).max() <= 1


def test_a_sample_that_holds_an_array_or_an_image_is_not_read(scene):
    for img in (scene, Image.fromarray(scene)):
        ours = FastTwoViews(64).transform(dict(img=img), random.Random(3))
        theirs = TwoViews(64, views='NULL').transform(
            LoadImage().transform(dict(img=img)), random.Random(3))
        assert ours['views'] == theirs['views']
        assert gray_levels(theirs, ours).max() <= 1
    with pytest.raises(ValueError, match='uint8 RGB array'):
        FastTwoViews(64).transform(dict(img=scene[..., 0]))


def test_files_are_read_through_mmengine(decoder, scene, tmp_path):
    (tmp_path / 'a.jpg').write_bytes(jpeg(scene))
    read = FastTwoViews(64).transform(
        dict(img_path=str(tmp_path / 'a.jpg')), random.Random(0))
    assert gray_levels(read, fast(jpeg(scene), 0, size=64)).max() == 0


def test_samples_say_where_photometric_steps_were_applied(scene):
    def photometric_done(*steps):
        results = dict(img=scene)
        for step in (*steps, PackViews()):
            results = step.transform(results)
        return results['data_samples'].get('photometric_done', False)
    assert photometric_done(LoadImage(), TwoViews(32, views='BYOL'))
    assert not photometric_done(LoadImage(), TwoViews(32, views='NULL'))
    assert not photometric_done(FastTwoViews(32))


# Decoded at a fraction of the size.

@pytest.mark.parametrize('orientation', [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize('shrink', [2, 4, 8])
def test_reduced_views_look_alike(
        decoder, always_shrink, scene, orientation, shrink):
    # The shortest side of such a crop is 232.
    options = dict(size=232 // shrink, scale=(0.6, 1.0))
    data = jpeg(scene, orientation)
    for seed in range(3):
        ours, theirs = fast(data, seed, **options), slow(data, seed, **options)
        assert ours['views'] == theirs['views']
        assert 0.05 < gray_levels(theirs, ours).mean() < 2


@pytest.mark.parametrize('orientation', [1, 3, 6])
@pytest.mark.parametrize('shrink', [1, 2, 4, 8])
def test_nothing_moves_in_reduced_views(decoder, shrink, orientation):
    """A bright spot has its center of mass where it was put, whatever the crop."""
    width, height, sigma, at = 403, 299, 20, (211.3, 140.8)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    spot = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * sigma ** 2))
    upright = Image.fromarray(np.uint8(np.round(spot * 250)))
    undo = {1: lambda a: a, 3: lambda a: a[::-1, ::-1], 6: lambda a: np.rot90(a)}
    stored = np.ascontiguousarray(undo[orientation](np.array(upright)))
    data = jpeg(stored, orientation, quality=100)
    image = Image.open(io.BytesIO(data))
    pixels = decoding.decode_jpeg(data, image, 'a.jpg', shrink)
    assert (pixels.shrink, pixels.orientation) == (shrink, orientation)
    for crop in (Crop(100, 41, 241, 233), Crop(87, 30, 255, 222), Crop(0, 0, 403, 299)):
        # Half a pixel of the reduced image would be shrink / 2.
        view = crop_decoded(pixels, crop, False, (28, 30))[..., 0].double()
        weights = view / view.sum()
        found = ((weights.sum(0) * (torch.arange(30) + 0.5)).sum() * crop.width / 30,
                 (weights.sum(1) * (torch.arange(28) + 0.5)).sum() * crop.height / 28)
        assert found[0] + crop.left == pytest.approx(at[0], abs=0.08 + shrink / 50)
        assert found[1] + crop.top == pytest.approx(at[1], abs=0.08 + shrink / 50)


def test_no_view_is_upsampled_from_fewer_pixels_than_there_are(always_shrink):
    def shrink(*sides: int) -> int:
        crops = [Crop(0, 0, *sides[:2]), Crop(0, 0, *sides[2:])]
        return decoding.best_shrink((4000, 4000), crops, (100, 200))
    assert shrink(1600, 800, 4000, 4000) == 8
    assert shrink(1599, 800, 4000, 4000) == 4
    assert shrink(4000, 4000, 400, 200) == 2
    assert shrink(4000, 4000, 4000, 199) == 1
    assert shrink(50, 50, 4000, 4000) == 1


def test_small_images_are_decoded_in_full():
    crop = Crop(0, 0, 700, 700)
    assert decoding.best_shrink((500, 400), [crop, crop], (224, 224)) == 1
    assert decoding.best_shrink((4000, 3000), [crop, crop], (224, 224)) == 2


def test_a_crop_is_found_in_the_stored_image_by_hand():
    crop = Crop(left=1, top=2, width=3, height=4)   # of an upright image of 10 x 20
    def box(orientation, width, height):
        return stored_box(crop, DecodedImage(None, width, height, 1, orientation))
    assert box(1, 10, 20) == (1, 2, 4, 6)
    assert box(2, 10, 20) == (6, 2, 9, 6)
    assert box(3, 10, 20) == (6, 14, 9, 18)
    # Held turned to the right: upright x runs down the stored rows from the last one.
    assert box(6, 20, 10) == (2, 6, 6, 9)


# Bad files.

def outcome(make, data: bytes):
    """The reason of refusal, or None."""
    try:
        make(data, 0, size=37, scale=(0.6, 1.0))
    except BadImage as bad:
        return bad.reason


@pytest.mark.parametrize('options', [
    {}, dict(progressive=True), dict(restart_marker_rows=1)])
def test_cut_off_files_are_rejected_just_as_load_image_does(
        decoder, always_shrink, scene, options):
    data = jpeg(scene, **options)
    ends = [1, 2, 3, 20, 200, len(data) // 2, len(data) - 700, len(data) - 30]
    for end in ends:
        expected = outcome(slow, data[:-end])
        assert outcome(fast, data[:-end]) == expected
        if end > 2:   # without its last marker Pillow accepts a file
            assert expected in (Reason.DAMAGED, Reason.NOT_AN_IMAGE)


def test_files_with_wrong_bytes_are_treated_just_as_load_image_does(
        decoder, always_shrink, scene):
    data, rng = bytearray(jpeg(scene)), random.Random(0)
    for _ in range(40):
        broken = bytearray(data)
        for _ in range(rng.choice([1, 5])):
            broken[rng.randrange(len(data))] = rng.randrange(256)
        assert outcome(fast, bytes(broken)) == outcome(slow, bytes(broken))


def test_empty_missing_and_other_files_have_their_reasons(tmp_path):
    assert outcome(fast, b'') == Reason.EMPTY
    assert outcome(fast, b'GIF and nothing more') == Reason.NOT_AN_IMAGE
    with pytest.raises(BadImage, match=r'gone\.jpg: file not found'):
        FastTwoViews(64).transform(dict(img_path=str(tmp_path / 'gone.jpg')))


def test_other_filters_are_left_to_two_views():
    with pytest.raises(ValueError, match='LoadImage and TwoViews'):
        FastTwoViews(64, interpolation='lanczos')


# In loader processes.

def boxes_and_threads(results: dict) -> dict:
    boxes = torch.tensor([(v.left, v.top, v.right, v.bottom, v.flipped)
                          for v in results['views']])
    threads = torch.tensor([torch.get_num_threads(), cv2.getNumThreads()])
    return dict(boxes=boxes, pixels=torch.stack(results['img']), threads=threads)


def test_workers_use_one_thread_and_repeat_with_the_seed(scene, tmp_path):
    for name in 'abcdefgh':
        (tmp_path / f'{name}.jpg').write_bytes(jpeg(scene))
    dataset = UnlabeledImages(
        str(tmp_path), pipeline=[FastTwoViews(32), boxes_and_threads])

    def epoch(seed: int) -> dict:
        loader = DataLoader(dataset, batch_size=2, num_workers=2,
                            worker_init_fn=seed_worker,
                            generator=torch.Generator().manual_seed(seed))
        batches = list(loader)
        return {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}
    first, again, other = epoch(1), epoch(1), epoch(2)
    assert (first['threads'] == 1).all()
    assert all(first[key].equal(again[key]) for key in first)
    assert not first['boxes'].equal(other['boxes'])
    # The same image eight times, drawn anew each time, in both workers.
    assert len(first['boxes'].flatten(1).unique(dim=0)) == 8


# Packing.

def test_views_of_all_kinds_are_packed_alike(scene):
    views = dict(views=(), img_path='a')
    packed = [PackViews().transform(dict(views, img=[kind]))['inputs'][0] for kind in (
        Image.fromarray(scene), scene, scene[:, ::-1][:, ::-1],
        torch.from_numpy(scene.copy()))]
    for view in packed:
        assert view.is_contiguous() and view.shape == (3, *scene.shape[:2])
        assert torch.equal(view, packed[0])
    with pytest.raises(ValueError, match='uint8'):
        PackViews().transform(dict(views, img=[scene / 255]))
