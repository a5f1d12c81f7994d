"""A run that is killed and resumed equals the uninterrupted run, bit by bit."""
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmengine.runner import CheckpointLoader, Runner
from PIL import Image

from mmcontrast.apis.config import load_config
from mmcontrast.apis.train import build_runner
from mmcontrast.engine.runner.reliable_runner import ReliableRunner
from mmcontrast.io.checkpoint import read_checkpoint
from tests.helpers.exact_runs import (
    BATCH,
    Data,
    KillItself,
    Shuffled,
    Stream,
    Tell,
    epochs,
    final,
    in_processes,
    iterations,
    log,
    same_run,
    text_log,
    train,
    two_steps,
)

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason='bit by bit on a CPU; processes are forked')


def kills(count, last):
    """Random iterations, other ones in every run of the tests."""
    seed = int.from_bytes(os.urandom(4), 'little')
    chosen = random.Random(seed).sample(range(1, last), count)
    print(f'killing after iterations {chosen} (seed {seed})')
    return chosen


def killed_run(run, points, ranks=1):
    """Train until a point, SIGKILL, resume, until the next, ..., then to the end.

    A point counts the iterations that one process makes.
    """
    for point in points:
        in_processes(run, ranks, kill_at=point)
    in_processes(run, ranks)


KINDS = dict(
    epochs=lambda: epochs(accumulate=4, sampler=dict(type=Shuffled)),
    two_optimizers=two_steps,
    epochs_with_workers=lambda: epochs(workers=2),
    groups=lambda: epochs(workers=1, val=False, sampler=dict(
        type='PhraseGroupSampler', group_size=3)),
    whole_epochs=lambda: epochs(
        checkpoint=dict(by_epoch=True, interval=1, save_best='acc', rule='greater'),
        hooks=[dict(type='EarlyStoppingHook', monitor='acc', rule='greater',
                    patience=1)]),
    iterations=lambda: iterations(
        accumulate=2, sampler=dict(type='InfiniteSampler', shuffle=True)),
    iterations_of_finite_passes=lambda: iterations(workers=2, val=False))


@pytest.mark.parametrize('kind', KINDS)
def test_a_killed_run_ends_as_the_uninterrupted_one(kind, tmp_path):
    in_processes(lambda pipe: train(KINDS[kind](), tmp_path / 'whole', pipe=pipe))
    killed_run(lambda pipe: train(KINDS[kind](), tmp_path / 'killed', True, pipe),
               kills(2, 10))
    same_run(tmp_path / 'killed', tmp_path / 'whole')


def test_a_stream_is_read_again_up_to_the_position(tmp_path):
    def run(pipe, folder):
        loader = torch.utils.data.DataLoader(Stream(), BATCH, num_workers=2)
        train(dict(iterations(), train_dataloader=loader), tmp_path / folder, True,
              pipe)
    in_processes(lambda pipe: run(pipe, 'whole'))
    killed_run(lambda pipe: run(pipe, 'killed'), kills(1, 16))
    same_run(tmp_path / 'killed', tmp_path / 'whole')


def test_a_loader_of_another_class_is_named_with_what_it_costs(tmp_path):
    class OwnLoader(torch.utils.data.DataLoader):
        pass
    runner = ReliableRunner(work_dir=str(tmp_path), **dict(
        epochs(), train_dataloader=OwnLoader(Data(), BATCH)))
    assert not runner.train_loop.repeatable
    text = next(tmp_path.glob('*/*.log')).read_text()
    assert text.count('Batches of a OwnLoader of Data cannot be numbered') == 1


def test_two_ranks_each_resume_where_they_were(tmp_path):
    """Each has its own batch statistics and, within 3 steps, its own gradients."""
    def config():
        return epochs(accumulate=3, checkpoint=dict(by_epoch=False, interval=2))
    in_processes(lambda pipe: train(config(), tmp_path / 'whole', pipe=pipe), ranks=2)
    killed_run(lambda pipe: train(config(), tmp_path / 'killed', True, pipe),
               kills(2, 7), ranks=2)
    same_run(tmp_path / 'killed', tmp_path / 'whole')
    first, second = final(tmp_path / 'whole')['exact_resume']['ranks']
    assert not first['buffers'] and 'norm.running_mean' in second['buffers']


def train_config(pipe, config, work_dir, options):
    """What tools/train.py --resume does, in this process."""
    torch.set_num_threads(1)
    cfg = load_config(str(config), options, str(work_dir))
    cfg.resume = True
    runner = build_runner(cfg)
    assert isinstance(runner, ReliableRunner)
    runner.register_hook(Tell(pipe))
    runner.train()


def compile_photometric_kernels():
    """Once here, not in each of the processes."""
    kernels = pytest.importorskip('mmcontrast.models.photometric.kernels')
    ops = [op for op in kernels.Op if op != kernels.Op.SKIP]
    kernels.augment(np.zeros((3, 8, 8), np.uint8), ops, [1.0] * len(ops))


