"""Wrong grounding data are named: file, entry, what was expected, what to do."""
import collections
import json
import pickle
import re

import pytest

from mmcontrast.datasets.grounding import read_grounding
from mmcontrast.datasets.grounding.foreground import checked_coco, read_foreground
from mmcontrast.errors import UserError
from mmcontrast.registry import TRANSFORMS
from tests.datasets.test_grounding import PIPELINE, build, group_files
from tests.helpers import grounding_files as files


@pytest.fixture
def official(tmp_path):
    files.write_official(tmp_path)
    return tmp_path


@pytest.fixture
def converted(tmp_path):
    files.write_converted(tmp_path)
    return tmp_path


def with_refs(root, change, **options):
    """A data set whose refs were changed in place."""
    content = files.refs()
    change(content)
    files.write_json(root / 'changed.json', content)
    return build(root, 'changed.json', instances='instances.json', **options)


def with_coco(root, change, **options):
    content = files.coco()
    change(content)
    files.write_json(root / 'instances.json', content)
    return build(root, **options)


def with_records(root, change, **options):
    content = json.loads((root / 'instances.json').read_text())
    change(content)
    files.write_json(root / 'changed.json', content)
    return build(root, 'changed.json', foreground='allobj.json', **options)


def fails(*words):
    return pytest.raises(UserError, match='(?s)' + '.*'.join(map(re.escape, words)))


# Splits and images.

@pytest.mark.parametrize('split, hint', [
    ('trian', "did you mean 'train'"), ('testA', "It has 'train' (2), 'val' (2)"),
    (None, 'Name one, or a list'), (['val', 'val'], 'each split once')])
def test_an_unknown_split_lists_those_of_the_file(official, split, hint):
    with fails('unc).p' if split != ['val', 'val'] else 'split', hint):
        build(official, split=split)


def test_missing_images_are_counted_and_the_first_is_named(official):
    path = official / 'train2014' / files.NAME.format(7)
    path.unlink()
    with pytest.raises(FileNotFoundError, match='1 of 2 images .* missing, the first: '
                       f'{path}') as caught:
        build(official, split=['train', 'val'])
    assert 'data_prefix=dict(img_path=' in str(caught.value)


def test_a_wrong_folder_of_images_is_the_same_error(official):
    with pytest.raises(FileNotFoundError, match='1 of 1 images'):
        build(official, data_prefix=dict(img_path='val2014'))
    with fails('data_prefix must be dict(img_path=...)'):
        build(official, data_prefix=dict(images='train2014'))


def test_an_image_of_another_size_than_its_annotations_is_named(official):
    def change(coco):
        coco['images'][0].update(width=36, height=32)
    with fails(files.NAME.format(7), 'has 40 x 30 pixels', '36 x 32', 'EXIF'):
        with_coco(official, change, pipeline=PIPELINE)[0]


def test_an_image_without_size_is_an_error(converted):
    with fails('train[0]', 'size above 0', '0 x 30'):
        with_records(converted, lambda c: c['train'][0].update(width=0))


# Phrases.

@pytest.mark.parametrize('text', ['', '  ', '?!', "' - '", '\u3000', '\u200b\u2028'])
def test_an_empty_phrase_is_named(official, text):
    def change(refs):
        refs[1]['sentences'][0]['raw'] = text
    with fails('refs[1]', f'the phrase {text!r} is empty', 'Correct or remove'):
        with_refs(official, change)


def test_a_record_without_sentences_is_named(official):
    with fails('refs[0] has no sentence'):
        with_refs(official, lambda refs: refs[0].update(sentences=[]))


def test_a_text_that_is_none_is_named(converted):
    with fails('val[1]: expressions', "'raw' must be a text or a list"):
        with_records(converted, lambda c: c['val'][1].update(expressions=dict(raw=3)))


