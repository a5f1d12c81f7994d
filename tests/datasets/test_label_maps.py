"""Label maps: formats, bits, EXIF, and what is ignored."""
import json
import logging
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmseg.datasets import BaseSegDataset
from mmseg.utils import register_all_modules
from PIL import Image

from mmcontrast.apis.analysis.evaluate_backbone import videos
from mmcontrast.apis.data.annotated_images import read_entry
from mmcontrast.apis.doctor.label_maps import LabelMaps
from mmcontrast.datasets import label_maps
from mmcontrast.datasets.label_maps import read_label_map
from mmcontrast.datasets.labeled_images import load_labeled_images
from mmcontrast.datasets.segmented_images import (
    DatasetImages,
    MaskImages,
    open_segmented_images,
)
from mmcontrast.datasets.video_clips import ClipFiles, read_ids
from mmcontrast.errors import UserValueError
from mmcontrast.registry import TRANSFORMS

LABELS = np.zeros((30, 40), np.uint8)
LABELS[5:20, 8:31] = 3
LABELS[0, :7] = 1


@pytest.fixture
def warnings(monkeypatch, caplog):
    """Warnings of this test; no folder was warned about yet."""
    monkeypatch.setattr(label_maps, '_warned_folders', set())
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield lambda: [r.getMessage() for r in caplog.records
                   if r.levelno == logging.WARNING]
    logger.removeHandler(caplog.handler)


def masks(folder, values=LABELS, suffix='.png', turn=1, **options):
    """One image, whose red is its label times 60, and its label map."""
    for part in ('img', 'ann'):
        (folder / part).mkdir(exist_ok=True)
    image = Image.fromarray(np.dstack([values * 60] * 3).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = turn
    image.save(folder / 'img/a.png', exif=exif)
    if isinstance(values, np.ndarray):
        values = Image.fromarray(values)
    values.save(folder / f'ann/a{suffix}', **options)
    return dict(img_dir=str(folder / 'img'), ann_dir=str(folder / 'ann'),
                img_suffix='.png', seg_map_suffix=suffix, num_classes=4)


# ---- formats; faults P

@pytest.mark.parametrize('suffix, options', [
    ('.png', {}), ('.tif', {}), ('.tif', dict(compression='tiff_lzw')), ('.bmp', {}),
    ('.pgm', {})])
def test_exact_formats_give_what_was_written(tmp_path, suffix, options):
    found = MaskImages(**masks(tmp_path, suffix=suffix, **options))[0]
    np.testing.assert_array_equal(found.labels, LABELS)


@pytest.mark.parametrize('format, options, kind', [
    ('JPEG', {}, 'JPEG'), ('TIFF', dict(compression='jpeg'), 'TIFF with jpeg'),
    ('GIF', {}, 'GIF'), ('WEBP', {}, 'WEBP'), ('JPEG2000', {}, 'JPEG2000'),
    ('AVIF', {}, 'AVIF')])
def test_formats_that_change_labels_are_refused(tmp_path, format, options, kind):
    # Whatever the suffix says, for every kind of labeled set.
    cfg = masks(tmp_path)
    Image.fromarray(LABELS).save(tmp_path / 'ann/a.png', format, **options)
    for read in (lambda: MaskImages(**cfg)[0],
                 lambda: load_labeled_images(cfg),
                 lambda: read_ids(tmp_path / 'ann/a.png'),
                 lambda: read_label_map(tmp_path / 'ann/a.png', in_colors=True)):
        with pytest.raises(UserValueError, match=f'ann/a.png is a label map stored as '
                                                 f'{kind}.*PNG'):
            read()


def write_panoptic(folder):
    """The annotation file of one image without segments."""
    (folder / 'annotations/panoptic_val.json').write_text(json.dumps(dict(
        categories=[dict(id=1, name='thing', isthing=1)],
        images=[dict(id=1, file_name='a.jpg')],
        annotations=[dict(image_id=1, file_name='a.png', segments_info=[])])))


def test_panoptic_ids_stored_as_jpeg_are_refused(tmp_path):
    (tmp_path / 'annotations/panoptic_val').mkdir(parents=True)
    (tmp_path / 'val').mkdir()
    for path in ('annotations/panoptic_val/a.png', 'val/a.jpg'):
        Image.new('RGB', (8, 8)).save(tmp_path / path, 'JPEG')
    write_panoptic(tmp_path)
    with pytest.raises(UserValueError, match='panoptic_val/a.png is a label map'):
        open_segmented_images(tmp_path, 'val')[0]


@pytest.mark.parametrize('change, message', [
    (dict(annotations=[]), "'annotations' is empty"),
    (dict(annotations=None), 'no.* COCO panoptic'),
    (dict(images=[]), 'no.* COCO panoptic'),
    (dict(image_id=1, segments_info=[dict(id=1, category_id=8)]), 'category_id 8, and'),
    (dict(image_id=1, segments_info=[dict(category_id=1)]), "COCO panoptic.*'id'"),
    (dict(image_id=1, segments_info=None), 'no.* COCO panoptic'),
    (dict(image_id=1, file_name=None), 'no.* COCO panoptic'),
    ('{"images": [', 'is not a JSON file'), ('[' * 200_000, 'is not a JSON file')],
    ids=range(9))
def test_panoptic_files_are_refused_by_name(tmp_path, change, message):
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'val').mkdir()
    write_panoptic(tmp_path)
    path = tmp_path / 'annotations/panoptic_val.json'
    if isinstance(change, dict):
        content = json.loads(path.read_text())
        entry = content['annotations'][0] if 'image_id' in change else content
        entry |= change
        change = json.dumps(content)
    path.write_text(change)
    with pytest.raises(UserValueError, match=f'panoptic_val.json.*{message}'):
        open_segmented_images(tmp_path, 'val')


