"""Phrases and objects: every format gives the same items; what an item holds."""
import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from mmcontrast.apis.data.make_shapes import make_shapes
from mmcontrast.datasets.grounding import LoadGroundingImage, read_grounding
from mmcontrast.io.plain_pickle import read_plain_pickle
from mmcontrast.registry import DATASETS
from tests.helpers import grounding_files as files

PIPELINE = [
    dict(type='LoadGroundingImage'), dict(type='LoadGroundingAnnotations'),
    dict(type='ResizeGrounding', scale=(80, 60)), dict(type='PackGrounding')]


def build(root, ann_file='refs(unc).p', **options):
    defaults = dict(split='train', data_prefix=dict(img_path='train2014'))
    if ann_file == 'refs(unc).p':
        defaults['instances'] = 'instances.json'
    return DATASETS.build(dict(defaults, type='GroundingDataset', ann_file=ann_file,
                               data_root=str(root), **options))


def plain(item):
    """What an item says, without numbers that are of the format."""
    return item['img_path'].rpartition('/')[2], item['img_id'], item['text'], [
        (o['id'], list(o['bbox']), o['area'], o['referred'], o['segmentation'])
        for o in item['objects']]


def items(dataset):
    return [plain(dataset.get_data_info(k)) for k in range(len(dataset))]


@pytest.fixture
def official(tmp_path):
    files.write_official(tmp_path)
    return tmp_path


# Formats.

@pytest.mark.parametrize('protocol', [0, 1, 2, 5])
def test_official_files_of_any_pickle_protocol_give_every_sentence(tmp_path, protocol):
    files.write_official(tmp_path, protocol)
    first, second, third = items(build(tmp_path, sentences='each'))
    name = 'COCO_train2014_000000000007.jpg'
    left, right = [2., 3., 20., 10.], [22., 14., 16., 14.]
    assert first == (name, 7, 'Red cup', [
        (11, left, 200, True, files.rectangle(2, 3, 20, 10)),
        (12, right, 224, False, None)])
    assert second[2:] == ('the left one', first[3])
    # The small one is no foreground, but is meant.
    assert third == (name, 7, 'both on the right', [
        (11, left, 200, False, None),
        (12, right, 224, True, files.rectangle(22, 14, 16, 14)),
        (13, [30., 2., 4., 4.], 16, True, files.rectangle(30, 2, 4, 4))])


@pytest.mark.parametrize('split', ['train', 'val', ['val', 'train']])
def test_all_layouts_give_the_same_items(official, tmp_path, split):
    options = dict(split=split, sentences='each')
    wanted = items(build(official, **options))
    converted = tmp_path / 'converted'
    files.write_converted(converted)
    assert items(build(converted, 'instances.json', foreground='allobj.json', **options)
                 ) == wanted
    files.write_json(official / 'own.json', files.coco() | dict(refs=files.refs()))
    assert items(build(official, 'own.json', **options)) == wanted
    files.write_json(official / 'grefs(unc).json', files.refs())
    assert items(build(official, 'grefs(unc).json', instances='instances.json',
                       **options)) == wanted
    # mmdet's RefCocoDataset.
    assert items(build(official, 'instances.json', split_file='refs(unc).p',
                       split=split, text_mode='original')) == wanted


def test_a_no_target_phrase_has_objects_and_none_is_meant(official):
    dog, plate = items(build(official, split='val', test_mode=True))
    assert dog[2] == 'a dog' and [o[3] for o in dog[3]] == [False]
    assert plate[2] == 'the plate' and [o[3] for o in plate[3]] == [True]


def test_training_draws_a_sentence_of_a_record_and_evaluation_has_each(official):
    training = build(official)
    assert len(training) == 2
    assert {training.get_data_info(0)['text'] for _ in range(40)} == {
        'Red cup', 'the left one'}
    assert len(build(official, test_mode=True)) == 3
    assert [item[2] for item in items(build(official, sentences='first'))] == [
        'Red cup', 'both on the right']


def test_sentence_ids_are_those_of_the_file_or_numbers(official, tmp_path):
    read = build(official, split='val', test_mode=True)
    assert [read.get_data_info(k)['sentence_id'] for k in range(2)] == [4, 5]
    files.write_converted(tmp_path / 'converted')
    read = build(tmp_path / 'converted', 'instances.json', foreground='allobj.json',
                 test_mode=True)
    assert [read.get_data_info(k)['sentence_id'] for k in range(3)] == [0, 1, 2]