def test_sentence_ids_that_are_used_twice_are_named(official):
    def change(refs):
        refs[1]['sentences'][0]['sent_id'] = 2
    with fails('1 of 2 sentence ids', '2 in refs[0] and refs[1]',
               'leave sent_id out'):
        with_refs(official, change)


# Objects.

def test_an_annotation_without_a_mask_is_named_before_training(official):
    def change(coco):
        del coco['annotations'][2]['segmentation']
    with fails('1 of 3 objects', 'annotation 13 of refs[1]', 'with_mask=False'):
        with_coco(official, change, pipeline=PIPELINE)
    with_coco(official, change)  # without a pipeline that reads masks


@pytest.mark.parametrize('segmentation, what', [
    (dict(size=[30, 40], counts='abc'), 'not a compressed RLE'),
    (dict(size=[30, 40], counts=[5, 7]), 'run lengths are not 1200 pixels'),
    (dict(size=[40, 30], counts=[1200]), 'mask of [40, 30]'),
    ([[1, 2, 3, 4]], 'no polygon of three points'),
    ([[1, 1, 9000, 1, 9000, 9]], 'points far outside')])
def test_a_damaged_mask_is_named_when_it_is_read(official, segmentation, what):
    def change(coco):
        coco['annotations'][0]['segmentation'] = segmentation
    read = with_coco(official, change, pipeline=PIPELINE)
    with fails('annotation 11 of', files.NAME.format(7), 'damaged mask', what):
        read[0]


@pytest.mark.parametrize('box', [[50, 3, 5, 5], [2, 30, 5, 5], [-9, 2, 4, 4]])
def test_a_box_outside_of_its_image_is_named(official, box):
    def change(coco):
        coco['annotations'][0]['bbox'] = box
        coco['annotations'][0]['area'] = 200
    with fails('1 of 3 boxes lie outside', 'annotation 11 of refs[0]', str(box)):
        with_coco(official, change)


def test_a_negative_box_is_named(official):
    def change(coco):
        coco['annotations'][0]['bbox'] = [9, 9, -4, 4]
    with fails('instances.json: 1 of 4 objects', 'negative size', 'id 11'):
        with_coco(official, change)


def test_a_box_that_is_no_four_numbers_is_named(converted):
    with fails('train[0]: annotations[0]', "'bbox' must be four finite numbers"):
        with_records(converted, lambda c: c['train'][0]['annotations'][0].update(
            bbox=[1, 2, float('nan'), 4]))


def test_ids_that_point_nowhere_are_named(official):
    with fails('refs[0]: ann_id 99 is not among the 4 annotations', 'instances.json',
               'another benchmark'):
        with_refs(official, lambda refs: refs[0].update(ann_id=99))
    with fails('refs[0]: ann_id 21 is of image 8, not of 7'):
        with_refs(official, lambda refs: refs[0].update(ann_id=21))
    with fails('refs[0]: image_id 70 is not among the 2 images'):
        with_refs(official, lambda refs: refs[0].update(image_id=70))
    with fails("refs[0] has no 'ann_id', only", 'or [] if nothing is'):
        with_refs(official, lambda refs: refs[0].pop('ann_id'))
    with fails("refs[0]: 'ann_id' must be an integer"):
        with_refs(official, lambda refs: refs[0].update(ann_id='11'))


def test_an_object_without_id_is_no_missing_target(converted):
    with fails('train[0]: annotations[0] has a box or mask', "no 'id' above 0"):
        with_records(converted, lambda c: c['train'][0]['annotations'][0].update(
            id=None))


# Files of another kind, or of another benchmark.

def test_the_files_of_a_benchmark_are_told_apart(converted, official):
    files.write_json(official / 'coco.json', files.coco())
    files.write_json(official / 'index.json', dict(val=[[0, 2]]))
    for name, advice in (('coco.json', 'this one as instances'),
                         ('allobj.json', 'this one as foreground'),
                         ('index.json', 'this one as index')):
        with fails(name, 'is not a file of phrases', advice, 'Expected one of'):
            read_grounding(official / name)
    with fails('captions.json', "an object with 'info'"):
        read_grounding(files.write_json(official / 'captions.json', dict(info={})))


