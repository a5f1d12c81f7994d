"""Lists of images as other tools and systems write them; archives; names as bytes."""
import io
import json
import os
import unicodedata
import zipfile

import pytest
from PIL import Image

from mmcontrast.datasets import BadImage, ImageTextPairs, UnlabeledImages
from mmcontrast.datasets.video_clips import list_clips
from mmcontrast.io.size_limit import MAX_FILE_MIB

LATIN = os.fsdecode(b'img/caf\xe9.jpg')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('listed')
    (root / 'img').mkdir()
    data = io.BytesIO()
    Image.new('RGB', (8, 6)).save(data, 'JPEG')
    for name in ('img/0.jpg', 'img/1.jpg', 'img/my photo 2.jpg', 'img/größe.jpg',
                 'img/写真.jpg', unicodedata.normalize('NFD', 'img/é.jpg'), LATIN,
                 'img/00012', 'img/3 7.jpg', 'img/back\\slash.jpg'):
        (root / name).write_bytes(data.getvalue())
    return root


def read(folder, content, with_label=False, name='list.txt'):
    """(path below the folder, label) of every image that a list names."""
    (folder / name).write_bytes(
        content if isinstance(content, bytes) else content.encode())
    dataset = UnlabeledImages(str(folder), ann_file=name, with_label=with_label,
                              serialize_data=False)  # Saves a garbage collection.
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(os.path.relpath(info['img_path'], folder), info.get('label'))
            for info in infos]


# faults L
@pytest.mark.parametrize('line', [
    'img/0.jpg 7', 'img/0.jpg\t7', 'img/0.jpg,7', 'img/0.jpg;7', 'img/0.jpg, 7',
    '"img/0.jpg" 7', '"img/0.jpg",7', '7 img/0.jpg', '7,img/0.jpg', '7\timg/0.jpg',
    'img/0.jpg   7   ', '.\\img\\0.jpg 7', "'img/0.jpg' 7", '"img/0.jpg","7"',
    "'7','img/0.jpg'", 'img/0.jpg 7 # a cat', '12,img/0.jpg,7', 'a cat;img/0.jpg;7',
    '12\timg/0.jpg\t7'])
def test_paths_and_labels_are_told_apart(folder, line):
    path, label = read(folder, f'# path label\n{line}\nimg/1.jpg\t3\n', True)[0]
    assert (path, label) == ('img/0.jpg', 7)
    assert read(folder, f'{line}\r\n')[0] == ('img/0.jpg', None)


# faults L
@pytest.mark.parametrize('header', [
    'path,label', 'image_id,label', 'label\tfilename', '"img_path";"target"',
    'path label', 'image,breed', 'my_column;filename', 'image_path', '# x\npath'])
def test_a_header_is_no_image(folder, header):
    assert read(folder, f'{header}\nimg/0.jpg,4\n', True) == [('img/0.jpg', 4)]
    assert read(folder, f'{header}\nimg/0.jpg\n') == [('img/0.jpg', None)]


# faults L
def test_paths_with_blanks_stay_whole_where_they_exist(folder):
    lines = ['img/my photo 2.jpg', 'img/3 7.jpg', 'img/0.jpg img/1.jpg', '"img/1.jpg"',
             'img/00012 5', 'img/00012']
    assert [path for path, _ in read(folder, '\n'.join(lines))] == [
        'img/my photo 2.jpg', 'img/3 7.jpg', 'img/0.jpg', 'img/1.jpg', 'img/00012',
        'img/00012']
    assert read(folder, 'img/my photo 2.jpg 4\nimg/3 7.jpg 5\n', True) == [
        ('img/my photo 2.jpg', 4), ('img/3 7.jpg', 5)]


# faults L
def test_other_spellings_of_a_path_are_found(folder):
    names = ['img\\0.jpg', 'img\\my photo 2.jpg', 'img\\größe.jpg', 'img/é.jpg']
    assert [path for path, _ in read(folder, '\n'.join(names))] == [
        'img/0.jpg', 'img/my photo 2.jpg', 'img/größe.jpg',
        unicodedata.normalize('NFD', 'img/é.jpg')]
    assert read(folder, 'img/back\\slash.jpg\n') == [('img/back\\slash.jpg', None)]


# faults L
@pytest.mark.parametrize('encoding, path', [
    ('utf-16', 'img/größe.jpg'), ('latin-1', 'img/größe.jpg'),
    ('cp437', 'img/größe.jpg'), ('shift_jis', 'img/写真.jpg'),
    ('gb18030', 'img/写真.jpg'), ('utf-8-sig', 'img/写真.jpg')])
