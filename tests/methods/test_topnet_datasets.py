"""Placement pairs of OPA, of files made by inpainting, and of the toy world."""
import json
import pickle

import numpy as np
import pytest
from mmengine.dataset import pseudo_collate
from PIL import Image

from mmcontrast.datasets import BadImage, Reason
from mmcontrast.datasets.shapes import draw_placement, scene_seed
from mmcontrast.errors import UserValueError
from mmcontrast.methods.topnet.composites import read_pair
from mmcontrast.methods.topnet.placement_dataset import BackgroundCache
from mmcontrast.registry import DATASETS

PIPELINE = [dict(type='FlipPlacement', prob=0), dict(type='PrepareTopNet'),
            dict(type='PackPlacement')]


def shapes(**options):
    return DATASETS.build(dict(type='ShapesPlacements', num_pairs=3, **options))


def test_a_toy_pair_is_the_placement_of_its_seed():
    dataset = shapes(split='val', pipeline=[])
    placement = draw_placement(scene_seed('val', 2))
    item = dataset[2]
    assert item['seed'] == scene_seed('val', 2) and len(dataset) == 3
    np.testing.assert_array_equal(item['background'], placement.background.image)
    np.testing.assert_array_equal(item['cutout'].rgba, placement.cutout)
    left, top, right, bottom = placement.box_xyxy
    np.testing.assert_allclose(item['positives'],
                               [[left, top, right - left, bottom - top]])
    again = draw_placement(item['seed'], **item['scene_options'])
    np.testing.assert_array_equal(again.cutout, placement.cutout)


def test_toy_labels_are_the_true_box_or_all_boxes():
    placement = shapes().placement(0)
    counts = {labels: [len(shapes(labels=labels, pipeline=[])[0][key])
                       for key in ('positives', 'negatives')]
              for labels in ('true', 'positives', 'all')}
    many = len(placement.positives)
    assert many > 1 and counts == dict(
        true=[1, 0], positives=[many, 0], all=[many, len(placement.negatives)])
    for x, y, w, h in shapes(labels='all', pipeline=[])[0]['negatives']:
        assert not placement.is_plausible((x, y, x + w, y + h))


def test_toy_splits_share_no_pair():
    seeds = {shapes(split=split, pipeline=[])[i]['seed']
             for split in ('train', 'val', 'test') for i in range(3)}
    assert len(seeds) == 9


def test_kept_toy_pairs_survive_the_pipeline():
    kept = shapes(cache=True, pipeline=[dict(PIPELINE[0], prob=1), *PIPELINE[1:]])
    drawn = shapes(pipeline=[dict(PIPELINE[0], prob=1), *PIPELINE[1:]])
    for _ in range(2):
        assert kept[1]['data_samples'].positives.equal(
            drawn[1]['data_samples'].positives)
        assert kept[1]['inputs']['background'].equal(drawn[1]['inputs']['background'])


def test_toy_pairs_are_collated():
    batch = pseudo_collate([shapes(pipeline=PIPELINE)[i] for i in range(2)])
    assert [tuple(x.shape) for x in batch['inputs']['object']] == [(4, 224, 224)] * 2
    assert [s.object_id for s in batch['data_samples']] == ['0', '1']


@pytest.mark.parametrize('options, message', [
    (dict(num_pairs=0), 'num_pairs must be 1 or more'),
    (dict(num_pairs=1, labels='some'), "labels must be one of .*'some'"),
    (dict(num_pairs=1, split='all'), 'split must be one of'),
    (dict(num_pairs=1, num_boxes=0), 'num_boxes must be 1 or more')])
def test_wrong_options_of_the_toy_pairs_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        DATASETS.build(dict(type='ShapesPlacements', **options))


def save(path, width=60, height=40, channels=3, value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width, channels)[:2 if channels == 1 else 3]
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)