def test_a_format_that_is_not_that_of_the_file_is_an_error(converted):
    with fails("of format 'odvg', but of 'converted'"):
        build(converted, 'instances.json', format='odvg')
    with fails("format must be 'auto' or one of", "'coco'"):
        build(converted, 'instances.json', format='coco')


def test_options_of_another_format_are_an_error(converted):
    with fails("instances belongs to files of format 'refs'", "is 'converted'"):
        build(converted, 'instances.json', instances='allobj.json')


def test_refs_need_the_annotations_that_they_name(official):
    with fails('refs(unc).p', 'in another file', 'instances=...'):
        build(official, instances=None)


def test_converted_files_need_a_file_of_all_objects(converted):
    with fails('holds only the objects that phrases refer to', 'foreground=',
               "'referred'"):
        build(converted, 'instances.json')


def test_the_foreground_of_another_benchmark_is_recognized(converted):
    others = {'7': files.foreground()['8'], '8': files.foreground()['7']}
    others['7']['id'], others['8']['id'] = [901], [902, 903, 904]
    files.write_json(converted / 'other.json', others)
    with fails('other.json has none of the 3 objects', 'another benchmark'):
        build(converted, 'instances.json', foreground='other.json')
    files.write_json(converted / 'few.json', {'8': files.foreground()['8']})
    with fails('few.json has no image 7', 'another benchmark'):
        build(converted, 'instances.json', foreground='few.json')


def test_a_damaged_foreground_file_is_named(tmp_path):
    content = files.foreground()
    content['7']['id'].pop()
    with fails('a.json', 'image 7', 'the same length'):
        read_foreground(files.write_json(tmp_path / 'a.json', content))
    content = files.foreground()
    content['7']['bbox'][0] = [1, 2, 3]
    with fails('a.json', 'a box four numbers'):
        read_foreground(files.write_json(tmp_path / 'a.json', content))
    content['7']['bbox'][0] = [1, 2, -3, 4]
    with fails('a.json', 'negative size', 'id 11'):
        read_foreground(files.write_json(tmp_path / 'a.json', content))
    with fails('a.json is no file of foreground objects'):
        read_foreground(files.write_json(tmp_path / 'a.json', files.refs()))


def test_unknown_sources_and_modes_are_named(converted):
    with fails("no records of data_source 'refcoco'", 'It has'):
        build(converted, 'instances.json', foreground='allobj.json',
              data_source='refcoco')
    with fails("sentences must be one of ['random', 'each', 'first']"):
        build(converted, 'instances.json', sentences='all')
    with fails("text_mode='concat'"):
        build(converted, 'instances.json', text_mode='concat')
    with fails("crowds must be one of ['drop', 'keep']"):
        build(converted, 'instances.json', crowds='no')


def test_instances_and_split_file_are_one_option(official):
    with fails('Give instances or split_file, not both'):
        build(official, split_file='refs(unc).p', instances='instances.json')


# Groups.

@pytest.mark.parametrize('index, what', [
    (dict(val=[[0, 2], [3, 4]]), 'val[1] must be [start, end] with start = 2'),
    (dict(val=[[0, 2], [1, 4]]), 'val[1] must be'),
    (dict(val=[[0, 0], [0, 4]]), 'val[0] must be'),
    (dict(val=[[0, 2]]), 'end at 2, but the split has 4 elements'),
    (dict(val=[[0, 2], [2, 9]]), 'end at 9, but the split has 4'),
    (dict(val_rrefcoco=[[0, 4]]), "ranges of split 'val_rrefcoco'"),
    ([[0, 4]], 'must hold {split: [[start, end], ...]}')])
def test_wrong_ranges_of_an_index_are_named(tmp_path, index, what):
    with fails('index.json', what):
        build(tmp_path, **group_files(tmp_path, index))


