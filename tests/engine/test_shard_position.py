"""A stopped and resumed run over tar shards sees what an uninterrupted one sees."""
import io
import tarfile
import uuid
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from mmcontrast.engine.runner.reliable_runner import ReliableRunner
from mmcontrast.testing.ranks import on_ranks
from tests.helpers.runs import Mean

BATCH = 3


class Seen(Hook):
    """Names of the images that were trained on; may break off a run."""

    priority = 'LOWEST'  # after the checkpoint is written

    def __init__(self, stop_after=None):
        self.stop_after, self.batches = stop_after, []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.batches.append([Path(sample.img_path).name
                             for sample in data_batch['data_samples']])
        if len(self.batches) == self.stop_after:
            raise KeyboardInterrupt


def write_shards(folder, sizes=(9, 5, 8)):
    folder.mkdir()
    first = 0
    for k, size in enumerate(sizes):
        with tarfile.open(folder / f's-{k}.tar', 'w') as tar:
            for n in range(first, first + size):
                data = io.BytesIO()
                Image.new('RGB', (30, 20), (n, n, n)).save(data, 'PNG')
                info = tarfile.TarInfo(f'{n:02}.png')
                info.size = len(data.getvalue())
                tar.addfile(info, io.BytesIO(data.getvalue()))
        first += size
    return folder


def train(shards, work_dir, train_cfg, stop_after=None, resume=False, checkpoint=None,
          workers=2, batch_size=BATCH, seed=5, sampler=None, kind=Runner, **dataset):
    """Names of the images of every batch."""
    seen = Seen(stop_after)
    runner = kind(
        model=Mean(), work_dir=str(work_dir), default_scope='mmcontrast',
        train_dataloader=dict(
            batch_size=batch_size, num_workers=workers, drop_last=True,
            persistent_workers=workers > 0,
            sampler=dict(type='ShardSampler', buffer_size=4) | (sampler or {}),
            collate_fn=dict(type='default_collate'),
            worker_init_fn=dict(type='mmcontrast.seed_worker'),
            dataset=dict(type='ShardedImages', shards=f'{shards}/*.tar', pipeline=[
                dict(type='LoadImage'), dict(type='TwoViews', size=8),
                dict(type='PackViews')], **dataset)),
        train_cfg=train_cfg, randomness=dict(seed=seed), resume=resume,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        default_hooks=dict(
            shard_position=dict(type='ShardPositionHook'),
            bad_images=dict(type='BadImagesHook'),
            checkpoint=dict(type='CheckpointHook', **checkpoint or dict(interval=1)),
            checkpoint_keys=dict(type='CheckpointKeysHook')),
        custom_hooks=[seen], experiment_name=str(uuid.uuid4()))
    try:
        runner.train()
    except KeyboardInterrupt:
        assert stop_after
    # Left to the garbage collector, the workers would take five seconds each to end.
    runner.train_loop.dataloader_iterator = runner.train_dataloader._iterator = None
    return seen.batches


EPOCHS = dict(type='EpochBasedTrainLoop', max_epochs=3)
ITERS = dict(type='IterBasedTrainLoop', max_iters=18)


@pytest.fixture
def shards(tmp_path):
    return write_shards(tmp_path / 'shards')


def log_of(work_dir):
    return max(work_dir.glob('*/*.log'), key=lambda p: p.stat().st_mtime).read_text()


# 22 images in batches of 3: 7 batches an epoch, one image left over.

@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('train_cfg, checkpoint, stop_after, kept', [
    # Checkpoints within an epoch: in its middle, at its last batch, in another one.
    (EPOCHS, dict(by_epoch=False, interval=2), 5, 4),
    (EPOCHS, dict(by_epoch=False, interval=7), 8, 7),
    (EPOCHS, dict(by_epoch=False, interval=2), 12, 12),
    # Checkpoints at the end of an epoch.
    (EPOCHS, dict(by_epoch=True, interval=1), 9, 7),
    # One long stream, over the end of an epoch.
    (ITERS, dict(by_epoch=False, interval=2), 5, 4),
    (ITERS, dict(by_epoch=False, interval=5), 11, 10)])
def test_stop_and_resume_see_the_images_of_an_uninterrupted_run(
        shards, tmp_path, train_cfg, checkpoint, stop_after, kept, workers):
    whole = train(shards, tmp_path / 'whole', train_cfg, workers=workers)
    assert len(whole) == (21 if train_cfg is EPOCHS else 18)
    options = dict(checkpoint=checkpoint, workers=workers)
    first = train(shards, tmp_path / 'run', train_cfg, stop_after, **options)
    second = train(shards, tmp_path / 'run', train_cfg, resume=True, **options)
    assert first == whole[:stop_after]
    assert second == whole[kept:]


