"""What make_shards packs is what was there, and is read back by our data sets."""
import importlib.util
import json
import os
import re
import zipfile
from pathlib import Path

import pytest
from mmengine.config import Config
from PIL import Image

from mmcontrast.apis.data.make_shards import make_shards
from mmcontrast.datasets import ShardedImages, ShardedPairs, UnlabeledImages
from mmcontrast.registry import DATA_SAMPLERS, DATASETS

pytest.importorskip('lmdb')
pytest.importorskip('webdataset')
ROOT = Path(__file__).parents[2]
NAMES = ['a/1.jpg', 'a/1.png', 'a/my.photo.PNG', f'b/{"long" * 30}.jpg', 'b/ü 2.jpg']


@pytest.fixture
def photos(tmp_path):
    for k in range(40):
        path = tmp_path / 'photos' / (NAMES[k] if k < len(NAMES) else f'c/{k}.jpg')
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (90, 60), (5 * k, 90, 20)).save(path)
    return tmp_path / 'photos'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location(
        'make_shards_tool', ROOT / 'tools/data/make_shards.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def contents(folder):
    return sorted(path.read_bytes() for path in folder.rglob('*.*'))


def shards_of(packed, **options):
    dataset = ShardedImages(f'{packed.out}/*.tar', pipeline=[dict], **options)
    return [dataset[k] for k in range(len(dataset))]


def test_shards_hold_every_file_as_it_was_under_its_path(photos, tmp_path):
    packed = make_shards(str(photos), tmp_path / 'packed', shard_mb=0.005,
                         progress=False)
    items = shards_of(packed)
    assert sorted(item['img_bytes'] for item in items) == contents(photos)
    assert (packed.num_images, packed.skipped) == (40, ())
    assert packed.num_shards == len(list(packed.out.glob('*.tar'))) > 3
    names = {re.sub(r'.*\.tar/', '', item['img_path']): item for item in items}
    # One sample an image: a second 1.* and a second dot get other names.
    assert {'a/my_photo.png', NAMES[3], NAMES[4]} <= set(names)
    assert {'a/1.jpg', 'a/1_2.png'} <= set(names) or (
        {'a/1.png', 'a/1_2.jpg'} <= set(names))
    # The training finds the table ready.
    assert list(packed.out.glob('*-shards.npz'))


def test_images_are_shuffled_once_while_writing(photos, tmp_path):
    def paths(out, **options):
        packed = make_shards(str(photos), tmp_path / out, progress=False, **options)
        return [item['img_path'].partition('.tar/')[2] for item in shards_of(packed)]
    assert paths('kept', shuffle=False) == sorted(paths('kept2', shuffle=False))
    assert paths('first') == paths('again') != paths('other', seed=1)


def test_labels_travel_along(photos, tmp_path):
    packed = make_shards(str(photos), tmp_path / 'packed', with_label=True,
                         progress=False)
    labels = {item['img_path'].partition('.tar/')[2].split('/')[0]: item['label']
              for item in shards_of(packed, with_label=True)}
    assert labels == dict(a=0, b=1, c=2)


def test_captions_travel_along(photos, tmp_path):
    rows = [f'a/1.{ending},"{text}"' for ending, text in (
        ('jpg', 'a cat, asleep'), ('png', 'one'), ('png', 'two'), ('png', ' '))]
    (photos / 'pairs.csv').write_text('\n'.join(['filepath,title', *rows]))
    packed = make_shards(str(photos), tmp_path / 'packed', ann_file='pairs.csv',
                         with_captions=True, progress=False)
    dataset = ShardedPairs(f'{packed.out}/*.tar', pipeline=[dict])
    assert {item['img_bytes']: item['texts'] for item in map(dataset.__getitem__, (
        0, 1))} == {(photos / 'a/1.jpg').read_bytes(): ('a cat, asleep',),
                    (photos / 'a/1.png').read_bytes(): ('one', 'two')}
    assert len(dataset) == 2 and "type='ShardedPairs'" in packed.config
    with pytest.raises(ValueError, match='Captions are packed into tar shards'):
        make_shards(str(photos), tmp_path / 'x.lmdb', 'lmdb', with_captions=True)


def test_captions_of_a_table_without_known_columns_are_packed(
        photos, tmp_path, tool, capsys):
    (photos / 'pairs.csv').write_bytes(
        'id,where,alt\n7,a/1.jpg,caf\xe9\n8,a/1.png, \n'.encode('latin-1'))
    tool.main([str(photos), str(tmp_path / 'packed'), '--captions', '--ann-file',
               'pairs.csv', '--image-column', 'where', '--caption-column', 'alt',
               '--encoding', 'latin-1', '--max-bad-share', '0.5', '--format', 'csv'])
    said = capsys.readouterr().out
    assert 'Left out: ' in said and 'a/1.png (line 3): empty caption' in said
    assert '1 pairs or images could not be read' in said
    dataset = ShardedPairs(f'{tmp_path}/packed/*.tar', pipeline=[dict])
    assert [dataset[k]['texts'] for k in range(len(dataset))] == [('caf\xe9',)]
    (photos / 'map.txt').write_text('http://a/1\ta/1.jpg\n')
    (photos / 'cc.txt').write_text('a cat\thttp://a/1\n')
    tool.main([str(photos), str(tmp_path / 'cc'), '--captions', '--ann-file', 'cc.txt',
               '--image-column', '1', '--caption-column', '0', '--local-files',
               'map.txt'])
    with pytest.raises(SystemExit, match='encoding is for files of captions'):
        tool.main([str(photos), str(tmp_path / 'x'), '--encoding', 'latin-1'])


def test_a_karpathy_file_is_packed_by_its_splits(photos, tmp_path, tool):
    (photos / 'k.json').write_text(json.dumps(dict(images=[
        dict(filename=f'a/1.{ending}', split=split, sentences=[dict(raw=split)])
        for ending, split in (('jpg', 'train'), ('png', 'test'))])))
    call = [str(photos), str(tmp_path / 'k'), '--captions', '--ann-file', 'k.json']
    with pytest.raises(SystemExit, match='holds the splits test, train.*--split'):
        tool.main(call)
    tool.main([*call, '--split', 'train'])
    dataset = ShardedPairs(f'{tmp_path}/k/*.tar', pipeline=[dict])
    assert [dataset[k]['texts'] for k in range(len(dataset))] == [('train',)]


# faults D
@pytest.mark.parametrize('out, to', [('packed', 'tar'), ('packed.lmdb', 'lmdb')])
def test_names_that_are_no_utf8_are_packed(out, to, tmp_path):
    (tmp_path / 'in').mkdir()
    Image.new('RGB', (9, 6)).save(tmp_path / 'in' / os.fsdecode(b'caf\xe9.jpg'))
    os.symlink('/nowhere', tmp_path / 'in' / 'gone.jpg')
    packed = make_shards(str(tmp_path / 'in'), tmp_path / out, to, progress=False)
    assert (packed.num_images, len(packed.skipped)) == (1, 1)
    pipeline = [dict(type='LoadImage')]
    data = (UnlabeledImages(str(packed.out), pipeline=pipeline) if to == 'lmdb' else
            ShardedImages(f'{packed.out}/*.tar', pipeline=pipeline))
    assert data[0]['img'].size == (9, 6)


def test_a_zip_and_a_list_are_packed_into_an_lmdb(photos, tmp_path):
    with zipfile.ZipFile(tmp_path / 'photos.zip', 'w') as file:
        for path in photos.rglob('*.*'):
            file.write(path, f'all/{path.relative_to(photos)}')
    (tmp_path / 'list.txt').write_text('c/7.jpg\na/1.png\n')
    packed = make_shards(str(tmp_path / 'photos.zip'), tmp_path / 'two.lmdb', 'lmdb',
                         ann_file='list.txt', prefix='all', progress=False)
    dataset = UnlabeledImages(str(packed.out))
    assert [dataset.get_data_info(k)['img_path'].partition('@/')[2] for k in range(2)
            ] == ['all/a/1.png', 'all/c/7.jpg']
    assert sorted(path.name for path in packed.out.iterdir()) == ['data.mdb']


def test_files_that_cannot_be_read_are_left_out_and_named(photos, tmp_path):
    (photos / 'c' / '9.jpg').write_bytes(b'')
    packed = make_shards(str(photos), tmp_path / 'packed', progress=False)
    assert packed.num_images == 39
    assert [str(bad) for bad in packed.skipped] == [f'{photos}/c/9.jpg: empty file']


def test_nothing_is_overwritten_and_nothing_left_half(photos, tmp_path):
    (tmp_path / 'there').mkdir()
    with pytest.raises(FileExistsError, match='there exists; nothing is overwritten'):
        make_shards(str(photos), tmp_path / 'there', progress=False)
    for path in photos.rglob('*.*'):
        path.write_bytes(b'')
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match='None of the 40 images .*empty file'):
        make_shards(str(photos), tmp_path / 'packed', progress=False)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize('options, message', [
    (dict(out='x.lmdb'), 'of nothing else'), (dict(out='x', to='lmdb'), 'ends in'),
    (dict(out='x', to='rar'), "'tar' or 'lmdb'"),
    (dict(out='x', shard_mb=0), 'shard_mb'),
    (dict(out='x.lmdb', to='lmdb', with_label=True), 'keeps no labels')])
