"""Full disks, forbidden folders, data that vanish: a sentence, and nothing lost."""
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from mmcontrast.datasets import UnlabeledImages
from mmcontrast.datasets.bad_images import ImagesGone
from mmcontrast.engine.runner.run_errors import DataError
from mmcontrast.io.atomic import atomic_write
from mmcontrast.io.checkpoint_files import latest_good_checkpoint
from mmcontrast.io.disk import DiskError, check_room, check_work_dir
from tests.helpers.disk_runs import (
    decoded_by_pillow,
    listed_images,
    own_images,
    validated,
    write_config,
)
from tests.helpers.processes import run_python
from tests.helpers.runs import run

ROOT = Path(__file__).parents[2]
CHECKPOINT = 1_080_000  # Bytes of the one weight, or little more.


def train(config: Path, *args, before=None) -> subprocess.CompletedProcess:
    """``tools/train.py`` in a process of its own; ``before`` runs in it first."""
    return run_python(
        [sys.executable, str(ROOT / 'tools/train.py'), str(config), *map(str, args)],
        capture_output=True, text=True, cwd=config.parent, preexec_fn=before,
        env=os.environ | dict(PYTHONPATH=str(ROOT)))


def message(done: subprocess.CompletedProcess) -> str:
    """The last sentence of a tool that ended with one."""
    assert done.returncode == 1, done.stderr[-3000:]
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('train.py: '), done.stderr[-3000:]
    return last


def limit_files(size: int):
    return partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=4m', 'none', str(folder)]
    if os.getuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip('needs the right to mount')
    yield folder
    subprocess.run(['umount', '-l', str(folder)], check=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*pth*')) + [
        path.name for path in folder.glob('.*') if 'partial' in path.name]


def test_a_full_disk_ends_the_run_and_the_last_checkpoint_is_good(tmp_path, small_disk):
    config = write_config(tmp_path, epochs=6)
    work_dir = small_disk / 'run'
    text = message(train(config, '--work-dir', work_dir))
    assert f'{work_dir}/epoch_4.pth could not be written: too little space' in text
    assert 'MiB are free there, 1.0 MiB are needed. Free some' in text
    assert f'The last checkpoint, {work_dir}/epoch_3.pth, is intact' in text
    assert names(work_dir) == [
        f'epoch_{n}.pth{end}' for n in (1, 2, 3) for end in ('', '.json')]
    # Space is freed, and the run continues to its end.
    for path in work_dir.glob('epoch_[12].*'):
        path.unlink()
    run(str(config), work_dir, {'default_hooks.checkpoint.max_keep_ckpts': 1},
        resume='auto')
    assert latest_good_checkpoint(work_dir).name == 'epoch_6.pth'


def test_the_best_checkpoint_stays_until_a_better_one_is_written(tmp_path, small_disk):
    work_dir = small_disk / 'run'
    config = validated(write_config(tmp_path, epochs=2))
    run(str(config), work_dir, {})
    assert names(work_dir) == [f'{name}.pth{end}' for name in (
        'best_acc_epoch_2', 'epoch_2') for end in ('', '.json')]
    shutil.rmtree(work_dir)
    config = validated(write_config(tmp_path, epochs=2, hook=(
        f"dict(type='Harm', what='fill', path={str(small_disk / 'fill')!r}, epoch=2)")))
    with pytest.raises(DiskError, match='best_acc_epoch_2.pth could not be written'):
        run(str(config), work_dir, {})
    assert names(work_dir) == [f'{name}.pth{end}' for name in (
        'best_acc_epoch_1', 'epoch_2') for end in ('', '.json')]
    assert latest_good_checkpoint(work_dir).name == 'epoch_2.pth'


