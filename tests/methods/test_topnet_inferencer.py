"""TopNet on images: ranked boxes, heat maps, constraints, several objects, files."""
import json
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmcontrast.apis.inferencers import PlacementInferencer, open_inferencer
from mmcontrast.apis.inferencers.placement_inputs import preparing_step
from mmcontrast.apis.loading import LoadedModel
from mmcontrast.methods.topnet.constraints import Constraints
from mmcontrast.methods.topnet.cutouts import CutOut, read_cutout
from mmcontrast.methods.topnet.decoding import decode
from mmcontrast.registry import MODELS, TRANSFORMS
from mmcontrast.structures.protocols import PlacesObjects
from tests.helpers.tiny_topnet import SIZE, rgba, scene, write_files

CONFIGS = Path(__file__).parents[2] / 'configs/topnet'
QUIET = dict(workers=0, progress=False)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Model, backgrounds of two sizes below scenes/, objects below objects/."""
    folder = tmp_path_factory.mktemp('topnet')
    write_files(folder)
    (folder / 'scenes' / 'inner').mkdir(parents=True)
    for i, (name, size) in enumerate({'a.png': (96, 64), 'b.png': (96, 64),
                                      'inner/c.png': (60, 90)}.items()):
        Image.fromarray(scene(*size, seed=i)).save(folder / 'scenes' / name)
    (folder / 'objects').mkdir()
    for name, size in {'cup.png': (20, 30), 'lamp.png': (30, 12)}.items():
        Image.fromarray(rgba(*size)).save(folder / 'objects' / name)
    Image.fromarray(rgba()[..., :3]).save(folder / 'opaque.png')
    Image.fromarray(rgba()[..., 3]).save(folder / 'mask.png')
    return folder


@pytest.fixture(scope='module')
def infer(root):
    return open_inferencer(str(root / 'tiny.py'), str(root / 'tiny.pth'), 'cpu')


@pytest.fixture(scope='module')
def pair_infer():
    """The unofficial network, with random weights."""
    torch.manual_seed(0)
    model = MODELS.build(dict(type='TopNetPair', fusion='fixed', size=64, layers=1,
                              test_cfg=dict(k=3, heat=True, window=3)))
    pipeline = [dict(type='PrepareTopNetPair', size=64), dict(type='PackPlacement')]
    return PlacementInferencer(LoadedModel(model.eval(), Config(dict(
        test_dataloader=dict(dataset=dict(pipeline=pipeline))))))


@pytest.fixture
def calls(monkeypatch):
    """How many images each encoder of an inferencer's model is given."""
    counts = Counter()

    def counted(name, encode, images):
        counts[name] += len(images)
        return encode(images)

    def watch(model):
        for name in ('encode_backgrounds', 'encode_objects'):
            monkeypatch.setattr(model, name, partial(
                counted, name, getattr(model, name)))
        return counts
    return watch


def predicted(model, background, cutout, step):
    """What ``predict`` gives for a pair after the transforms of a data set."""
    item = dict(background=background, cutout=cutout, object_wh=cutout.size_wh,
                background_wh=background.shape[1::-1], positives=[], negatives=[])
    for name, options in ((step, dict(size=64) if 'Pair' in step else dict(
            background_size=SIZE, object_size=SIZE)), ('PackPlacement', {})):
        item = TRANSFORMS.build(dict(type=name, **options))(item)
    data = dict(inputs={key: [value] for key, value in item['inputs'].items()},
                data_samples=[item['data_samples']])
    with torch.no_grad():
        return model.test_step(data)[0]


def test_both_networks_place_objects(infer, pair_infer):
    for inferencer in (infer, pair_infer):
        assert type(inferencer) is PlacementInferencer
        assert isinstance(inferencer.model, PlacesObjects)