def test_the_doctor_names_label_maps_in_jpeg_that_mmseg_would_read(tmp_path):
    cfg = masks(tmp_path)
    Image.fromarray(LABELS).save(tmp_path / 'ann/a.png', 'JPEG')
    dataset = SimpleNamespace(metainfo=dict(classes='abcd'))
    maps = LabelMaps(Config(), 'train_dataloader', dataset, TRANSFORMS.build(
        dict(type='mmseg.LoadAnnotations')))
    problem, = maps.problems(0, dict(seg_map_path=f"{cfg['ann_dir']}/a.png"), None)
    assert 'a.png is a label map stored as JPEG' in problem


def png_of_2_bits():
    """0, 1, 2, 3 in gray of 2 bits."""
    chunks = [(b'IHDR', struct.pack('>IIBBBBB', 4, 1, 2, 0, 0, 0, 0)),
              (b'IDAT', zlib.compress(b'\0\x1b')), (b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(data)) + name + data
        + struct.pack('>I', zlib.crc32(name + data)) for name, data in chunks)


@pytest.mark.parametrize('data', [b'P5\n4 1\n3\n\0\1\2\3', png_of_2_bits()])
def test_gray_that_readers_stretch_is_refused(tmp_path, data):
    # Pillow reads 0, 85, 170, 255, and 255 would be ignored.
    (tmp_path / 'a.png').write_bytes(data)
    assert np.array(Image.open(tmp_path / 'a.png')).tolist() == [[0, 85, 170, 255]]
    with pytest.raises(UserValueError, match='a.png holds gray of fewer bits'):
        read_label_map(tmp_path / 'a.png')


@pytest.mark.parametrize('damage, reason', [
    (lambda data: data[:-40], 'truncated or damaged'),
    (lambda data: b'', 'empty file'), (lambda data: b'<html>', 'a web page'),
    (lambda data: b'version https://git-lfs', 'git lfs pull')])
def test_a_damaged_label_map_is_named_and_never_half_read(
        tmp_path, monkeypatch, damage, reason):
    monkeypatch.setattr('PIL.ImageFile.LOAD_TRUNCATED_IMAGES', True)
    cfg = masks(tmp_path, np.random.default_rng(0).integers(0, 4, (30, 40), np.uint8))
    path = tmp_path / 'ann/a.png'
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserValueError, match=f'ann/a.png: .*{reason}'):
        MaskImages(**cfg)[0]


@pytest.mark.parametrize('image', [
    Image.new('RGB', (40, 30)), Image.new('LA', (40, 30)), Image.new('F', (40, 30))])
def test_a_label_map_holds_one_integer_a_pixel(tmp_path, image):
    cfg = masks(tmp_path, suffix='.tif')
    image.save(tmp_path / 'ann/a.tif')
    with pytest.raises(UserValueError, match=f'one number a pixel.*{image.mode}'):
        MaskImages(**cfg)[0]


# ---- what is ignored; faults C

@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_of_16_bits_only_ignore_index_is_ignored(tmp_path, suffix):
    values = (np.arange(1200).reshape(30, 40) % 300).astype(np.uint16)
    values[0] = 65535
    cfg = masks(tmp_path, values, suffix) | dict(num_classes=300, ignore_index=65535)
    labels = MaskImages(**cfg)[0].labels
    assert (labels == 255).sum() == 4 and (labels == -1).sum() == 40
    np.testing.assert_array_equal(labels[1:], values[1:])
    # Also where a probe keeps them, class 255 is a class.
    kept = load_labeled_images(cfg, (30, 40)).labels
    np.testing.assert_array_equal(kept[0], labels)


