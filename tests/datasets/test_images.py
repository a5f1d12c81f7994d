"""Image lists, image formats, bad files and the random numbers of loaders."""
import io
import json
import multiprocessing
import pickle
import random
import zipfile

import numpy as np
import pytest
import torch
from mmengine.fileio import get
from mmengine.logging import MMLogger
from PIL import Image
from torch.utils.data import DataLoader

from mmcontrast.datasets import BadImage, Reason, UnlabeledImages, seed_worker
from mmcontrast.datasets.transforms import LoadImage, read_image


@pytest.fixture
def folder(tmp_path):
    """Images in several formats and folders, beside files that are none."""
    root = tmp_path / 'my photos.2024'
    for name in ('b/2.PNG', 'b/1.jpg', 'a/deep/er/3.webp', 'a/x y.z.bmp', '0.JPEG',
                 '.hidden/4.jpg', 'a/._5.jpg'):
        save(root / name)
    (root / 'a' / 'notes.txt').write_text('no image')
    return root


IN_ORDER = ['0.JPEG', 'a/deep/er/3.webp', 'a/x y.z.bmp', 'b/1.jpg', 'b/2.PNG']


def save(path, color=(200, 30, 60), size=(40, 30), **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size, color).save(path, **kwargs)
    return path


def paths(dataset):
    return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]


def pixel(dataset, idx):
    """The color that the pipeline of ``dataset`` reads for an image."""
    return np.array(LoadImage()(dataset.get_data_info(idx))['img'])[15, 20].tolist()


# Where images come from.

def test_folder_is_read_recursively_and_sorted(folder):
    dataset = UnlabeledImages(str(folder))
    assert paths(dataset) == [str(folder / name) for name in IN_ORDER]
    part = UnlabeledImages(str(folder), data_prefix=dict(img_path='b'))
    assert paths(part) == [str(folder / 'b/1.jpg'), str(folder / 'b/2.PNG')]
    bitmaps = UnlabeledImages(str(folder), suffixes=['.BMP'])
    assert paths(bitmaps) == [str(folder / 'a/x y.z.bmp')]


def test_home_folder_may_be_written_as_tilde(folder, monkeypatch):
    monkeypatch.setenv('HOME', str(folder.parent))
    assert len(UnlabeledImages('~/my photos.2024')) == 5


def test_class_folders_give_labels_in_the_order_of_their_names(folder):
    (folder / '0.JPEG').unlink()
    dataset = UnlabeledImages(str(folder), with_label=True)
    assert dataset.metainfo['classes'] == ('a', 'b')
    assert [dataset.get_data_info(i)['label'] for i in range(4)] == [0, 0, 1, 1]


def test_labels_need_class_folders(folder):
    with pytest.raises(ValueError, match="1 images are in none of them, e.g. '0.JPEG'"):
        UnlabeledImages(str(folder), with_label=True)


def test_text_list_takes_dots_spaces_and_labels(folder):
    (folder / 'list.txt').write_text('a/x y.z.bmp\t7\n\nb/1.jpg\t3\n')
    dataset = UnlabeledImages(str(folder), ann_file='list.txt', with_label=True)
    assert paths(dataset) == [str(folder / 'a/x y.z.bmp'), str(folder / 'b/1.jpg')]
    assert [dataset.get_data_info(i)['label'] for i in range(2)] == [7, 3]
    (folder / 'list.txt').write_text(f'{folder / "0.JPEG"}\n1.jpg\n')
    dataset = UnlabeledImages(
        str(folder), ann_file='list.txt', data_prefix=dict(img_path='b'))
    assert paths(dataset) == [str(folder / '0.JPEG'), str(folder / 'b/1.jpg')]


def test_list_without_labels_names_the_line(folder):
    (folder / 'list.txt').write_text('a.jpg\t1\nb.jpg\n')
    with pytest.raises(ValueError, match=r'list.txt, line 2: .*PATH<TAB>INTEGER'):
        UnlabeledImages(str(folder), ann_file='list.txt', with_label=True)


def test_coco_file_gives_its_images_in_its_order(folder):
    names = ['2.PNG', '1.jpg']
    (folder / 'coco.json').write_text(json.dumps(dict(
        images=[dict(id=i, file_name=name) for i, name in enumerate(names)])))
    dataset = UnlabeledImages(
        str(folder), ann_file='coco.json', data_prefix=dict(img_path='b'))
    assert paths(dataset) == [str(folder / 'b' / name) for name in names]