def test_boxes_and_scores_are_those_of_the_model(infer, root, monkeypatch):
    monkeypatch.setitem(infer.model.test_cfg, 'heat', True)
    result = infer(root / 'scene.png', root / 'cutout.png', k=5)
    found, = result.objects
    sample = predicted(infer.model, scene(), read_cutout(root / 'cutout.png'),
                       'PrepareTopNet')
    torch.testing.assert_close(found.heat, sample.heat)
    # The best of what is inside; predictions drop what is outside afterwards.
    wanted = decode(sample.heat, infer.model.grid, (96, 64), (20, 30), k=5,
                    constraints=Constraints(inside=True))
    assert found.cells.tolist() == wanted.cells.tolist()
    np.testing.assert_allclose(found.boxes_xywh, wanted.boxes_xywh)
    assert found.heat.shape == (4, 16, 16) and found.size_wh == (20, 30)
    np.testing.assert_allclose(found.scores, found.heat[tuple(found.cells.T)])
    np.testing.assert_allclose(
        found.scales, (found.boxes_xywh[:, 2:] / (96, 64)).max(1))


def test_the_pair_network_searches_its_sixteen_scales(pair_infer, calls):
    counts, image = calls(pair_infer.model), Image.fromarray(scene())
    cutout = CutOut.from_rgba(rgba())
    result = pair_infer(image, [cutout, cutout])
    assert counts == dict(encode_backgrounds=1, encode_objects=2)
    sample = predicted(pair_infer.model, scene(), cutout, 'PrepareTopNetPairScales')
    for own in result.objects:
        torch.testing.assert_close(own.heat, sample.heat)
    # Ranked as TopNet's: FOPA's rule lets boxes leave the image by half a cell.
    alone, = pair_infer(image, cutout, k=3).objects
    wanted = decode(sample.heat, pair_infer.model.grid, (96, 64), (20, 30), k=3,
                    constraints=Constraints(inside=True))
    assert alone.cells.tolist() == wanted.cells.tolist()
    np.testing.assert_allclose(alone.boxes_xywh, wanted.boxes_xywh)


def test_a_pair_network_may_be_searched_over_other_scales(pair_infer):
    steps = [dict(type='PrepareTopNetPairScales', size=64, num_scales=4),
             dict(type='PackPlacement')]
    infer = PlacementInferencer(LoadedModel(pair_infer.model, Config(dict(
        test_dataloader=dict(dataset=dict(pipeline=steps))))))
    result = infer(Image.fromarray(scene()), CutOut.from_rgba(rgba()))
    found, = result.objects
    assert found.heat.shape == (4, 64, 64) and len(found.scales)
    # Sizes i / 6, as the object was drawn.
    assert {round(6 * scale, 9) for scale in found.scales} <= {1, 2, 3, 4}
    assert result.ratios.tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6])


def test_backgrounds_and_objects_are_encoded_once(infer, root, calls):
    counts = calls(infer.model)
    results = infer(str(root / 'scenes'), str(root / 'objects'), **QUIET)
    assert counts == dict(encode_backgrounds=3, encode_objects=2) and len(results) == 3
    assert {own.heat for result in results for own in result.objects} == {None}
    with pytest.raises(ValueError, match='a.png: the heat maps were not kept'):
        results[0].draw(scene())


def test_objects_are_encoded_again_where_they_follow_the_size_of_the_background(
        pair_infer, root, calls):
    counts = calls(pair_infer.model)
    results = pair_infer(str(root / 'scenes'), str(root / 'objects/cup.png'), **QUIET)
    # Two backgrounds of one size, one of another.
    assert counts == dict(encode_backgrounds=3, encode_objects=2) and len(results) == 3


def test_results_do_not_depend_on_the_size_of_a_batch(infer, root):
    many, single = (infer(str(root / 'scenes'), str(root / 'objects'),
                          batch_size=size, **QUIET) for size in (4, 1))
    for first, second in zip(many, single, strict=True):
        assert [own.name for own in first.objects] == [
            own.name for own in second.objects]
        for own, other in zip(first.objects, second.objects, strict=True):
            np.testing.assert_allclose(own.boxes_xywh, other.boxes_xywh)


