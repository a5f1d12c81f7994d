"""Schedules follow the length of a run; what does not fit it is named."""
from pathlib import Path

import pytest
import torch
from torch import nn

from mmcontrast.apis.config import load_config
from mmcontrast.engine import WarmupCosineLR, WarmupPolyLR, WarmupStepLR
from tests.helpers.exact_runs import epochs, iterations, train

ROOT = Path(__file__).parents[2]
DEMO = ROOT / 'configs/pixpro/pixpro_resnet18_1xb32-coslr-600i_demo.py'


def built(kind, **settings):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.)
    return kind(optimizer, **settings)


@pytest.mark.parametrize('iters', [600, 60, 7])
def test_the_demo_s_schedule_follows_its_max_iters(iters):
    """Obstacles: cutting max_iters left warm-up and cosine at 60 and 600."""
    options = {} if iters == 600 else {'train_cfg.max_iters': iters}
    cfg = load_config(str(DEMO), options)
    settings = {key: value for key, value in cfg.param_scheduler.items()
                if key not in ('type', 'convert_to_iter_based')}
    assert 'end' not in settings  # The runner fills it in.
    schedule = built(WarmupCosineLR, end=cfg.train_cfg.max_iters, **settings)
    assert (schedule.warmup, schedule.end) == (iters // 10, iters)


@pytest.mark.parametrize('kind', [WarmupCosineLR, WarmupStepLR, WarmupPolyLR])
def test_a_warmup_may_be_a_share_of_the_run(kind):
    assert built(kind, warmup='10%', end=50, by_epoch=False).warmup == 5
    converted = kind.build_iter_from_epoch(
        torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.), warmup='25%', end=4,
        epoch_length=10)
    assert converted.warmup == 10
    for wrong in ('10', 'a tenth', '-1%', '101%'):
        with pytest.raises(ValueError, match="such as '10%', got"):
            built(kind, warmup=wrong, end=50, by_epoch=False)


TWO = """
train_cfg = dict(type='IterBasedTrainLoop', max_iters=40)
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, end=10),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=10, end=40, T_max=30),
    dict(type='PolyLR', by_epoch=True, end=40)]
"""


def ends(path, **options):
    cfg = load_config(str(path), {key.replace('__', '.'): value
                                  for key, value in options.items()})
    return [(part.get('end'), part.get('T_max')) for part in cfg.param_scheduler]


def test_options_for_the_length_move_the_ends_that_were_its(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(TWO)
    assert ends(path) == [(10, None), (40, 30), (40, None)]
    assert ends(path, train_cfg__max_iters=20) == [(10, None), (20, 10), (40, None)]
    assert ends(path, train_cfg__max_iters=80) == [(10, None), (80, 70), (40, None)]
    # What the command line says of the schedule is left alone.
    assert ends(path, train_cfg__max_iters=20, param_scheduler__1__end=40) == ends(path)
    # A schedule that would never begin stays: the log names it.
    assert ends(path, train_cfg__max_iters=10) == ends(path)


def test_a_config_of_mmseg_can_be_cut_short():
    pytest.importorskip('mmseg')
    cfg = load_config('mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py',
                      {'train_cfg.max_iters': 100})
    assert [part.end for part in cfg.param_scheduler] == [100]


def text(tmp_path, config):
    train(config, tmp_path)
    return '\n'.join(path.read_text() for path in tmp_path.rglob('*.log'))


@pytest.mark.parametrize('schedule, found', [
    (dict(type='PolyLR', by_epoch=False, end=60), 'it ends at 60'),
    (dict(type='CosineAnnealingLR', by_epoch=False, T_max=60), 'its T_max is 60'),
    (dict(type='MultiStepLR', by_epoch=False, milestones=[30, 50]),
     'its first milestone is 30'),
    (dict(type='PolyLR', by_epoch=False, begin=20, end=60), 'it begins at 20'),
    (dict(type='StepLR', step_size=1), 'counts epochs')])
def test_a_schedule_that_does_not_fit_a_run_by_iterations_is_named(
        tmp_path, schedule, found):
    config = iterations(val=False) | dict(param_scheduler=[schedule])
    assert found in text(tmp_path, config)


@pytest.mark.parametrize('schedule', [
    dict(type='LinearLR', by_epoch=False, end=5), dict(type='PolyLR', by_epoch=False),
    dict(type='MultiStepLR', by_epoch=False, milestones=[15, 50]), None])
def test_one_that_fits_is_not(tmp_path, schedule):
    config = iterations(val=False) | dict(param_scheduler=schedule)
    assert 'param_scheduler[' not in text(tmp_path, config)


def test_checkpoints_by_epoch_in_a_run_by_iterations_are_named(tmp_path):
    config = iterations(val=False, checkpoint=dict(interval=1))
    assert 'no checkpoint before its end' in text(tmp_path / 'a', config)
    config = epochs(val=False, checkpoint=dict(interval=1))
    assert 'no checkpoint before its end' not in text(tmp_path / 'b', config)