def test_a_record_of_refcoco_holds_one_object_and_no_list_of_annotations(tmp_path):
    files.write_images(tmp_path / 'train2014')
    cup = files.coco()['annotations'][0]
    files.write_json(tmp_path / 'a.json', dict(val=[dict(
        image_id=7, width=40, height=30, expressions=['Red cup'], bbox=cup['bbox'],
        mask=cup['segmentation'], id=11)]))
    files.write_json(tmp_path / 'all.json', files.foreground())
    (item,) = items(build(tmp_path, 'a.json', split='val', foreground='all.json'))
    assert item[2:] == ('Red cup', [
        (11, [2., 3., 20., 10.], 200, True, files.rectangle(2, 3, 20, 10)),
        (12, [22., 14., 16., 14.], 224, False, None)])


def test_of_a_mixed_file_a_source_can_be_chosen(tmp_path):
    files.write_converted(tmp_path)
    content = json.loads((tmp_path / 'instances.json').read_text())
    first, second = content['train']
    first['data_source'], second['data_source'] = 'refcoco_unc', 'refcocog_umd'
    files.write_json(tmp_path / 'mix.json', dict(train=[first, second]))
    chosen = build(tmp_path, 'mix.json', foreground='allobj.json',
                   data_source='refcocog_umd')
    assert [item[2] for item in items(chosen)] == ['both on the right']
    assert chosen.get_data_info(0)['data_source'] == 'refcocog_umd'


def group_files(root, index):
    """R-RefCOCO's: an element is a list; 0 is true, 1 false; 2 false, 3 true."""
    files.write_images(root / 'train2014')
    cup, plate = (dict(image_id=i, width=40, height=30, file_name=files.NAME.format(i),
                       annotations=[files.coco()['annotations'][k]])
                  for i, k in ((7, 0), (8, 3)))
    nothing = dict(annotations=[dict(id=-1)])
    files.write_json(root / 'r.json', dict(val=[
        [dict(cup, expressions=dict(raw='red cup'))],
        [dict(cup, expressions=dict(raw='red dog')) | nothing],
        [dict(plate, expressions=dict(raw='a bird')) | nothing],
        [dict(plate, expressions=dict(raw='the plate'))]]))
    files.write_json(root / 'all.json', files.foreground())
    files.write_json(root / 'index.json', index)
    return dict(ann_file='r.json', split='val', foreground='all.json',
                index='index.json', test_mode=True)


def test_elements_of_a_range_of_the_index_are_one_group(tmp_path):
    read = build(tmp_path, **group_files(tmp_path, dict(val=[[0, 2], [2, 4]])))
    found = [read.get_data_info(k) for k in range(4)]
    assert [(item['group_id'], any(o['referred'] for o in item['objects']))
            for item in found] == [(0, True), (0, False), (1, False), (1, True)]


def test_a_training_element_of_several_records_draws_one_of_them(tmp_path):
    options = group_files(tmp_path, dict(val=[[0, 2], [2, 4]]))
    content = json.loads((tmp_path / 'r.json').read_text())['val']
    files.write_json(tmp_path / 't.json', dict(train=[content[0] + content[2]]))
    read = build(tmp_path, 't.json', foreground=options['foreground'])
    found = {(item['text'], item['img_id'], item['img_path'].rpartition('/')[2])
             for item in (read.get_data_info(0) for _ in range(40))}
    assert found == {('red cup', 7, files.NAME.format(7)),
                     ('a bird', 8, files.NAME.format(8))}


def test_sentences_that_do_not_exist_make_a_ref_a_group(official):
    ref = dict(files.refs()[0], sentences=[
        dict(sent_id=1, raw='red cup', exist=True),
        dict(sent_id=2, raw='blue cup', exist=False)])
    files.write_json(official / 'rrefs.json', [ref])
    read = build(official, 'rrefs.json', instances='instances.json', test_mode=True)
    found = [read.get_data_info(k) for k in range(2)]
    assert [(i['group_id'], sum(o['referred'] for o in i['objects'])) for i in found
            ] == [(1, 1), (1, 0)]


def test_odvg_regions_and_detections_are_phrases_with_boxes(tmp_path):
    files.write_images(tmp_path / 'train2014')
    lines = [
        dict(filename=files.NAME.format(7), height=30, width=40, grounding=dict(
            caption='a cup beside plates', regions=[
                dict(bbox=[2, 3, 22, 13], phrase='a cup', tokens_positive=[[0, 5]]),
                dict(bbox=[[22, 14, 38, 28], [2, 3, 22, 13]], phrase='both')])),
        dict(filename=files.NAME.format(8), height=30, width=40, detection=dict(
            instances=[dict(bbox=[4, 4, 24, 24], label=0, category='plate'),
                       dict(bbox=[20, 4, 39, 24], label=0, category='plate')]))]
    (tmp_path / 'od.jsonl').write_text(''.join(json.dumps(x) + '\n' for x in lines))
    read = build(tmp_path, 'od.jsonl', split=None, data_prefix=dict(img='train2014'))
    found = [(text, [(box, meant) for _, box, _, meant, _ in objects])
             for _, _, text, objects in items(read)]
    cup, other = [2., 3., 20., 10.], [22., 14., 16., 14.]
    assert found == [
        ('a cup', [(cup, True), (other, False)]),
        ('both', [(cup, True), (other, True)]),
        ('plate', [([4., 4., 20., 20.], True), ([20., 4., 19., 20.], True)])]


