"""Official grounding data become the converted files, and both are checked."""
import json
import pickle
from pathlib import Path

import pytest

from mmcontrast.apis.data.check_grounding import check_grounding
from mmcontrast.apis.data.make_shapes import make_shapes
from mmcontrast.apis.data.prepare_grounding import prepare_grounding
from mmcontrast.errors import UserValueError
from tests.datasets.test_grounding import build, items
from tests.helpers import grounding_files as files
from tests.helpers.processes import call_tool

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools/data/prepare_grounding.py'


@pytest.fixture
def official(tmp_path):
    files.write_official(tmp_path)
    return tmp_path


def prepare(root, benchmark, *names, **options):
    names = names or ('refs(unc).p',)
    return prepare_grounding([root / name for name in names], benchmark, root / 'out',
                             progress=False, **options)


def refs_of(root, name, change=lambda refs: refs):
    """Another list of refs on the same images, in a folder of its own."""
    path = files.write_json(root / name / 'refs.json', change(files.refs()))
    files.write_json(path.parent / 'instances.json', files.coco())
    return f'{name}/refs.json'


@pytest.mark.parametrize('split', ['train', 'val'])
def test_converted_files_give_the_items_of_the_official_ones(official, split):
    made = prepare(official, 'grefcoco')
    assert (made.phrases.name, made.objects.name, made.index) == (
        'instances.json', 'coco_annotations.json', None)
    options = dict(split=split, sentences='each')
    again = build(official, 'out/instances.json',
                  foreground='out/coco_annotations.json', **options)
    assert items(again) == items(build(official, **options))


def test_evaluation_gets_a_record_a_sentence_and_training_all_of_a_ref(official):
    def change(refs):
        refs[1]['ann_id'] = 12
        refs[2:] = [dict(refs[0], split='testA', sentences=[
            dict(sent_id=8, raw='a'), dict(sent_id=9, raw='b')])]
        return refs
    made = prepare(official, 'refcoco', refs_of(official, 'one', change))
    content = json.loads(made.phrases.read_text())
    assert [r['expressions'] for r in content['train']] == [
        ['Red cup', 'the left one'], ['both on the right']]
    assert content['testA'] == [
        dict(image_id=7, width=40, height=30, expressions=[text], id=11,
             bbox=[2, 3, 20, 10], mask=files.rectangle(2, 3, 20, 10))
        for text in 'ab']


def test_a_file_of_another_benchmark_is_an_error_and_nothing_is_written(official):
    with pytest.raises(UserValueError, match="refs.1.: 'both on the right' means 2 "
                       'objects, .*another benchmark'):
        prepare(official, 'refcoco')
    with pytest.raises(UserValueError, match='groups lack a true or a false'):
        prepare(official, 'rrefcoco', sources=['rrefcoco'])
    assert not (official / 'out').exists()


def test_objects_come_from_another_coco_file_and_empty_images_are_listed(official):
    coco = files.coco()
    coco['annotations'] = [files.annotation(31, 7, (0, 0, 20, 20)),
                           files.annotation(32, 7, (5, 0, 20, 20), iscrowd=1)] + (
        coco['annotations'][:3])
    path = files.write_json(official / 'instances_train2014.json', coco)
    with pytest.raises(UserValueError, match='has no image 8|none of'):
        # Image 8 has a target, and must have objects.
        check_grounding(official / 'refs(unc).p', foreground=files.write_json(
            official / 'f.json', {'7': files.foreground()['7']}),
            instances=official / 'instances.json', progress=False)
    made = prepare(official, 'grefcoco', foreground=path)
    objects = json.loads(made.objects.read_text())
    assert objects['7']['id'] == [31, 11, 12, 13]
    assert objects['8'] == dict(bbox=[], segmentation=[], id=[], area=[])
    made = prepare(official, 'grefcoco', foreground=path, crowds='keep', overwrite=True)
    assert json.loads(made.objects.read_text())['7']['id'] == [31, 32, 11, 12, 13]


