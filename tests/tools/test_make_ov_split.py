"""Base-only training files: what they keep, what they report, what they reject."""
import importlib.util
import json
from pathlib import Path

import pytest

from mmcontrast.apis.data.make_ov_split import make_ov_split
from mmcontrast.datasets.open_vocabulary import OV_COCO, OV_COCO_BASE
from mmcontrast.errors import UserValueError

ROOT = Path(__file__).parents[2]
BASE = str(ROOT / 'configs/dito'
           / 'dito_faster-rcnn-clip-vit-b16_16xb8-11k_coco-1024x1024.py')
NAMES = ('cat', 'dog', 'stop_sign', 'zebra')


def annotation(number, image, category, box=(10, 10, 20, 20), **more):
    return dict(id=number, image_id=image, category_id=category, bbox=list(box), **more)


def content(annotations=None, names=NAMES, num_images=3):
    """Category ids are 10, 20, ...; images are 100 x 80."""
    if annotations is None:
        annotations = [annotation(1, 0, 10), annotation(2, 0, 40),
                       annotation(3, 1, 40), annotation(4, 2, 20)]
    return dict(
        info=dict(year=2017), annotations=annotations,
        images=[dict(id=k, height=80, width=100, file_name=f'{k}.jpg')
                for k in range(num_images)],
        categories=[dict(id=10 * k + 10, name=name) for k, name in enumerate(names)])


def with_image(**values):
    """A file whose image 1 has other values."""
    data = content()
    data['images'][1].update(values)
    return data


@pytest.fixture
def split(tmp_path):
    def call(train, val=None, **options):
        paths = []
        for name, data in (('train', train), ('val', val)):
            if data is not None:
                path = tmp_path / 'annotations' / f'{name}.json'
                path.parent.mkdir(exist_ok=True)
                path.write_text(data if isinstance(data, str) else json.dumps(data))
                paths.append(path)
        return make_ov_split(*paths, progress=False, **options)
    return call


def written(file):
    return json.loads(file.path.read_text())


def ids(file, kind='annotations'):
    return [entry['id'] for entry in written(file)[kind]]


def test_training_has_boxes_of_base_classes_and_the_test_those_of_all(split):
    made = split(content(), content(), base='cat;dog', novel='zebra;')
    train, val = made.files
    assert train.path.name == 'train_base.json' and val.path.name == 'val_all.json'
    # Image 1 shows a zebra alone.
    assert ids(train) == [1, 4] and ids(train, 'images') == [0, 2]
    assert ids(val) == [1, 2, 3, 4] and ids(val, 'images') == [0, 1, 2]
    assert (train.num_base, train.num_novel, train.images_left_out) == (2, 0, 1)
    assert (val.num_base, val.num_novel) == (2, 2)
    # Ids stay, a class in neither list goes, what else the file has stays.
    assert written(train)['categories'] == [
        dict(id=10, name='cat'), dict(id=20, name='dog'), dict(id=40, name='zebra')]
    assert written(val)['info'] == dict(year=2017)


def test_one_list_is_enough_and_names_may_have_spaces_for_underscores(split):
    made = split(content(), novel=['zebra', 'stop sign'])
    assert made.classes.base == ('cat', 'dog')
    assert made.classes.novel == ('stop sign', 'zebra')
    assert made.files[0].without_boxes == ()
    assert made.vocabularies['novel'].read_text() == 'stop sign\nzebra\n'
    assert split(content(), base='zebra;', overwrite=True).classes.novel == (
        'cat', 'dog', 'stop sign')


def test_images_without_boxes_stay_on_request(split):
    kept = split(content(), base='cat;dog', keep_empty=True)
    assert ids(kept.files[0], 'images') == [0, 1, 2]


def test_classes_without_boxes_are_named(split):
    made = split(content(), content(), base='cat;stop sign')
    assert made.files[0].without_boxes == ('stop sign',)
    assert made.files[1].without_boxes == ('stop sign',)


def test_own_boxes_get_the_keys_that_mmdet_reads(split):
    made = split(content([annotation(1, 0, 10), annotation(2, 0, 10, area=7.5)]),
                 base=NAMES[:2])
    first, second = written(made.files[0])['annotations']
    assert (first['area'], first['iscrowd'], second['area']) == (400, 0, 7.5)


