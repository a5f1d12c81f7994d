"""Schedules and optimizer against the numbers of both reference implementations."""
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from mmcontrast.engine import LARS, cosine_momentum, momentum_steps, warmup_cosine
from mmcontrast.engine.optim import lars
from mmcontrast.testing import fill
from mmcontrast.testing.golden import Case

HERE = Path(__file__).parent
METHODS = ['pixpro', 'slotcon']


@pytest.mark.parametrize('method', METHODS)
def test_momentum_schedule(method):
    case = Case(str(HERE / method), 'momentum_schedule')
    out = {}
    for i, row in enumerate(case.meta['rows']):
        sizes = row['num_instances'], row['world_size'], row['batch_size']
        total = momentum_steps(*sizes, row['epochs'])
        out[f'K_{i}'] = np.array(total)
        out[f'k_start_{i}'] = np.array(momentum_steps(*sizes, row['start_epoch'] - 1))
        out[f'm_{i}'] = np.array([cosine_momentum(k, total) for k in row['step_k']])
    case.check(out)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('path', ['kernel', 'operations', 'multi_tensor'])
def test_lars(method, path, monkeypatch):
    if path == 'kernel':
        pytest.importorskip('numba')
    elif path == 'operations':
        # As it is without numba.
        monkeypatch.setattr(lars, '_kernel', lambda: None)
    else:
        # The path of other devices, run on the CPU.
        monkeypatch.setattr(lars, '_cpu_step',
                            lambda *args: lars._multi_tensor_step(*args[:4]))
    case = Case(str(HERE / method), 'lars')
    config, params = case.meta['config'], case.params()
    params['zero.weight'].zero_()
    params = {k: nn.Parameter(v) for k, v in params.items()}
    optimizer = LARS(
        [dict(params=[p for p in params.values() if p.ndim > 1]),
         dict(params=[p for p in params.values() if p.ndim <= 1], weight_decay=0.0,
              adapt=False)],
        lr=0.0, momentum=config['momentum'], weight_decay=config['weight_decay'],
        # SlotCon calls it eta, and adds nothing to the norm.
        trust_coef=config.get('trust_coef', config.get('eta')),
        eps=config.get('eps', 0.0))
    out = {}
    for step, rate in enumerate(config['lr_of_step']):
        for name, param in params.items():
            key = case.meta['inputs']['grad']['key']
            key = key.replace('<step>', str(step)).replace('<name>', name)
            param.grad = fill.randn(key, param.shape, 0.3)
            if name == 'zgrad.weight' and step in (0, 2):
                param.grad.zero_()
        for group in optimizer.param_groups:
            group['lr'] = rate
        optimizer.step()
        out |= {f'step{step}:{name}': p.detach().clone() for name, p in params.items()}
    out |= {f'buf:{name}': optimizer.state[p]['momentum_buffer']
            for name, p in params.items()}
    assert set(out) == set(case.meta['outputs'])
    case.check(out)


@pytest.mark.parametrize('method', METHODS)
def test_lr_schedule(method):
    case = Case(str(HERE / method), 'lr_schedule')
    out = {}
    for i, row in enumerate(case.meta['rows']):
        peak = row['batch_size'] * row['world_size'] / 256 * row['base_lr']
        out[f'lr_{i}'] = np.array([
            warmup_cosine(t, row['epochs'] * row['n_iter'],
                          row['warmup_epoch'] * row['n_iter'], peak,
                          row['warmup_multiplier']) for t in row['iterations']])
    case.check(out)