def test_a_real_pretraining_is_resumed_exactly(tmp_path):
    compile_photometric_kernels()
    name = 'slotcon_resnet18_1xb32-coslr-4e_shapes_debug.py'

    def run(pipe, folder):
        train_config(pipe, ROOT / 'configs/slotcon' / name, tmp_path / folder, {
            'train_dataloader.dataset.num_images': 24, 'train_cfg.max_epochs': 2,
            'train_dataloader.batch_size': 6, 'default_hooks.logger.interval': 1,
            'train_dataloader.dataset.pipeline.0.size': 32,
            'default_hooks.slot_images': None,
            'default_hooks.checkpoint.by_epoch': False,
            'default_hooks.checkpoint.interval': 3})
    in_processes(lambda pipe: run(pipe, 'whole'))
    killed_run(lambda pipe: run(pipe, 'killed'), kills(1, 7))
    same_run(tmp_path / 'killed', tmp_path / 'whole')
    assert final(tmp_path / 'killed')['meta']['iter'] == 8


SEGMENTOR = """
_base_ = ['mmseg::_base_/models/fcn_r50-d8.py', 'mmseg::_base_/default_runtime.py']
model = dict(
    data_preprocessor=dict(size=(32, 32)), pretrained=None,
    backbone=dict(depth=18, stem_channels=8, base_channels=8),
    decode_head=dict(in_channels=64, channels=8, num_classes=2),
    auxiliary_head=dict(in_channels=32, channels=8, num_classes=2))
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BaseSegDataset', data_root='DATA', metainfo=dict(
            classes=('a', 'b'), palette=[[0, 0, 0], [9, 9, 9]]), img_suffix='.png',
        data_prefix=dict(img_path='img', seg_map_path='ann'), pipeline=[
            dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
            dict(type='RandomResize', scale=(48, 48), ratio_range=(0.8, 1.5)),
            dict(type='RandomCrop', crop_size=(32, 32)),
            dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'),
            dict(type='PackSegInputs')]))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
param_scheduler = [dict(type='PolyLR', power=0.9, by_epoch=False, end=8)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=8, val_interval=8)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2))
"""


def test_a_plain_mmseg_config_is_resumed_exactly(tmp_path, scope_as_it_was):
    pytest.importorskip('mmseg')
    import mmseg.models  # noqa: F401  once here, not in each of the processes
    rng = np.random.default_rng(0)
    for folder, shape, high in (('img', (40, 40, 3), 256), ('ann', (40, 40), 2)):
        (tmp_path / folder).mkdir()
        for k in range(6):
            Image.fromarray(rng.integers(0, high, shape, dtype=np.uint8)).save(
                tmp_path / folder / f'{k}.png')
    config = tmp_path / 'config.py'
    config.write_text(SEGMENTOR.replace('DATA', str(tmp_path)))
    in_processes(lambda pipe: train_config(pipe, config, tmp_path / 'whole', {}))
    killed_run(lambda pipe: train_config(pipe, config, tmp_path / 'killed', {}),
               kills(1, 7))
    same_run(tmp_path / 'killed', tmp_path / 'whole')


def test_a_drawn_seed_is_restored(tmp_path):
    def run(pipe, folder, seed):
        np.random.seed()  # A process draws its own.
        train(epochs(seed=seed, val=False), tmp_path / folder, True, pipe)
    killed_run(lambda pipe: run(pipe, 'killed', None), kills(1, 12))
    drawn = final(tmp_path / 'killed')['meta']['seed']
    in_processes(lambda pipe: run(pipe, 'whole', drawn))
    same_run(tmp_path / 'killed', tmp_path / 'whole')


def test_a_validation_that_was_due_is_made_up_for(tmp_path):
    """mmengine saves, then validates; a run that dies in between lacks the scores."""
    def run(pipe, hooks=()):
        train(epochs(checkpoint=dict(interval=1), hooks=hooks), tmp_path, True, pipe)
    in_processes(lambda pipe: run(pipe, [KillItself('before_val', 2)]), dies=True)
    assert [step for is_train, step in log(tmp_path) if not is_train] == [8]
    in_processes(run)
    assert [step for is_train, step in log(tmp_path) if not is_train] == [8, 16, 24]


@pytest.mark.parametrize('built', [False, True])
def test_the_last_checkpoint_stays_until_the_next_is_written(tmp_path, built):
    keep = dict(by_epoch=False, interval=2, max_keep_ckpts=1)

    def run(pipe, hooks=()):
        config = epochs(checkpoint=keep, hooks=hooks)
        if built:
            config['default_hooks']['checkpoint'] = CheckpointHook(**keep)
        train(config, tmp_path, True, pipe)
    in_processes(lambda pipe: run(pipe, [KillItself('before_save_checkpoint', 2)]),
                 dies=True)
    assert sorted(path.name for path in tmp_path.glob('iter_*')) == [
        'iter_2.pth', 'iter_2.pth.json']
    in_processes(run)
    assert sorted(path.name for path in tmp_path.glob('iter_*')) == [
        'iter_24.pth', 'iter_24.pth.json']


