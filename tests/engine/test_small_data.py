"""Runs on fewer images than a batch train, or say what to change; faults B."""
import pytest
from torch import nn

from mmcontrast.engine.hooks.intervals import IntervalHook
from mmcontrast.errors import DataError
from tests.helpers.exact_runs import (
    NUM_SAMPLES,
    Data,
    Net,
    epochs,
    iterations,
    same_run,
    train,
)

HOOKS = [dict(type='PretrainMonitorHook', patience=1), dict(type='ShardPositionHook'),
         dict(type='BadImagesHook')]


class One(Data):

    def __len__(self):
        return 1


class Acts(IntervalHook):
    """Notes the steps at which it acts."""

    def __init__(self, **options):
        super().__init__(**options)
        self.steps = []

    def act(self, runner, step):
        self.steps.append(step)


def log_of(tmp_path):
    return '\n'.join(path.read_text() for path in tmp_path.rglob('*.log'))


def few(settings, sampler, dataset=Data, hooks=(), max_iters=4, **more):
    config = settings(
        sampler=dict(type=sampler, shuffle=True), batch_size=64, val=False,
        checkpoint=dict(by_epoch=False, interval=2), hooks=[*HOOKS, *hooks], **more)
    config['train_dataloader'].update(dataset=dict(type=dataset), drop_last=True)
    if settings is iterations:
        config['train_cfg'] = dict(by_epoch=False, max_iters=max_iters)
    # Whose end would be that of the run.
    config['param_scheduler'] = None
    return config


@pytest.mark.parametrize('dataset', [Data, One])
def test_an_endless_sampler_repeats_images_and_says_so(tmp_path, dataset):
    hook = Acts(by_epoch=True)
    config = few(iterations, 'InfiniteSampler', dataset, [hook])
    assert train(config, tmp_path).iter == 4
    samples = NUM_SAMPLES if dataset is Data else 1
    assert (f'has {samples} samples for each process, less than a batch of 64'
            in log_of(tmp_path))
    assert f'batch_size to {samples} or less' in log_of(tmp_path)
    assert hook.steps == [0, 1, 2, 3, 4]  # A pass is one batch at least.


def test_such_a_run_resumes_exactly(tmp_path):
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    train(few(iterations, 'InfiniteSampler'), whole)
    train(few(iterations, 'InfiniteSampler', max_iters=2), cut)
    train(few(iterations, 'InfiniteSampler'), cut, True)
    same_run(cut, whole)


@pytest.mark.parametrize('settings', [iterations, epochs])
def test_a_sampler_that_ends_without_a_batch_is_refused(tmp_path, settings):
    with pytest.raises(DataError, match=(
            'Data of train_dataloader has 30 samples: less than a batch of 64, and '
            'drop_last=True leaves out .* train_dataloader.batch_size to 30 or less')):
        train(few(settings, 'DefaultSampler'), tmp_path)


class FlatNorm(Net):
    """Normalizes one value a channel and image."""

    def __init__(self):
        super().__init__()
        self.layers.insert(1, nn.BatchNorm1d(12))


def test_a_last_batch_of_one_image_is_explained(tmp_path):
    config = epochs(val=False, batch_size=29) | dict(model=dict(type=FlatNorm))
    with pytest.raises(DataError, match=(
            'single image, .* 30 images in batches of 29 .*drop_last=True')):
        train(config, tmp_path)
    config['train_dataloader']['drop_last'] = True
    assert train(config | dict(experiment_name=f'{tmp_path.name}-2'), tmp_path).iter


def test_enough_images_give_no_warning(tmp_path):
    train(iterations(val=False, sampler=dict(type='InfiniteSampler'),
                     batch_size=NUM_SAMPLES) | dict(
        train_cfg=dict(by_epoch=False, max_iters=1)), tmp_path)
    assert 'less than a batch' not in log_of(tmp_path)


@pytest.mark.parametrize('options, steps', [
    # 30 images in batches of 4: a pass has 8.
    (dict(interval=1), [0, 8, 16]), (dict(interval=2), [0, 16]),
    (dict(interval=3), [0]), (dict(interval='30%'), [0, 6, 12, 18]),
    (dict(interval='1%', before_training=False), list(range(1, 21))),
    (dict(interval=9, by_epoch=False), [0, 9, 18])])
def test_hooks_by_epoch_follow_the_passes_of_a_run_by_iterations(
        tmp_path, options, steps):
    """Obstacles: DenseProbeHook(by_epoch=True) measured once and never again."""
    hook = Acts(**options)
    train(iterations(val=False, hooks=[hook]), tmp_path)
    assert hook.steps == steps
    text, wrong = log_of(tmp_path), isinstance(options['interval'], int) and (
        'by_epoch' not in options)
    assert ('Acts counts epochs (by_epoch=True), but this run counts iterations'
            in text) == wrong
    assert ('so it never does' in text) == (options == dict(interval=3))


def test_a_share_of_a_run_by_epochs_counts_epochs(tmp_path):
    hook = Acts(interval='50%')
    train(epochs(val=False, hooks=[hook]), tmp_path)
    assert hook.steps == [0, 8, 16, 24]
    for wrong in (0, '0%', '120%', 'often', '5'):
        with pytest.raises(ValueError, match='must be'):
            Acts(interval=wrong)
