import pytest
import torch
from torch import nn

from mmcontrast.engine import (
    WarmupCosineLR,
    WarmupPolyLR,
    WarmupStepLR,
    cosine_momentum,
    two_groups,
    warmup_cosine,
)


def rates(build, steps):
    """Learning rate that each of ``steps`` optimizer steps uses."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=4.0)
    scheduler = build(optimizer)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    return seen


def test_momentum_is_halfway_after_half_the_run():
    assert cosine_momentum(0, 10) == pytest.approx(0.99)
    assert cosine_momentum(5, 10) == pytest.approx(0.995)
    assert cosine_momentum(10, 10) == 1.0


def test_scheduler_reaches_the_peak_at_step_t_inclusive():
    # Two warm-up epochs of 3 batches: step 0 has a hundredth, step 6 the peak.
    seen = rates(lambda o: WarmupCosineLR.build_iter_from_epoch(
        o, warmup=2, end=5, epoch_length=3), 15)
    assert seen[0] == pytest.approx(0.04)
    assert seen[3] == pytest.approx((0.04 + 4.0) / 2)
    assert seen[6] == 4.0 and max(seen[:6] + seen[7:]) < 4.0
    assert seen == [warmup_cosine(t, 15, 6, 4.0) for t in range(15)]


def test_step_scheduler_drops_at_the_milestones():
    seen = rates(lambda o: WarmupStepLR.build_iter_from_epoch(
        o, warmup=1, milestones=(2, 3), end=4, epoch_length=2), 8)
    assert seen == pytest.approx([.04, 2.02, 4, 4, .4, .4, .04, .04])


def test_polynomial_scheduler_ramps_to_the_decay():
    seen = rates(lambda o: WarmupPolyLR(o, warmup=2, warmup_ratio=0.5, power=1,
                                        eta_min=0.4, end=4, by_epoch=False), 4)
    # Without the ramp 4, 3.1, 2.2, 1.3; half and three quarters of it before step 2.
    assert seen == pytest.approx([2, 3.1 * .75, 2.2, 1.3])


def test_a_warmup_longer_than_the_run_is_rejected():
    with pytest.raises(ValueError, match='does not fit'):
        rates(lambda o: WarmupCosineLR(o, warmup=5, end=5, by_epoch=False), 1)


def test_resumed_scheduler_continues():
    full = rates(lambda o: WarmupCosineLR(o, warmup=2, end=9, by_epoch=False), 9)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=4.0)
    first = WarmupCosineLR(optimizer, warmup=2, end=9, by_epoch=False)
    for _ in range(4):
        optimizer.step()
        first.step()
    again = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=4.0)
    second = WarmupCosineLR(again, warmup=2, end=9, by_epoch=False)
    again.load_state_dict(optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert again.param_groups[0]['lr'] == full[4]
    again.step()
    second.step()
    assert again.param_groups[0]['lr'] == full[5]


def test_norms_and_biases_are_recognized_by_dimension_not_by_name():
    model = nn.ModuleDict(dict(
        mlp=nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), frozen=nn.Linear(2, 2)))
    model['frozen'].requires_grad_(False)
    weights, others = two_groups(model)
    assert [tuple(p.shape) for p in weights['params']] == [(3, 2)]
    assert [tuple(p.shape) for p in others['params']] == [(3,), (3,), (3,)]
    assert others['weight_decay'] == 0
