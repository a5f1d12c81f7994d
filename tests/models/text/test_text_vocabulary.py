"""Tokens, class lists and templates, and what is said about bad ones."""
import pytest

from mmcontrast.datasets.shapes import ShapesDataset
from mmcontrast.models.text import (
    Vocabulary,
    class_list,
    read_templates,
    read_vocabulary,
    token_lengths,
    tokenize,
)
from mmcontrast.models.text.templates import fill_templates


def test_a_text_is_never_cut():
    assert token_lengths(['sky', 'chest of drawers', '']) == [3, 5, 2]
    assert tokenize(['chest of drawers'], 5).shape == (1, 5)
    with pytest.raises(ValueError) as caught:
        tokenize(['sky', 'chest of drawers', 'blue sky'], 3)
    assert str(caught.value).startswith(
        "'chest of drawers' has 5 tokens, start and end included; the limit here is "
        'context_length=3 (1 more too long). Shorten it')
    with pytest.raises(ValueError, match='has 79 tokens, .*context_length=77'):
        tokenize(['sky ' * 77])
    with pytest.raises(ValueError) as caught:
        tokenize(['sky' * 1000])
    assert len(str(caught.value)) < 300 and "skysk'... has " in str(caught.value)


@pytest.mark.parametrize('texts', ['sky', [3], [['sky']]])
def test_texts_are_a_list_of_strings(texts):
    with pytest.raises(TypeError, match='texts must be a list of strings, got'):
        tokenize(texts)


def test_a_vocabulary_comes_from_many_places(tmp_path):
    (tmp_path / 'classes.txt').write_text(
        '# furniture\nsofa; couch ;settee\n\n  red  car\n', 'utf-8')
    assert read_vocabulary(tmp_path / 'classes.txt') == Vocabulary(
        (('sofa', 'couch', 'settee'), ('red car',)))
    assert class_list(str(tmp_path / 'classes.txt')) == ['sofa', 'red car']
    assert class_list('sky;tree; a red car') == ['sky', 'tree', 'a red car']
    assert class_list('sky;') == ['sky']
    assert class_list('["sky", "a red car"]') == ['sky', 'a red car']
    # Longer than a file name may be (faults AB).
    assert class_list(';'.join(f'class {k}' for k in range(100)))[99] == 'class 99'
    assert read_vocabulary([['sofa', 'couch'], 'bed ']).synonyms == (
        ('sofa', 'couch'), ('bed',))
    assert class_list('ShapesDataset') == list(ShapesDataset.METAINFO['classes'])
    assert class_list(ShapesDataset.METAINFO) == class_list('ShapesDataset')
    assert class_list(dict(classes=('traffic_light',))) == ['traffic light']
    # What somebody typed stays as it is.
    assert class_list(['traffic_light']) == ['traffic_light']


def test_names_of_the_detection_benchmarks_are_texts():
    pytest.importorskip('mmdet')
    lvis, objects = class_list('mmdet.lvis'), class_list('mmdet.objects365v1')
    assert (len(lvis), len(objects)) == (1203, 365)
    assert {'alarm clock', 'bat (animal)', 'Band Aid'} <= set(lvis)
    assert {'cabinet or shelf', 'cd'} <= set(objects)
    assert class_list('mmdet.Objects365V2Dataset')[0] == 'person'


def test_an_alias_of_two_libraries_asks_which():
    pytest.importorskip('mmseg')
    pytest.importorskip('mmdet')
    with pytest.raises(ValueError, match="21 classes in mmseg and 20 classes in mmdet: "
                                         "write 'mmseg.voc' or 'mmdet.voc'"):
        class_list('voc')
    assert len(class_list('mmseg.voc')) == 21
    assert len(class_list('mmdet.voc')) == 20
    assert class_list('mmdet.coco') == class_list('mmdet.CocoDataset')


@pytest.mark.parametrize('source, error, message', [
    ([], ValueError, 'the class list names no class'),
    ('', ValueError, 'names no class'),
    (['sky', 'tree', 'Sky '], ValueError, "'Sky' twice, as label 0 and label 2"),
    ([['sofa', 'couch'], 'couch'], ValueError, "'couch' twice, as label 0 and label 1"),
    (['sky', ' '], ValueError, "a class without a name: ' '"),
    ([3], TypeError, 'a class is a name, .* got 3'),
    (3, TypeError, 'got int'),
    (dict(palette=[]), ValueError, r"no 'classes', only \['palette'\]"),
    ('classes.txt', FileNotFoundError, 'No class list at classes.txt'),
    ('my/classes.JSON', FileNotFoundError, 'No class list at my/classes.JSON'),
    ('./', ValueError, 'The class list ./ is a folder'),
    ('sky,red car', ValueError, "commas separate no classes, write 'sky;red car'"),
    ('mmpretrain.ade', ValueError, 'class lists come from mmseg and mmdet'),
    ('ShapeDataset', ValueError, "did you mean 'ShapesDataset'")])
def test_a_bad_vocabulary_is_named(source, error, message):
    with pytest.raises(error, match=message):
        read_vocabulary(source)


def test_an_unknown_dataset_is_answered_with_what_would_do():
    pytest.importorskip('mmseg')
    with pytest.raises(ValueError, match="'mmseg.add' is neither a text file nor the "
                                         "name of a dataset.*'mmseg.ade'.*'sky;tree'"):
        class_list('mmseg.add')


def test_templates_come_alone_in_lists_by_name_and_from_files(tmp_path):
    assert read_templates('a photo of a {}.') == ('a photo of a {}.',)
    assert read_templates('name') == ('{}',)
    assert read_templates(['a {}', 'the {}']) == ('a {}', 'the {}')
    assert len(read_templates('imagenet')) == 80
    assert 'itap of a {}.' in read_templates('imagenet7')
    (tmp_path / 'mine.txt').write_text('# two\na {}\n\nthe {}\n', 'utf-8')
    assert read_templates(tmp_path / 'mine.txt') == ('a {}', 'the {}')


def test_every_synonym_stands_in_every_template():
    vocabulary = read_vocabulary([['sofa', 'couch'], 'bed'])
    assert fill_templates(vocabulary, ['a {}', 'the {}']) == [
        ['a sofa', 'the sofa', 'a couch', 'the couch'], ['a bed', 'the bed']]


@pytest.mark.parametrize('source, error, message', [
    ('photograph', ValueError, "No prompt templates named 'photograph'; there are"),
    ('a {thing}', ValueError, r"holds {} once, .* got 'a {thing}'"),
    (['a {} or {}'], ValueError, r"got 'a {} or {}'"),
    (['a photo'], ValueError, "got 'a photo'"),
    ([], ValueError, "got 'none'"),
    ('mine.txt', FileNotFoundError, 'No prompt templates at mine.txt')])
def test_bad_templates_are_named(source, error, message):
    with pytest.raises(error, match=message):
        read_templates(source)