def test_the_toy_world_is_read_as_it_is_written(tmp_path):
    world = make_shapes(tmp_path / 'shapes', train=6, val=2, size=64,
                        layouts=['refcoco'], progress=False)
    written = json.loads((world / 'annotations/refs_train.json').read_text())
    read = DATASETS.build(dict(
        type='GroundingDataset', ann_file='annotations/refs_train.json',
        data_root=str(world), data_prefix=dict(img_path='images/train'),
        area_share=(0, 1), min_area=0, pipeline=PIPELINE))
    assert len(read) == len(written['refs'])
    for k, ref in enumerate(written['refs']):
        item = read.get_data_info(k)
        meant = [o['id'] for o in item['objects'] if o['referred']]
        assert item['text'] == ref['sentences'][0]['raw']
        assert meant == [i for i in ref['ann_id'] if i != -1]
        assert len(item['objects']) == sum(
            a['image_id'] == ref['image_id'] for a in written['annotations'])
    assert read[0]['inputs'].shape == (3, 60, 80)


def test_groups_and_sentences_of_joined_splits_keep_their_own_numbers(tmp_path):
    options = group_files(tmp_path, dict(val=[[0, 2], [2, 4]]))
    content = json.loads((tmp_path / 'r.json').read_text())['val']
    files.write_json(tmp_path / 'r.json', dict(val=content, val_plus=content))
    files.write_json(tmp_path / 'index.json', dict(val=[[0, 2], [2, 4]],
                                                   val_plus=[[0, 2], [2, 4]]))
    read = build(tmp_path, **options | dict(split=['val', 'val_plus']))
    found = [read.get_data_info(k) for k in range(8)]
    assert [item['group_id'] for item in found] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len({item['sentence_id'] for item in found}) == 8


def test_own_data_need_no_classes_and_no_splits(official):
    coco = files.coco()
    del coco['categories']
    for thing in coco['annotations']:
        for key in ('category_id', 'area', 'iscrowd'):
            del thing[key]
    own = dict(coco, refs=[dict(image_id=7, ann_id=[11], sentences=['a cup']),
                           dict(image_id=8, ann_id=[], sentences=['no cup'])])
    files.write_json(official / 'own.json', own)
    first, second = items(build(official, 'own.json', split=None))
    assert first[2] == 'a cup' and [(o[2], o[3]) for o in first[3]] == [
        (200, True), (224, False)]
    assert second[2] == 'no cup' and not any(o[3] for o in second[3])


# Foreground objects.

def test_small_and_large_objects_are_background_unless_they_are_meant(official):
    """The limits themselves are outside: exclusive on both sides."""
    coco = files.coco()
    # 1200 pixels: 5 % are 60, 80 % are 960.
    for area, kept in ((60, False), (61, True), (959, True), (960, False)):
        coco['annotations'][1]['area'] = area
        files.write_json(official / 'instances.json', coco)
        read = build(official, sentences='each', min_area=50)
        first, _, third = items(read)
        assert (12 in [o[0] for o in first[3]]) is kept
        assert [o[0] for o in third[3] if o[3]] == [12, 13]
    # With min_area=100, an object of 100 pixels is too small.
    coco['annotations'][1]['area'] = 100
    files.write_json(official / 'instances.json', coco)
    assert len(items(build(official, sentences='each'))[0][3]) == 1


def test_crowds_are_no_foreground_unless_they_are_kept(official):
    coco = files.coco()
    coco['annotations'][1]['iscrowd'] = 1
    files.write_json(official / 'instances.json', coco)
    for crowds, ids in (('drop', [11]), ('keep', [11, 12])):
        first = items(build(official, sentences='each', crowds=crowds))[0]
        assert [o[0] for o in first[3]] == ids


def test_foreground_is_read_from_coco_or_left_to_what_is_meant(tmp_path):
    files.write_converted(tmp_path)
    files.write_json(tmp_path / 'coco.json', files.coco())
    coco, own, referred = (
        items(build(tmp_path, 'instances.json', sentences='each', foreground=given))
        for given in ('coco.json', 'allobj.json', 'referred'))
    assert coco == own == referred
    content = json.loads((tmp_path / 'instances.json').read_text())
    files.write_json(tmp_path / 'one.json', dict(train=content['train'][:1]))
    alone = items(build(tmp_path, 'one.json', foreground='referred'))
    assert [o[0] for o in alone[0][3]] == [11]


