"""Placement banks: what is cut out, where it is placed, resumed, shared, skipped."""
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import mmdet.datasets  # noqa: F401
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image

from mmcontrast.apis.data import place_objects as place_objects_module
from mmcontrast.apis.data.cutting import OCCLUDED, Rules
from mmcontrast.apis.data.make_shapes import make_shapes
from mmcontrast.apis.data.object_pool import box_instances
from mmcontrast.apis.data.place_objects import place_objects
from mmcontrast.datasets.image_files import read_image
from mmcontrast.datasets.placement_bank import (
    PlacementBank,
    places_path,
    read_record,
)
from mmcontrast.datasets.shapes.vocabulary import SHAPES
from mmcontrast.errors import UserValueError
from mmcontrast.methods.topnet.constraints import Constraints
from mmcontrast.methods.topnet.cutouts import read_cutout
from mmcontrast.methods.topnet.decoding import decode
from mmcontrast.methods.topnet.object_placer import ObjectPlacer
from mmcontrast.methods.topnet.transforms import PrepareTopNet
from mmcontrast.registry import MODELS, TRANSFORMS
from tests.helpers import tiny_topnet

ROOT = Path(__file__).parents[2]
NUM_IMAGES, SIDE = 6, 96


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """The toy world in COCO's layout, and a tiny TopNet."""
    folder = tmp_path_factory.mktemp('files')
    shapes = make_shapes(folder / 'shapes', train=NUM_IMAGES, val=0, size=SIDE,
                         progress=False)
    config, checkpoint, _, _ = tiny_topnet.write_files(folder)
    return dict(config=config, checkpoint=checkpoint, images=shapes / 'images/train',
                backgrounds=shapes / 'annotations/instances_train.json')


def make(files, out, **options):
    return place_objects(out=out, **{
        **files, 'device': 'cpu', 'progress': False, 'k': 4, 'objects_per_image': 3,
        'with_occluded': True, **options})


@pytest.fixture(scope='module')
def bank(files, tmp_path_factory):
    made = make(files, tmp_path_factory.mktemp('bank') / 'bank')
    return made, PlacementBank(made.path)


def records(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob('places/*')}


# What is in a bank.

def test_every_image_has_places_of_objects_of_other_images(files, bank):
    made, reader = bank
    assert (made.num_images, made.num_placed, made.num_found) == (
        NUM_IMAGES, NUM_IMAGES, 0)
    assert sum(made.objects.values()) == len(reader.objects) > 5
    for name in reader.images:
        path = str(files['images'] / name)
        found = reader.places(path)
        assert found.image_wh == (SIDE, SIDE)
        assert 0 < len(found.objects) <= 3
        assert all(reader.objects[own.index].source != path for own in found.objects)


def test_boxes_are_ranked_and_lie_within_the_image(files, bank):
    reader = bank[1]
    for name in reader.images:
        for own in reader.places(str(files['images'] / name)).objects:
            assert 0 < len(own.scores) <= 4 and (np.diff(own.scores) <= 0).all()
            ends = own.boxes_xywh[:, :2] + own.boxes_xywh[:, 2:]
            # To a hundredth of a pixel.
            assert own.boxes_xywh.min() >= -0.01 and ends.max() <= SIDE + 0.01


def test_places_are_those_that_the_model_predicts(files, bank):
    reader = bank[1]
    path = str(files['images'] / reader.images[2])
    own = reader.places(path).objects[-1]
    cutout = read_cutout(reader.object_path(own.index))
    background = np.asarray(read_image(path))
    item = dict(background=background, cutout=cutout, background_wh=(SIDE, SIDE),
                object_wh=cutout.size_wh, positives=[], negatives=[])
    for step in (dict(type='PrepareTopNet', background_size=tiny_topnet.SIZE,
                      object_size=tiny_topnet.SIZE), dict(type='PackPlacement')):
        item = TRANSFORMS.build(step)(item)
    model = tiny_topnet.build(test_cfg=dict(heat=True)).eval()
    sample, = model.test_step(dict(
        inputs={name: [image] for name, image in item['inputs'].items()},
        data_samples=[item['data_samples']]))
    wanted = decode(sample.heat, model.grid, (SIDE, SIDE), cutout.size_wh, k=4,
                    nms_iou=0.5, constraints=Constraints(inside=True))
    np.testing.assert_allclose(own.boxes_xywh, wanted.boxes_xywh.numpy(), atol=0.006)
    np.testing.assert_allclose(own.scores, wanted.scores.numpy(), rtol=1e-3)