def test_boxes_outside_the_image_are_clipped_or_dropped_and_listed(split):
    made = split(content([
        annotation(1, 0, 10, (-5, 10, 20, 20)), annotation(2, 1, 10, (90, 70, 30, 30)),
        # Up to a pixel is rounding.
        annotation(3, 1, 10, (-0.5, 0, 100.9, 80)),
        annotation(4, 2, 10, (120, 10, 20, 20)), annotation(5, 2, 10, (10, 10, 0, 20)),
        annotation(6, 2, 10, (10, 10, 5, -1))]), base=NAMES[:2])
    file = made.files[0]
    assert [a['bbox'] for a in written(file)['annotations']] == [
        [0, 10, 15, 20], [90, 70, 10, 10], [-0.5, 0, 100.9, 80]]
    assert file.clipped == (0, 1) and file.dropped == (2, 2, 2)


def test_ov_coco_is_written_as_the_official_files_are(split):
    coco = [*OV_COCO[:4], 'fire hydrant', *OV_COCO[4:]]
    boxes = [annotation(k, k, 10 * k + 10, (0, 0, 200, 0)) for k in range(len(coco))]
    data = content(boxes, coco, num_images=len(coco) + 1)
    train, val = split(data, data, benchmark='coco').files
    assert train.path.parent.name == 'zero-shot'
    assert train.path.name == 'train_seen_2_65_cat.json'
    assert val.path.name == 'val_all_2.json'
    for file, count in ((train, 48), (val, 65)):
        assert [c['name'] for c in written(file)['categories']] == list(OV_COCO)
        assert file.num_images == file.num_base + file.num_novel == count
        assert file.boxes_left_out == 1
    assert train.num_base == len(OV_COCO_BASE)
    # Boxes of a benchmark are not touched.
    assert written(train)['annotations'] == [
        box for box in boxes if coco[box['id']] in OV_COCO_BASE]


def test_lvis_loses_the_boxes_of_rare_classes_and_nothing_else(split):
    data = content()
    for category, frequency in zip(data['categories'], 'fcrr', strict=True):
        category['frequency'] = frequency
    for image in data['images']:
        image['coco_url'] = f'http://images/train2017/{image["id"]}.jpg'
        del image['file_name']
    made = split(data, benchmark='lvis')
    file = made.files[0]
    assert file.path.name == 'train_norare.json'
    assert written(file)['categories'] == data['categories']
    assert ids(file) == [1, 4] and file.num_images == 3
    assert made.classes.novel == ('stop sign', 'zebra')
    # For readers of COCO files.
    assert written(file)['images'][0]['file_name'] == 'train2017/0.jpg'
    with pytest.raises(UserValueError, match="no category has frequency 'r'"):
        split(content(), benchmark='lvis', overwrite=True)
    with pytest.raises(UserValueError, match='its own val file'):
        split(data, data, benchmark='lvis', overwrite=True)


def test_the_lines_that_the_tool_prints_work_below_the_config_that_the_pages_name(
        split, tmp_path):
    pytest.importorskip('mmdet')
    from mmengine.registry import DefaultScope

    from mmcontrast.apis.config import load_config
    from mmcontrast.apis.lint import lint_config
    from mmcontrast.registry import DATASETS, METRICS
    images = tmp_path / 'images'
    images.mkdir()
    for k in range(3):
        (images / f'{k}.jpg').touch()
    made = split(content(), content(), base='cat;stop sign;dog', novel='zebra;')
    path = tmp_path / 'mine.py'
    path.write_text(f"_base_ = '{BASE}'\n{made.config}\n")
    cfg = load_config(str(path))
    assert lint_config(cfg) == []
    assert cfg.model.class_names == str(made.vocabularies['base'])
    assert cfg.model.test_class_names == str(made.vocabularies['all'])
    data = {kind: cfg[f'{kind}_dataloader'].dataset for kind in
            ('train', 'val', 'test')}
    # Nothing of the base config's own data is left.
    assert set(data['train']) == {'type', 'ann_file', 'data_prefix', 'metainfo',
                                  'filter_cfg', 'pipeline'}
    assert data['val'] == data['test'] and 'filter_cfg' not in data['val']
    assert data['train'].pipeline == cfg.train_pipeline
    assert data['val'].pipeline == cfg.test_pipeline
    assert cfg.val_evaluator == cfg.test_evaluator == dict(
        type='mmcontrast.GroupedCocoMetric', ann_file=str(made.files[1].path))
    with DefaultScope.overwrite_default_scope('mmdet'):
        train, val, test = (DATASETS.build(part) for part in data.values())
        METRICS.build(cfg.test_evaluator)
    assert train.metainfo['classes'] == ('cat', 'dog', 'stop sign')
    assert [[box['bbox_label'] for box in train.get_data_info(k)['instances']]
            for k in range(len(train))] == [[0], [1]]
    assert train.get_data_info(0)['img_path'] == f'{images}/0.jpg'
    for dataset in (val, test):
        assert dataset.metainfo['novel_classes'] == ('zebra',)
        assert [[box['bbox_label'] for box in dataset.get_data_info(k)['instances']]
                for k in range(len(dataset))] == [[0, 3], [3], [1]]