@pytest.mark.parametrize('ranges, group, kind', [
    ([[0, 1], [1, 4]], 0, 'false'), ([[0, 2], [2, 3], [3, 4]], 1, 'true')])
def test_a_group_without_a_true_or_a_false_sentence_is_named(
        tmp_path, ranges, group, kind):
    options = group_files(tmp_path, dict(val=ranges))
    with fails('groups', f'group {group} (', f'has no {kind} sentence'):
        build(tmp_path, **options)


# Damaged files, and files that hold code.

class Thief:
    def __reduce__(self):
        return print, ('stolen',)


@pytest.mark.parametrize('content', [
    [Thief()], collections.OrderedDict(a=1), [dict(a=collections.deque())]])
def test_nothing_in_a_pickle_is_executed(official, content, capsys):
    path = official / 'refs(unc).p'
    path.write_bytes(pickle.dumps(content))
    with fails('refs(unc).p holds', 'code and not data; nothing was executed'):
        build(official)
    assert 'stolen' not in capsys.readouterr().out


def test_a_pickle_that_refers_to_something_outside_is_refused(official):
    path = official / 'refs(unc).p'
    path.write_bytes(b'(lp0\nPa file\na.')
    with fails('refs(unc).p holds', "a reference to 'a file'", 'nothing was executed'):
        build(official)


def test_a_truncated_pickle_is_named(official):
    path = official / 'refs(unc).p'
    path.write_bytes(path.read_bytes()[:200])
    with fails('refs(unc).p cannot be read: it is damaged', 'Copy it again'):
        build(official)


