"""Images in lmdb databases: listing, labels, lists, loader processes, broken ones."""
import io
import sys

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from mmcontrast.datasets import Reason, UnlabeledImages, seed_worker
from mmcontrast.datasets.transforms import LoadImage

lmdb = pytest.importorskip('lmdb')
# In the order of the keys; gray level k belongs to the k-th.
KEYS = ['0.JPEG', 'a/deep/er/3.webp', 'a/x y.z.bmp', 'b/1.jpg', 'b/2.PNG']


def encoded(level, kind='PNG'):
    data = io.BytesIO()
    Image.new('RGB', (40, 30), (level,) * 3).save(data, kind)
    return data.getvalue()


def write(path, values, subdir=True):
    with lmdb.open(str(path), map_size=1 << 26, subdir=subdir) as environment, \
            environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key if isinstance(key, bytes) else key.encode(), value)
    return path


@pytest.fixture(params=[True, False], ids=['folder', 'file'])
def database(request, tmp_path):
    values = {key: encoded(10 * k) for k, key in enumerate(KEYS)}
    values |= {'meta.txt': b'5 images', 'b/.hidden.jpg': b'x'}
    return write(tmp_path / 'train.lmdb', values, request.param)


def levels(dataset):
    infos = [dataset.get_data_info(k) for k in range(len(dataset))]
    return [LoadImage()(info)['img'].getpixel((0, 0))[0] for info in infos]


def test_keys_are_paths_and_values_images(database):
    dataset = UnlabeledImages(str(database))
    assert [dataset.get_data_info(k)['img_path'] for k in range(5)] == [
        f'lmdb://{database}@/{key}' for key in KEYS]
    assert levels(dataset) == [0, 10, 20, 30, 40]
    # A folder is often written with a slash at its end.
    assert len(UnlabeledImages(f'{database}/')) == 5


# faults R
def test_keys_may_begin_at_the_folder_itself(tmp_path):
    path = write(tmp_path / 'x.lmdb', {'./p/0.jpg': encoded(7), './p/.1.jpg': b'x'})
    for prefix in ('', './p', './p/'):
        dataset = UnlabeledImages(str(path), data_prefix=dict(img_path=prefix))
        assert levels(dataset) == [7]


def test_prefix_and_class_folders_work_as_in_a_zip(database):
    part = UnlabeledImages(str(database), data_prefix=dict(img_path='b'))
    assert levels(part) == [30, 40]
    labeled = UnlabeledImages(str(database), with_label=True,
                              suffixes=['.bmp', '.jpg', '.webp'])
    assert labeled.metainfo['classes'] == ('a', 'b')
    assert [labeled.get_data_info(k)['label'] for k in range(3)] == [0, 0, 1]


def test_list_beside_a_database_names_keys(database):
    (database.parent / 'list.txt').write_text('1.jpg\t5\n2.PNG\t1\n')
    dataset = UnlabeledImages(f'{database}/', ann_file='list.txt', with_label=True,
                              data_prefix=dict(img_path='b'))
    assert levels(dataset) == [30, 40]
    assert dataset.get_data_info(0)['label'] == 5


def test_keys_without_an_ending_are_taken_with_an_empty_suffix(tmp_path):
    write(tmp_path / 'x.lmdb', {f'{k:08}': encoded(k) for k in range(3)})
    with pytest.raises(FileNotFoundError, match=r'x.lmdb.*none of its 3 files ends in'):
        UnlabeledImages(str(tmp_path / 'x.lmdb'))
    dataset = UnlabeledImages(str(tmp_path / 'x.lmdb'), suffixes=[''])
    assert levels(dataset) == [0, 1, 2]


def load_level(results):
    return np.array(LoadImage()(results)['img'])[0, 0, 0]


def test_forked_processes_read_one_database_at_the_same_time(tmp_path):
    write(tmp_path / 'many.lmdb',
          {f'{k:03}.png': encoded(k) for k in range(200)} | {'099.png': b'x'})
    dataset = UnlabeledImages(str(tmp_path / 'many.lmdb'), pipeline=[load_level])
    dataset[0]  # opened here before the fork
    loader = DataLoader(dataset, batch_size=10, num_workers=2,
                        multiprocessing_context='fork', worker_init_fn=seed_worker)
    seen = [int(level) for batch in loader for level in batch]
    assert seen[:99] + seen[100:] == [k for k in range(200) if k != 99]
    assert dataset.bad_images() == [
        (f'lmdb://{tmp_path}/many.lmdb@/099.png', Reason.NOT_AN_IMAGE)]
    assert dataset[5] == 5  # and here after it


def test_a_database_written_anew_is_read_anew(tmp_path):
    write(tmp_path / 'x.lmdb', {'a.png': encoded(1)}, subdir=False)
    assert levels(UnlabeledImages(str(tmp_path / 'x.lmdb'))) == [1]
    new = write(tmp_path / 'new', {'a.png': encoded(2), 'b.png': encoded(3)}, False)
    new.replace(tmp_path / 'x.lmdb')
    assert levels(UnlabeledImages(str(tmp_path / 'x.lmdb'))) == [2, 3]


def test_missing_and_unreadable_databases_are_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match='No lmdb database at .*none.lmdb'):
        UnlabeledImages(str(tmp_path / 'none.lmdb'))
    (tmp_path / 'empty.lmdb').mkdir()
    with pytest.raises(FileNotFoundError, match='empty.lmdb: there is no data.mdb'):
        UnlabeledImages(str(tmp_path / 'empty.lmdb'))
    (tmp_path / 'fake.lmdb').write_bytes(b'no database' * 1000)
    with pytest.raises(ValueError, match='fake.lmdb cannot be opened as an lmdb'):
        UnlabeledImages(str(tmp_path / 'fake.lmdb'))
    write(tmp_path / 'binary.lmdb', {b'\xff\xfe': b'x'})
    with pytest.raises(FileNotFoundError, match='none of its 1 files ends in .jpg'):
        UnlabeledImages(str(tmp_path / 'binary.lmdb'))
    # As on a machine without the library.
    monkeypatch.setitem(sys.modules, 'lmdb', None)
    with pytest.raises(ImportError, match='pip install lmdb'):
        UnlabeledImages(str(tmp_path / 'binary.lmdb'))