@pytest.fixture
def opa(tmp_path):
    """Two objects and two backgrounds in OPA's own layout."""
    for category, number in (('dog', 7), ('cat', 8)):
        save(tmp_path / f'foreground/{category}/{number}.jpg', 20, 10)
        save(tmp_path / f'foreground/{category}/mask_{number}.jpg', 20, 10, 1, 255)
    save(tmp_path / 'background/street/1.jpg')
    # A gray image: its channels are converted.
    save(tmp_path / 'background/beach/2.jpg', channels=1)
    rows = [(7, 1, [3, 4, 20, 10], 1), (7, 1, [5, 6, 40, 20], 0),
            (8, 2, [0, 0, 10, 5], 0), (7, 1, [-2, 30, 10, 5], 1)]
    lines = ['fg_id,bg_id,position,scale,label,img_name,mask_name']
    lines += [f'{fg},{bg},"{box}",0.333333333,{label},dataset/a.jpg,dataset/m.jpg'
              for fg, bg, box, label in rows]
    (tmp_path / 'train_set.csv').write_text('\n'.join(lines))
    return tmp_path


def composites(root, **options):
    return DATASETS.build(dict(type='OPAComposites', ann_file='train_set.csv',
                               data_root=str(root), pipeline=[], **options))


def test_rows_of_one_object_and_background_are_one_item(opa):
    dataset = composites(opa)
    first, second = dataset[0], dataset[1]
    assert len(dataset) == 2
    assert first['positives'].tolist() == [[3, 4, 20, 10], [-2, 30, 10, 5]]
    assert first['negatives'].tolist() == [[5, 6, 40, 20]]
    assert first['background_wh'] == (60, 40) and first['object_wh'] == (20, 10)
    assert second['background'].shape == (40, 60, 3)
    assert len(second['positives']) == 0 and second['positives'].shape == (0, 4)


def test_rows_can_be_items_and_those_without_a_positive_left_out(opa):
    assert len(composites(opa, group=False)) == 4
    assert [len(composites(opa, group=False, positives_only=True)[i]['positives'])
            for i in range(2)] == [1, 1]
    assert len(composites(opa, positives_only=True)) == 1


def test_objects_of_opa_are_not_cropped(opa):
    """Their boxes hold the image as it is."""
    mask = np.zeros((10, 20), np.uint8)
    mask[2:5, 3:9] = 255
    Image.fromarray(mask).save(opa / 'foreground/dog/mask_7.jpg', quality=95)
    assert composites(opa)[0]['object_wh'] == (20, 10)


def test_files_that_a_table_names_are_checked_before_training(opa):
    (opa / 'foreground/cat/mask_8.jpg').unlink()
    (opa / 'background/street/1.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r'(?s)train_set\.csv names 2 files, of '
                       r'6, that do not exist:.*mask_8\.jpg.*correct it'):
        composites(opa)


def test_a_wrong_root_of_opa_is_named(opa, tmp_path):
    (tmp_path / 'elsewhere').mkdir()
    (opa / 'train_set.csv').rename(tmp_path / 'elsewhere/train_set.csv')
    with pytest.raises(FileNotFoundError, match='foreground is missing. OPA holds'):
        composites(tmp_path / 'elsewhere')


@pytest.mark.parametrize('old, new, message', [
    ('label', 'labels', r"row 1 has no 'label', only fg_id"),
    ('[3, 4, 20, 10]', '[3, 4, 20]', r'row 1\[0\] must be \[x, y, width, height\]'),
    ('[3, 4, 20, 10]', 'left', "row 1: expected a list of numbers, got 'left'"),
    ('0.333333333,1', '0.333333333,2', r"row 1: the label must be 1 .*got '2'")])
def test_a_wrong_row_is_named(opa, old, new, message):
    table = opa / 'train_set.csv'
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(UserValueError, match=message):
        composites(opa)


