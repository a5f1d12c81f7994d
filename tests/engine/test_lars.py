import os
import sys

import pytest
import torch
from torch import nn

from mmcontrast.engine import LARS
from mmcontrast.engine.optim.lars import _cpu_step, _multi_tensor_step, trust_ratio
from tests.helpers.processes import run_python


def test_trust_ratio_by_hand():
    w, g = torch.tensor([[3., 4.]]), torch.tensor([[0., 1.]])
    group = dict(weight_decay=0.5, trust_coef=0.001, eps=0.0)
    # g + w / 2 = (1.5, 3): |w| = 5, |g'| = sqrt(11.25).
    assert trust_ratio(w, g, group) == pytest.approx(0.005 / 11.25 ** 0.5)


def test_trust_ratio_where_gradient_and_decay_cancel():
    w = torch.tensor([[3., 4.]])
    group = dict(weight_decay=0.5, trust_coef=0.001, eps=0.0)
    almost = -0.5 * w + torch.tensor([[1e-4, 0.]])
    assert trust_ratio(w, almost, group) == pytest.approx(0.005 / 1e-4, rel=1e-2)
    assert trust_ratio(w, -0.5 * w, group) == 1.0


def test_learning_rate_acts_on_the_whole_buffer():
    w = nn.Parameter(torch.tensor([1.0]))
    optimizer = LARS([dict(params=[w], adapt=False)], lr=1.0, momentum=0.5)
    for lr, grad in ((1.0, 2.0), (0.0, 2.0), (0.1, 0.0)):
        optimizer.param_groups[0]['lr'] = lr
        w.grad = torch.tensor([grad])
        optimizer.step()
    # b: 2, 3, 1.5; w: 1 - 2 - 0 - 0.15
    assert w.item() == pytest.approx(-1.15)


def test_all_paths_agree_and_the_cpu_paths_leave_gradients_alone():
    torch.manual_seed(0)
    # The second spans several blocks of the kernel. The third lies in memory in another
    # order than its gradient, which the kernel does not take.
    start = [torch.randn(5, 3), torch.randn(150, 64, 3, 3), torch.randn(6, 4),
             torch.randn(4, 8, 3, 3).to(memory_format=torch.channels_last)]
    grads = [torch.randn_like(p) for p in start]
    group = dict(lr=0.3, momentum=0.9, weight_decay=0.1, trust_coef=0.01, eps=1e-8)
    params = [nn.Parameter(p.clone()) for p in start]
    params[2].data = start[2].t().contiguous().t()
    optimizer = LARS(params, **group)
    slow = [p.clone() for p in start]
    slow_buffers = [torch.zeros_like(p) for p in start]
    other, buffers = [p.clone() for p in start], [torch.zeros_like(p) for p in start]
    for _ in range(3):
        for p, g in zip(params, grads, strict=True):
            p.grad = g.clone()
        optimizer.step()
        assert all(torch.equal(p.grad, g) for p, g in zip(params, grads, strict=True))
        _cpu_step(slow, grads, slow_buffers, group, kernel=None)
        _multi_tensor_step(other, [g.clone() for g in grads], buffers, group)
    for p, q, r in zip(params, slow, other, strict=True):
        torch.testing.assert_close(p.detach(), r)
        torch.testing.assert_close(q, r)


def test_the_kernel_takes_flat_tensors_of_one_layout():
    kernel = pytest.importorskip('mmcontrast.engine.optim.lars_kernel')
    flat, channels_last = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4).to(
        memory_format=torch.channels_last)
    assert kernel.takes(flat, flat.clone(), flat.clone())
    assert kernel.takes(channels_last, channels_last.clone(), channels_last.clone())
    assert not kernel.takes(flat, channels_last, flat)
    assert not kernel.takes(flat[:, :, ::2], flat[:, :, ::2], flat[:, :, ::2])
    assert not kernel.takes(*[flat.half()] * 3)
    assert not kernel.takes(flat, flat.double(), flat)


@pytest.mark.parametrize('nudge', [0.0, 1e-4])
def test_kernel_where_gradient_and_decay_cancel(nudge):
    kernel = pytest.importorskip('mmcontrast.engine.optim.lars_kernel')
    group = dict(lr=1.0, momentum=0.9, weight_decay=0.5, trust_coef=0.001, eps=0.0)
    w = torch.tensor([[3., 4.]])
    grad, buffer = -0.5 * w + torch.tensor([[nudge, 0.]]), torch.zeros(1, 2)
    kernel.step(w, grad, buffer, group)
    # |w| = 5 and g' = (nudge, 0): b = 0.001 * 5 * (1, 0), or nothing at all.
    expected = 0.005 if nudge else 0.0
    torch.testing.assert_close(buffer, torch.tensor([[expected, 0.]]))
    torch.testing.assert_close(w, torch.tensor([[3. - expected, 4.]]))


def test_kernel_neither_hides_nor_invents_nan():
    kernel = pytest.importorskip('mmcontrast.engine.optim.lars_kernel')
    group = dict(lr=1.0, momentum=0.9, weight_decay=0.1, trust_coef=0.001, eps=0.0)
    bad, buffer = torch.ones(3, 4), torch.zeros(3, 4)
    kernel.step(bad, torch.full((3, 4), torch.nan), buffer, group)
    assert bad.isnan().all()
    zero, buffer = torch.zeros(3, 4), torch.zeros(3, 4)
    kernel.step(zero, torch.zeros(3, 4), buffer, group)
    assert not zero.any()


def test_works_without_numba():
    code = """if True:
        import sys
        sys.modules['numba'] = None     # importing it raises ImportError
        import torch
        from mmcontrast.engine import LARS
        w = torch.nn.Parameter(torch.tensor([[3., 4.]]))
        w.grad = torch.tensor([[0., 1.]])
        LARS([w], lr=1.0, trust_coef=0.1).step()
        print(w.tolist())
    """
    printed = run_python([sys.executable, '-c', code], env=os.environ, check=True,
                          capture_output=True, text=True).stdout
    assert printed.strip() == '[[3.0, 3.5]]'


@pytest.mark.parametrize('name', ['lr', 'weight_decay', 'momentum'])
def test_negative_settings_are_rejected_by_name(name):
    with pytest.raises(ValueError, match=f'{name} must not be negative'):
        LARS([nn.Parameter(torch.zeros(2))], **({'lr': 1.0} | {name: -1.0}))


def test_on_all_cores_the_kernel_agrees_and_torch_keeps_its_number_of_threads():
    pytest.importorskip('numba')
    # In a process of its own: numba sets the number when its threads start.
    code = """
import torch
from mmcontrast.engine.optim.lars import LARS, _cpu_step
torch.set_num_threads(3)
weight = torch.nn.Parameter(torch.randn(400, 400))
weight.grad = torch.randn(400, 400)
start, buffer = weight.detach().clone(), torch.zeros(400, 400)
group = dict(lr=0.3, momentum=0.9, weight_decay=0.1, trust_coef=0.01, eps=1e-8)
LARS([weight], **group).step()
print(torch.get_num_threads())
_cpu_step([start], [weight.grad], [buffer], group, kernel=None)
torch.testing.assert_close(weight.detach(), start)
"""
    ended = run_python([sys.executable, '-c', code], capture_output=True, text=True)
    assert ended.returncode == 0 and ended.stdout.strip() == '3', ended.stderr
