"""The list of bad images that a training run leaves in its work dir."""
import atexit
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from PIL import Image

from mmcontrast.datasets import Reason, UnlabeledImages
from mmcontrast.engine.hooks.bad_images import BadImagesHook
from mmcontrast.testing.ranks import on_ranks
from tests.helpers.processes import run_python
from tests.helpers.runs import Mean


def train(root, work_dir, **dataset):
    runner = Runner(
        model=Mean(), work_dir=str(work_dir), default_scope='mmcontrast',
        train_dataloader=dict(
            batch_size=4, num_workers=2, sampler=dict(type='DefaultSampler'),
            collate_fn=dict(type='default_collate'),
            worker_init_fn=dict(type='mmcontrast.seed_worker'),
            # Wrapped, as a user may repeat a small folder.
            dataset=dict(type='RepeatDataset', times=2, dataset=dict(
                type='UnlabeledImages', data_root=str(root), pipeline=[
                    dict(type='LoadImage'), dict(type='TwoViews', size=16),
                    dict(type='PackViews')], **dataset))),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        custom_hooks=[dict(type='BadImagesHook')],
        experiment_name=f'bad_images_{work_dir}')
    runner.train()


@pytest.fixture
def folder(tmp_path):
    """24 images, two of them bad."""
    (tmp_path / 'images').mkdir()
    for k in range(24):
        Image.new('RGB', (30, 20), (k, k, k)).save(tmp_path / 'images' / f'{k:02}.png')
    (tmp_path / 'images' / '03.png').write_bytes(b'')
    (tmp_path / 'images' / '11.png').write_text('<html>')
    return tmp_path / 'images'


def test_run_continues_and_lists_the_bad_images(folder, tmp_path):
    list_file = tmp_path / 'run' / 'bad_images.txt'
    list_file.parent.mkdir()
    list_file.write_text('from an earlier run')
    # faults D: a name that is no UTF-8.
    (folder / '11.png').rename(folder / os.fsdecode(b'11\xe9.png'))
    train(folder, tmp_path / 'run')
    assert list_file.read_text().splitlines() == [
        f'{folder}/03.png\tempty file',
        f'{folder}/11\\xe9.png\tnot an image Pillow knows']
    log = next((tmp_path / 'run').rglob('*.log')).read_text()
    assert r'11\xe9.png: not an image' in log
    assert '2 of 24 images could not be used' in log and str(list_file) in log
    # Two workers may meet the same one at the same moment.
    assert len({line.rpartition('WARNING')[2] for line in log.splitlines()
                if 'Bad image, replaced by another one' in line}) == 2

    # Repaired files leave no old list behind.
    for name in ('03.png', os.fsdecode(b'11\xe9.png')):
        Image.new('RGB', (30, 20)).save(folder / name)
    train(folder, tmp_path / 'run')
    assert not list_file.exists()


def test_run_that_breaks_off_leaves_the_list(folder, tmp_path):
    """A hook is not called any more; the process itself writes at its end."""
    code = (f'import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n'
            'from tests.engine.test_bad_images_hook import train\n'
            f'train({str(folder)!r}, {str(tmp_path / "run")!r}, max_bad_share=0.01)')
    done = run_python([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode != 0
    assert '2 of the first' in done.stderr or '1 of the first' in done.stderr
    lines = (tmp_path / 'run' / 'bad_images.txt').read_text().splitlines()
    assert lines and {line.split('\t')[0] for line in lines} <= {
        f'{folder}/03.png', f'{folder}/11.png'}


def _meet_one_bad_image_each(rank, folder, work_dir):
    dataset = UnlabeledImages(folder)
    hook = BadImagesHook()
    runner = SimpleNamespace(work_dir=work_dir, hooks=[],
                             train_dataloader=SimpleNamespace(dataset=dataset))
    hook.before_train(runner)
    dataset.status.set_good(5)
    dataset.status.set_bad((3, 11)[rank], (Reason.EMPTY, Reason.NOT_AN_IMAGE)[rank])
    hook.after_train_epoch(runner)
    return dataset.status.counts()


def test_ranks_write_one_list_together(folder, tmp_path):
    counts = on_ranks(2, _meet_one_bad_image_each, str(folder), str(tmp_path))
    assert counts == [(3, 2), (3, 2)]
    assert (tmp_path / 'bad_images.txt').read_text().splitlines() == [
        f'{folder}/03.png\tempty file',
        f'{folder}/11.png\tnot an image Pillow knows']


def _save_after_one_bad_image_on_rank_1(rank, folder, work_dir):
    dataset = UnlabeledImages(folder)
    hook = BadImagesHook()
    runner = SimpleNamespace(
        work_dir=work_dir, iter=0, train_dataloader=SimpleNamespace(dataset=dataset),
        hooks=[hook, CheckpointHook(interval=2, by_epoch=False)])
    hook.before_train(runner)
    if rank == 1:
        dataset.status.set_bad(3, Reason.EMPTY)
    saved = []
    for runner.iter in range(2):
        hook.after_train_iter(runner, runner.iter)
        checkpoint = {}
        hook.before_save_checkpoint(runner, checkpoint)
        saved.append([status['indices'] for status in checkpoint.get('bad_images', ())])
    atexit.unregister(hook.write)
    return saved


def test_a_checkpoint_between_epochs_holds_the_bad_images_of_all_ranks(
        folder, tmp_path):
    saved = on_ranks(2, _save_after_one_bad_image_on_rank_1, str(folder), str(tmp_path))
    assert saved[0] == [[], [[3]]]
    assert (tmp_path / 'bad_images.txt').read_text() == f'{folder}/03.png\tempty file\n'