def test_files_arrays_and_images_of_one_object_give_one_result(infer, root):
    wanted = infer(root / 'scene.png', root / 'cutout.png').objects[0]
    bgra = rgba()[..., [2, 1, 0, 3]]
    for source in (bgra, Image.fromarray(rgba()), CutOut.from_rgba(rgba())):
        found = infer(scene()[..., ::-1], [source]).objects[0]
        np.testing.assert_allclose(found.boxes_xywh, wanted.boxes_xywh)
        assert (found.name, found.path) == ('object_0', '')
    for opaque in (root / 'opaque.png', bgra[..., :3]):
        masked = infer(root / 'scene.png', opaque, masks=root / 'mask.png')
        np.testing.assert_allclose(masked.objects[0].boxes_xywh, wanted.boxes_xywh)


def test_a_folder_of_masks_goes_by_names(infer, root, tmp_path):
    for folder in ('rgb', 'masks'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'rgb/cup.jpg').write_bytes(b'')
    Image.fromarray(rgba()[..., :3]).save(tmp_path / 'rgb/cup.jpg', quality=95)
    Image.fromarray(rgba()[..., 3]).save(tmp_path / 'masks/cup.png')
    found = infer(scene(), tmp_path / 'rgb', masks=tmp_path / 'masks').objects
    assert [(own.name, own.size_wh) for own in found] == [('cup.jpg', (20, 30))]
    with pytest.raises(ValueError, match="masks has no mask called 'cutout'"):
        infer(scene(), root / 'cutout.png', masks=tmp_path / 'masks')
    with pytest.raises(ValueError, match='masks: 1 for 2 objects'):
        infer(scene(), str(root / 'objects'), masks=root / 'mask.png')


def test_a_background_that_cannot_be_used_is_left_out_and_named(infer, root, tmp_path):
    Image.fromarray(scene()).save(tmp_path / 'good.png')
    Image.fromarray(scene(40, 40)).save(tmp_path / 'small.png')
    (tmp_path / 'text.png').write_text('no image')
    with pytest.warns(UserWarning, match='2 of 3 images could not be used'):
        results = infer(tmp_path, root / 'cutout.png', at=(60, 30), **QUIET)
    assert [result.name for result in results] == ['good.png']
    text, small = sorted(infer.skipped, key=lambda sentence: 'small' in sentence)
    assert 'text.png' in text and 'not an image' in text
    assert small == ('small.png: The point (60, 30) lies outside of the background '
                     'of 40 x 40 pixels.')


@pytest.mark.parametrize('options, message', [
    (dict(), 'TopNet places objects: give objects'),
    (dict(objects=[]), 'objects is an empty list'),
    (dict(objects='opaque.png'), 'opaque.png has no alpha channel'),
    (dict(objects='clear.png'), 'clear.png is fully transparent'),
    (dict(objects='empty'), 'objects: none of 1 can be used.*fully transparent'),
    (dict(objects='tiny.py'), 'tiny.py: not an image'),
    (dict(objects='cutout.png', size='300,300'), 'larger than the scene of 96 x 64'),
    (dict(objects='cutout.png', at='97,5'), 'lies outside of the background'),
    (dict(objects='cutout.png', at='97'), "at must be two numbers such as '120,80'"),
    (dict(objects='cutout.png', avoid='100,70,5,5'), 'covers nothing of the backgrou'),
    (dict(objects='cutout.png', avoid='1,2,3'), "neither boxes 'x,y,w,h;x,y,w,h' nor"),
    (dict(objects='cutout.png', avoid='0,0,96,64'), 'no place is left for cutout.png'),
    (dict(objects='cutout.png', allow='tiny.py'), 'tiny.py: not an image'),
    (dict(objects='cutout.png', k=0), 'k and batch_size must be 1 or more'),
    (dict(objects='cutout.png', scale=1e-9), 'cutout.png would be smaller than one'),
    (dict(objects='cutout.png', batch_size=0), 'k and batch_size must be 1 or more')])
def test_bad_input_is_explained(infer, root, options, message, monkeypatch):
    (root / 'empty').mkdir(exist_ok=True)
    for name in ('clear.png', 'empty/clear.png'):
        Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(root / name)
    monkeypatch.chdir(root)
    with pytest.raises(ValueError, match=message):
        infer('scene.png', **options)


