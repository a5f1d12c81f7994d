"""Encodings of the text that users bring, and file names that are no text."""
import os

import pytest

from mmcontrast.errors import UserValueError
from mmcontrast.io.atomic import write_text
from mmcontrast.io.disk import DiskError, check_work_dir
from mmcontrast.io.text_files import (
    decode_text,
    display_name,
    read_text,
    split_lines,
)


# faults L
@pytest.mark.parametrize('encoding', [
    'utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be', 'utf-32'])
def test_unicode_is_read_with_and_without_a_byte_order_mark(encoding, tmp_path):
    text = 'img/0.jpg\nbilder/größe.jpg\n'
    (tmp_path / 'list.txt').write_bytes(text.encode(encoding))
    assert read_text(tmp_path / 'list.txt') == text


# faults L
@pytest.mark.parametrize('data, encoding, message', [
    ('a\ncafé.jpg\n'.encode('latin-1'), None, r"x.txt, line 2: 'caf\\xe9.jpg' is not "
     'utf-8 text .*byte 0xe9.*iconv'),
    ('a\nb\n写真\n'.encode('shift_jis'), None, 'x.txt, line 3: .*utf-8'),
    (b'\x89PNG\0\0\0\rIHDR\0', None, 'x.txt is no text: it holds zero bytes'),
    (b'version https://git-lfs.github.com/spec/v1\n', None, 'x.txt is a pointer of git-'
     'lfs: .*git lfs pull'),
    (b'\n<!DOCTYPE HTML>\n', None, r'x.txt is a web page \(HTML\)'),
    (b'\xff\xfea', None, 'x.txt, line 1: .*utf-16'),
    (b'a', 'latin-99', "x.txt: no encoding is called 'latin-99'")])
def test_other_text_is_refused_with_file_line_and_encoding(data, encoding, message):
    with pytest.raises(UserValueError, match=message):
        decode_text(data, 'x.txt', encoding)


def test_a_folder_in_place_of_a_text_is_named(tmp_path):
    with pytest.raises(UserValueError, match='is a folder; expected a text file'):
        read_text(tmp_path)


def test_lines_end_where_editors_end_them_and_nowhere_else():
    assert split_lines('a\r\nb\rc\u2028d\x85e\n') == ['a', 'b', 'c\u2028d\x85e', '']


# faults D
def test_names_that_are_no_text_can_be_printed_and_written(tmp_path):
    name = os.fsdecode(b'/data/caf\xe9/\xff.jpg')
    assert display_name(name) == r'/data/caf\xe9/\xff.jpg'
    assert display_name('/data/café.jpg') == '/data/café.jpg'
    # Half a character that JSON may hold.
    assert display_name('\ud83d.jpg') == r'\ud83d.jpg'
    write_text(tmp_path / 'x.json', f'{{"file": "{name}"}}')
    assert (tmp_path / 'x.json').read_bytes() == (
        rb'{"file": "/data/caf\udce9/\udcff.jpg"}')


# faults D
def test_a_work_dir_whose_name_is_no_text_is_refused_at_the_start(tmp_path):
    with pytest.raises(DiskError, match=r'work dir .*run\\xe9 is no UTF-8'):
        check_work_dir(os.fsdecode(os.fsencode(tmp_path) + b'/run\xe9'))