def test_bad_arguments_are_named(photos, tmp_path, options, message):
    options = options | dict(out=tmp_path / options['out'])
    with pytest.raises(ValueError, match=message):
        make_shards(str(photos), progress=False, **options)


def read_by_a_config(said, folder):
    """Number of images that a config with the printed lines reads."""
    base = "_base_ = 'mmcontrast::pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k.py'"
    (folder / 'mine.py').write_text(base + said.partition('inherits:')[2])
    config = Config.fromfile(folder / 'mine.py').train_dataloader
    dataset = DATASETS.build(config.dataset)
    sampler = DATA_SAMPLERS.build(config.sampler, default_args=dict(dataset=dataset))
    assert len(dataset[next(iter(sampler))]['inputs']) == 2
    return len(dataset)


def test_the_tool_prints_config_lines_that_read_what_it_wrote(
        photos, tmp_path, tool, capsys):
    tool.main([str(photos), str(tmp_path / 'packed')])
    said = capsys.readouterr().out
    assert '40 images in 1 shards' in said
    assert read_by_a_config(said, tmp_path) == 40
    tool.main([str(photos), str(tmp_path / 'packed.lmdb'), '--to', 'lmdb'])
    assert read_by_a_config(capsys.readouterr().out, tmp_path) == 40
    with pytest.raises(SystemExit, match='make_shards.py: .*exists'):
        tool.main([str(photos), str(tmp_path / 'packed')])
    with pytest.raises(SystemExit, match="make_shards.py: No folder '.*nowhere'"):
        tool.main([str(tmp_path / 'nowhere'), str(tmp_path / 'other')])