def test_lists_in_other_encodings_are_read(folder, encoding, path):
    content = f'img/0.jpg 0\n{path} 1\n'.encode(encoding)
    assert read(folder, content, True) == [('img/0.jpg', 0), (path, 1)]


# faults D, L: as bytes, as bad_images.txt writes it, and in a list that is UTF-8.
@pytest.mark.parametrize('line', [b'img/caf\xe9.jpg', b'img/caf\\xe9.jpg',
                                  'img/café.jpg'.encode()])
def test_a_name_that_is_no_utf8_is_found(folder, line):
    assert read(folder, line) == [(LATIN, None)]


# faults L
@pytest.mark.parametrize('line, hint', [
    ('pics/0.jpg', 'data_root and data_prefix'),
    ('C:\\data\\0.jpg', 'it has backslashes'),
    ('img/1', 'img/1.jpg does exist: write names with their suffix'),
    ('12,pics/0.jpg,7', "12,pics/0.jpg'"),
    (b'img/\xfc.jpg', r"img/\\xfc.jpg'; the list is no UTF-8"),
    ('img/0.jpgx 3', "img/0.jpgx 3'")])
def test_a_list_that_does_not_fit_is_named_at_the_start(folder, line, hint):
    with pytest.raises(FileNotFoundError, match=f'(?s)list.txt: none of 1 files.*{hint}'
                       ):
        read(folder, line)


# faults L
@pytest.mark.parametrize('name', ['COCO.JSON', 'coco.Json'])
def test_coco_files_are_known_by_their_suffix_in_any_case(folder, name):
    content = json.dumps(dict(images=[
        dict(id=1, file_name='img\\0.jpg'), dict(id=2, file_name='img/größe.jpg')],
        ), ensure_ascii=False)
    for encoding in ('utf-8', 'utf-16'):
        assert read(folder, content.encode(encoding), name=name) == [
            ('img/0.jpg', None), ('img/größe.jpg', None)]
    content = json.dumps(dict(images=[dict(id=1, coco_url='http://coco.org/img/0.jpg')]))
    assert read(folder, content, name='lvis.json') == [('img/0.jpg', None)]


# faults L
@pytest.mark.parametrize('name, content', [
    ('pairs.tsv', 'img\\0.jpg\tgröße\n'),
    ('pairs.csv', 'image,caption\nimg\\0.jpg,größe'),
    ('pairs.json', '[{"image": "img\\\\0.jpg", "caption": "größe"}]')])
def test_captions_take_the_same_paths_and_encodings(folder, name, content):
    (folder / name).write_text(content, 'utf-16')
    dataset = ImageTextPairs(name, data_root=str(folder))
    info = dataset.get_data_info(0)
    assert (info['img_path'], info['texts']) == (str(folder / 'img/0.jpg'), ('größe',))
    (folder / name).write_bytes(content.encode('latin-1'))
    with pytest.raises(ValueError, match=rf'{name}, line \d: .*not utf-8.*encoding='):
        ImageTextPairs(name, data_root=str(folder))


# faults L
def test_lists_of_clips_take_any_encoding_and_names_with_blanks(tmp_path):
    for part, ending in (('JPEGImages', 'jpg'), ('Annotations', 'png')):
        (tmp_path / part / 'mein größter').mkdir(parents=True)
        for k in range(3):
            (tmp_path / part / 'mein größter' / f'{k}.{ending}').write_bytes(b'x')
    (tmp_path / 'JPEGImages' / 'mein größter' / '._0.jpg').write_bytes(b'x')
    (tmp_path / 'ImageSets').mkdir()
    (tmp_path / 'ImageSets' / 'val.txt').write_text('mein größter\r\n', 'utf-16')
    clip, = list_clips(tmp_path)
    assert clip.name == 'mein größter' and len(clip.frames) == 3


# faults K
def test_missing_targets_of_links_are_missing_images(tmp_path):
    for k in range(4):
        os.symlink(f'/nowhere/{k}.jpg', tmp_path / f'{k}.jpg')
    with pytest.raises(FileNotFoundError, match='All 4 images in .* links whose target '
                                                r'is gone, e.g. 0.jpg -> /nowhere/0.jpg'
                       ):
        UnlabeledImages(str(tmp_path))
    (tmp_path / 'folders').mkdir()
    os.symlink('/nowhere/cats', tmp_path / 'folders' / 'cats')
    with pytest.raises(FileNotFoundError, match='All 1 files .*cats -> /nowhere/cats'):
        UnlabeledImages(str(tmp_path / 'folders'))
    Image.new('RGB', (8, 6)).save(tmp_path / '9.jpg')
    dataset = UnlabeledImages(str(tmp_path), max_bad_share=1., pipeline=[
        dict(type='LoadImage')])
    assert len(dataset) == 5 and dataset[0]['img'].size == (8, 6)
    assert dataset.bad_images()[0][0] == str(tmp_path / '0.jpg')