def test_a_changed_batch_size_is_warned_about_and_no_sample_is_seen_twice(tmp_path):
    checkpoint = dict(by_epoch=False, interval=4)
    in_processes(lambda pipe: train(epochs(checkpoint=checkpoint), tmp_path, True,
                                    pipe), kill_at=7)
    in_processes(lambda pipe: train(epochs(checkpoint=checkpoint, batch_size=2),
                                    tmp_path, True, pipe))
    text = text_log(tmp_path)
    assert 'not exact: batch_size 4 -> 2 since' in text
    # 4 batches of 4 were done: the 9th of 15 batches of 2 is next.
    first = next(line for line in text.splitlines() if 'Epoch(train)' in line)
    assert '[ 9/15]' in first


def test_plain_mmengine_reads_our_checkpoints_and_we_read_its(tmp_path):
    def stop(pipe, kind, folder):
        train(epochs(checkpoint=dict(by_epoch=False, interval=2)), tmp_path / folder,
              True, pipe, kind)
    for folder, first, second in (('ours', ReliableRunner, Runner),
                                  ('theirs', Runner, ReliableRunner)):
        in_processes(lambda pipe: stop(pipe, first, folder), kill_at=5)  # noqa: B023
        in_processes(lambda pipe: stop(pipe, second, folder))  # noqa: B023
        assert 'resumed epoch: 0, iter: 4' in text_log(tmp_path / folder)
    assert 'not exact: the checkpoint was written without' in text_log(
        tmp_path / 'theirs')
    # The position follows from the counts: 3 epochs of 8, none started again.
    assert final(tmp_path / 'theirs')['meta']['iter'] == 24


def test_exact_resume_can_be_switched_off(tmp_path):
    runner = ReliableRunner(work_dir=str(tmp_path), cfg=dict(exact_resume=False),
                           **epochs())
    assert type(runner.train_loop).__name__ == 'EpochBasedTrainLoop'
    assert type(runner.train_dataloader) is torch.utils.data.DataLoader


def test_a_loop_from_the_config_of_another_library_is_exchanged(tmp_path):
    # mmengine notes the scope of what comes from a base such as 'mmdet::...'.
    config = epochs()
    config['train_cfg'] |= dict(_scope_='mmdet')
    runner = ReliableRunner(work_dir=str(tmp_path), **config)
    assert type(runner.train_loop).__name__ == 'EpochBasedExactLoop'


def test_a_runner_loads_once(tmp_path):
    """A test after a training with resume is one of the weights that it ended with."""
    config = epochs() | dict(custom_hooks=[], resume=True)
    runner = ReliableRunner(work_dir=str(tmp_path), **config)
    torch.save(dict(state_dict=runner.model.state_dict()), tmp_path / 'weights.pth')
    runner.begin_with = str(tmp_path / 'weights.pth')
    runner.model.queue += 1
    runner.load_or_resume()
    assert runner.model.queue.sum() == 0
    torch.save(dict(state_dict=runner.model.state_dict(), meta=dict(iter=9, epoch=1)),
               tmp_path / 'iter_9.pth')
    runner.model.queue += 1
    runner.load_or_resume()
    assert runner.model.queue.sum() == 10


def test_hooks_of_one_kind_each_keep_their_own_count(tmp_path):
    stopping = [dict(type='EarlyStoppingHook', monitor='acc', rule=rule, patience=9)
                for rule in ('less', 'greater')]
    config = epochs(checkpoint=dict(interval=1), hooks=stopping)
    runners = []

    def counts(runner):
        return [(hook.rule, hook.wait_count, float(hook.best_score))
                for hook in runner.hooks if hasattr(hook, 'wait_count')]
    for resume in (False, True):
        config['experiment_name'] = f'{tmp_path.name}_{resume}'
        runners.append(train(config, tmp_path, resume))
    # The second one found the end of the first and trained no more.
    assert counts(runners[0]) == counts(runners[1])
    assert counts(runners[0])[0] != counts(runners[0])[1]


def test_a_checkpoint_in_another_storage_is_resumed(tmp_path):
    CheckpointLoader.register_scheme(
        'disk://', lambda name, map_location=None: read_checkpoint(name[7:]))
    work_dir = tmp_path / 'run'
    train(epochs(checkpoint=dict(interval=1)), work_dir)
    elsewhere = (work_dir / 'epoch_2.pth').rename(tmp_path / 'epoch_2.pth')
    shutil.rmtree(work_dir)
    work_dir.mkdir()
    (work_dir / 'last_checkpoint').write_text(f'disk://{elsewhere}')
    train(epochs(checkpoint=dict(interval=1)), work_dir, True)
    assert text_log(work_dir).startswith(f' disk://{elsewhere}')
    assert [path.name for path in work_dir.glob('*.pth')] == ['epoch_3.pth']
