"""Batched parameters follow the distributions of the steps themselves."""
import random
from collections import Counter

import pytest
import torch
from scipy.stats import chisquare, ks_2samp

from mmcontrast.datasets.transforms import (
    ViewColorJitter,
    ViewGaussianBlur,
    ViewGrayscale,
    ViewRandAugment,
    ViewSolarize,
)
from mmcontrast.models.photometric import BatchedSteps, Op, batched_recipe

N = 4000


def draw(step, seed=0):
    return BatchedSteps([step]).draw(N, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('op', ['brightness', 'contrast', 'saturation', 'hue'])
@pytest.mark.parametrize('strengths', [(0.4, 0.4, 0.2, 0.1), (0.8, 1.5, 0.8, 0.5)])
def test_jitter_factors_are_distributed_as_in_the_single_step(op, strengths):
    """Two samples of one distribution: the chance of p < 0.001 is one in a thousand."""
    step, rng = ViewColorJitter(*strengths), random.Random(1)
    choices = draw(step)
    batched = choices.values[choices.ops == Op[op.upper()]]
    single = [dict(step.draw(rng))[op] for _ in range(N)]
    assert len(batched) == N
    assert ks_2samp(batched.numpy(), single).pvalue > 1e-3


def test_all_orders_of_the_jitter_are_equally_likely():
    orders = Counter(map(tuple, draw(ViewColorJitter()).ops.tolist()))
    assert len(orders) == 24 and chisquare(list(orders.values())).pvalue > 1e-3


def test_factors_do_not_depend_on_the_place_in_the_order():
    choices = draw(ViewColorJitter())
    by_place = [choices.values[choices.ops[:, k] == Op.CONTRAST, k] for k in (0, 3)]
    assert ks_2samp(*by_place).pvalue > 1e-3


def test_sigma_is_distributed_as_in_the_single_step():
    step, rng = ViewGaussianBlur(sigma=(0.1, 2.0)), random.Random(2)
    single = [step.draw(rng) for _ in range(N)]
    assert ks_2samp(draw(step).values.flatten(), single).pvalue > 1e-3


def test_threshold_is_that_of_the_step():
    assert draw(ViewSolarize(threshold=100)).values.unique().tolist() == [100]


@pytest.mark.parametrize('step', [
    ViewColorJitter, ViewGrayscale, ViewGaussianBlur, ViewSolarize])
@pytest.mark.parametrize('prob', [0.0, 0.2, 1.0])
def test_steps_happen_with_their_probability(step, prob):
    """4 standard errors of a share of 4000 are at most 0.026."""
    happens = (draw(step(prob=prob)).ops != Op.SKIP)
    assert (happens.all(1) == happens.any(1)).all()
    assert happens.float().mean().item() == pytest.approx(
        prob, abs=0.026 if 0 < prob < 1 else 0)


def test_byol_views_get_their_own_steps_in_order():
    first, second = (steps.draw(N).ops for steps in batched_recipe('BYOL'))
    assert first.shape == (N, 6) and second.shape == (N, 7)
    assert (first[:, 4:].max(0)[0]).tolist() == [Op.GRAYSCALE, Op.BLUR]
    assert second[:, 4:].max(0)[0].tolist() == [Op.GRAYSCALE, Op.BLUR, Op.SOLARIZE]
    shares = (second > 0).float().mean(0).tolist()
    assert shares == pytest.approx([0.8] * 4 + [0.2, 0.1, 0.2], abs=0.026)
    assert (first[:, 5] == Op.BLUR).all()


def test_steps_happen_independently_of_each_other():
    ops = batched_recipe('BYOL')[1].draw(N, torch.Generator().manual_seed(3)).ops > 0
    correlation = torch.corrcoef(ops[:, 3:].T.float()) - torch.eye(4)
    assert correlation.abs().max() < 4 / N ** 0.5


def test_the_seed_decides():
    steps = batched_recipe('BYOL')[0]
    seeded = [steps.draw(8, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)]
    assert seeded[0].values.equal(seeded[1].values)
    assert seeded[0].ops.equal(seeded[1].ops)
    assert not seeded[0].values.equal(seeded[2].values)
    torch.manual_seed(5)
    assert steps.draw(8).values.equal(seeded[0].values)


def test_a_step_without_batched_form_points_to_the_strict_pipeline():
    with pytest.raises(TypeError, match='ViewRandAugment has no batched form.*strict'):
        BatchedSteps([ViewRandAugment()])
    with pytest.raises(ValueError, match="Unknown recipe.*did you mean 'BYOL'"):
        batched_recipe('BYOOL')