@pytest.mark.parametrize('text', [
    '{"info": 1}', '[1]', 'not json', '{"images": [1]}', '[' * 200_000,
    '{"images": [{"file_name": 5}]}', '{"images": [{"file_name": null}]}',
    ], ids=range(7))
def test_json_that_is_no_coco_file_is_named(folder, text):
    (folder / 'coco.json').write_text(text)
    with pytest.raises(ValueError, match='coco.json is not a COCO file'):
        UnlabeledImages(str(folder), ann_file='coco.json')


@pytest.fixture
def archive(tmp_path, folder):
    path = tmp_path / 'train.zip'
    with zipfile.ZipFile(path, 'w') as file:
        for k, name in enumerate(IN_ORDER[::-1]):
            data = io.BytesIO()
            Image.new('RGB', (40, 30), (10 * k, 100, 50)).save(data, 'PNG')
            file.writestr(f'train/{name}', data.getvalue())
        file.writestr('__MACOSX/train/0.JPEG', b'x')
        file.writestr('train/readme.md', b'x')
    return path


def test_zip_is_read_without_unpacking(archive):
    dataset = UnlabeledImages(str(archive))
    assert paths(dataset) == [f'zip://{archive}@/train/{name}' for name in IN_ORDER]
    assert [pixel(dataset, i)[0] for i in range(5)] == [40, 30, 20, 10, 0]


def test_list_beside_a_zip_names_paths_inside(archive):
    """The layout of the released PixPro code: train.zip and train_map.txt."""
    (archive.parent / 'train_map.txt').write_text('b/1.jpg\t5\na/x y.z.bmp\t1\n')
    dataset = UnlabeledImages(str(archive), ann_file='train_map.txt', with_label=True,
                              data_prefix=dict(img_path='train'))
    assert [pixel(dataset, i)[0] for i in range(2)] == [10, 20]
    assert dataset.get_data_info(0)['label'] == 5


def test_class_folders_inside_of_a_zip_give_labels(archive):
    dataset = UnlabeledImages(str(archive), with_label=True, suffixes=['.png', '.jpg'],
                              data_prefix=dict(img_path='train'))
    assert dataset.metainfo['classes'] == ('b',)


def _read_often(archive, names, seed, queue):
    wrong = 0
    rng = random.Random(seed)
    for _ in range(300):
        k = rng.randrange(len(names))
        data = get(f'zip://{archive}@/train/{names[k]}')
        color = Image.open(io.BytesIO(data)).convert('RGB').getpixel((0, 0))
        wrong += color[0] != 10 * k
    queue.put(wrong)


def test_forked_processes_read_one_zip_at_the_same_time(archive):
    names = IN_ORDER[::-1]
    get(f'zip://{archive}@/train/0.JPEG')  # open before the fork
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    workers = [context.Process(target=_read_often, args=(archive, names, k, queue))
               for k in range(3)]
    for worker in workers:
        worker.start()
    assert [queue.get(timeout=60) for _ in workers] == [0, 0, 0]
    for worker in workers:
        worker.join()


def test_missing_sources_say_what_was_looked_for(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="No folder '.*nowhere'.*data_root"):
        UnlabeledImages(str(tmp_path / 'nowhere'))
    with pytest.raises(FileNotFoundError, match='No list of images at .*none.txt'):
        UnlabeledImages(str(folder), ann_file='none.txt')
    with pytest.raises(FileNotFoundError, match='No zip archive at .*none.zip'):
        UnlabeledImages(str(tmp_path / 'none.zip'))
    with pytest.raises(FileNotFoundError, match='0.JPEG.* is a file, not a folder'):
        UnlabeledImages(str(folder / '0.JPEG'))
    (tmp_path / 'texts').mkdir()
    (tmp_path / 'texts' / 'notes.txt').write_text('no image')
    with pytest.raises(FileNotFoundError, match='none of its 1 files ends in .jpg'):
        UnlabeledImages(str(tmp_path / 'texts'))
    (folder / 'empty.txt').write_text('\n\n')
    with pytest.raises(ValueError, match='empty.txt names no image'):
        UnlabeledImages(str(folder), ann_file='empty.txt')
    (folder / 'fake.zip').write_text('no zip')
    with pytest.raises(ValueError, match='fake.zip is not a zip archive'):
        UnlabeledImages(str(folder / 'fake.zip'))
    with pytest.raises(ValueError, match=r'must be dict\(img_path=...\)'):
        UnlabeledImages(str(folder), data_prefix=dict(img='b'))


# What is in the files.

RED = (200, 30, 60)