@pytest.mark.parametrize('train_cfg, stop_after, kept', [
    (EPOCHS, 5, 4), (EPOCHS, 12, 12), (ITERS, 11, 10)])
def test_the_runner_that_resumes_exactly_takes_the_place_of_the_sampler(
        shards, tmp_path, train_cfg, stop_after, kept):
    options = dict(kind=ReliableRunner, workers=0,
                   checkpoint=dict(by_epoch=False, interval=2))
    whole = train(shards, tmp_path / 'whole', train_cfg, **options)
    assert whole == train(shards, tmp_path / 'plain', train_cfg, workers=0)
    first = train(shards, tmp_path / 'run', train_cfg, stop_after, **options)
    second = train(shards, tmp_path / 'run', train_cfg, resume=True, **options)
    assert first == whole[:stop_after]
    assert second == whole[kept:]


def test_a_place_that_does_not_hold_is_the_start_of_a_whole_epoch(shards, tmp_path):
    options = dict(kind=ReliableRunner, workers=0,
                   checkpoint=dict(by_epoch=False, interval=4))
    train(shards, tmp_path, EPOCHS, 4, **options)
    rest = train(shards, tmp_path, EPOCHS, resume=True, sampler=dict(buffer_size=9),
                 **options)
    assert len(rest) == 3 * 7 and 'buffer_size 4 -> 9' in log_of(tmp_path)


def test_a_stream_of_epochs_shows_every_image_once_an_epoch(shards, tmp_path):
    names = sum(train(shards, tmp_path, dict(ITERS, max_iters=22)), [])
    epochs = [names[k:k + 22] for k in range(0, 66, 22)]
    assert all(len(set(epoch)) == 22 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize('train_cfg', [EPOCHS, ITERS])
def test_workers_batch_size_and_seed_may_change_on_resuming(
        shards, tmp_path, train_cfg):
    whole = sum(train(shards, tmp_path / 'whole', train_cfg), [])
    checkpoint = dict(by_epoch=False, interval=4)
    train(shards, tmp_path / 'run', train_cfg, 4, checkpoint=checkpoint)
    rest = train(shards, tmp_path / 'run', train_cfg, resume=True, workers=1,
                 batch_size=2, seed=6, checkpoint=checkpoint)
    assert sum(rest, [])[:8] == whole[12:20]


def test_a_position_that_is_not_valid_restarts_the_epoch_and_says_why(
        shards, tmp_path):
    checkpoint = dict(by_epoch=False, interval=4)
    train(shards, tmp_path / 'run', EPOCHS, 4, checkpoint=checkpoint)
    rest = train(shards, tmp_path / 'run', EPOCHS, resume=True, indices=20,
                 checkpoint=checkpoint)
    assert len(rest) == 3 * 6
    assert 'num_images 22 -> 20' in log_of(tmp_path / 'run')
    train(shards, tmp_path / 'other', EPOCHS, 4, checkpoint=checkpoint)
    train(shards, tmp_path / 'other', EPOCHS, resume=True, checkpoint=checkpoint,
          sampler=dict(buffer_size=9))
    assert 'buffer_size 4 -> 9' in log_of(tmp_path / 'other')


def test_a_corrupt_member_is_replaced_and_listed_by_the_hook(shards, tmp_path):
    with tarfile.open(shards / 's-3.tar', 'w') as tar:
        info = tarfile.TarInfo('broken.png')
        info.size = 4
        tar.addfile(info, io.BytesIO(b'nope'))
    names = sum(train(shards, tmp_path / 'run', dict(EPOCHS, max_epochs=1)), [])
    assert len(names) == 21 and 'broken.png' not in names
    assert (tmp_path / 'run' / 'bad_images.txt').read_text() == (
        f'{shards}/s-3.tar/broken.png\tnot an image Pillow knows\n')


def _train_on_a_rank(rank, shards, folder):
    whole = train(shards, f'{folder}/whole', EPOCHS)
    checkpoint = dict(by_epoch=False, interval=2)
    first = train(shards, f'{folder}/run', EPOCHS, 3, checkpoint=checkpoint)
    second = train(shards, f'{folder}/run', EPOCHS, resume=True, checkpoint=checkpoint)
    return whole, first, second


def test_two_ranks_resume_each_where_it_stopped(shards, tmp_path):
    ranks = on_ranks(2, _train_on_a_rank, str(shards), str(tmp_path))
    for whole, first, second in ranks:
        # 11 images a rank and epoch, 3 batches of 3.
        assert len(whole) == 9
        assert first == whole[:3] and second == whole[2:]
    for k in range(3):
        both = [name for whole, _, _ in ranks for batch in whole[3 * k:3 * k + 3]
                for name in batch]
        assert len(set(both)) == len(both) == 18