def test_objects_are_cut_along_their_masks(files, bank):
    reader = bank[1]
    data = json.loads(files['backgrounds'].read_text())
    by_source = {str(files['images'] / image['file_name']): [
        a['bbox'][2:] for a in data['annotations'] if a['image_id'] == image['id']]
        for image in data['images']}
    names = {c['name'] for c in data['categories']}
    for index, thing in enumerate(reader.objects):
        cutout = read_cutout(reader.object_path(index))
        assert thing.category in names
        assert list(cutout.size_wh) in by_source[thing.source]
        assert set(np.unique(cutout.alpha)) <= {0, 255}


def test_no_class_has_more_objects_than_asked_for(files, tmp_path):
    made = make(files, tmp_path / 'bank', per_class=1)
    assert set(made.objects.values()) == {1}
    chosen = list(made.objects)[:2]
    made = make(files, tmp_path / 'chosen', classes=chosen)
    assert set(made.objects) == set(chosen)


def test_backgrounds_and_objects_are_encoded_once(bank):
    made, reader = bank
    model = tiny_topnet.build().eval()
    calls = dict(background=0, object=0)
    for name in calls:
        def count(module, inputs, name=name):
            calls[name] += len(inputs[0])
        getattr(model, f'{name}_encoder').register_forward_pre_hook(count)
    paths = [reader.object_path(k) for k in range(5)]
    placer = ObjectPlacer(model, PrepareTopNet(tiny_topnet.SIZE, tiny_topnet.SIZE),
                          paths, batch_size=2)
    first = placer(tiny_topnet.scene(), range(5))
    placer(tiny_topnet.scene(seed=1), [4, 0])
    assert calls == dict(background=2, object=5)
    # Neither the batch nor what was encoded before makes a difference.
    alone = ObjectPlacer(model, placer.step, paths)(tiny_topnet.scene(), [3])[0]
    assert alone[0] == 3
    np.testing.assert_allclose(alone[1], first[3][1])
    np.testing.assert_allclose(alone[2], first[3][2], rtol=1e-5)


def test_an_object_has_a_place_wherever_a_box_fits(bank):
    model = tiny_topnet.build().eval()
    rise = torch.linspace(0, 1, 16)
    heat = (rise[:, None] + rise).expand(model.grid.shape) / 2   # toward a corner
    model.score_places = lambda background, objects: heat.expand(len(objects), -1, -1,
                                                                 -1)
    placer = ObjectPlacer(model, PrepareTopNet(tiny_topnet.SIZE, tiny_topnet.SIZE),
                          [bank[1].object_path(0)])
    (_, boxes, scores), = placer(tiny_topnet.scene(), [0])
    assert len(boxes) and scores[0] > 0.9
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] + boxes[:, :2] <= (96, 64)).all()


def test_objects_are_kept_for_backgrounds_of_one_size_where_it_counts(bank):
    torch.manual_seed(0)
    model = MODELS.build(dict(type='TopNetPair', fusion='fixed', size=32, layers=1,
                              heads=2, mlp_channels=8)).eval()
    counts = []
    encode = model.encode_objects
    model.encode_objects = lambda images: counts.append(len(images)) or encode(images)
    step = TRANSFORMS.build(dict(type='PrepareTopNetPairScales', size=32, num_scales=3))
    placer = ObjectPlacer(model, step, [bank[1].object_path(k) for k in range(3)])
    for size, indices, encoded in (((96, 64), [0, 1], [2]), ((96, 64), [1, 2], [1]),
                                   ((96, 64), [0, 2], [1]), ((64, 96), [0, 2], [2])):
        counts.clear()
        found = placer(tiny_topnet.scene(*size), indices)
        assert counts == encoded
        fresh = ObjectPlacer(model, step, placer.scorer.objects)(
            tiny_topnet.scene(*size), indices)
        for (_, boxes, scores), (_, others, other_scores) in zip(found, fresh,
                                                                 strict=True):
            np.testing.assert_allclose(boxes, others)
            np.testing.assert_allclose(scores, other_scores, rtol=1e-5)


def test_objects_that_touch_others_are_left_out_by_default(files, bank, tmp_path):
    made = make(files, tmp_path / 'bank', with_occluded=False)
    left_out = sum(bank[0].objects.values()) - sum(made.objects.values())
    assert made.reasons[OCCLUDED] == left_out > 0