def test_a_folder_of_images_that_is_not_found_is_left_to_the_user(split, tmp_path):
    wanted = "data_prefix=dict(img='FOLDER_OF_THE_IMAGES/'),  # edit"
    assert wanted in split(content(), base='cat;dog').config
    for name in ('one', 'two'):  # both may be meant
        (tmp_path / name).mkdir()
        for k in range(3):
            (tmp_path / name / f'{k}.jpg').touch()
    assert wanted in split(content(), base='cat;dog', overwrite=True).config
    (tmp_path / 'two/0.jpg').unlink()
    assert f"img='{tmp_path}/one/'" in split(
        content(), base='cat;dog', overwrite=True).config


@pytest.mark.parametrize(('options', 'message'), [
    (dict(base='cat;dog', novel='dog;zebra'), '1 class.* in the base and in.*: dog'),
    (dict(base='cat;dgo'), "no category 'dgo', a base class: did you mean 'dog'"),
    (dict(base='cat;', novel='dog;'), r'neither base nor novel: zebra \(2\).*--drop-'),
    (dict(), 'Name the base classes'),
    (dict(base=NAMES), 'No novel class is left: all 4 categories of train.json are '),
    (dict(novel=NAMES), 'No base class is left'),
    (dict(benchmark='voc'), "'coco' or 'lvis', got 'voc'"),
    (dict(benchmark='coco', base='cat;'), 'classes of coco are fixed'),
])
def test_classes_that_do_not_fit_are_named(split, options, message):
    with pytest.raises(UserValueError, match=message):
        split(content(), **options)


def test_boxes_of_other_classes_are_left_out_on_request(split):
    made = split(content(), base='cat;', novel='dog;', drop_others=True)
    assert ids(made.files[0]) == [1] and made.files[0].boxes_left_out == 2


@pytest.mark.parametrize(('data', 'message'), [
    ('{"images": [', 'train.json is not a JSON file'),
    ({}, "no list 'images'.*images, annotations and categories"),
    (content([dict(id=1, image_id=0, category_id=10)]),
     r"annotations\[0\] has no 'bbox', only"),
    (content([annotation(7, 0, 10), annotation(7, 0, 10)]),
     r'1 id\(s\) of annotations are used more than once, the first: 7'),
    (content(names=('cat', 'dog', 'cat', 'zebra')),
     r"name\(s\) of categories.*'cat'"),
    (content([annotation(7, 99, 10)]), 'annotation 7 has image_id 99.*no such image'),
    (content([annotation(7, 0, 5)]), 'category_id 5.*no such category'),
    (content([annotation(7, 0, 10, (1, 2, 3))]), r'four numbers.*got \[1, 2, 3\]'),
    (content([annotation(7, 0, 10, (1, 2, 3, float('nan')))]), 'four numbers'),
    (content([annotation(7, 0, 10, '1234')]), r'annotations\[0\]: bbox of id 7 must'),
    (content([annotation(7, 0, 10, (1, 2, 3, 10**400))]), 'four numbers'),
    (content([1, 2]), r'annotations\[0\] must be an object with id.*got 1\.'),
    (content([annotation(7, 0, [10])]), r'category_id of id 7 must be .*got \[10\]'),
    (content([annotation([7], 0, 10)]), r'annotations\[0\]: id .*got \[7\]'),
    (content([annotation(7, 0, 10, area='9')]), "area of id 7 must be .*got '9'"),
    (content(names=(None, *NAMES[1:])), r'categories\[0\]: name of id 10 .*got None'),
    (with_image(height=0), r'train.json: images\[1\]: height of id 1 must .*got 0\.'),
    (with_image(width=-5), r'width of id 1 must be a number of pixels above 0'),
    (with_image(width='100'), "width of id 1 must .*got '100'"),
    (with_image(width=float('nan')), 'width of id 1 must .*got nan'),
    (with_image(file_name=None), "image 1 has no 'file_name' .*Add its path"),
    (with_image(file_name=7), 'file_name of id 1 must be a string, got 7'),
])
def test_bad_annotation_files_are_rejected(split, data, message):
    with pytest.raises(UserValueError, match=message):
        split(data, base='cat;dog')


