"""Datasets of base and novel classes: labels, and what does not fit."""
import json
import logging

import pytest

pytest.importorskip('mmdet')
from mmengine.logging import MMLogger

from mmcontrast.datasets.open_vocabulary import OV_COCO, OV_COCO_BASE
from mmcontrast.errors import UserValueError
from mmcontrast.registry import DATASETS


@pytest.fixture
def file(tmp_path):
    """One box of each category, in image 0, of categories in COCO's order."""
    path = tmp_path / 'gt.json'
    names = ['fire_hydrant', *OV_COCO]
    path.write_text(json.dumps(dict(
        images=[dict(id=0, height=50, width=50, file_name='0.jpg')],
        annotations=[dict(id=k + 1, image_id=0, category_id=k, bbox=[1, 1, 9, 9],
                          area=81, iscrowd=0) for k in range(len(names))],
        categories=[dict(id=k, name=name) for k, name in enumerate(names)])))
    return str(path)


def changed(file, change):
    """The file after a change of its content."""
    with open(file) as opened:
        content = json.load(opened)
    change(content)
    with open(file, 'w') as opened:
        json.dump(content, opened)
    return file


def dataset(file, kind='OpenVocabularyDataset', **options):
    return DATASETS.build(dict(type=kind, ann_file=file, pipeline=[], **options))


def labels(data):
    return [box['bbox_label'] for box in data.get_data_info(0)['instances']]


def test_ov_coco_trains_on_48_classes_and_tests_on_65(file):
    train = dataset(file, 'OVCocoDataset', base_only=True)
    assert train.metainfo['classes'] == OV_COCO_BASE
    assert labels(train) == list(range(48))
    test = dataset(file, 'OVCocoDataset')
    assert test.metainfo['classes'] == OV_COCO and labels(test) == list(range(65))
    assert len(test.metainfo['novel_classes']) == 17


def test_underscores_of_the_file_count_as_spaces(file):
    assert labels(dataset(file, metainfo=dict(classes='fire hydrant;person'))) == [0, 1]


def test_boxes_of_other_classes_are_counted_in_the_log(file, caplog):
    logger = MMLogger.get_instance('boxes')
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        dataset(file, 'OVCocoDataset')
    logger.removeHandler(caplog.handler)
    assert f'{file}: 1 boxes of 1 classes that the dataset does not list are left ' \
        'out: fire_hydrant (1).' in caplog.text


def test_an_order_that_is_not_that_of_the_file_is_an_error(file):
    with pytest.raises(UserValueError, match="gt.json: .*0 is 'person'.*but 'car'"):
        dataset(file, metainfo=dict(classes=['car', 'person']))


def test_overlapping_and_unknown_classes_are_errors(file):
    meta = dict(classes=['person', 'car'], base_classes=['person'])
    with pytest.raises(UserValueError, match='in the base and in the novel.*person'):
        dataset(file, metainfo=dict(meta, novel_classes=['person', 'car']))
    with pytest.raises(UserValueError, match="gt.json: 'cart' of novel.*mean 'car'"):
        dataset(file, metainfo=dict(meta, novel_classes=['cart']))
    with pytest.raises(UserValueError, match="gt.json has no .* 'perso'.*'person'"):
        dataset(file, metainfo=dict(classes=['perso', 'car']))
    with pytest.raises(UserValueError, match='of .*gt.json needs metainfo=dict'):
        dataset(file)


def test_two_categories_that_differ_by_underscores_are_an_error(file):
    changed(file, lambda content: content['categories'].append(
        dict(id=99, name='fire hydrant')))
    with pytest.raises(UserValueError, match=(
            r"gt.json has two .* that are called 'fire hydrant' \(ids 0 and 99")):
        dataset(file, metainfo=dict(classes='fire hydrant;'))


def test_the_base_classes_of_ov_coco_are_not_combined_with_others(file):
    with pytest.raises(UserValueError, match=r'leave metainfo \(classes\) out'):
        dataset(file, 'OVCocoDataset', base_only=True, metainfo=dict(classes='car;'))


def test_area_iscrowd_and_the_file_names_of_lvis_are_added(file):
    def drop(content):
        for box in content['annotations']:
            del box['area'], box['iscrowd']
        del content['images'][0]['file_name']
        content['images'][0]['coco_url'] = 'http://host/train2017/0.jpg'
    data = dataset(changed(file, drop), metainfo=dict(classes='person;'))
    [box] = data.get_data_info(0)['instances']
    assert box['bbox'] == [1, 1, 10, 10] and box['ignore_flag'] == 0
    assert data.get_data_info(0)['img_path'] == 'train2017/0.jpg'


def test_images_of_a_test_set_need_no_annotations(file):
    changed(file, lambda content: content.pop('annotations'))
    assert labels(dataset(file, metainfo=dict(classes='person;'), test_mode=True)) == []


@pytest.mark.parametrize(('values', 'message'), [
    (dict(category_id=999), 'gt.json: annotation 1 has category_id 999, and there is'),
    (dict(image_id=999), 'gt.json: annotation 1 has image_id 999'),
    *((dict(bbox=box), r'gt.json: annotations\[0\]: bbox of id 1 must be four numbers')
      for box in ([1, 2, 3], ['1', '2', '3', '4'], None, [0, 0, float('inf'), 5],
                  [float('nan')] * 4)),
])
def test_bad_annotations_are_named(file, values, message):
    changed(file, lambda content: content['annotations'][0].update(values))
    with pytest.raises(UserValueError, match=message):
        dataset(file, metainfo=dict(classes='person;'))


def test_unknown_keys_of_metainfo_are_errors(file):
    meta = dict(classes=['person', 'car'])
    with pytest.raises(UserValueError, match="'base_class': did you mean 'base_clas"):
        dataset(file, metainfo=dict(meta, base_class=['person']))
    with pytest.raises(UserValueError, match="'novel'. The keys are base_classes, "):
        dataset(file, metainfo=dict(meta, novel=['car']))
    assert dataset(file, metainfo=dict(meta, palette=[(0, 0, 0)] * 2))
