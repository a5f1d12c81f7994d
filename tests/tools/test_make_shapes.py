"""What make_shapes writes is read by the libraries that the layouts are meant for."""
import importlib.util
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mmcontrast.apis.data.make_shapes import make_shapes
from mmcontrast.datasets.shapes import (
    CLASSES,
    HELD_OUT_COMBINATIONS,
    SHAPES,
    draw_clip,
    draw_scene,
    pair_layouts,
    scene_seed,
)
from mmcontrast.datasets.shapes.layouts import (
    COMBINATION_CLASSES,
    LAYOUTS,
    PAIR_CLASSES,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp('data') / 'shapes'
    return make_shapes(out, LAYOUTS, train=4, val=3, size=64, num_frames=3,
                       train_combinations='seen', eval_combinations='held_out',
                       progress=False)


def scene(split, index):
    combinations = 'seen' if split == 'train' else 'held_out'
    return draw_scene(scene_seed(split, index), 64, combinations=combinations)


def test_coco_masks_and_boxes_are_those_of_the_scenes(world, capsys):
    coco = COCO(world / 'annotations/instances_val.json')
    assert [cat['name'] for cat in coco.loadCats(coco.getCatIds())] == list(SHAPES)
    for index, image_id in enumerate(coco.getImgIds()):
        drawn = scene('val', index)
        found = coco.loadAnns(coco.getAnnIds(image_id))
        np.testing.assert_array_equal([coco.annToMask(ann) for ann in found],
                                      drawn.masks)
        for ann, thing in zip(found, drawn.objects, strict=True):
            left, top, right, bottom = thing.box_xyxy
            assert ann['bbox'] == [left, top, right - left, bottom - top]
            assert ann['area'] == thing.area
            assert (ann['attributes']['color'], thing.shape) in HELD_OUT_COMBINATIONS


def test_combinations_are_categories_and_training_has_base_ones_only(world, capsys):
    held_out = {f'{color} {shape}' for color, shape in HELD_OUT_COMBINATIONS}
    base, novel = ((world / f'{name}_classes.txt').read_text().splitlines()
                   for name in ('base', 'novel'))
    assert set(novel) == held_out and len(base) == 56 and not set(base) & held_out
    assert tuple(base + novel) == COMBINATION_CLASSES
    for split, names in (('train', base), ('val', novel)):
        coco = COCO(world / f'annotations/combinations_{split}.json')
        assert [cat['name'] for cat in coco.loadCats(range(1, 65))] == base + novel
        for index, image_id in enumerate(coco.getImgIds()):
            found = coco.loadAnns(coco.getAnnIds(image_id))
            for ann, thing in zip(found, scene(split, index).objects, strict=True):
                name = coco.cats[ann['category_id']]['name']
                assert name == f'{thing.color} {thing.shape}' and name in names
                left, top, right, bottom = thing.box_xyxy
                assert ann['bbox'] == [left, top, right - left, bottom - top]


def test_images_are_those_of_the_scenes(world):
    for folder in ('images', 'img_dir'):
        path = world / folder / 'train/000002.jpg'
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        # JPEG of quality 95, with halved color resolution, is this near on average.
        error = np.abs(image.astype(int) - scene('train', 2).image)
        assert error.mean() < 8


def test_captions_belong_to_their_images(world, capsys):
    coco = COCO(world / 'annotations/captions_train.json')
    for index, image_id in enumerate(coco.getImgIds()):
        texts = [ann['caption'] for ann in coco.loadAnns(coco.getAnnIds(image_id))]
        assert tuple(texts) == scene('train', index).captions


def test_mmdet_reads_the_coco_layout(world, capsys):
    datasets = pytest.importorskip('mmdet.datasets')
    dataset = datasets.CocoDataset(
        data_root=str(world), ann_file='annotations/instances_train.json',
        data_prefix=dict(img='images/train/'), metainfo=dict(classes=SHAPES),
        filter_cfg=None, pipeline=[])
    assert len(dataset) == 4
    for index in range(4):
        info, drawn = dataset.get_data_info(index), scene('train', index)
        assert Path(info['img_path']).is_file()
        assert [item['bbox_label'] for item in info['instances']] == list(drawn.labels)
        np.testing.assert_array_equal(
            [item['bbox'] for item in info['instances']], drawn.boxes_xyxy)


def test_mmdet_reads_the_masks_through_its_pipeline(world, capsys):
    pytest.importorskip('mmdet')
    from mmdet.datasets import CocoDataset
    from mmdet.datasets.transforms import LoadAnnotations
    from mmengine.dataset import Compose

    dataset = CocoDataset(
        data_root=str(world), ann_file='annotations/instances_train.json',
        data_prefix=dict(img='images/train/'), metainfo=dict(classes=SHAPES),
        pipeline=[])
    info = {**dataset.get_data_info(1), 'ori_shape': (64, 64)}
    masks = Compose([LoadAnnotations(with_mask=True)])(info)['gt_masks'].masks
    np.testing.assert_array_equal(masks.astype(bool), scene('train', 1).masks)


def test_mmdet_reads_the_panoptic_layout(world, capsys):
    datasets = pytest.importorskip('mmdet.datasets')
    dataset = datasets.CocoPanopticDataset(
        data_root=str(world), ann_file='annotations/panoptic_val.json',
        data_prefix=dict(img='images/val/', seg='annotations/panoptic_val/'),
        metainfo=dict(classes=CLASSES, thing_classes=SHAPES,
                      stuff_classes=CLASSES[len(SHAPES):]), pipeline=[])
    for index in range(3):
        info, drawn = dataset.get_data_info(index), scene('val', index)
        rgb = np.array(Image.open(info['seg_map_path'])).astype(int)
        ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
        np.testing.assert_array_equal(ids, drawn.panoptic_map)
        assert [(found['id'], found['category'], found['is_thing'])
                for found in info['segments_info']] == [
            (segment.id, segment.label, segment.is_thing)
            for segment in drawn.segments]


def test_mmseg_reads_the_mmseg_layout(world):
    datasets = pytest.importorskip('mmseg.datasets')
    dataset = datasets.BaseSegDataset(
        data_root=str(world), metainfo=dict(classes=CLASSES),
        data_prefix=dict(img_path='img_dir/train', seg_map_path='ann_dir/train'),
        pipeline=[dict(type='mmseg.LoadImageFromFile'),
                  dict(type='mmseg.LoadAnnotations')])
    assert len(dataset) == 4
    for index in range(4):
        np.testing.assert_array_equal(
            dataset[index]['gt_seg_map'], scene('train', index).semantic_map)


def test_referring_layout_points_at_the_right_masks(world):
    content = json.loads((world / 'annotations/refs_val.json').read_text())
    annotations = {ann['id']: ann for ann in content['annotations']}
    rows = iter(content['refs'])
    kinds = set()
    for index, image in enumerate(content['images']):
        drawn = scene('val', index)
        for expression, ref in zip(drawn.referring, rows, strict=False):
            assert ref['image_id'] == image['id'] and ref['split'] == 'val'
            assert ref['sentences'][0]['raw'] == expression.text
            assert ref['no_target'] == (ref['ann_id'] == [-1])
            kinds.add(min(len(expression.targets), 2))
            targets = [] if ref['no_target'] else ref['ann_id']
            masks = [coco_mask.decode(annotations[i]['segmentation']).astype(bool)
                     for i in targets]
            np.testing.assert_array_equal(
                np.array(masks).reshape(-1, 64, 64),
                drawn.masks[list(expression.targets)])
    assert next(rows, None) is None and kinds == {0, 1, 2}


def test_video_layout_keeps_object_ids_over_the_clip(world):
    names = (world / 'ImageSets/val.txt').read_text().split()
    meta = json.loads((world / 'meta_val.json').read_text())['videos']
    assert names == ['val_000000', 'val_000001', 'val_000002'] == list(meta)
    clip = draw_clip(scene_seed('val', 1), 3, 64, combinations='held_out')
    for time, frame in enumerate(clip.frames):
        ids = Image.open(world / f'Annotations/val_000001/{time:05d}.png')
        assert ids.mode == 'P'
        np.testing.assert_array_equal(np.array(ids), frame.instance_map)
        assert (world / f'JPEGImages/val_000001/{time:05d}.jpg').is_file()
    assert [meta['val_000001']['objects'][str(i + 1)]['category']
            for i in range(len(frame.objects))] == [o.shape for o in frame.objects]


def test_davis_layout_holds_the_clips_where_davis_keeps_them(world):
    names = (world / 'ImageSets/2017/val.txt').read_text().split()
    assert names == (world / 'ImageSets/val.txt').read_text().split()
    for folder, suffix in (('JPEGImages', 'jpg'), ('Annotations', 'png')):
        for path in sorted((world / folder / 'val_000001').glob(f'*.{suffix}')):
            same = world / folder / '480p/val_000001' / path.name
            assert same.read_bytes() == path.read_bytes()


def test_close_ups_lie_in_the_folder_of_the_shape_of_a_whole_object(world):
    files = sorted((world / 'by_shape').rglob('*.jpg'))
    assert len(files) == 7 and len(list((world / 'by_shape/val').iterdir())) == 8
    for path in files:
        drawn = scene(path.parts[-3], int(path.stem))
        things = [thing for thing in drawn.objects if thing.shape == path.parts[-2]
                  and thing.area == thing.amodal_area]
        assert things
        assert Image.open(path).size == (64, 64)


def test_seed_offset_skips_scenes(tmp_path):
    make_shapes(tmp_path, ['mmseg'], train=1, val=0, size=64, seed_offset=3,
                progress=False)
    label = cv2.imread(str(tmp_path / 'ann_dir/train/000000.png'), -1)
    np.testing.assert_array_equal(
        label, draw_scene(scene_seed('train', 3), 64).semantic_map)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob('*'))
            if path.is_file() and path.name != 'shapes.json'}