@pytest.mark.parametrize(('train', 'val', 'message'), [
    (content([]), None, 'train.json has no box of a base class to train on'),
    (content([], num_images=0), None, 'train.json has no box of a base class'),
    (content([annotation(1, 0, 40)]), None, 'Of its 1 boxes, 0 are of other'),
    (content([annotation(1, 0, 10, (10, 10, 0, 5)), annotation(2, 0, 40)]), None,
     'Of its 2 boxes, .* and 1 have no area'),
    (content(), content([]), 'val.json has no box of a base or novel class to test'),
])
def test_a_file_without_a_box_of_its_classes_is_an_error(
        split, tmp_path, train, val, message):
    with pytest.raises(UserValueError, match=message):
        split(train, val, base='cat;dog', keep_empty=True)
    assert not list(tmp_path.glob('*/*_base.json'))


@pytest.mark.parametrize(('name', 'message'), [
    ('', "train.json: the category name '' cannot be .*Rename the category"),
    ('#cat', "'#cat' cannot be in a class list, where .* # begins a comment"),
    ('cat; kitty', "'cat; kitty' cannot be .*; separates synonyms"),
    ('Dog', "names 'Dog' and 'dog' differ in letter case alone.*Rename or join"),
])
def test_categories_that_a_class_list_cannot_hold_are_named(
        split, tmp_path, name, message):
    with pytest.raises(UserValueError, match=message):
        split(content(names=(name, *NAMES[1:])), novel='zebra;')
    assert [path.name for path in (tmp_path / 'annotations').iterdir()] == [
        'train.json']


def test_own_files_in_the_layout_of_lvis_get_file_names(split):
    data = with_image(file_name=None, coco_url='http://host/train2017/1.jpg')
    made = split(data, base='cat;dog', keep_empty=True)
    assert [image['file_name'] for image in written(made.files[0])['images']] == [
        '0.jpg', 'train2017/1.jpg', '2.jpg']


def test_the_evaluation_file_must_have_the_same_classes_in_the_same_order(split):
    with pytest.raises(UserValueError, match="val.json has no category 'zebra'"):
        split(content(), content([], NAMES[:3]), base='cat;dog')
    with pytest.raises(UserValueError, match="label 0 is 'dog' in the file, but 'cat'"):
        split(content(), content([], ('dog', 'cat', *NAMES[2:])), base='cat;dog',
              overwrite=True)


def test_an_error_in_the_second_file_leaves_nothing_of_the_first(split, tmp_path):
    with pytest.raises(UserValueError, match='val.json'):
        split(content(), content([], NAMES[:3]), base='cat;dog')
    assert sorted(path.name for path in (tmp_path / 'annotations').iterdir()) == [
        'train.json', 'val.json']


def test_nothing_is_overwritten_unasked_and_missing_files_are_named(split, tmp_path):
    split(content(), base='cat;dog')
    with pytest.raises(FileExistsError, match='train_base.json exists.*--overwrite'):
        split(content(), base='cat;dog')
    with pytest.raises(FileNotFoundError, match='No annotation file at.*none.json'):
        make_ov_split(tmp_path / 'none.json', base='cat;', progress=False)


def test_the_command_line_reports_what_it_did(split, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location(
        'make_ov_split', ROOT / 'tools/data/make_ov_split.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(content([
        annotation(1, 0, 10, (-5, 10, 20, 20)), annotation(2, 0, 40)])))
    tool.main([str(path), '--base', 'cat;dog'])
    said = capsys.readouterr().out
    assert '1 images (2 without boxes left out), 1 boxes of base and 0 of novel' in said
    assert '1 boxes reached out of the image and were clipped; by image id: 0 (1).' in (
        said)
    assert 'No box of: dog.' in said and "type='mmcontrast.OpenVoc" in said
    with pytest.raises(SystemExit, match='make_ov_split.py: .*exists'):
        tool.main([str(path), '--base', 'cat;dog'])