def test_camera_rotation_is_applied(tmp_path):
    image = Image.new('RGB', (40, 30), (0, 0, 0))
    image.paste(RED, (0, 0, 20, 15))  # top left as stored
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    image.save(tmp_path / 'a.png', exif=exif)
    upright = read_image(str(tmp_path / 'a.png'))
    assert upright.size == (30, 40)
    assert upright.getpixel((29, 0)) == RED and upright.getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize('name, mode, color, seen', [
    ('a.png', 'L', 77, (77, 77, 77)),
    ('a.jpg', 'L', 77, (77, 77, 77)),
    ('a.png', '1', 1, (255, 255, 255)),
    ('a.png', 'LA', (77, 9), (77, 77, 77)),
    ('a.png', 'RGBA', (10, 20, 30, 99), (10, 20, 30)),
    ('a.webp', 'RGBA', (10, 20, 30, 255), (10, 20, 30)),
    # Black ink over cyan: no red, and half of green and blue.
    ('a.jpg', 'CMYK', (255, 0, 0, 128), (0, 127, 127)),
    ('a.bmp', 'RGB', RED, RED),
    # 16 bit: the high byte, never clipped to white.
    ('a.png', 'I;16', 0x40FF, (0x40,) * 3),
    ('a.tif', 'I;16', 0xFFFF, (255,) * 3),
    ('a.png', 'I;16', 200, (0,) * 3)])
def test_every_kind_of_image_becomes_rgb(tmp_path, name, mode, color, seen):
    Image.new(mode, (40, 30), color).save(tmp_path / name, lossless=True, quality=100)
    image = read_image(str(tmp_path / name))
    assert image.mode == 'RGB'
    got = np.array(image.getpixel((20, 15)), dtype=int)
    assert np.abs(got - seen).max() <= (2 if name.endswith(('jpg', 'webp')) else 0)


def test_palette_and_float_images_become_rgb(tmp_path):
    Image.new('RGB', (40, 30), RED).quantize(4).save(tmp_path / 'p.png')
    assert read_image(str(tmp_path / 'p.png')).getpixel((3, 3)) == RED
    ramp = np.linspace(0, 1, 6, dtype=np.float32)[None].repeat(4, 0)
    Image.fromarray(ramp).save(tmp_path / 'f.tif')
    levels = np.array(read_image(str(tmp_path / 'f.tif')))[0, :, 0]
    assert levels.tolist() == [0, 51, 102, 153, 204, 255]
    Image.fromarray(ramp * 4000 - 1000).save(tmp_path / 'g.tif')
    levels = np.array(read_image(str(tmp_path / 'g.tif')))[0, :, 0]
    assert levels.tolist() == [0, 51, 102, 153, 204, 255]


def test_drawn_images_are_not_read_from_disk():
    array = np.full((30, 40, 3), RED, np.uint8)
    results = LoadImage()(dict(img=array, img_path='shapes://train/0'))
    assert results['img'].getpixel((0, 0)) == RED
    assert results['ori_shape'] == (30, 40)
    with pytest.raises(ValueError, match=r'shapes://1.*\(H, W, 3\) uint8.*float32'):
        LoadImage()(dict(img=array.astype(np.float32), img_path='shapes://1'))


# Bad files.

def noise_bytes(kind):
    data = io.BytesIO()
    pixels = np.random.RandomState(0).randint(0, 255, (60, 80, 3), np.uint8)
    Image.fromarray(pixels).save(data, kind)
    return data.getvalue()


@pytest.mark.parametrize('data, reason', [
    (b'', Reason.EMPTY),
    (b'<html>404</html>', Reason.NOT_AN_IMAGE),
    *[(noise_bytes(kind)[:-2000], Reason.DAMAGED)
      for kind in ('JPEG', 'PNG', 'BMP', 'TIFF')],
    (noise_bytes('WEBP')[:-1000], Reason.DAMAGED)])
def test_broken_file_is_never_half_an_image(tmp_path, monkeypatch, data, reason):
    # Whatever another library has asked of Pillow.
    monkeypatch.setattr('PIL.ImageFile.LOAD_TRUNCATED_IMAGES', True)
    (tmp_path / 'bad.jpg').write_bytes(data)
    with pytest.raises(BadImage, match='bad.jpg') as caught:
        read_image(str(tmp_path / 'bad.jpg'))
    assert caught.value.reason == reason
    assert pickle.loads(pickle.dumps(caught.value)).reason == reason