def test_the_pair_network_places_objects_at_its_sixteen_scales(bank):
    torch.manual_seed(0)
    model = MODELS.build(dict(type='TopNetPair', fusion='fixed', size=32, layers=1,
                              heads=2, mlp_channels=8)).eval()
    count = []
    model.background_trunk.register_forward_pre_hook(
        lambda module, inputs: count.append(len(inputs[0])))
    step = TRANSFORMS.build(dict(type='PrepareTopNetPairScales', size=32))
    paths = [bank[1].object_path(k) for k in range(2)]
    found = ObjectPlacer(model, step, paths, k=3)(tiny_topnet.scene(), [1, 0])
    assert count == [1]
    for index, boxes, scores in found:
        width, height = read_cutout(paths[index]).size_wh
        assert len(boxes) == len(scores) == 3
        np.testing.assert_allclose(boxes[:, 2] / boxes[:, 3], width / height)
        # Scales of FOPA: i / 18 of the background of 96 x 64.
        shares = 18 * (boxes[:, 2:] / (96, 64)).max(1)
        np.testing.assert_allclose(shares, shares.round(), atol=1e-9)


# Resuming and sharing.

def test_a_finished_bank_is_left_as_it_is(files, bank):
    before = records(bank[0].path)
    again = make(files, bank[0].path)
    assert (again.num_placed, again.num_found) == (0, NUM_IMAGES)
    assert records(bank[0].path) == before


def test_what_is_missing_damaged_or_changed_is_made_again(files, bank, tmp_path):
    folder = tmp_path / 'bank'
    shutil.copytree(bank[0].path, folder)
    before, names = records(folder), bank[1].images
    places_path(folder, names[0]).unlink()
    path = places_path(folder, names[1])
    path.write_bytes(path.read_bytes()[:100])
    again = make(files, folder)
    assert (again.num_placed, again.num_found) == (2, NUM_IMAGES - 2)
    assert records(folder) == before
    # Another object: the images in which it is placed.
    thing = bank[1].objects[0].file
    Image.fromarray(tiny_topnet.rgba()).save(folder / thing)
    affected = sum(any(index == 0 for index, _ in json.loads(text)['places'])
                   for text in before.values())
    assert make(files, folder).num_placed == affected > 0


def test_parts_make_the_same_bank_as_one_call(files, bank, tmp_path):
    first = make(files, tmp_path / 'bank', part=(1, 2))
    assert (first.num_placed, first.num_waiting) == (3, 3)
    with pytest.raises(FileNotFoundError, match='3 of 6 images have no places yet'):
        PlacementBank(first.path)
    assert make(files, tmp_path / 'bank', part=(2, 2)).num_waiting == 0
    assert records(first.path) == records(bank[0].path)


def test_a_bank_of_other_settings_or_weights_is_not_mixed(files, bank, tmp_path):
    with pytest.raises(FileExistsError, match='k was 4 and is 5'):
        make(files, bank[0].path, k=5)
    other = tmp_path / 'other.pth'
    torch.save(dict(state_dict=tiny_topnet.build(seed=1).state_dict(), meta={}), other)
    with pytest.raises(FileExistsError, match='network was'):
        make({**files, 'checkpoint': str(other)}, bank[0].path)
    folder = tmp_path / 'bank'
    shutil.copytree(bank[0].path, folder)
    assert make(files, folder, k=2, overwrite=True).num_placed == NUM_IMAGES
    assert records(folder) != records(bank[0].path)


def test_other_files_are_never_overwritten(files, tmp_path):
    (tmp_path / 'thesis.txt').write_text('mine')
    with pytest.raises(FileExistsError, match='thesis.txt, which place_objects'):
        make(files, tmp_path, overwrite=True)


def test_objects_of_a_user_are_not_removed_from_the_output(files, tmp_path):
    mine = tmp_path / 'objects/car/a.png'
    mine.parent.mkdir(parents=True)
    Image.fromarray(tiny_topnet.rgba()).save(mine)
    with pytest.raises(FileExistsError, match='holds objects/car, which place_objects'):
        make(files, tmp_path, overwrite=True)
    with pytest.raises(UserValueError, match='objects: .* lies in the output folder'):
        make(files, tmp_path, objects=tmp_path / 'objects', overwrite=True)
    assert mine.is_file()