@pytest.mark.parametrize('calls', [
    # Layouts one after the other, as the pages ask for them; images are shared.
    [dict(layouts=['mmseg'], test=1), dict(layouts=['coco']),
     dict(layouts=['panoptic', 'classes'])],
    # The same command again, and with more scenes.
    [dict(layouts=['coco', 'davis']), dict(layouts=['coco', 'davis']),
     dict(layouts=['coco', 'csv'], train=3, val=2)],
    [dict(layouts=['shards'], train=1), dict(layouts=['shards', 'video'], train=3)],
    # A smaller number is there already.
    [dict(layouts=['mmseg'], train=3), dict(layouts=['refcoco', 'mmseg'], train=1)],
], ids=lambda calls: '-'.join(calls[0]['layouts']))
def test_later_calls_add_layouts_and_scenes(tmp_path, calls):
    """issue 16, B3: no second call is refused."""
    options = dict(size=32, num_frames=2, progress=False)
    for call in calls:
        make_shapes(tmp_path / 'grown', **{**dict(train=2, val=1), **call}, **options)
    # What each layout holds alone, with the largest of its numbers.
    for name in {name for call in calls for name in call['layouts']}:
        most = {split: max(call.get(split, default) for call in calls
                           if name in call['layouts'])
                for split, default in (('train', 2), ('val', 1), ('test', 0))}
        alone = files_of(make_shapes(tmp_path / name, [name], **most, **options))
        grown = files_of(tmp_path / 'grown')
        assert {file: grown.get(file) for file in alone} == alone