@pytest.fixture
def log_file(tmp_path):
    """The log of a run, as mmengine's Runner opens it."""
    path = tmp_path / 'run.log'
    MMLogger.get_instance(path.as_posix(), log_file=str(path))
    yield path
    del MMLogger._instance_dict[path.as_posix()]


def load_only(results):
    image = LoadImage()(results)['img']
    return dict(idx=results['sample_idx'], color=image.getpixel((0, 0))[0])


@pytest.fixture
def mostly_good(tmp_path):
    """40 images, the 8th truncated and the 31st empty."""
    for k in range(40):
        save(tmp_path / f'{k:02}.jpg', size=(80, 60), quality=90)
    (tmp_path / '07.jpg').write_bytes(noise_bytes('JPEG')[:-2000])
    (tmp_path / '30.jpg').write_bytes(b'')
    return tmp_path


@pytest.mark.parametrize('options', [
    dict(num_workers=0),
    dict(num_workers=2),
    dict(num_workers=2, persistent_workers=True),
    dict(num_workers=1, persistent_workers=True, multiprocessing_context='spawn')])
def test_bad_files_are_replaced_warned_about_once_and_counted(
        mostly_good, log_file, capfd, options):
    dataset = UnlabeledImages(str(mostly_good), pipeline=[load_only])
    loader = DataLoader(dataset, batch_size=5, worker_init_fn=seed_worker, **options)
    for _ in range(3):
        seen = torch.cat([batch['idx'] for batch in loader]).tolist()
        assert len(seen) == 40 and not {7, 30} & set(seen)
    assert dataset.status.counts() == (40, 2)
    assert dataset.bad_images() == [(f'{mostly_good}/07.jpg', Reason.DAMAGED),
                                    (f'{mostly_good}/30.jpg', Reason.EMPTY)]
    del loader
    # A spawned loader knows no log file and prints.
    spawned = 'multiprocessing_context' in options
    text = capfd.readouterr().out if spawned else log_file.read_text()
    assert text.count('07.jpg') == text.count('30.jpg') == 1


def test_too_many_bad_files_end_the_run(tmp_path):
    for k in range(30):
        save(tmp_path / f'{k:02}.jpg')
    for k in range(0, 12, 3):
        (tmp_path / f'{k:02}.jpg').write_bytes(b'x')
    dataset = UnlabeledImages(str(tmp_path), pipeline=[load_only])
    with pytest.raises(ValueError, match=r'(?s)max_bad_share=0.1 allows 10%.*00.jpg: '
                                         'not an image.*raise max_bad_share'):
        list(DataLoader(dataset, num_workers=1))
    # Twenty images are needed for a verdict, and a higher bound is respected.
    patient = UnlabeledImages(str(tmp_path), pipeline=[load_only], max_bad_share=0.3)
    assert len(list(DataLoader(patient))) == 30


@pytest.mark.parametrize('num_images', [1, 5, 50])
@pytest.mark.parametrize('max_bad_share', [0.1, 1.0])
def test_all_images_corrupt_is_an_error_not_a_loop(tmp_path, num_images, max_bad_share):
    for k in range(num_images):
        (tmp_path / f'{k:02}.jpg').write_bytes(b'x')
    dataset = UnlabeledImages(str(tmp_path), pipeline=[load_only],
                              max_bad_share=max_bad_share)
    with pytest.raises(ValueError, match='cannot be used'):
        dataset[0]


# Random numbers.

class Draws(torch.utils.data.Dataset):
    """Gives one draw of each generator."""

    def __len__(self):
        return 4

    def __getitem__(self, idx):
        return torch.tensor(
            [random.random(), np.random.rand(), torch.rand(()).item()])


def draws(rank, epochs, persistent, monkeypatch):
    monkeypatch.setenv('RANK', str(rank))
    torch.manual_seed(0)  # every rank and every run starts alike
    loader = DataLoader(Draws(), batch_size=2, num_workers=2,
                        persistent_workers=persistent, worker_init_fn=seed_worker)
    return [[round(x, 9) for batch in loader for x in batch.flatten().tolist()]
            for _ in range(epochs)]


@pytest.mark.parametrize('persistent', [False, True])
def test_workers_draw_anew_in_every_epoch_and_on_every_rank(persistent, monkeypatch):
    first, again, other = (
        draws(rank, 3, persistent, monkeypatch) for rank in (0, 0, 1))
    numbers = [x for epoch in first + other for x in epoch]
    # 2 ranks x 3 epochs x 4 samples x 3 generators, all different.
    assert len(set(numbers)) == len(numbers) == 72
    assert first == again