def test_images_of_any_evaluation_split_leave_the_mixed_training(official):
    def only_one_target(refs):
        refs[1]['ann_id'] = 12
        del refs[2]
        return refs

    def swapped(refs):
        """Trains on image 8, which the first evaluates with; image 9 is new."""
        return [dict(refs[3], split='train', sentences=[dict(sent_id=1, raw='x')]),
                dict(refs[3], image_id=9, ann_id=41, split='train',
                     sentences=[dict(sent_id=2, raw='y')])]
    first = refs_of(official, 'one', only_one_target)
    second = refs_of(official, 'two', swapped)
    coco = files.coco()
    coco['images'].append(dict(id=9, file_name='b/9.jpg', width=40, height=30))
    coco['annotations'].append(files.annotation(41, 9, (0, 0, 20, 20)))
    files.write_json(official / 'two/instances.json', coco)
    made = prepare(official, 'mixed', first, second)
    content = json.loads(made.phrases.read_text())
    assert list(content) == ['train', 'val_refcoco_unc'] and made.left_out == 1
    assert [(r['image_id'], r['data_source']) for r in content['train']] == [
        (7, 'refcoco_unc'), (7, 'refcoco_unc'), (9, 'refcocoplus_unc')]
    # The name of an image that is not in COCO is kept.
    assert content['train'][2]['file_name'] == 'b/9.jpg'
    objects = json.loads(made.objects.read_text())
    assert objects['9']['id'] == [41] and objects['7']['id'] == [11, 12, 13]
    assert made.report.problems == ()


def test_a_test_image_in_a_mixed_training_is_a_problem(official):
    content = dict(train=[], val_refcoco_unc=[])
    for split in content:
        content[split].append(dict(
            image_id=7, width=40, height=30, expressions=['cup'], id=11,
            bbox=[2, 3, 20, 10], mask=files.rectangle(2, 3, 20, 10),
            data_source='refcoco_unc'))
    path = files.write_json(official / 'mix.json', content)
    report = check_grounding(path, progress=False)
    assert report.problems == (
        "1 of 1 images of split 'val_refcoco_unc' are also in 'train', the first: 7",)


def rrefs(refs):
    true, false = (dict(raw=f'{text} one', exist=exist)
                   for text, exist in (('red', True), ('blue', False)))
    return [dict(ref_id=k, image_id=image_id, ann_id=ann_id, split=split,
                 sentences=[true, false, dict(raw='green one', exist=False)])
            for k, (image_id, ann_id, split) in enumerate(
                [(7, 11, 'train'), (8, 21, 'val'), (8, 21, 'val')])]


def test_groups_of_true_and_false_sentences_keep_their_ranges(official):
    made = prepare(official, 'rrefcoco', refs_of(official, 'r', rrefs))
    assert json.loads(made.index.read_text()) == dict(val_rrefcoco=[[0, 3], [3, 6]])
    content = json.loads(made.phrases.read_text())
    assert [[e['expressions']['raw'] for e in element] for element in content['train']
            ] == [['red one', ['blue one', 'green one']]]
    assert len(content['val_rrefcoco']) == 6
    nothing = [dict(id=None, bbox=None, segmentation=None)]
    assert content['val_rrefcoco'][1][0]['annotations'] == nothing
    read = build(official, 'out/instance_withid.json', split='val_rrefcoco',
                 foreground='out/allobj.json', index='out/instance_index.json',
                 test_mode=True)
    found = [read.get_data_info(k) for k in range(6)]
    assert [item['group_id'] for item in found] == [0, 0, 0, 1, 1, 1]
    assert [any(o['referred'] for o in item['objects']) for item in found] == [
        True, False, False] * 2


def test_a_check_counts_splits_and_finds_what_is_wrong(official):
    coco = files.coco()
    coco['annotations'][0]['segmentation'] = dict(size=[30, 40], counts='abc')
    coco['annotations'][1].update(bbox=[22, 14, 30, 14])
    del coco['annotations'][2]['segmentation']
    coco['annotations'][3]['bbox'] = [4, 4, 20, 0]
    files.write_json(official / 'instances.json', coco)
    (official / 'train2014' / files.NAME.format(8)).unlink()
    report = check_grounding(
        official / 'refs(unc).p', instances=official / 'instances.json',
        images=official / 'train2014', progress=False)
    train, val = report.splits
    assert (train.records, train.sentences, train.without_target,
            train.several_targets, train.objects, train.images) == (2, 3, 0, 1, 3, 1)
    assert (val.records, val.sentences, val.without_target, val.several_targets,
            val.objects, val.images) == (2, 2, 1, 0, 1, 1)
    missing, no_mask, damaged, empty, beyond = report.problems
    assert missing == f'1 of 2 images are missing, the first: {official}/train2014/' + (
        files.NAME.format(8))
    assert no_mask == ('1 of 4 objects have no mask, the first: annotation 13 of '
                       'refs[1]')
    assert damaged.startswith('1 of 4 objects have a damaged mask, the first: '
                              'annotation 11 of refs[0] (not a compressed RLE')
    assert '1 of 4 boxes have no width or height' in empty and '21 of refs[3]' in empty
    assert '1 of 4 boxes reach out of their image' in beyond and '12 of' in beyond