def test_overwriting_removes_what_the_bank_lists(files, bank, tmp_path):
    folder = tmp_path / 'bank'
    shutil.copytree(bank[0].path, folder)
    for name in ('objects/mine-01234567.png', '.DS_Store'):
        (folder / name).write_text('')
    make(files, folder, limit=2, per_class=1, overwrite=True)
    reader = PlacementBank(folder)
    kept = {f'objects/{path.name}' for path in (folder / 'objects').iterdir()}
    assert kept == {'objects/mine-01234567.png',
                    *(thing.file for thing in reader.objects)}
    assert len(records(folder)) == 2 and (folder / '.DS_Store').exists()


def test_wrong_objects_are_named_before_a_bank_is_overwritten(files, bank, tmp_path):
    folder = tmp_path / 'bank'
    shutil.copytree(bank[0].path, folder)
    with pytest.raises(UserValueError, match="no class 'sun'"):
        make(files, folder, classes='sun;', overwrite=True)
    assert records(folder) == records(bank[0].path)


def test_one_part_cannot_overwrite_the_others(files, bank):
    before = records(bank[0].path)
    with pytest.raises(UserValueError, match='--overwrite .* the other parts'):
        make(files, bank[0].path, part=(1, 2), overwrite=True)
    assert records(bank[0].path) == before


def test_an_edited_annotation_file_makes_another_bank(files, bank, tmp_path):
    own = {**files, 'backgrounds': tmp_path / 'own.json'}
    data = json.loads(files['backgrounds'].read_text())
    own['backgrounds'].write_text(json.dumps(data))
    make(own, tmp_path / 'bank')
    data['annotations'].pop()
    own['backgrounds'].write_text(json.dumps(data))
    with pytest.raises(FileExistsError, match='the content of backgrounds changed; the '
                       'content of objects changed'):
        make(own, tmp_path / 'bank')


def test_a_bank_that_lost_an_object_says_how_to_repair_it(files, bank, tmp_path):
    folder = tmp_path / 'bank'
    shutil.copytree(bank[0].path, folder)
    thing = PlacementBank(folder).objects[1].file
    (folder / thing).unlink()
    with pytest.raises(FileNotFoundError, match=f'{thing} is missing.*--overwrite'):
        make(files, folder)
    with pytest.raises(FileNotFoundError, match=f'lacks 1 of .* the first: {thing}'):
        PlacementBank(folder)


def test_a_bank_without_its_objects_is_started_again(
        files, bank, tmp_path, monkeypatch):
    def dies(*arguments):
        raise RuntimeError('killed')

    monkeypatch.setattr(place_objects_module, 'cut_objects', dies)
    with pytest.raises(RuntimeError, match='killed'):
        make(files, tmp_path / 'bank', k=3)
    with pytest.raises(FileNotFoundError, match='its objects are not cut out yet'):
        PlacementBank(tmp_path / 'bank')
    monkeypatch.undo()
    # Also with other settings: nothing was made with the old ones.
    assert records(make(files, tmp_path / 'bank').path) == records(bank[0].path)


def test_files_that_a_dead_process_left_are_removed(files, bank, tmp_path):
    folder = tmp_path / 'bank'
    shutil.copytree(bank[0].path, folder)
    left = [folder / name / '.a.json.elsewhere-1.partial'
            for name in ('', 'objects', 'places')]
    for path in left:
        path.write_text('')
        os.utime(path, (0, 0))
    make(files, folder)
    assert not any(path.exists() for path in left)


@pytest.mark.parametrize('key', ['objects', 'images', 'settings', 'image_folder'])
def test_a_bank_whose_list_is_damaged_is_named(bank, tmp_path, key):
    content = json.loads((bank[0].path / 'bank.json').read_text())
    for value in ('', [], [3], 7):
        if key == 'image_folder' and value == '':
            continue
        (tmp_path / 'bank.json').write_text(json.dumps({**content, key: value}))
        with pytest.raises(UserValueError, match=f"bank.json is damaged: its '{key}'"):
            PlacementBank(tmp_path)
    del content[key]
    (tmp_path / 'bank.json').write_text(json.dumps(content))
    with pytest.raises(UserValueError, match=f"bank.json is damaged: its '{key}'"):
        PlacementBank(tmp_path)


def test_places_without_a_key_are_made_again(files, bank, tmp_path):
    folder = tmp_path / 'bank'
    shutil.copytree(bank[0].path, folder)
    path = places_path(folder, bank[1].images[0])
    record = json.loads(path.read_text())
    del record['num_bytes']
    path.write_text(json.dumps(record))
    assert make(files, folder).num_placed == 1
    assert records(folder) == records(bank[0].path)


# Boxes without masks, and RGBA files.