@pytest.mark.parametrize('ignore, shift, values, labels', [
    (255, False, [0, 1, 255], [0, 1, -1]),
    (0, False, [0, 1, 2], [-1, 1, 2]),
    (11, False, [0, 11, 3], [0, -1, 3]),
    (255, True, [0, 1, 255], [-1, 0, -1]),
    (65535, True, [0, 1, 65535], [-1, 0, -1]),
    (65535, True, [0, 256, 257], [-1, 255, 256])])
def test_what_is_ignored_is_what_was_named(tmp_path, ignore, shift, values, labels):
    dtype = np.uint16 if max(values + [ignore]) > 255 else np.uint8
    cfg = masks(tmp_path, np.array([values], dtype)) | dict(
        num_classes=300, ignore_index=ignore, reduce_zero_label=shift)
    assert MaskImages(**cfg)[0].labels.tolist() == [labels]


@pytest.mark.parametrize('shift', [False, True])
def test_255_is_a_label_like_others_if_another_is_ignored(tmp_path, shift):
    cfg = masks(tmp_path, np.array([[1, 2, 255]], np.uint8)) | dict(
        ignore_index=11, reduce_zero_label=shift)
    with pytest.raises(UserValueError, match=r'labels \[255\] .*ignore_index .now 11.'):
        MaskImages(**cfg)[0]


def test_negative_labels_can_be_ignored(tmp_path):
    cfg = masks(tmp_path, np.array([[0, -1, 2]], np.int32), '.tif')
    assert MaskImages(**cfg, ignore_index=-1)[0].labels.tolist() == [[0, -1, 2]]
    with pytest.raises(UserValueError, match=r'labels \[-1\]'):
        MaskImages(**cfg)[0]


def test_a_registered_dataset_says_what_it_ignores(monkeypatch):
    found = DatasetImages(dict(type='ShapesDataset', num_images=1, size=64,
                               with_annotations=True))
    label = int(found[0].labels.max())
    monkeypatch.setattr(found._dataset, 'ignore_index', label, raising=False)
    assert label not in found[0].labels and (found[0].labels == -1).any()


# ---- EXIF; faults N

TURNED = {2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
          5: lambda a: a.T, 6: lambda a: a.T[:, ::-1], 7: lambda a: a.T[::-1, ::-1],
          8: lambda a: a.T[::-1]}


@pytest.mark.parametrize('turn', TURNED)
@pytest.mark.parametrize('suffix', ['png', 'jpg', 'tif', 'webp'])
def test_labels_belong_to_the_upright_image(tmp_path, turn, suffix, warnings):
    # As annotation tools show it.
    cfg = masks(tmp_path, TURNED[turn](LABELS))
    exif = Image.Exif()
    exif[0x0112] = turn
    (tmp_path / 'img/a.png').unlink()
    Image.fromarray(np.dstack([LABELS * 60] * 3)).save(
        tmp_path / f'img/a.{suffix}', exif=exif, quality=100, lossless=True)
    found = MaskImages(**cfg | dict(img_suffix=f'.{suffix}'))
    for _ in range(2):
        item = found[0]
        red = np.asarray(item.image)[..., 0]
        assert (np.round(red / 60) == item.labels).mean() > 0.99
    text, = warnings()  # once a folder
    assert f'a.{suffix} is turned upright by its EXIF orientation {turn}' in text
    assert 'exiftool' in text


@pytest.mark.parametrize('turn', [5, 6, 7, 8])
def test_labels_of_the_stored_pixels_are_an_error_that_names_exif(tmp_path, turn):
    with pytest.raises(UserValueError, match=(
            f'ann/a.png is 40 x 30, its image .*img/a.png 30 x 40, because the image '
            f'is turned upright by its EXIF orientation {turn}: turn the labels')):
        MaskImages(**masks(tmp_path, turn=turn))[0]


def test_labels_with_an_orientation_of_their_own_are_turned(tmp_path, warnings):
    # A tool that copied the EXIF data of the photograph to the mask.
    exif = Image.Exif()
    exif[0x0112] = 6
    item = MaskImages(**masks(tmp_path, turn=6, exif=exif))[0]
    np.testing.assert_array_equal(item.labels, TURNED[6](LABELS))
    np.testing.assert_array_equal(np.asarray(item.image)[..., 0], item.labels * 60)


def test_upright_images_are_not_warned_about(tmp_path, warnings):
    MaskImages(**masks(tmp_path))[0]
    assert not warnings()