def test_of_other_files_shared_images_are_a_note(official):
    refs = files.refs()
    refs[3].update(image_id=7, ann_id=11)
    path = files.write_json(official / 'r.json', refs)
    report = check_grounding(path, instances=official / 'instances.json',
                             progress=False)
    assert report.problems == () and report.notes == (
        "1 of 2 images of split 'val' are also in 'train', the first: 7",)


def test_several_sentences_of_a_converted_evaluation_record_are_a_note(tmp_path):
    files.write_converted(tmp_path)
    content = json.loads((tmp_path / 'instances.json').read_text())
    content['val'] = content['train'][:1]
    path = files.write_json(tmp_path / 'a.json', dict(val=content['val']))
    assert 'hold several sentences' in check_grounding(path, progress=False).notes[0]


@pytest.mark.parametrize('options, what', [
    (dict(benchmark='refcoc'), "did you mean 'refcoco'"),
    (dict(benchmark='grefcoco', sources=['a']), 'without sources'),
    (dict(benchmark='grefcoco', instances=['a', 'b']), '1 files .* got 2'),
    (dict(benchmark='mixed', sources=['a', 'b']), 'as many different sources'),
    (dict(benchmark='refcoco', crowds='none'), 'crowds must be')])
def test_wrong_options_are_named(official, options, what):
    with pytest.raises(UserValueError, match=what):
        prepare(official, **options)


def test_files_of_an_earlier_call_are_not_replaced_unasked(official):
    prepare(official, 'grefcoco')
    with pytest.raises(FileExistsError, match='instances.json exists.*--overwrite'):
        prepare(official, 'grefcoco')
    prepare(official, 'grefcoco', overwrite=True)


# The tool.

def test_the_tool_converts_and_prints_the_splits(official):
    done = call_tool(TOOL, official / 'refs(unc).p', '--benchmark', 'grefcoco',
                     '--out', official / 'out', '--images', official / 'train2014')
    assert done.returncode == 0, done.stderr
    assert 'Written: ' in done.stdout and 'No problems found.' in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ['train', '2', '3', '0', '1', '3', '1'] in rows
    assert ['val', '2', '2', '1', '0', '1', '1'] in rows


def test_the_tool_checks_the_toy_world_and_fails_with_problems(tmp_path):
    world = make_shapes(tmp_path / 'shapes', train=3, val=0, size=64,
                        layouts=['refcoco'], progress=False)
    path = world / 'annotations/refs_train.json'
    done = call_tool(TOOL, path, '--check', '--images', world / 'images/train')
    assert done.returncode == 0 and 'No problems found.' in done.stdout, done.stdout
    done = call_tool(TOOL, path, '--check', '--images', world / 'annotations')
    assert done.returncode == 1
    assert 'PROBLEM  3 of 3 images are missing' in done.stdout


def test_the_tool_says_what_belongs_together(official):
    path = official / 'refs(unc).p'
    done = call_tool(TOOL, path)
    assert done.returncode == 2 and 'give --benchmark and --out' in done.stderr
    done = call_tool(TOOL, path, '--check', '--out', 'a')
    assert done.returncode == 2 and '--check only reads' in done.stderr
    path.write_bytes(pickle.dumps(Path('a')))
    done = call_tool(TOOL, path, '--check')
    assert done.returncode == 1 and 'nothing was executed' in done.stderr


def test_a_conversion_does_not_overwrite_its_inputs(official):
    """The annotations and the converted phrases are both called instances.json."""
    before = (official / 'instances.json').read_bytes()
    with pytest.raises(UserValueError, match='instances.json would overwrite'):
        prepare_grounding([official / 'refs(unc).p'], 'grefcoco', official,
                          overwrite=True, progress=False)
    assert (official / 'instances.json').read_bytes() == before


def test_a_missing_folder_of_images_is_named_before_anything_is_written(official):
    with pytest.raises(FileNotFoundError, match='No folder of images at .*none'):
        prepare(official, 'grefcoco', images=official / 'none')
    assert not (official / 'out').exists()
