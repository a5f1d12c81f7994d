"""Which phrases are asked of which image."""
import json

import numpy as np
import pytest
from PIL import Image

from mmcontrast.apis.inferencers.grounding_phrases import asked_phrases
from mmcontrast.apis.inferencers.images import list_images
from mmcontrast.errors import UserValueError


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('listed')
    for name in ('a.png', 'sub/b.png', 'sub/c d.png', 'other/b.png'):
        (root / 'photos' / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(root / 'photos' / name)
    return root


@pytest.fixture
def sources(folder):
    """a.png, other/b.png, sub/b.png and 'sub/c d.png'."""
    return list_images(str(folder / 'photos'))


def ask(phrases, sources, notes=None):
    return asked_phrases(phrases, sources, [] if notes is None else notes)


@pytest.mark.parametrize('phrases', [
    'the left cup; a dog ', ['the left cup', 'a dog'], ('the left cup ', 'a dog')])
def test_phrases_for_all_images(phrases, sources):
    assert ask(phrases, sources) == [('the left cup', 'a dog')] * 4


def test_a_long_phrase_without_semicolon_is_no_file(sources):
    phrase = 'the one ' * 100
    assert ask(phrase, sources)[0] == (phrase.strip(),)


def test_lists_for_each_image_come_in_their_order(sources):
    lists = [['one'], ['two', 'three'], ['four'], ['five']]
    assert ask(lists, sources) == [('one',), ('two', 'three'), ('four',), ('five',)]
    with pytest.raises(UserValueError, match='3 lists of phrases for 4 images'):
        ask(lists[:3], sources)
    with pytest.raises(UserValueError, match=r'phrases\[1\]: expected at least one'):
        ask([['one'], [], ['two'], ['three']], sources)


def test_a_mapping_names_images_by_path_or_file_name(folder, sources):
    full = str(folder / 'photos/other/b.png')
    notes = []
    assert ask({'a.png': 'cup', full: ['x', 'y'], 'train2014/c d.png': ('z',)},
               sources, notes) == [('cup',), ('x', 'y'), (), ('z',)]
    assert notes == ['phrases: 1 of the images have no phrase and were left out, the '
                     'first is sub/b.png.']


def test_a_file_name_of_two_images_needs_its_path(sources):
    with pytest.raises(UserValueError, match='phrases: b.png may be .*other/b.png or '
                                             '.*sub/b.png; write its path'):
        ask({'b.png': 'cup'}, sources)


def test_an_image_that_is_given_twice_is_asked_twice(folder):
    path = str(folder / 'photos/a.png')
    assert ask({'a.png': 'cup'}, list_images([path, path])) == [('cup',)] * 2


def test_arrays_are_named_by_their_number():
    arrays = list_images([np.zeros((2, 2, 3), np.uint8)] * 2)
    assert ask({'image_1': 'cup'}, arrays) == [(), ('cup',)]


@pytest.mark.parametrize(('name', 'content', 'expected'), [
    ('lines.txt', '# comment\r\nthe left cup\r\n\r\n  a dog\r\n', None),
    ('list.json', '["the left cup", "a dog"]', None),
    ('table.csv', 'image,phrase\na.png,"the left cup"\na.png,a dog\nsub/b.png,x\n',
     [('the left cup', 'a dog'), (), ('x',), ()]),
    ('table.csv', 'image\tcaption\na.png\tcup, left\n', [('cup, left',), (), (), ()]),
    ('table.txt', 'a.png\tcup\nsub\\b.png\tx\n', [('cup',), (), ('x',), ()]),
    ('mapping.json', '{"a.png": "cup", "sub/b.png": ["x", "y"]}',
     [('cup',), (), ('x', 'y'), ()]),
    ('entries.json', '[{"image": "a.png", "phrases": ["x", "y"]}]',
     [('x', 'y'), (), (), ()]),
    ('lines.jsonl', '{"image": "a.png", "phrase": "x"}\n', [('x',), (), (), ()]),
    ('captions.json', json.dumps(dict(
        images=[dict(id=3, file_name='a.png')],
        annotations=[dict(image_id=3, caption='x')])), [('x',), (), (), ()]),
])
def test_files_of_phrases(folder, sources, name, content, expected):
    path = folder / name
    path.write_bytes(content.encode())
    assert ask(path, sources) == (expected or [('the left cup', 'a dog')] * 4)


def test_a_file_may_lie_beside_the_folder_and_be_in_another_encoding(folder, sources):
    path = folder / 'beside.csv'
    path.write_text('image,phrase\nphotos/sub/b.png,die Tür\n', encoding='utf-16')
    assert ask(path, sources)[2] == ('die Tür',)


@pytest.mark.parametrize(('name', 'content', 'message'), [
    ('empty.txt', '# nothing\n', 'empty.txt: expected at least one phrase'),
    ('empty.csv', 'image,phrase\n', 'none of its 0 images is among the 4'),
    ('gap.csv', 'image,phrase\na.png, \n', r'gap.csv: a.png \(line 2\): .* Correct or '
     'remove 1 of its 1 phrases'),
    ('gap.json', '{"a.png": ["x", ""]}', 'gap.json, a.png: phrase 2 of 2 must be text'),
    ('number.json', '{"a.png": 3}', 'number.json, a.png: expected at least one'),
    ('broken.json', '{"a.png": ', 'broken.json is not valid JSON'),
    ('other.json', '[1, 2]', 'other.json holds no phrases'),
    ('away.csv', 'image,phrase\nz.png,x\n',
     'away.csv: none of its 1 images is among the 4 that were given, the first is '
     'z.png; these begin with a.png'),
    ('image.txt', b'\x89PNG\r\n\x00\x00', 'image.txt is no'),
])
def test_files_that_cannot_be_used_are_named(folder, sources, name, content, message):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        ask(str(path), sources)


def test_a_file_that_is_missing_is_no_phrase(folder, sources):
    for named in ('absent.txt', folder / 'absent'):
        with pytest.raises(FileNotFoundError, match='No phrases at .*absent'):
            ask(named, sources)