def test_files_that_are_no_json_are_named(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text('{"train": [')
    with fails('a.json is not a JSON file'):
        read_grounding(path)
    path.write_text('{"filename": "a.jpg"}\n{"filename": \n')
    with fails('a.json, line 2 is not JSON'):
        read_grounding(path)
    path.write_text('<!DOCTYPE html><html></html>')
    with fails('a.json', 'web page'):
        read_grounding(path)
    with pytest.raises(FileNotFoundError, match='No file of phrases'):
        read_grounding(tmp_path / 'b.json')


@pytest.mark.parametrize('line, what', [
    (dict(height=9, width=9, grounding={}), "'filename' must be a text"),
    (dict(filename='a', height=9, width=9, grounding={}), "'regions' must be a list"),
    (dict(filename='a', height=9, width=9, grounding=dict(regions=[dict(
        bbox=[1, 1, 5, 5])])), "regions[0]: 'phrase' must be a text"),
    (dict(filename='a', height=9, width=9, grounding=dict(regions=[dict(
        bbox=[5, 1, 2, 5], phrase='b')])), 'x1, y1, x2, y2 with x1 <= x2'),
    (dict(filename='a', height=9, width=9), "'detection' must be an object")])
def test_wrong_odvg_lines_are_named(tmp_path, line, what):
    good = dict(filename='a', height=9, width=9, grounding=dict(regions=[]))
    (tmp_path / 'a.jsonl').write_text(f'{json.dumps(good)}\n{json.dumps(line)}\n')
    with fails('a.jsonl, line 2', what):
        read_grounding(tmp_path / 'a.jsonl')


# Values of another type.

@pytest.mark.parametrize('change, words', [
    (dict(no_target='false'), ["refs[0]: 'no_target' must be true or false", 'false']),
    (dict(ref_id=[1], sentences=[dict(raw='a', exist=True)]), ["'ref_id'", 'integer']),
    (dict(sentences=[dict(raw='a', sent_id=[1])]), ["sentences[0]: 'sent_id' must be"]),
    (dict(sentences=[dict(raw='a', exist='no')]), ["'exist' must be true or false"]),
    (dict(sentences=['cup \ud83d']), ['refs[0]', 'half of a character'])])
def test_a_wrong_value_of_a_ref_is_named(official, change, words):
    with fails('changed.json', *words):
        with_refs(official, lambda refs: refs[0].update(change), split='train')


@pytest.mark.parametrize('kind, change, key', [
    ('images', dict(id=True), 'id'), ('images', dict(width=40.5), 'width'),
    ('annotations', dict(id=1.5), 'id'), ('annotations', dict(image_id=True),
                                          'image_id')])
def test_ids_and_sizes_that_are_no_whole_numbers_are_named(kind, change, key):
    content = dict(
        images=[dict(id=1, file_name='1.jpg', width=40, height=30)],
        annotations=[files.annotation(11, 1, (2, 3, 20, 10))],
        categories=[dict(id=1, name='cup')])
    content[kind][0].update(change)
    with fails(f'a.json: {kind}[0]: {key!r} must be a whole number'):
        checked_coco(content, 'a.json')


def test_ids_that_are_whole_floats_are_integers(official):
    data = with_coco(official, lambda coco: [
        entry.update(image_id=float(entry['image_id']), id=float(entry['id']))
        for entry in coco['annotations']], split='train')
    assert [thing['id'] for thing in data[0]['objects']] == [11, 12]


def test_an_image_of_impossible_size_ends_before_its_masks_are_drawn(official):
    for width in 10 ** 9, 10 ** 400:
        with fails('refs[0]', 'the image must have a size above 0 and at most'):
            with_coco(official, lambda coco, width=width: coco['images'][0].update(
                width=width), split='train')


@pytest.mark.parametrize('change, words', [
    (dict(data_source=['refcoco']), ["'data_source' must be a text"]),
    (dict(annotations=[dict(id=11, bbox=[2, 3, 20, 10], area='20')]),
     ["annotations[0]: 'area' must be a number of pixels"])])
def test_a_wrong_value_of_a_converted_record_is_named(converted, change, words):
    with fails('changed.json', 'train[0]', *words):
        with_records(converted, lambda splits: splits['train'][0].update(change),
                     split='train')


def test_an_empty_element_is_named(converted):
    with fails('changed.json', 'train[1] is an empty list'):
        with_records(converted, lambda splits: splits['train'].insert(1, []),
                     split='train')


def test_odvg_lines_without_any_phrase_are_an_error(tmp_path):
    (tmp_path / 'a.jsonl').write_text(json.dumps(dict(
        filename='1.jpg', height=30, width=40, grounding=dict(caption='', regions=[]))))
    with fails('a.jsonl', 'none of its 1 lines has a phrase'):
        read_grounding(tmp_path / 'a.jsonl')


def test_foreground_ids_that_are_no_whole_numbers_are_an_error(tmp_path):
    files.write_json(tmp_path / 'all.json', {
        '7': dict(id=[1.5], bbox=[[1, 1, 5, 5]], area=[25])})
    with fails('all.json', 'an id must be an integer'):
        read_foreground(tmp_path / 'all.json')


# Options.

@pytest.mark.parametrize('options, words', [
    (dict(min_area=float('nan')), ['min_area must be a number of pixels, got nan']),
    (dict(area_share=(0.8, 0.05)), ['the smaller first', 'got (0.8, 0.05)']),
    (dict(area_share=0.5), ['area_share must be two shares']),
    (dict(data_prefix='images'), ['must be dict(img_path=...)', "'images'"]),
    (dict(data_prefix=dict(img_path=None)), ['must be dict(img_path=...)', 'None']),
    (dict(split=5), ['has no split 5']), (dict(data_source=5), ['data_source 5'])])
def test_options_of_another_kind_are_named(official, options, words):
    with fails(*words):
        build(official, **dict(dict(split='train'), **options))


@pytest.mark.parametrize('scale', [0.5, (320.5, 320), 'ab', None, True, (0, 32)])
def test_a_scale_that_is_no_size_is_named(scale):
    with fails('scale must be width and height in pixels', repr(scale)):
        TRANSFORMS.build(dict(type='ResizeGrounding', scale=scale))