@pytest.fixture
def pairs(tmp_path):
    """OPA as pair files: 20 x 10 objects, odd sizes, canvases for one row."""
    for name in ('bg/000000000001.jpg', 'bg/000000000002.jpg'):
        save(tmp_path / name)
    save(tmp_path / 'fg/foreground/7.jpg', 20, 10)
    save(tmp_path / 'fg/foreground/mask_7.jpg', 20, 10, 1, 255)
    rows = [dict(imgID='1', annID='7', scID=str(k + 1), scale='0.5', newWidth=31,
                 newHeight=15, pos_label=[[30, 20]] if k == 0 else [],
                 neg_label=[[10, 10], [59, 39]]) for k in range(2)]
    (tmp_path / 'train_pair_new.json').write_text(json.dumps(rows))
    columns = list(rows[0])
    (tmp_path / 'train_pair_new.csv').write_text('\n'.join(
        [','.join(columns)] + [','.join(f'"{row[c]}"' for c in columns)
                               for row in rows]))
    return tmp_path


def pair_rows(root, ann_file='train_pair_new.json', **options):
    return DATASETS.build(dict(
        type='OPAPairs', ann_file=ann_file, data_root=str(root),
        **{'pipeline': [], **options}))


@pytest.mark.parametrize('ending', ['json', 'csv'])
def test_boxes_of_a_row_lie_exactly_around_their_centers(pairs, ending):
    dataset = pair_rows(pairs, f'train_pair_new.{ending}')
    item = dataset[0]
    assert item['positives'].tolist() == [[14.5, 12.5, 31, 15]]
    assert (item['negatives'][:, :2] + item['negatives'][:, 2:] / 2).tolist() == [
        [10, 10], [59, 39]]
    assert item['object_size_wh'] == (31, 15) and item['object_id'] == '7'
    assert len(dataset) == 2 and len(pair_rows(pairs, positives_only=True)) == 1


def test_a_flipped_row_keeps_centers_exact(pairs):
    item = pair_rows(pairs, pipeline=[dict(type='FlipPlacement', prob=1)])[0]
    assert (item['negatives'][:, 0] + 15.5).tolist() == [50, 1]


def test_canvases_are_read_where_asked_for(pairs):
    with pytest.raises(FileNotFoundError, match='names 4 files, of 8'):
        pair_rows(pairs, canvas_files=True)
    for number in (1, 2):
        for folder, channels in (('fg', 3), ('mask', 1)):
            save(pairs / folder / 'train' / f'7_{number}_31_15.jpg', channels=channels,
                 value=50 * number)
    item = pair_rows(pairs, canvas_files=True)[1]
    assert item['canvas'].shape == (40, 60, 4) and (item['canvas'] == 100).all()
    save(pairs / 'mask/train/7_1_31_15.jpg', 30, 40, 1)
    with pytest.raises(UserValueError, match=r'7_1_31_15\.jpg has 30 x 40 pixels'):
        pair_rows(pairs, canvas_files=True)[0]


@pytest.mark.parametrize('value', ['wide', '0', '31.5', ''])
def test_a_row_with_a_wrong_size_is_named(pairs, value):
    table = pairs / 'train_pair_new.csv'
    table.write_text(table.read_text().replace('"31"', f'"{value}"', 1))
    with pytest.raises(UserValueError, match=r'csv: row 1: newWidth must be a whole num'
                       f"ber of pixels above 0, got '{value}'"):
        pair_rows(pairs, table.name)


def test_labels_that_are_no_centers_are_named(pairs):
    file = pairs / 'train_pair_new.json'
    file.write_text(file.read_text().replace('[30, 20]', '30'))
    with pytest.raises(UserValueError, match=r'row 1: pos_label must be a list of'):
        pair_rows(pairs)


@pytest.fixture
def own(tmp_path):
    """A pair file as the tool writes it."""
    save(tmp_path / 'backgrounds/1.jpg')
    save(tmp_path / 'objects/1.png', 20, 10, 4, 255)
    pair = dict(background='backgrounds/1.jpg', object='objects/1.png',
                positives=[[3, 4, 20, 10]], inpainted=True)
    (tmp_path / 'pairs.json').write_text(json.dumps(dict(pairs=[pair])))
    return tmp_path / 'pairs.json'


def own_pairs(file, **options):
    return DATASETS.build(dict(
        type='PlacementPairs', ann_file=str(file), **{'pipeline': [], **options}))


def changed(file, **values):
    content = json.loads(file.read_text())
    content['pairs'][0].update(values)
    file.write_text(json.dumps(content))
    return file