@pytest.mark.parametrize('options, message', [
    (dict(scale=1.2), 'at most 1; got 1.2'), (dict(nms_iou=5), 'nms_iou must be from'),
    (dict(scale=0.5, size='9,9'), 'both fix the size'),
    (dict(at='5,5', objects='objects'), 'one place, but there are 2 objects'),
    (dict(feather=-1), 'feather must be 0 pixels or more'),
    (dict(at=80), 'at must be two numbers'), (dict(size=5), 'size must be two numbers'),
    (dict(k=2.5), 'whole numbers, got 2.5'), (dict(k='3'), "whole numbers, got '3'"),
    (dict(batch_size=2.5), 'whole numbers, got 5 and 2.5'),
    (dict(nms_iou='0.5'), 'nms_iou must be from'),
    (dict(feather='x'), "feather must be 0 pixels or more, got 'x'"),
    (dict(masks=np.ones((30, 20))), 'masks are files .* got ndarray'),
    (dict(images=np.zeros((0, 5, 3), np.uint8)), 'image_0: expected .*0, 5, 3'),
    (dict(images=Image.new('RGB', (0, 5))), 'image_0 has no pixels'),
    (dict(blend='posson'), "blend must be one of .*'posson'"),
    (dict(avoid=[[1, 2, 3]]), 'avoid must be .N, 4. boxes'),
    (dict(avoid=[[1, 2, 3, 4], [5]]), 'avoid must be .N, 4. boxes'),
    (dict(maps=True), 'maps are files in a folder .*out is not given'),
    (dict(maps=True, out='x.png', images='scene.png'), 'out is the image file x.png')])
def test_wrong_options_stop_a_folder_before_any_background(
        infer, root, options, message, monkeypatch, calls):
    monkeypatch.chdir(root)
    counts = calls(infer.model)
    given = dict(dict(images='scenes', objects='cutout.png', **QUIET), **options)
    with pytest.raises(ValueError, match=message):
        infer(**given)
    assert not counts and not infer.skipped


@pytest.mark.parametrize('options, kept', [
    (dict(images='scenes', out='scenes'), 'scenes/y.jpg'),
    (dict(images='scenes/y.jpg', out='scenes/y.jpg'), 'scenes/y.jpg'),
    (dict(images='scenes/y.jpg', out='link.jpg'), 'scenes/y.jpg'),
    (dict(images='scenes/y.jpg', out='z.png'), 'z.png'),
    (dict(images='scenes/y.jpg', out='allow.png', allow='allow.png'), 'allow.png'),
    (dict(images='z.png', out='rgb', objects='rgb', masks='out/sheets'), 'rgb/z.jpg'),
    (dict(images='z.png', out='out', objects='rgb', masks='out/sheets'),
     'out/sheets/z.jpg'),
    (dict(images='z.png', out='out', objects='rgb', masks='out/maps', maps=True),
     'out/maps/z.jpg')])
def test_files_that_are_read_are_never_overwritten(
        infer, tmp_path, options, kept, monkeypatch, calls):
    monkeypatch.chdir(tmp_path)
    for folder in ('scenes', 'rgb', 'out/sheets', 'out/maps'):
        Path(folder).mkdir(parents=True)
    Image.fromarray(rgba()).save('z.png')
    Image.fromarray(scene()).save('scenes/y.jpg')
    Path('link.jpg').symlink_to('scenes/y.jpg')
    Image.fromarray(np.full((64, 96), 255, np.uint8)).save('allow.png')
    Image.fromarray(scene(20, 30)).save('rgb/z.jpg')
    for folder in ('sheets', 'maps'):
        Image.fromarray(rgba()[..., 3]).save(f'out/{folder}/z.jpg')
    counts, before = calls(infer.model), Path(kept).read_bytes()
    with pytest.raises(ValueError, match='would overwrite a file that is read'):
        infer(**dict(dict(objects='z.png', **QUIET), **options))
    assert not counts and Path(kept).read_bytes() == before
    assert not Path('scenes/sheets').exists()