def test_a_disk_that_fills_up_during_a_write_leaves_the_old_file(small_disk):
    path = small_disk / 'a.pth'
    path.write_bytes(b'old')
    with pytest.raises(DiskError, match=r'a.pth could not be written: No space left.*'
                                        r'0.0 MiB are free.*9.5 MiB are needed'):
        with atomic_write(path, needed=10**7) as file:
            for _ in range(10):
                file.write(bytes(10**6))
    assert os.listdir(small_disk) == ['a.pth'] and path.read_bytes() == b'old'


def test_too_little_space_is_noticed_before_anything_is_written(small_disk):
    check_room(small_disk / 'not' / 'yet' / 'a.pth', 3 * 2**20)
    with pytest.raises(DiskError, match='too little space.*4.0 MiB are free there, 5'):
        check_room(small_disk / 'not' / 'yet' / 'a.pth', 5 * 2**20)


def test_a_limit_on_file_sizes_ends_the_run_without_half_a_file(tmp_path):
    config = write_config(tmp_path)
    text = message(train(config, '--work-dir', tmp_path / 'run',
                      before=limit_files(CHECKPOINT // 2)))
    assert f'{tmp_path}/run/epoch_1.pth could not be written: File too large' in text
    assert 'file size limit' in text and '1.0 MiB are needed' in text
    assert names(tmp_path / 'run') == []


def test_a_log_that_cannot_be_written_ends_the_run(tmp_path):
    config = write_config(tmp_path, epochs=100)
    text = message(train(
        config, '--work-dir', tmp_path / 'run', '--cfg-options',
        'default_hooks.checkpoint.interval=-1', before=limit_files(16000)))
    log, = (tmp_path / 'run').glob('*/*.log')
    assert f'{log} could not be written: File too large' in text
    assert 15000 < log.stat().st_size <= 16000


def test_a_file_in_the_way_is_named_before_anything_is_built(
        tmp_path, monkeypatch):
    monkeypatch.setenv('ONE_WEIGHT_BUILT', str(tmp_path / 'built'))
    (tmp_path / 'file').touch()
    config = write_config(tmp_path)
    with pytest.raises(DiskError, match=f'{tmp_path}/file is a file. Move it away'):
        run(str(config), tmp_path / 'file' / 'run', {})
    assert not (tmp_path / 'built').exists()


def test_a_read_only_disk_is_named_before_anything_is_built(
        tmp_path, small_disk, monkeypatch):
    monkeypatch.setenv('ONE_WEIGHT_BUILT', str(tmp_path / 'built'))
    subprocess.run(['mount', '-o', 'remount,ro', str(small_disk)], check=True)
    config = write_config(tmp_path)
    with pytest.raises(DiskError, match='disk/run could not be written: Read-only.*'
                                        'choose another --work-dir'):
        run(str(config), small_disk / 'run', {})
    assert not (tmp_path / 'built').exists()


def test_a_forbidden_folder_is_named(tmp_path):
    folder = Path(tempfile.mkdtemp())  # tmp_path lies where only its user may look.
    folder.chmod(0o555)
    script = ('import os, sys\n'
              'from mmcontrast.io.disk import check_work_dir\n'
              'os.getuid() or os.setuid(65534)\n'
              'check_work_dir(sys.argv[1])\n')
    done = run_python([sys.executable, '-c', script, folder / 'run'], text=True,
                          capture_output=True, env=os.environ | dict(
                              PYTHONPATH=str(ROOT)))
    shutil.rmtree(folder)
    last = done.stderr.strip().splitlines()[-1]
    assert f'{folder}/run could not be written: Permission denied. Give this' in last


def test_a_good_work_dir_is_made_and_left_clean(tmp_path):
    check_work_dir(tmp_path / 'a' / 'b')
    assert os.listdir(tmp_path / 'a' / 'b') == []


def test_a_damaged_newest_checkpoint_is_passed_over_and_litter_goes(tmp_path):
    config, work_dir = write_config(tmp_path), tmp_path / 'run'
    whole = run(str(config), work_dir, {})
    newest = work_dir / 'epoch_3.pth'
    newest.write_bytes(newest.read_bytes()[:-999])
    litter = [work_dir / '.epoch_4.pth.elsewhere-1.partial', work_dir / 'gone.pth.json']
    litter[0].write_bytes(b'half')
    os.utime(litter[0], (1, 1))
    shutil.copy(work_dir / 'epoch_1.pth.json', litter[1])
    again = run(str(config), work_dir, {}, resume='auto')
    log = max(work_dir.glob('*/*.log'), key=os.path.getmtime).read_text()
    assert f'{newest} is damaged: it has' in log
    assert f'Resuming from {work_dir}/epoch_2.pth' in log
    assert again.iter == whole.iter and latest_good_checkpoint(work_dir) == newest
    assert not any(path.exists() for path in litter)
    assert all(path.name in log for path in litter)


@pytest.fixture
def images(tmp_path):
    """30 images in two folders."""
    for k in range(30):
        path = tmp_path / 'images' / 'ab'[k % 2] / f'{k:02}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (20, 20), (k, k, k)).save(path)
    return tmp_path / 'images'


@pytest.mark.parametrize('kind, what, where, workers, expected', [
    (own_images, 'remove', '', 0, ', which the images are read from, is now gone'),
    (own_images, 'remove', '', 1, ', which the images are read from, is now gone'),
    (listed_images, 'remove', 'a/04.png', 0, '/a/04.png of the data is missing. Restore'
     ' it, or remove it from the list'),
    (listed_images, 'remove', 'a', 0, '/a/00.png of the data is missing: there is no '
     'folder {images}/a. Restore it'),
    (listed_images, 'remove', 'a', 1, '/a/00.png of the data is missing: there is no '
     'folder {images}/a. Restore it'),
    (listed_images, 'empty', 'b/05.png', 0, '/b/05.png of the data is no image'),
    (decoded_by_pillow, 'empty', 'b/05.png', 0, '/b/05.png of the data is no image'),
    (decoded_by_pillow, 'cut', 'b/05.png', 0, None)])
def test_data_that_vanish_end_the_run_with_their_name(
        tmp_path, images, kind, what, where, workers, expected):
    hook = f"dict(type='Harm', what={what!r}, path={str(images / where)!r})"
    config = write_config(tmp_path, dataset=kind(images), hook=hook)
    with pytest.raises(DataError) as error:
        run(str(config), tmp_path / 'run', {'train_dataloader.num_workers': workers})
    text = str(error.value)
    if expected:
        assert text.startswith(f'{images}{expected}'.format(images=images)), text
    else:  # Pillow is given bytes, and nobody else says what file they are from.
        assert 'no image that can be read (image file is truncated' in text
        assert 'tools/doctor.py CONFIG names the damaged ones' in text
    assert text.count('The last checkpoint') == 1
    assert text.endswith(f'The last checkpoint, {tmp_path}/run/epoch_1.pth, is intact: '
                         'continue with --resume.')


def test_one_image_that_vanishes_is_replaced_and_the_run_continues(tmp_path, images):
    hook = f"dict(type='Harm', what='remove', path={str(images / 'a' / '04.png')!r})"
    config = write_config(tmp_path, dataset=own_images(images), hook=hook)
    runner = run(str(config), tmp_path / 'run', {})
    assert runner.epoch == 3
    bad, = runner.train_dataloader.dataset.bad_images()
    assert bad[0] == str(images / 'a' / '04.png')


def test_a_folder_that_loses_nearly_all_of_many_images_stops_soon(tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for k in range(600):
        Image.new('RGB', (8, 8)).save(folder / f'{k:03}.png')
    dataset = UnlabeledImages(str(folder), pipeline=[dict(type='LoadImage')])
    for k in range(600):
        dataset[k]
    for k in range(1, 600):
        (folder / f'{k:03}.png').unlink()
    # A tenth of the 600 would be 60 of them.
    with pytest.raises(ImagesGone, match='20 images in a row are missing from'):
        for _ in range(3):
            dataset[5]
    assert len(dataset.bad_images()) < 60
