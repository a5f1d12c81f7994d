"""Walking a folder of the user: links, hidden files, and what our tools wrote."""
import os

import pytest
from mmengine.logging import MMLogger
from PIL import Image

from mmcontrast.io.folders import (
    MARKER,
    list_files,
    mark_output,
    mark_output_folder,
    save_output_image,
)


@pytest.fixture
def folder(tmp_path):
    for name in ('a/0.jpg', 'a/1.JPG', 'b/2.png', 'notes.txt', '.cache/3.jpg',
                 'a/._0.jpg', '@eaDir/0.jpg', '__MACOSX/0.jpg'):
        path = tmp_path / 'data' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'x')
    return tmp_path / 'data'


PICTURES = ('.jpg', '.png')
ALL = ['a/0.jpg', 'a/1.JPG', 'b/2.png']


@pytest.fixture
def warnings(monkeypatch):
    found = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'handle',
                        lambda record: found.append(record.getMessage()))
    return found


def test_files_are_sorted_and_hidden_ones_left_out(folder):
    assert list_files(folder, PICTURES) == ALL
    assert list_files(folder, recursive=False) == ['notes.txt']
    assert list_files(folder, ('.GIF',)) == []


# faults K: to a folder above, also above the one that is searched; siblings: to
# itself, of two folders to each other.
@pytest.mark.parametrize('links', [
    {'a/up': '..'}, {'up': '..'}, {'a/up': '../..'}, {'root': '/'},
    {'a/here': '.'}, {'up': '../data'}, {'self': 'self'},
    {'a/x': '../b', 'b/x': '../a'}])
def test_links_without_an_end_are_skipped_and_said_once(links, folder, warnings):
    for name, target in links.items():
        os.symlink(target, folder / name)
    found = list_files(folder, PICTURES)
    assert set(ALL) <= set(found) and max(map(len, found)) < 20
    loops = [text for text in warnings if 'lead to a folder above' in text]
    assert len(loops) == ('self' not in links)


def test_links_to_files_and_folders_elsewhere_are_followed(folder, tmp_path):
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / '9.jpg').write_bytes(b'x')
    os.symlink(tmp_path / 'other', folder / 'c')
    os.symlink(tmp_path / 'other' / '9.jpg', folder / 'd.jpg')
    assert list_files(folder, PICTURES) == [*ALL, 'c/9.jpg', 'd.jpg']


# faults K
def test_links_without_a_target_are_listed_and_pipes_are_not(folder):
    os.symlink('/nowhere/0.jpg', folder / 'gone.jpg')
    os.symlink('own.jpg', folder / 'own.jpg')
    os.mkfifo(folder / 'pipe.jpg')
    assert list_files(folder, PICTURES) == [*ALL, 'gone.jpg', 'own.jpg']


# faults K
def test_a_link_to_a_folder_that_is_gone_is_said(folder, warnings):
    os.symlink('/nowhere/c', folder / 'c')
    assert list_files(folder, PICTURES) == ALL
    assert '1 links have no target, the first: c -> /nowhere/c' in warnings[-1]


# faults T
def test_what_our_tools_wrote_is_left_out_and_counted(folder, warnings):
    save_output_image(Image.new('RGB', (4, 4)), folder / 'a' / 'drawn.jpg')
    save_output_image(Image.new('RGB', (4, 4)), folder / 'out' / 'deep' / '0.png')
    mark_output_folder(folder / 'out')
    (folder / 'runs' / 'vis_data' / 'vis_image').mkdir(parents=True)
    (folder / 'runs' / 'vis_data' / 'vis_image' / '0.png').write_bytes(b'x')
    assert list_files(folder, PICTURES) == ALL
    assert 'drawn.jpg' in warnings[-1] and MARKER in warnings[-1]
    # A picture that the user puts beside ours is read.
    (folder / 'a' / 'mine.jpg').write_bytes(b'x')
    assert list_files(folder, PICTURES) == ['a/0.jpg', 'a/1.JPG', 'a/mine.jpg',
                                            'b/2.png']
    # Whoever names the folder of results itself means them.
    assert list_files(folder / 'out', PICTURES) == ['deep/0.png']


def test_a_marker_names_a_file_once_and_any_name(folder):
    name = os.fsdecode(b'caf\xe9.jpg')
    for _ in range(2):
        mark_output(folder / name, folder / 'x y.jpg')
    assert (folder / MARKER).read_bytes() == b'caf\xe9.jpg\nx y.jpg\n'
    (folder / name).write_bytes(b'x')
    assert list_files(folder, PICTURES) == ALL