@pytest.mark.parametrize('first, second', [('video', 'davis'), ('davis', 'video')])
def test_the_list_of_objects_holds_the_clips_of_both_layouts(tmp_path, first, second):
    options = dict(val=0, size=32, num_frames=2, progress=False)
    make_shapes(tmp_path, [first], train=2, **options)
    make_shapes(tmp_path, [second], train=1, **options)
    clips = json.loads((tmp_path / 'meta_train.json').read_text())['videos']
    assert list(clips) == ['train_000000', 'train_000001']
    with pytest.raises(FileExistsError, match='num_frames=3 is asked for'):
        make_shapes(tmp_path, [second], train=1, **{**options, 'num_frames': 3})


def test_what_is_there_is_not_written_again(tmp_path):
    options = dict(train=2, val=1, size=32, progress=False)
    make_shapes(tmp_path, ['coco'], **options)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*.*')}
    make_shapes(tmp_path, ['coco'], **options)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*.*')}
    make_shapes(tmp_path, ['panoptic'], **options)
    image = tmp_path / 'images/train/000001.jpg'
    assert image.stat().st_mtime_ns == before[image]


def test_a_call_that_was_interrupted_is_completed_by_the_next(tmp_path, monkeypatch):
    options = dict(layouts=['coco'], train=3, val=0, size=32, progress=False)
    drawn = []

    def dies(seed, **look):
        drawn.append(seed)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return draw_scene(seed, **look)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr('mmcontrast.apis.data.make_shapes.draw_scene', dies)
        make_shapes(tmp_path / 'out', **options)
    make_shapes(tmp_path / 'out', **options)
    assert files_of(tmp_path / 'out') == files_of(
        make_shapes(tmp_path / 'whole', **options))