def test_ellipses_and_rectangles_fill_their_boxes():
    boxes = [dict(bbox=[3, 5, 20, 10]), dict(bbox=[-4, 30, 10, 10], iscrowd=1)]
    for shape, share in (('ellipse', np.pi / 4), ('rectangle', 1)):
        found = box_instances(boxes, (60, 50), shape)
        rows, columns = (np.flatnonzero(found.masks[0].any(axis)) for axis in (1, 0))
        assert (rows[0], rows[-1], columns[0], columns[-1]) == (5, 14, 3, 22)
        assert abs(found.masks[0].sum() / 200 - share) < 0.03
        assert found.problems == (None, 'crowd')


@pytest.fixture
def boxes_only(files, tmp_path):
    data = json.loads(files['backgrounds'].read_text())
    for annotation in data['annotations']:
        del annotation['segmentation']
    (tmp_path / 'boxes.json').write_text(json.dumps(data))
    return {**files, 'backgrounds': tmp_path / 'boxes.json'}


def test_boxes_without_masks_ask_for_a_shape(boxes_only, tmp_path):
    with pytest.raises(UserValueError, match='boxes.json has no masks.*--box-mask'):
        make(boxes_only, tmp_path / 'bank')
    made = make(boxes_only, tmp_path / 'bank', box_mask='ellipse')
    alpha = read_cutout(PlacementBank(made.path).object_path(0)).alpha
    assert abs((alpha > 0).mean() - np.pi / 4) < 0.06


def test_objects_come_from_a_folder_of_rgba_files_a_class(files, tmp_path):
    for name in ('car', 'dog'):
        (tmp_path / 'objects' / name).mkdir(parents=True)
    cars = tmp_path / 'objects/car'
    Image.fromarray(np.pad(tiny_topnet.rgba(), ((3, 0), (0, 5), (0, 0)))).save(
        cars / 'a.png')
    Image.fromarray(tiny_topnet.rgba()[..., :3]).save(cars / 'plain.png')
    Image.new('RGBA', (8, 8)).save(cars / 'nothing.png')
    (cars / 'broken.png').write_bytes((cars / 'a.png').read_bytes()[:90])
    Image.fromarray(tiny_topnet.rgba()).save(tmp_path / 'objects/dog/b.png')
    made = make(files, tmp_path / 'bank', objects=tmp_path / 'objects')
    assert made.objects == dict(car=1, dog=1)
    reader = PlacementBank(made.path)
    assert all(read_cutout(reader.object_path(k)).size_wh == (20, 30) for k in (0, 1))
    skipped = (made.path / 'skipped.txt').read_text()
    for name in ('plain', 'nothing', 'broken'):
        assert f'car/{name}.png\tfile\t' in skipped
    assert made.reasons == {'no alpha channel': 1, 'fully transparent': 1,
                            'truncated or damaged image': 1}


def test_all_files_are_checked_before_an_object_is_written(files, tmp_path):
    (tmp_path / 'objects/car').mkdir(parents=True)
    for name in [*(f'car/{k}.png' for k in range(5)), 'stray.png']:
        Image.fromarray(tiny_topnet.rgba()).save(tmp_path / 'objects' / name)
    with pytest.raises(UserValueError, match='stray.png lies in no folder of a class'):
        make(files, tmp_path / 'bank', objects=tmp_path / 'objects')
    assert not (tmp_path / 'bank').exists()


def test_classes_of_files_are_the_folders_right_above(files, tmp_path):
    for name in ('photos/car', 'photos/dog'):
        (tmp_path / 'objects' / name).mkdir(parents=True)
        Image.fromarray(tiny_topnet.rgba()).save(tmp_path / 'objects' / name / '1.png')
    made = make(files, tmp_path / 'bank', objects=tmp_path / 'objects', classes='car;')
    assert made.objects == dict(car=1)
    with pytest.raises(UserValueError, match="no class 'photos'"):
        make(files, tmp_path / 'other', objects=tmp_path / 'objects', classes='photos;')


def test_backgrounds_may_be_a_folder(files, bank, tmp_path):
    made = make({**files, 'backgrounds': files['images']}, tmp_path / 'bank',
                objects=files['backgrounds'], object_images=files['images'])
    assert PlacementBank(made.path).images == bank[1].images
    assert records(made.path) == records(bank[0].path)


# What cannot be used.