def test_a_pair_file_is_read_from_its_own_folder(own):
    item = own_pairs(own)[0]
    assert item['positives'].tolist() == [[3, 4, 20, 10]] and item['inpainted']
    assert len(item['negatives']) == 0 and item['object_wh'] == (20, 10)
    packed = own_pairs(own, pipeline=PIPELINE)[0]
    assert packed['data_samples'].background_wh == (60, 40)


def test_an_object_may_have_a_mask_file(own):
    save(own.parent / 'o.jpg', 20, 10)
    save(own.parent / 'm.jpg', 20, 10, 1, 255)
    assert own_pairs(changed(own, object='o.jpg', mask='m.jpg'))[0]['object_wh'] == (
        20, 10)


def test_metrics_see_an_object_with_the_mask_of_its_pair(own):
    """Not with another file that happens to be called mask_NAME."""
    root = own.parent
    for name in ('o.jpg', 'objects/o.jpg'):
        save(root / name, 20, 10)
    mask = np.zeros((10, 20), np.uint8)
    mask[2:9, 4:17] = 255
    Image.fromarray(mask).save(root / 'm.png')
    for name in ('mask_o.jpg', 'objects/mask_1.png'):
        save(root / name, 20, 10, 1, 255)
    with_mask = own_pairs(changed(own, object='o.jpg', mask='m.png'),
                          pipeline=PIPELINE)[0]['data_samples'].to_dict()
    assert with_mask['object_wh'] == (13, 7)
    assert read_pair(with_mask)[1].size_wh == (13, 7)
    rgba = np.dstack([np.full((10, 20, 3), 90, np.uint8), mask])
    Image.fromarray(rgba).save(root / 'objects/1.png')
    with_alpha = own_pairs(changed(own, object='objects/1.png', mask=None),
                           pipeline=PIPELINE)[0]['data_samples'].to_dict()
    assert read_pair(with_alpha)[1].size_wh == (13, 7)


@pytest.fixture
def damaged(own):
    """A pair file of 30 pairs, the object of two of them damaged."""
    root, pairs = own.parent, []
    for k in range(30):
        save(root / f'objects/{k}.png', 20, 10, 4, 255)
        pairs.append(dict(background='backgrounds/1.jpg', object=f'objects/{k}.png',
                          positives=[[3, 4, 20, 10]]))
    for k in (4, 9):
        path = root / f'objects/{k}.png'
        path.write_bytes(path.read_bytes()[:60])
    own.write_text(json.dumps(dict(pairs=pairs)))
    return own


def test_a_damaged_image_is_replaced_in_training_and_listed(damaged, caplog):
    dataset = own_pairs(damaged, pipeline=PIPELINE)
    objects = [dataset[k]['data_samples'].object_id for k in range(30)]
    bad = {'objects/4.png', 'objects/9.png'}
    assert not bad & set(objects)
    assert [objects[k] for k in (3, 5)] == ['objects/3.png', 'objects/5.png']
    assert [(path.split(', ')[1], reason) for path, reason in dataset.bad_images()] == [
        (str(damaged.parent / name), Reason.DAMAGED) for name in sorted(bad)]
    with pytest.raises(ValueError, match=r'2 of the first .* pairs .*share=0\.05'):
        strict = own_pairs(damaged, pipeline=PIPELINE, max_bad_share=0.05)
        [strict[k] for k in range(30)]


def test_a_damaged_image_is_an_error_in_evaluation(damaged):
    with pytest.raises(BadImage, match=r'objects/4\.png: truncated or damaged'):
        own_pairs(damaged, test_mode=True)[4]
    with pytest.raises(UserValueError, match=r'max_bad_share must be in \[0, 1\]'):
        own_pairs(damaged, max_bad_share=2)


def test_missing_files_of_a_pair_file_are_counted_and_named(own):
    pairs = [dict(background=f'backgrounds/{k}.jpg', object='objects/1.png',
                  positives=[[0, 0, 5, 5]]) for k in range(9)]
    own.write_text(json.dumps(dict(pairs=pairs)))
    with pytest.raises(FileNotFoundError, match=r'(?s)pairs\.json names 8 files, of '
                       r'10, that do not exist:.*backgrounds/0\.jpg.*/5\.jpg'
                       r'\n  and 3 more'):
        own_pairs(own)