@pytest.mark.parametrize('turn, fits', [(1, True), (3, True), (6, False)])
def test_masks_of_clips_belong_to_the_upright_frames(tmp_path, turn, fits, warnings):
    cfg = masks(tmp_path, turn=turn)
    frame, mask = Path(cfg['img_dir'], 'a.png'), Path(cfg['ann_dir'], 'a.png')
    clip = ClipFiles('swan', (frame, ) * 3, (mask, ) * 3)
    if fits:
        assert videos._masks(clip)[0].shape == (3, 30, 40)
        assert len(warnings()) == (turn > 1)
    else:
        with pytest.raises(UserValueError, match='EXIF orientation 6'):
            videos._masks(clip)


def test_panoptic_maps_belong_to_the_upright_image(tmp_path):
    (tmp_path / 'annotations/panoptic_val').mkdir(parents=True)
    (tmp_path / 'val').mkdir()
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new('RGB', (8, 6)).save(tmp_path / 'val/a.jpg', exif=exif)
    for size, fits in (((6, 8), True), ((8, 6), False)):
        Image.new('RGB', size).save(tmp_path / 'annotations/panoptic_val/a.png')
        write_panoptic(tmp_path)
        images = open_segmented_images(tmp_path, 'val')
        if fits:
            assert images[0].labels.shape == (8, 6)
            continue
        with pytest.raises(UserValueError, match='EXIF orientation 8'):
            images[0]


@pytest.mark.parametrize('turn, size, reason', [
    (1, (40, 30), None), (3, (40, 30), None), (6, (30, 40), None),
    (6, (40, 30), 'EXIF orientation turns it'), (1, (41, 30), 'size differs')])
def test_entries_of_a_coco_file_have_the_size_of_the_upright_image(
        tmp_path, turn, size, reason, warnings):
    masks(tmp_path, turn=turn)
    entry = dict(file_name='a.png', width=size[0], height=size[1])
    image, why = read_entry(tmp_path / 'img', entry)
    assert (image is None) == bool(reason) and (reason or 'None') in str(why)
    assert len(warnings()) == (turn > 1 and not reason)


# ---- in pipelines of mmseg

def seg_dataset(cfg):
    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmseg'):
        return BaseSegDataset(
            img_suffix=cfg['img_suffix'], seg_map_suffix=cfg['seg_map_suffix'],
            metainfo=dict(classes=tuple('abcd')),
            data_prefix=dict(img_path=cfg['img_dir'], seg_map_path=cfg['ann_dir']),
            pipeline=[dict(type='LoadImageFromFile'),
                      dict(type='mmcontrast.LoadLabelMap'),
                      dict(type='PackSegInputs')])


@pytest.mark.parametrize('options', [
    {}, dict(reduce_zero_label=True), dict(label_map={0: 255, 1: 0})])
def test_label_maps_of_8_bits_are_those_of_mmseg(tmp_path, options):
    cfg = masks(tmp_path, LABELS + np.uint8(252) * (LABELS == 3))
    found, mmseg = (
        load_steps(cfg, load, options) for load in
        ('mmcontrast.LoadLabelMap', 'mmseg.LoadAnnotations'))
    np.testing.assert_array_equal(found, mmseg)


def load_steps(cfg, load, options):
    info = dict(seg_map_path=f"{cfg['ann_dir']}/a.png", seg_fields=[],
                reduce_zero_label=False, label_map=None) | options
    step = TRANSFORMS.build(dict(type=load))
    result = step(info)
    assert result['seg_fields'] == ['gt_seg_map'] and step.with_seg
    return result['gt_seg_map']


def test_masks_of_16_bits_go_through_mmseg(tmp_path):
    values = (np.arange(1200).reshape(30, 40) % 300).astype(np.uint16)
    data = seg_dataset(masks(tmp_path, values))[0]
    assert data['data_samples'].gt_sem_seg.data.max() == 299


def test_a_pipeline_of_mmseg_refuses_what_other_readers_refuse(tmp_path):
    cfg = masks(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (40, 30)).save(tmp_path / 'img/a.jpg', exif=exif)
    with pytest.raises(UserValueError, match='EXIF orientation 6'):
        seg_dataset(cfg | dict(img_suffix='.jpg'))[0]
    Image.fromarray(LABELS[:9]).save(tmp_path / 'ann/a.png')
    with pytest.raises(UserValueError, match='40 x 9, its image .* 40 x 30'):
        seg_dataset(cfg)[0]
    Image.fromarray(LABELS).save(tmp_path / 'ann/a.png', 'JPEG')
    with pytest.raises(UserValueError, match='stored as JPEG'):
        seg_dataset(cfg)[0]
