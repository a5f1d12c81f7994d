import pytest
import torch
from torch import nn

from mmcontrast.engine import LARS
from mmcontrast.engine.lars import _multi_tensor_step, trust_ratio


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


def test_both_paths_agree_and_the_cpu_path_leaves_gradients_alone():
    torch.manual_seed(0)
    start = [torch.randn(5, 3), torch.randn(4, 2, 3, 3)]
    grads = [torch.randn_like(p) for p in start]
    group = dict(lr=0.3, momentum=0.9, weight_decay=0.1, trust_coef=0.01, eps=1e-8)
    params = [nn.Parameter(p.clone()) for p in start]
    optimizer = LARS(params, **group)
    other, buffers = [p.clone() for p in start], [torch.zeros_like(p) for p in start]
    for _ in range(3):
        for p, g in zip(params, grads, strict=True):
            p.grad = g.clone()
        optimizer.step()
        assert all(torch.equal(p.grad, g) for p, g in zip(params, grads, strict=True))
        _multi_tensor_step(other, [g.clone() for g in grads], buffers, group)
    for p, q in zip(params, other, strict=True):
        torch.testing.assert_close(p.detach(), q)


@pytest.mark.parametrize('name', ['lr', 'weight_decay', 'momentum'])
def test_negative_settings_are_refused_by_name(name):
    with pytest.raises(ValueError, match=f'{name} must not be negative'):
        LARS([nn.Parameter(torch.zeros(2))], **({'lr': 1.0} | {name: -1.0}))