@pytest.mark.parametrize('values, message', [
    (dict(positives=[[1, 2, 3]]), r'pairs\[0\]: positives\[0\] must be \[x, y, width'),
    (dict(positives=[[1, 2, 0, 4]]), 'width and height above 0'),
    (dict(negatives=[[1, 2, float('nan'), 4]]), r'negatives\[0\] must be'),
    (dict(positives=[[0, 0, 10 ** 400, 5]]), r'positives\[0\] must be'),
    (dict(positives=[]), 'has no box: .* all 1 pairs are empty'),
    (dict(negatives=3), 'negatives must be a list of boxes, got 3'),
    (dict(background=''), r"pairs\[0\]: 'background' must be the path .*got ''"),
    (dict(object=7), r"pairs\[0\]: 'object' must be the path of an image, got 7"),
    (dict(mask=True), r"pairs\[0\]: 'mask' must be the path of an image, got True")])
def test_wrong_boxes_of_a_pair_file_are_named(own, values, message):
    with pytest.raises(UserValueError, match=message):
        own_pairs(changed(own, **values))


@pytest.mark.parametrize('box, message', [
    ([60, 4, 20, 10], 'lies outside of the background'),
    ([3, -10, 20, 10], 'lies outside of the background'),
    ([.1, .1, .3, .2], 'is smaller than one pixel'),
    ([0, 0, 1e300, 1e300], 'is far larger than the background')])
@pytest.mark.parametrize('key', ['positives', 'negatives'])
def test_boxes_that_do_not_fit_their_background_are_named(own, key, box, message):
    good = [59.5, 4, 20, 10]  # cut off by the edge
    pairs = own_pairs(changed(own, **{key: [good, box]}))
    with pytest.raises(UserValueError, match=rf'{key}\[1\] of the pair .*1.jpg, .*1.png'
                       f'.* {message}.*which has 60 x 40'):
        pairs[0]
    assert own_pairs(changed(own, **{key: [good]}))[0][key].tolist() == [good]


@pytest.mark.parametrize('content, message', [
    ('{', 'is not a JSON file'), ('[]', "has no list 'pairs'"),
    ('{"pairs": []}', 'lists no pair'),
    ('{"pairs": [{"background": "a.jpg"}]}', r"pairs\[0\] .* it has no 'object'")])
def test_what_is_no_pair_file_is_named(own, content, message):
    own.write_text(content)
    with pytest.raises(UserValueError, match=message):
        own_pairs(own)


def test_a_file_without_positives_has_nothing_for_positives_only(own):
    with pytest.raises(UserValueError, match='1 in the file, none of them with'):
        own_pairs(changed(own, positives=[]), positives_only=True)
    with pytest.raises(FileNotFoundError, match='No annotation file at'):
        own_pairs(own.with_name('other.json'))


def test_backgrounds_used_last_stay_in_memory(tmp_path):
    for k in range(3):
        save(tmp_path / f'{k}.png', 100, 100, value=k)
    paths = [str(tmp_path / f'{k}.png') for k in range(3)]
    cache = BackgroundCache(0.06)  # two images of 30 kB
    first = cache(paths[0])
    cache(paths[1])
    assert cache(paths[0]) is first and not first.flags.writeable
    cache(paths[2])
    assert cache.num_bytes == 60000
    (tmp_path / '0.png').unlink()
    assert cache(paths[0]) is first
    assert cache(paths[1])[0, 0, 0] == 1  # was dropped, is read again
    assert pickle.loads(pickle.dumps(cache)).num_bytes == 0


def test_nothing_is_kept_without_room(tmp_path):
    save(tmp_path / 'a.png')
    cache = BackgroundCache(0)
    assert cache(str(tmp_path / 'a.png')) is not cache(str(tmp_path / 'a.png'))
    assert cache.num_bytes == 0