def test_backgrounds_in_folders_called_like_those_of_results_keep_theirs(
        infer, root, tmp_path):
    names = ('x', 'sheets/x', 'maps/x', 'in_sheets/x')
    for i, name in enumerate(names):
        path = tmp_path / 'in' / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(96 + 2 * i, 64)).save(path)
    infer(str(tmp_path / 'in'), root / 'cutout.png', out=tmp_path / 'out', maps=True,
          **QUIET)
    written = list((tmp_path / 'out').rglob('*.jpg'))
    assert len(written) == 3 * len(names)
    widths = {Image.open(path).size[0] for path in written}
    assert {96, 98, 100, 102} <= widths


def test_boxes_are_kept_where_pictures_cannot_be_written(infer, root, tmp_path):
    (tmp_path / 'sheets').write_text('no folder')
    with pytest.raises(OSError):
        infer(root / 'scene.png', root / 'cutout.png', out=tmp_path)
    row, = json.loads((tmp_path / 'placements.json').read_text())['backgrounds']
    assert row['objects'][0]['boxes']


def test_scores_that_are_no_numbers_are_named_not_the_constraints(root):
    infer = open_inferencer(str(root / 'tiny.py'), str(root / 'tiny.pth'), 'cpu')
    last = list(infer.model.fusion.parameters())[-1]
    with torch.no_grad():
        last.view(-1)[0] = torch.nan
    with pytest.raises(ValueError, match='scores are NaN') as caught:
        infer(root / 'scene.png', root / 'cutout.png')
    assert 'smaller size' not in str(caught.value)


