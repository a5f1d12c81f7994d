"""Files of class names as users and other tools write them (faults Q)."""
import json

import pytest

from mmcontrast.datasets.class_files import read_class_file
from mmcontrast.errors import UserValueError
from mmcontrast.models.text.vocabulary import class_lines, read_vocabulary

NAMES = ['sky', 'red car', 'Straße']


@pytest.mark.parametrize('name, content', [
    ('c.json', json.dumps(NAMES, indent=1)),
    ('c.txt', json.dumps(NAMES)),
    ('classes.json', json.dumps(dict(classes=NAMES, palette=[[0, 0, 0]]), indent=1)),
    ('coco.json', json.dumps(dict(images=[], categories=[
        dict(id=3, name='Straße'), dict(id=1, name='sky'), dict(id=2, name='red car')]))
     ),
    ('id.json', json.dumps({'0': 'sky', '2': 'Straße', '1': 'red car'})),
    ('imagenet.json', json.dumps({
        str(k): [f'n0144076{k}', name] for k, name in enumerate(NAMES)})),
    ('to_id.json', json.dumps({'sky': 1, 'Straße': 3, 'red car': 2})),
    ('data.yaml', 'path: x\nnames:\n  0: sky\n  1: red car\n  2: Straße\n'),
    ('data.yml', 'nc: 3\nnames: [sky, red car, Straße]\n'),
    ('c.txt', "['sky', 'red car', 'Straße',]\n"),
    ('c.csv', 'id,name\n0,sky\n1,red car\n2,Straße\n'),
    ('c.csv', 'Name,Idx,Ratio\nStraße,3,0.1\nsky,1,0.2\nred car,2,0.1\n'),
    ('c.csv', 'id;name\n0;sky\n1;red car\n2;Straße\n'),
    ('c.tsv', '1\tsky\n2\tred car\n3\tStraße\n'),
    ('c.csv', 'name\nsky\nred car\nStraße\n'),
    ('c.csv', 'sky\n"red car"\nStraße\n'),
    ('c.txt', 'id,name\n1,sky\n2,red car\n3,Straße\n'),
    ('c.txt', '0 sky\n1 red car\n2 Straße\n'),
    ('c.txt', '1: sky\n2: red car\n\n3: Straße\n'),
    ('c.txt', '1. sky\n2) red car\n3 - Straße\n'),
    ('c.txt', '# names\n0\tsky\n1\tred car\n2\tStraße\n'),
    ('c.txt', 'sky 0\nred car 1\nStraße 2\n'),
    ('c.txt', 'sky,1\nred car,2\nStraße,3\n'),
    ('c.txt', '"sky",\n"red car",\n"Straße"\n'),
    ('c.txt', '- sky\n- red car\n- Straße\n'),
    ('c.txt', '* sky\n* red car\n* Straße\n'),
    ('c.txt', '[1] sky\n[2] red car\n[3] Straße\n'),
    ('c.txt', '(0) sky\n(1) red car\n(2) Straße\n'),
    ('c.txt', 'sky : 0\nred car : 1\nStraße : 2\n'),
    ('c.txt', 'sky;\nred car;\nStraße ;\n'),
    ('synsets.txt', 'n01440764 sky\nn01440765 red car\nn01440766 Straße\n'),
    ('obj.names', 'sky\r\nred car\r\nStraße\r\n')])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16'])
def test_every_usual_layout_gives_the_names(name, content, encoding, tmp_path):
    (tmp_path / name).write_text(content, encoding)
    assert read_vocabulary(tmp_path / name).names == NAMES
    assert read_vocabulary(str(tmp_path / name)).names == NAMES


@pytest.mark.parametrize('lines', [
    ['class 0', 'class 1', 'class 2'], ['boeing 707', 'boeing 737'],
    ['3 wheeler', '2 wheeler'], ['2 door car', 'van'], ['sofa, couch', 'bed'],
    ['1 dollar bill'], ['[void]', 'sky']])
def test_names_with_numbers_and_commas_stay_as_they_are(lines, tmp_path):
    (tmp_path / 'c.txt').write_text('\n'.join(lines))
    assert read_vocabulary(tmp_path / 'c.txt').names == lines


@pytest.mark.parametrize('text', ['1: sky;2: red car', '"sky"; "red car"',
                                  "'sky';'red car'", 'sky;;red car;'])