@pytest.mark.parametrize('layout', ['coco', 'panoptic'])
@pytest.mark.parametrize('key, value', [
    ('size', 64), ('seed_offset', 5), ('train_combinations', 'seen')])
def test_other_scenes_under_the_same_names_are_refused(tmp_path, layout, key, value):
    options = dict(train=1, val=0, size=32, progress=False)
    make_shapes(tmp_path, ['coco'], **options)
    name = key.removeprefix('train_')
    with pytest.raises(FileExistsError, match=f'{name}={value} is asked for.*--overw'):
        make_shapes(tmp_path, [layout], **{**options, key: value})
    # Files that no layout shares may be of any kind.
    make_shapes(tmp_path, ['mmseg', 'davis'], **{**options, key: value})


@pytest.mark.parametrize('text', ['{', '[]', '{}'])
def test_a_damaged_note_is_named_and_can_be_overwritten(tmp_path, text):
    options = dict(train=1, val=0, size=32, progress=False)
    (tmp_path / 'shapes.json').write_text(text)
    with pytest.raises(FileExistsError, match='shapes.json is damaged.*--overwrite'):
        make_shapes(tmp_path, ['coco'], **options)
    make_shapes(tmp_path, ['coco'], overwrite=True, **options)
    assert (tmp_path / 'images/train/000000.jpg').is_file()


def test_a_folder_of_an_earlier_version_is_added_to(tmp_path):
    options = dict(train=2, val=0, size=32, progress=False)
    make_shapes(tmp_path, ['mmseg'], **options)
    (tmp_path / 'shapes.json').write_text(json.dumps(dict(
        layouts=['mmseg'], train=2, val=0, test=0, size=32, seed_offset=0,
        train_combinations='all', eval_combinations='all', num_frames=8,
        complete=True)))
    make_shapes(tmp_path, ['coco'], **options)
    with pytest.raises(FileExistsError, match='size=32, and size=64'):
        make_shapes(tmp_path, ['mmseg'], **{**options, 'size': 64})


def test_overwrite_replaces_own_scenes_and_leaves_other_files(tmp_path):
    options = dict(layouts=['mmseg'], val=0, size=32, progress=False)
    make_shapes(tmp_path, train=3, **options)
    (tmp_path / 'notes.txt').write_text('mine')
    make_shapes(tmp_path, train=2, overwrite=True, **options)
    assert sorted(path.name for path in (tmp_path / 'img_dir/train').iterdir()) == [
        '000000.jpg', '000001.jpg']
    assert (tmp_path / 'notes.txt').read_text() == 'mine'


def test_a_foreign_folder_is_rejected_even_with_overwrite(tmp_path):
    photos = tmp_path / 'images'
    photos.mkdir()
    with pytest.raises(FileExistsError, match='not written by make_shapes'):
        make_shapes(tmp_path, overwrite=True, progress=False)
    assert photos.is_dir()