# Transforms.

def test_a_packed_sample_holds_what_the_model_is_given(official):
    read = build(official, split='val', test_mode=True, pipeline=[
        *PIPELINE[:-1], dict(type='PackGrounding', keep_original_mask=True)])
    packed = read[1]
    sample = packed['data_samples']
    assert packed['inputs'].shape == (3, 60, 80)
    assert packed['inputs'].dtype == torch.uint8
    assert sample.metainfo == dict(
        text='the plate', img_id=8, sentence_id=5, ori_shape=(30, 40),
        img_path=str(official / 'train2014' / files.NAME.format(8)),
        img_shape=(60, 80), scale_factor=(2.0, 2.0))
    instances = sample.gt_instances
    assert instances.bboxes.tolist() == [[8, 8, 48, 48]]
    assert instances.bboxes.dtype == torch.float32
    assert instances.referred.tolist() == [True] and instances.labels.tolist() == [0]
    wanted = np.zeros((30, 40), bool)
    wanted[4:24, 4:24] = True
    assert (sample.gt_mask_original.numpy() == wanted).all()
    assert (sample.gt_mask.numpy() == wanted.repeat(2, 0).repeat(2, 1)).all()
    empty = read[0]['data_samples']
    assert not empty.gt_mask.any() and not empty.gt_instances.referred.any()


def test_the_mask_is_the_union_of_what_is_meant(official):
    read = build(official, sentences='each', pipeline=PIPELINE[:2])
    # 16 x 14 and 4 x 4 pixels.
    assert read[2]['gt_mask'].sum() == 224 + 16
    assert read[2]['gt_referred'].tolist() == [False, True, True]


def test_without_masks_boxes_are_enough(official):
    coco = files.coco()
    for thing in coco['annotations']:
        del thing['segmentation']
    files.write_json(official / 'instances.json', coco)
    read = build(official, pipeline=[
        PIPELINE[0], dict(type='LoadGroundingAnnotations', with_mask=False),
        *PIPELINE[2:]])
    sample = read[1]['data_samples']
    assert 'gt_mask' not in sample and len(sample.gt_instances) == 3


def test_boxes_are_clipped_to_the_last_pixel(official):
    coco = files.coco()
    coco['annotations'][1]['bbox'] = [22, 14, 18, 16]
    files.write_json(official / 'instances.json', coco)
    read = build(official, sentences='each', pipeline=PIPELINE[:2])
    assert read[0]['gt_bboxes'].tolist()[1] == [22, 14, 39, 29]


def test_colors_are_blue_green_red_as_mmcv_reads_them(official):
    Image.new('RGB', files.SIZE_WH, (250, 120, 3)).save(
        official / 'train2014' / files.NAME.format(7), quality=100)
    pixel = build(official, pipeline=PIPELINE[:1])[0]['img'][5, 5]
    assert np.abs(pixel.astype(int) - (3, 120, 250)).max() <= 2


def test_an_image_that_is_there_is_not_read():
    image = np.zeros((30, 40, 3), np.uint8)
    results = LoadGroundingImage()(dict(img=image, height=30, width=40))
    assert results['img'] is image and results['ori_shape'] == (30, 40)


def test_a_damaged_image_is_replaced_in_training_and_an_error_in_tests(official):
    path = official / 'train2014' / files.NAME.format(8)
    path.write_bytes(path.read_bytes()[:200])
    read = build(official, split=['train', 'val'], pipeline=PIPELINE,
                 max_bad_share=0.9)
    assert read[3]['data_samples'].img_id == 7
    with pytest.raises(ValueError, match='truncated'):
        build(official, split='val', test_mode=True, pipeline=PIPELINE)[0]


def test_items_survive_a_trip_to_a_worker(official):
    read = pickle.loads(pickle.dumps(build(official, pipeline=PIPELINE)))
    assert read[1]['data_samples'].text == 'both on the right'


def test_texts_of_python_2_are_read_as_utf_8(tmp_path):
    path = tmp_path / 'a.p'
    # protocol 0 of Python 2: the str 'caf\xc3\xa9'
    path.write_bytes(b"(lp0\nS'caf\\xc3\\xa9'\np1\na.")
    assert read_plain_pickle(path) == ['café']


def test_a_file_says_its_format_and_splits(official):
    file = read_grounding(official / 'refs(unc).p',
                          instances=official / 'instances.json')
    assert file.format == 'refs' and list(file.splits) == ['train', 'val']
    assert file.splits['train'][0][0].phrases[0].targets[0].id == 11
