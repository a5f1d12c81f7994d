"""Tar shards: what is in them, who reads what when, and what is said about bad ones."""
import gzip
import io
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from mmcontrast.datasets import (
    Reason,
    ShardedImages,
    ShardSampler,
    UnlabeledImages,
    seed_worker,
)
from mmcontrast.datasets.transforms import LoadImage
from mmcontrast.testing.ranks import on_ranks
from tests.helpers.processes import run_python


def encoded(number, kind='PNG'):
    """An image that shows its number by its color."""
    data = io.BytesIO()
    Image.new('RGB', (24, 16), (number % 256, number // 256, 7)).save(data, kind)
    return data.getvalue()


def write_tar(path, members):
    with tarfile.open(path, 'w') as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_shards(folder, sizes):
    """Shards of the given numbers of images, which are numbered throughout."""
    folder.mkdir(parents=True, exist_ok=True)
    first = 0
    for k, size in enumerate(sizes):
        write_tar(folder / f's-{k:03}.tar', {
            f'{n:04}.{kind}': data for n in range(first, first + size)
            for kind, data in (('png', encoded(n)), ('cls', b'%d' % (n % 3)))})
        first += size
    return folder


def number(results):
    red, green, _ = LoadImage()(results)['img'].getpixel((0, 0))
    return red + 256 * green


def numbers(dataset):
    return [dataset[k] for k in range(len(dataset))]


def sharded(folder, **options):
    options = dict(shards='*.tar', pipeline=[number]) | options
    return ShardedImages(data_root=str(folder), **options)


# What is in a shard.

def test_members_are_read_in_place_and_named_by_shard_and_member(tmp_path):
    dataset = sharded(write_shards(tmp_path, [3, 0, 2]), pipeline=[dict])
    assert len(dataset) == 5
    item = dataset[4]
    assert item['img_path'] == f'{tmp_path}/s-002.tar/0004.png'
    assert item['img_bytes'] == encoded(4) and item['sample_idx'] == 4
    assert number(item) == 4 and 'label' not in item


def test_labels_are_the_cls_of_the_sample(tmp_path):
    dataset = sharded(write_shards(tmp_path, [3, 2]), with_label=True, pipeline=[dict])
    assert [dataset[k]['label'] for k in range(5)] == [0, 1, 2, 0, 1]
    write_tar(tmp_path / 's-009.tar', {'x.png': encoded(9), 'x.cls': b'a cat'})
    with pytest.raises(ValueError, match=r's-009.tar/x.png has none, as 1 of 6'):
        sharded(tmp_path, with_label=True)
    assert len(sharded(tmp_path)) == 6


def test_one_image_a_sample_by_the_order_of_the_suffixes(tmp_path):
    write_tar(tmp_path / 'a.tar', {
        'x/1.seg.png': encoded(1), 'x/1.png': encoded(2), 'x/1.JPG': encoded(3),
        'x/1.json': b'{}', 'x/2.txt': b'', 'x/._3.png': b'apple',
        # Dots in a name are no ending: two images.
        'x/my.first.png': encoded(4), 'x/my.second.png': encoded(5)})
    assert numbers(sharded(tmp_path)) == [3, 4, 5]
    assert numbers(sharded(tmp_path, suffixes=['.png'])) == [2, 4, 5]
    assert numbers(sharded(tmp_path, suffixes=['.seg.png'])) == [1]
    with pytest.raises(ValueError, match=r'No image in the 1 shards from .*a.tar'):
        sharded(tmp_path, suffixes=['.gif'])


def test_long_and_foreign_names_are_read(tmp_path):
    name = 'd' * 120 + '/' + 'ö' * 90 + '.png'
    write_tar(tmp_path / 'a.tar', {name: encoded(1), 'b.png': encoded(2)})
    dataset = sharded(tmp_path)
    assert dataset.get_data_info(0)['img_path'] == f'{tmp_path}/a.tar/{name}'
    assert numbers(dataset) == [1, 2]


def test_shards_are_named_by_braces_globs_and_lists(tmp_path):
    write_shards(tmp_path, [1, 1, 1, 1])
    assert numbers(sharded(tmp_path, shards='s-{000..002}.tar')) == [0, 1, 2]
    assert numbers(sharded(tmp_path, shards=['s-003.tar', 's-00[01].tar'])) == [3, 0, 1]
    with pytest.raises(FileNotFoundError, match='2 of the 6 shards.*s-004.tar'):
        sharded(tmp_path, shards='s-{000..005}.tar')
    with pytest.raises(FileNotFoundError, match='No shard fits .*t-'):
        sharded(tmp_path, shards='t-*.tar')
    with pytest.raises(ValueError, match=r's-000.tar 2 times'):
        sharded(tmp_path, shards=['s-*.tar', 's-000.tar'])


# faults A: sibling, letters of patterns in the name of a folder
def test_the_folder_of_a_glob_is_taken_as_it_is_called(tmp_path):
    (tmp_path / 'run[1]').mkdir()
    write_shards(tmp_path / 'run[1]', [1, 1])
    assert numbers(sharded(tmp_path, shards='run[1]/*.tar')) == [0, 1]


@pytest.mark.parametrize('address', [
    'pipe:touch {0}/ran', 'pipe:cat {0}/s-000.tar', 'http://localhost/a.tar',
    's3://bucket/{{000..009}}.tar', 'file:{0}/s-000.tar'])
def test_no_command_is_run_and_nothing_downloaded(tmp_path, address):
    write_shards(tmp_path, [1])
    with pytest.raises(ValueError, match='never executed|local files'):
        sharded(tmp_path, shards=address.format(tmp_path))
    assert not (tmp_path / 'ran').exists()


def test_webdataset_reads_and_writes_the_same_shards(tmp_path):
    webdataset = pytest.importorskip('webdataset')
    with webdataset.TarWriter(str(tmp_path / 'theirs.tar'), encoder=False) as writer:
        for k in range(3):
            writer.write({'__key__': f'n01/{k}', 'png': encoded(k), 'cls': b'%d' % k})
    dataset = sharded(tmp_path, with_label=True, pipeline=[dict])
    theirs = webdataset.WebDataset(str(tmp_path / 'theirs.tar'), shardshuffle=False)
    assert [item['png'] for item in theirs] == [
        dataset[k]['img_bytes'] for k in range(3)]
    assert [dataset[k]['label'] for k in range(3)] == [0, 1, 2]


def test_other_data_sets_keys_are_an_error_that_says_how_to_drop_them(tmp_path):
    with pytest.raises(ValueError, match=r'no data_prefix.*_delete_=True'):
        sharded(write_shards(tmp_path, [1]), data_prefix=dict(img_path='train'))


def test_subsets_are_read(tmp_path):
    dataset = sharded(write_shards(tmp_path, [3, 3]))
    assert numbers(dataset.get_subset([5, 0])) == [5, 0]
    assert numbers(dataset.get_subset(-2)) == [4, 5]
    assert numbers(sharded(tmp_path, indices=4)) == [0, 1, 2, 3]


# The index file.

def test_headers_are_read_once_until_a_shard_is_written_anew(tmp_path, monkeypatch):
    write_shards(tmp_path, [2, 1, 2])
    assert numbers(sharded(tmp_path)) == [0, 1, 2, 3, 4]
    assert (tmp_path / 's-000.3-shards.npz').is_file()
    scanned = []
    from mmcontrast.datasets.storage import tar_index
    scan = tar_index.scan_shard
    monkeypatch.setattr(tar_index, 'scan_shard', lambda path, suffixes: (
        scanned.append(os.path.basename(path)) or scan(path, suffixes)))
    assert numbers(sharded(tmp_path)) == [0, 1, 2, 3, 4] and not scanned
    write_tar(tmp_path / 's-001.tar', {'a.png': encoded(7), 'b.png': encoded(8)})
    assert numbers(sharded(tmp_path)) == [0, 1, 7, 8, 3, 4]
    assert scanned == ['s-001.tar']
    assert numbers(sharded(tmp_path, suffixes=['.png'])) == [0, 1, 7, 8, 3, 4]


def test_a_damaged_index_is_replaced(tmp_path):
    write_shards(tmp_path, [2])
    index = tmp_path / 'index.npz'
    index.write_bytes(b'PK no archive')
    assert numbers(sharded(tmp_path, index_file=str(index))) == [0, 1]
    assert np.load(index)['num_images'].tolist() == [2]


def test_a_place_that_cannot_be_written_to_is_no_obstacle(tmp_path):
    write_shards(tmp_path, [2])
    options = dict(index_file=str(tmp_path / 'nowhere' / 'index.npz'))
    assert numbers(sharded(tmp_path, **options)) == [0, 1]


# Who reads what when.

def epoch(dataset, number=0, batch_size=4, workers=0, **options):
    sampler = ShardSampler(dataset, **dict(seed=3, buffer_size=5) | options)
    sampler.set_epoch(number)
    loader = DataLoader(dataset, batch_size, sampler=sampler, num_workers=workers,
                        worker_init_fn=seed_worker)
    return [batch.tolist() for batch in loader]


def flat(batches):
    return [n for batch in batches for n in batch]


def test_every_epoch_is_another_order_that_seed_and_epoch_alone_decide(tmp_path):
    dataset = sharded(write_shards(tmp_path, [7, 5, 9, 4]))
    epochs = [epoch(dataset, k) for k in range(4)]
    assert all(sorted(flat(batches)) == list(range(25)) for batches in epochs)
    assert len({tuple(flat(batches)) for batches in epochs}) == 4
    assert epoch(sharded(tmp_path), 2) == epochs[2]
    assert epoch(dataset, 2, seed=4) != epochs[2]
    assert flat(epoch(dataset, shuffle=False)) == list(range(25))


def test_number_of_workers_changes_nothing(tmp_path):
    dataset = sharded(write_shards(tmp_path, [7, 5, 9, 4]))
    assert epoch(dataset, 1, workers=2) == epoch(dataset, 1, workers=0)


def test_shards_are_shuffled_and_images_stay_among_their_neighbors(tmp_path):
    dataset = sharded(write_shards(tmp_path, [20] * 8), pipeline=[])
    orders = [ShardSampler(dataset, buffer_size=1, seed=s).order(0) for s in range(20)]
    firsts = {int(order[0]) for order in orders}
    # With a buffer of one image nothing moves in a shard; any of eight can be first.
    assert firsts <= set(range(0, 160, 20)) and len(firsts) > 4
    mixed = ShardSampler(dataset, buffer_size=30, seed=0).order(0)
    row = orders[0].tolist()
    moved = np.array([row.index(n) for n in mixed.tolist()]) - np.arange(160)
    assert 15 < np.abs(moved).max() < 30


def _read_epochs(rank, folders):
    # Workers of spawned processes take long to end: one loader with them is enough.
    return [epoch(sharded(Path(folder)), 1, batch_size=3, workers=workers)
            for folder, workers in zip(folders, (2, 0), strict=True)]


def test_two_ranks_share_an_epoch_and_do_the_same_number_of_batches(tmp_path):
    sizes = (7, 5, 9, 4), (2, 2, 2)
    folders = [str(write_shards(tmp_path / str(sum(s)), s)) for s in sizes]
    ranks = on_ranks(2, _read_epochs, folders)
    for total, first, second in zip(map(sum, sizes), *ranks, strict=True):
        assert [len(b) for b in first] == [len(b) for b in second]
        # Of an odd number one image comes twice; of an even one none.
        both = flat(first + second)
        assert set(both) == set(range(total)) and len(both) == total + total % 2


def test_a_sampler_placed_in_an_epoch_reads_only_the_rest(tmp_path):
    read = []
    dataset = sharded(write_shards(tmp_path, [7, 5, 9]), pipeline=[
        lambda results: read.append(number(results)) or read[-1]])
    whole = epoch(dataset, 1)
    sampler = ShardSampler(dataset, seed=3, buffer_size=5)
    sampler.set_position(1, 8)
    sampler.set_epoch(1)
    loader = DataLoader(dataset, 4, sampler=sampler)
    read.clear()
    assert [batch.tolist() for batch in loader] == whole[2:]
    assert read == flat(whole[2:]) and len(loader) == 6
    sampler.set_epoch(2)
    assert [batch.tolist() for batch in loader] == epoch(dataset, 2)


def test_a_sampler_for_other_data_sets_is_an_error(tmp_path):
    write_shards(tmp_path, [1])
    Image.new('RGB', (9, 9)).save(tmp_path / 'a.png')
    with pytest.raises(TypeError, match='UnlabeledImages.*DefaultSampler'):
        ShardSampler(UnlabeledImages(str(tmp_path)))
    with pytest.raises(ValueError, match='buffer_size'):
        ShardSampler(sharded(tmp_path), buffer_size=0)


# Bad shards and bad images.

def test_corrupt_members_are_replaced_named_and_leave_the_batches_full(tmp_path):
    folder = write_shards(tmp_path, [20, 20])
    members = {f'{k:04}.png': encoded(k) for k in range(100, 120)}
    members |= {'0105.png': encoded(105)[:50], '0111.png': b''}
    write_tar(folder / 's-002.tar', members)
    dataset = sharded(folder)
    for k in range(2):
        batches = epoch(dataset, k, workers=2)
        assert [len(batch) for batch in batches] == [4] * 15
        assert not {105, 111} & set(flat(batches))
    assert dataset.status.counts() == (60, 2)
    assert dataset.bad_images() == [
        (f'{folder}/s-002.tar/0105.png', Reason.DAMAGED),
        (f'{folder}/s-002.tar/0111.png', Reason.EMPTY)]


def test_too_many_corrupt_members_end_the_run(tmp_path):
    write_tar(tmp_path / 'a.tar', {
        f'{k:02}.png': b'x' if k % 5 == 0 else encoded(k) for k in range(40)})
    with pytest.raises(ValueError, match=r'(?s)of \*.tar cannot be used.*a.tar/'):
        epoch(sharded(tmp_path), workers=1)


def test_a_shard_cut_short_is_named_with_what_it_needs(tmp_path):
    whole = write_shards(tmp_path, [3, 3]).joinpath('s-001.tar').read_bytes()
    # Each member takes a header and its data, in blocks of 512 bytes; the end mark two.
    need = 6 * 2 * 512 + 1024
    # In the data of a member, between two members, in the end mark, in a header.
    for size in (5 * 1024 + 520, 4 * 1024, 6 * 1024, 6 * 1024 + 512, 5 * 1024 + 100):
        (tmp_path / 's-001.tar').write_bytes(whole[:size])
        with pytest.raises(ValueError, match='s-001.tar is cut short.*Copy') as said:
            sharded(tmp_path)
        found = str(said.value).replace(',', '')
        assert f'has {size}' in found
        if size >= 5 * 1024 + 512:
            assert f'needs {need} bytes' in found


def test_unreadable_shards_are_named(tmp_path):
    folder = write_shards(tmp_path, [3, 3])
    path = folder / 's-001.tar'
    whole = path.read_bytes()
    for data, what in (
            (b'', r'\(0 bytes\) is no tar archive'),
            (b'<html>404</html>' * 200, r'\(3,200 bytes\) is no tar archive'),
            (gzip.compress(whole), 'is compressed.*gunzip'),
            (whole[:2048] + b'\xff' * 512 + whole[2560:], "is damaged: at byte 2,048, "
             "after member '0003.cls'")):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=f's-001.tar {what}'):
            sharded(folder)
    path.unlink()
    path.mkdir()
    with pytest.raises(FileNotFoundError, match='1 of the 2 shards.*s-001.tar'):
        sharded(folder)


def test_a_shard_that_shrinks_or_goes_during_a_run_ends_it_by_name(tmp_path):
    folder = write_shards(tmp_path, [3, 3])
    dataset = sharded(folder)
    os.truncate(folder / 's-001.tar', 1500)
    assert dataset[3] == 3
    with pytest.raises(ValueError, match='s-001.tar has become shorter'):
        dataset[5]
    (folder / 's-000.tar').unlink()
    loader = DataLoader(dataset, num_workers=1)
    with pytest.raises(ValueError, match='s-000.tar cannot be read: .*No such file'):
        list(loader)


def test_globs_need_no_library_and_braces_say_which(tmp_path):
    write_shards(tmp_path, [2])
    code = f"""
import sys
sys.modules['braceexpand'] = sys.modules['webdataset'] = None
from mmcontrast.datasets import ShardedImages
print(len(ShardedImages({str(tmp_path)!r} + '/s-*.tar')))
try:
    ShardedImages({str(tmp_path)!r} + '/s-{{000..000}}.tar')
except ImportError as error:
    print(error)
"""
    said = run_python([sys.executable, '-c', code], capture_output=True, text=True)
    assert said.stdout.startswith('2\n'), said.stderr
    assert 'pip install webdataset' in said.stdout