def test_bad_arguments_are_rejected_before_anything_is_removed(tmp_path):
    make_shapes(tmp_path, ['mmseg'], train=1, val=0, size=32, progress=False)
    for bad, message in ((dict(layouts=['voc']), 'voc'), (dict(size=8), 'at least 32'),
                         (dict(train=0, val=0), 'not all 0'),
                         (dict(seed_offset=-1), 'seed_offset'),
                         (dict(eval_combinations='new'), 'combinations')):
        with pytest.raises(ValueError, match=message):
            make_shapes(tmp_path, overwrite=True, progress=False, **bad)
    assert (tmp_path / 'img_dir/train/000000.jpg').is_file()


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location(
        'make_shapes_tool', ROOT / 'tools/data/make_shapes.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tool_writes_layouts_and_a_sheet(tool, tmp_path, capsys):
    tool.main([str(tmp_path / 'out'), '--layout', 'mmseg', 'coco', '--train', '2',
               '--val', '1', '--size', '64', '--sheet', str(tmp_path / 'sheet.png')])
    manifest = json.loads((tmp_path / 'out/shapes.json').read_text())
    assert manifest['layouts']['coco']['train']['count'] == 2
    assert (tmp_path / 'out/annotations/instances_val.json').is_file()
    sheet = Image.open(tmp_path / 'sheet.png')
    assert sheet.width > 800 and (tmp_path / 'sheet.png').stat().st_size < 300_000


def test_the_tool_ends_with_one_sentence_on_bad_input(tool, tmp_path):
    with pytest.raises(SystemExit, match='make_shapes.py: size must be at least 32'):
        tool.main([str(tmp_path / 'out'), '--size', '4'])
    with pytest.raises(SystemExit):
        tool.main([])


def test_pair_labels_name_color_and_shape_of_what_is_drawn_there(world):
    names = (world / 'pair_classes.txt').read_text().splitlines()
    for split in ('train', 'val'):
        for index in range(3):
            drawn = scene(split, index)
            path = world / f'ann_dir_pairs/{split}/{index:06d}.png'
            label = cv2.imread(str(path), -1)
            for thing, mask in zip(drawn.objects, drawn.masks, strict=True):
                found, = set(label[mask])
                assert names[found] == f'{thing.color} {thing.shape}'
            rest = ~drawn.masks.any(0)
            plain = np.array(CLASSES)[drawn.semantic_map[rest]]
            assert (np.array(names)[label[rest]] == plain).all()


def test_pairs_that_are_held_out_come_last_and_never_in_training(world):
    held_out = {f'{color} {shape}' for color, shape in HELD_OUT_COMBINATIONS}
    assert set(PAIR_CLASSES[-8:]) == held_out
    assert PAIR_CLASSES[-10:-8] == ('sky', 'ground')
    assert len(set(PAIR_CLASSES)) == 66
    labels = {split: np.concatenate([np.unique(cv2.imread(str(path), -1)) for path in
                                     (world / 'ann_dir_pairs' / split).iterdir()])
              for split in ('train', 'val')}
    assert labels['train'].max() < 58
    # The validation scenes of this folder hold nothing else.
    assert set(labels['val']) & set(range(56)) == set()
    assert labels['val'].max() >= 58


def test_a_shard_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(pair_layouts, 'SCENES_PER_SHARD', 2)
    writer = pair_layouts.ShardWriter(tmp_path, 'train')
    there = []
    for k in range(3):
        writer.add(f'{k}', draw_scene(scene_seed('train', k), 32))
        there.append([path.name for path in tmp_path.rglob('*') if path.is_file()])
    first, second = 'train-000000.tar', 'train-000001.tar'
    assert there == [[], [], [first]]
    writer.finish()
    members = []
    for name in (first, second):
        with tarfile.open(tmp_path / 'shards' / name) as tar:
            members.append([n for n in tar.getnames() if n.endswith('jpg')])
    assert members == [['0.jpg', '1.jpg'], ['2.jpg']]