def test_images_that_cannot_be_read_are_listed_and_passed_over(files, tmp_path):
    images = tmp_path / 'images'
    shutil.copytree(files['images'], images)
    broken, missing, *_ = sorted(images.iterdir())
    broken.write_bytes(broken.read_bytes()[:500])
    missing.unlink()
    made = make({**files, 'images': images}, tmp_path / 'bank')
    skipped = (made.path / 'skipped.txt').read_text()
    for path in (broken, missing):
        assert f'\n{path.name}\tbackground\t' in skipped
        assert read_record(places_path(made.path, path.name))['problem']
    reader = PlacementBank(made.path)
    assert reader.places(str(broken)).objects == ()
    paste = TRANSFORMS.build(dict(
        type='PlacedCopyPaste', bank=str(made.path), classes=list(SHAPES), prob=1))
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    results = dict(img_path=str(broken), img=image, gt_bboxes=np.zeros((0, 4)))
    assert paste(results)['img'] is image


def test_rules_that_leave_no_object_name_the_reasons(files, tmp_path):
    with pytest.raises(UserValueError, match=r'No object of .* can be used: .*tiny \('):
        make(files, tmp_path / 'bank', rules=Rules(min_side=90))


@pytest.mark.parametrize('option, message', [
    (dict(k=0), 'k must be 1'), (dict(per_class=0), 'per_class'),
    (dict(limit=0), 'limit must be 1 or more, got 0'),
    (dict(seed=-1), 'seed must be 0 or more, got -1'),
    (dict(nms_iou=2), r'nms_iou must be in \[0, 1\]'),
    (dict(part=(3, 2)), 'part'), (dict(box_mask='circle'), 'ellipse'),
    (dict(classes='sun;'), "no class 'sun'"), (dict(images=None), '--images')])
def test_arguments_out_of_range_are_named(files, tmp_path, option, message):
    with pytest.raises(UserValueError, match=message):
        make(files, tmp_path / 'bank', **option)


def test_a_model_that_places_nothing_is_named(files, tmp_path):
    config = tmp_path / 'other.py'
    config.write_text("model = dict(type='PlainViT', layers=1, width=16, heads=2)\n")
    with pytest.raises(UserValueError, match='PlainViT places no objects'):
        place_objects(str(config), None, files['backgrounds'], tmp_path / 'bank',
                      images=files['images'], device='cpu')


# The tool, and what it is for.

def tool():
    spec = importlib.util.spec_from_file_location(
        'place_objects_tool', ROOT / 'tools/data/place_objects.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_the_command_line_tells_what_was_made(files, tmp_path, capsys):
    tool()([files['config'], files['checkpoint'], str(files['backgrounds']),
            str(tmp_path / 'bank'), '--images', str(files['images']), '--device', 'cpu',
            '--limit', '3', '--part', '1/2', '--min-side', '12'])
    out = capsys.readouterr().out
    assert f'{tmp_path / "bank"}: 3 images, ' in out
    assert '2 images placed now, 0 before, 1 left for other parts.' in out
    assert "type='mmcontrast.PlacedCopyPaste'" in out


def test_errors_of_the_command_line_are_sentences(files, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['place_objects.py'])
    with pytest.raises(SystemExit, match='No annotation file at nowhere.json'):
        tool()([files['config'], files['checkpoint'], 'nowhere.json',
                str(tmp_path / 'bank')])


def test_a_detector_trains_on_images_with_pasted_objects(files, bank):
    data = dict(
        type='CocoDataset', ann_file=str(files['backgrounds']),
        data_prefix=dict(img=f'{files["images"]}/'), metainfo=dict(classes=SHAPES),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='mmcontrast.PlacedCopyPaste', bank=str(bank[0].path),
                 classes=list(SHAPES), prob=1, num_objects=2, max_overlap=1),
            dict(type='PackDetInputs')])
    with DefaultScope.overwrite_default_scope('mmdet'):
        loader = Runner.build_dataloader(dict(
            batch_size=NUM_IMAGES, num_workers=1, dataset=data,
            sampler=dict(type='DefaultSampler', shuffle=False)), seed=0)
        batch, = loader
    truth = json.loads(files['backgrounds'].read_text())['annotations']
    num_boxes = [len(sample.gt_instances) for sample in batch['data_samples']]
    assert sum(num_boxes) > len(truth)
    for sample in batch['data_samples']:
        own = sample.gt_instances
        assert len(own.masks) == len(own.bboxes) == len(own.labels)
        inside = own.masks.get_bboxes('hbox').tensor - own.bboxes.tensor
        assert inside.abs().max() <= 1.5