def test_a_command_line_is_read_as_the_lines_of_a_file(text):
    assert read_vocabulary(text).names == ['sky', 'red car']


def test_synonyms_stand_in_lines_tables_and_json(tmp_path):
    for name, content in (('c.txt', '0 sofa; couch\n1 bed\n'),
                          ('c.csv', 'id,name\n0,sofa;couch\n1,bed\n'),
                          ('c.json', '[["sofa", "couch"], "bed"]')):
        (tmp_path / name).write_text(content)
        assert read_vocabulary(tmp_path / name).synonyms == (
            ('sofa', 'couch'), ('bed',))


@pytest.mark.parametrize('name, content, message', [
    ('c.json', '["sky",\n "car"', 'c.json is no class list: it is not valid JSON'),
    ('c.txt', '{"a": [1, }', 'not valid JSON'),
    ('c.json', '{"palette": [], "n": 1}', "a mapping with 'palette', 'n'"),
    ('c.json', '3', 'holds int, no list of classes'),
    ('c.json', '[{"id": 1}]', "objects without a 'name'"),
    ('c.json', '{"1": "sky", "5": "car"}', 'numbers its classes 1, 5, while'),
    ('c.yaml', 'names: [sky', 'is not valid YAML'),
    ('c.csv', 'r,g,b\n0,0,0\n', r"columns \['r', 'g', 'b'\], none of which"),
    ('c.csv', 'id,name\n0,sky\n7,car\n', 'numbers its classes 0, 7'),
    ('c.csv', 'id,name\nsky\n', 'fewer columns than its header'),
    ('c.txt', '0: sky\n2: car\n', 'numbers its classes 0, 2'),
    ('c.txt', '64 128 64\tAnimal\n192 0 128\tArch\n', 'all lines, such as colors'),
    ('c.txt', 'sky, car, red car\n', "a single line with commas: 'sky, car, red car'"),
    ('c.txt', 'sky\tblue\ncar\tred\n', r"has columns: 'sky\\tblue'"),
    ('c.pbtxt', "item {\n id: 1\n name: 'sky'\n}\n", "the line 'item {', as in code"),
    ('c.xml', '<names>\n<name>sky</name>\n</names>', "the line '<names>'"),
    ('c.py', "CLASSES = (\n'sky',\n'car',\n)\n", r"the line 'CLASSES = \('"),
    ('c.txt', '[\n"sky",\n"car",\n', r"the line '\['"),
    ('c.txt', 'sky 64 128 64\ncar 192 0 128\n', "such as colors: 'sky 64 128 64'"),
    ('c.js', '// names\nsky\n', "the line '// names'"),
    ('c.txt', 'version https://git-lfs.github.com/spec/v1\n', 'a pointer of git-lfs'),
    ('bomb.yaml', 'a0: &a0 [x, x]\n' + ''.join(
        f'a{k}: &a{k} [{", ".join([f"*a{k - 1}"] * 9)}]\n' for k in range(1, 10))
     + 'names: *a9\n', r'synonyms, got \[\[\[\.\.\.\], '),
    ('c.txt', '', 'names no class')])
def test_other_files_are_refused_by_name(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises((ValueError, TypeError), match=message):
        read_vocabulary(tmp_path / name)


def test_files_that_are_no_text_are_refused_by_name(tmp_path):
    (tmp_path / 'c.txt').write_bytes('sky\nStraße\n'.encode('latin-1'))
    with pytest.raises(UserValueError, match='c.txt, line 2: .*not utf-8'):
        read_class_file(tmp_path / 'c.txt')
    (tmp_path / 'c.xlsx').write_bytes(b'PK\x03\x04\0\0\0')
    with pytest.raises(UserValueError, match='c.xlsx is no text'):
        read_class_file(tmp_path / 'c.xlsx')


def test_written_lines_are_read_as_the_same_names(tmp_path):
    (tmp_path / 'c.txt').write_text(class_lines(['sky', 'traffic light (red)'], 'x'))
    assert read_vocabulary(tmp_path / 'c.txt').names == ['sky', 'traffic light (red)']
    with pytest.raises(UserValueError, match='x: .*would be read as numbered'):
        class_lines(['0 sky', '1 car'], 'x')