def test_objects_of_several_folders_have_names_of_their_own(
        infer, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ('a', 'b'):
        Path(folder).mkdir()
        Image.fromarray(rgba(6, 8)).save(f'{folder}/o.png')
    result = infer(root / 'scene.png', ['a/o.png', 'b', 'a/o.png'], scale=0.1)
    assert result.tally() == {'a/o.png': 2, 'b/o.png': 1}


def test_many_boxes_to_avoid_may_be_given_as_text(infer, root):
    text = ';'.join(['0,0,5,5'] * 100)
    assert infer(root / 'scene.png', root / 'cutout.png', avoid=text).placed


@pytest.mark.parametrize('options', [
    dict(objects='missing.png'), dict(objects='cutout.png', masks='missing.png'),
    dict(objects='cutout.png', allow='missing.png')])
def test_missing_files_are_named(infer, root, options, monkeypatch):
    monkeypatch.chdir(root)
    with pytest.raises(FileNotFoundError, match='missing.png: no such'):
        infer('scene.png', **options)


def test_files_of_a_folder_that_are_no_objects_are_noted(infer, root, tmp_path):
    Image.fromarray(rgba()).save(tmp_path / 'cup.png')
    Image.fromarray(scene()).save(tmp_path / 'photo.png')
    result = infer(root / 'scene.png', tmp_path)
    assert [own.name for own in result.objects] == ['cup.png']
    note, = infer.notes
    assert 'photo.png has no alpha channel' in note


def test_regions_come_as_text_files_or_arrays(infer, root, tmp_path):
    mask = np.zeros((64, 96), bool)
    mask[:, 50:] = True
    Image.fromarray(mask).save(tmp_path / 'right.png')
    results = [infer(root / 'scene.png', root / 'cutout.png', avoid=avoid).objects[0]
               for avoid in ('50,0,46,64', [[50, 0, 46, 64]], mask, 255 * mask.astype(
                   np.uint8), tmp_path / 'right.png')]
    for found in results:
        assert (found.boxes_xywh[:, 0] + found.boxes_xywh[:, 2]).max() <= 50
        np.testing.assert_allclose(found.boxes_xywh, results[0].boxes_xywh)
    right = infer(root / 'scene.png', root / 'cutout.png', allow=mask).objects[0]
    assert (right.boxes_xywh[:, 0] + right.boxes_xywh[:, 2] / 2).min() >= 50


def test_several_objects_do_not_collide_and_those_without_a_place_are_noted(
        infer, root):
    things = [Image.fromarray(rgba(40, 20))] * 3
    # 64 x 32 pixels each: there is room for two.
    result = infer(root / 'scene.png', things, scale=2 / 3, out=None)
    boxes = [own.boxes_xywh[0] for own in result.placed]
    assert 1 <= len(boxes) < 3 and len(result.objects) == 3
    assert len(infer.notes) == 3 - len(boxes)
    assert 'no place is left in scene.png' in infer.notes[0]
    assert result.tally() == {own.name: 1 for own in result.placed}
    small = infer(root / 'scene.png', things, scale=0.2)
    x, y = np.array([own.boxes_xywh[0, :2] for own in small.placed]).T
    for i in range(3):
        for j in range(i):
            assert abs(x[i] - x[j]) >= 19.2 - 1e-9 or abs(y[i] - y[j]) >= 9.6 - 1e-9


def test_files_hold_the_ranked_boxes_and_pictures(infer, root, tmp_path):
    results = infer(str(root / 'scenes'), str(root / 'objects'), out=tmp_path, k=2,
                    maps=True, **QUIET)
    written = json.loads((tmp_path / 'placements.json').read_text())['backgrounds']
    assert [row['file'] for row in written] == [
        str(root / 'scenes' / name) for name in ('a.png', 'b.png', 'inner/c.png')]
    assert (written[2]['width'], written[2]['height']) == (60, 90)
    for row, result in zip(written, results, strict=True):
        for thing, own in zip(row['objects'], result.objects, strict=True):
            assert thing['file'] == own.path and thing['width'] == own.size_wh[0]
            assert len(thing['boxes']) == len(own.boxes_xywh) <= 2
            for box, wanted, score in zip(thing['boxes'], own.boxes_xywh, own.scores,
                                          strict=True):
                np.testing.assert_allclose(box['bbox'], wanted, atol=0.01)
                assert box['score'] == pytest.approx(score, abs=1e-5)
    for stem in ('a', 'inner/c'):
        for name in (f'{stem}.jpg', f'sheets/{stem}.jpg', f'maps/{stem}_1.jpg',
                     f'maps/{stem}_2.jpg'):
            assert Image.open(tmp_path / name).size[0] >= 60


def test_an_image_file_gets_the_composite_of_a_single_background(infer, root, tmp_path):
    result = infer(root / 'scene.png', root / 'cutout.png', scale=0.5, feather=0,
                   out=tmp_path / 'composite.png')
    composite = np.asarray(Image.open(tmp_path / 'composite.png'))
    changed = np.argwhere((composite != scene()).any(2))
    x, y, width, height = result.objects[0].boxes_xywh[0]
    assert (changed.min(0) >= np.floor((y, x)) - 1).all()
    assert (changed.max(0) <= np.ceil((y + height, x + width))).all()
    assert len(changed) > 0.5 * width * height
    with pytest.raises(ValueError, match='one image file, but there are 3 images'):
        infer(str(root / 'scenes'), root / 'cutout.png', out=tmp_path / 'x.png')


def test_a_pipeline_that_prepares_no_placements_is_an_error(infer):
    cfg = Config(dict(test_dataloader=dict(dataset=dict(
        pipeline=[dict(type='PackPlacement')]))))
    with pytest.raises(ValueError, match='no step that prepares backgrounds and obj'):
        PlacementInferencer(LoadedModel(infer.model, cfg))


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.py')), ids=lambda p: p.stem)
def test_the_pipeline_of_every_config_serves_a_search(path):
    step = preparing_step(LoadedModel(None, Config.fromfile(path)))
    many = step.prepare_object(CutOut.from_rgba(rgba()), (96, 64))
    side = step.prepare_background(scene()).shape[0]
    assert many.dtype == np.uint8 and many.shape[-1] == 4
    assert (many.shape[0] == 16 and many.shape[1] == side) == step.per_background