# faults R
@pytest.mark.parametrize('prefix', ['./p/', 'p\\', '/p/', 'p//', '.\\p\\', './/p/./',
                                    '../p/'])
def test_members_of_archives_have_the_names_that_they_mean(folder, tmp_path, prefix):
    (tmp_path / 'a@').mkdir()
    path = tmp_path / 'a@/x.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        for k in range(2):
            archive.writestr(f'{prefix}{k}.jpg', (folder / f'img/{k}.jpg').read_bytes())
        archive.writestr(f'__MACOSX/{prefix}._0.jpg', b'x')
    pipeline = [dict(type='LoadImage')]
    dataset = UnlabeledImages(str(path), pipeline=pipeline, with_label=True)
    assert [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))] == [
        f'zip://{path}@/p/{k}.jpg' for k in range(2)]
    assert dataset[0]['img'].size == (8, 6)
    assert len(UnlabeledImages(str(path), data_prefix=dict(img_path='./p'))) == 2
    # A list may write them in either way.
    (path.parent / 'list.txt').write_text(f'p/0.jpg\n{prefix}1.jpg\n')
    dataset = UnlabeledImages(str(path), ann_file='list.txt', pipeline=pipeline)
    assert [dataset[i]['img'].size for i in range(2)] == [(8, 6), (8, 6)]
    (path.parent / 'list.txt').write_text('q/0.jpg\n')
    with pytest.raises(FileNotFoundError, match='none of 1 files that it lists'):
        UnlabeledImages(str(path), ann_file='list.txt')
    path.write_bytes(b'version https://git-lfs.github.com/spec/v1\nsize 9\n')
    with pytest.raises(ValueError, match='x.zip is not a zip archive: .*git-lfs'):
        UnlabeledImages(str(path))


# faults R
def test_names_in_utf8_that_an_archive_does_not_declare_are_read(folder, tmp_path):
    path = tmp_path / 'mac.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.write(folder / 'img/0.jpg', 'größe/写真.jpg')
    data = path.read_bytes()
    for mark in (b'PK\3\4', b'PK\1\2'):  # Take the flag of UTF-8 away.
        at = data.index(mark) + (6 if mark[2] == 3 else 8)
        data = data[:at] + bytes(2) + data[at + 2:]
    path.write_bytes(data)
    dataset = UnlabeledImages(str(path), pipeline=[dict(type='LoadImage')],
                              with_label=True)
    assert dataset.metainfo['classes'] == ('größe',)
    assert dataset[0]['img_path'].endswith('@/größe/写真.jpg')
    assert dataset[0]['img'].size == (8, 6)


# faults Y: a member of zeros unpacks to a thousand times its size.
def test_members_beyond_the_limit_are_not_unpacked(tmp_path, monkeypatch):
    path = tmp_path / 'bomb.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('0.jpg', bytes(3 << 20))
    monkeypatch.setenv(MAX_FILE_MIB, '2')
    dataset = UnlabeledImages(str(path), pipeline=[dict(type='LoadImage')],
                              test_mode=True)
    with pytest.raises(BadImage, match=rf'0.jpg in {path} has 3 MiB, more than the 2 '
                                       f'MiB .*set {MAX_FILE_MIB}'):
        dataset[0]
    monkeypatch.setenv(MAX_FILE_MIB, '4')
    with pytest.raises(BadImage, match='not an image'):
        dataset[0]


# faults D
def test_messages_survive_names_that_are_no_text(tmp_path):
    root = os.fsdecode(os.fsencode(tmp_path) + b'/\xe9')
    os.mkdir(root)
    for name in (b'caf\xe9.jpg', b'\xff.jpg'):
        with open(os.path.join(os.fsencode(root), name), 'wb'):
            pass
    dataset = UnlabeledImages(root, pipeline=[dict(type='LoadImage')])
    with pytest.raises(ValueError) as caught:
        dataset[0]
    assert r'\xe9/caf\xe9.jpg: empty file' in str(caught.value)
    str(caught.value).encode()
