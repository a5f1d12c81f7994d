"""The contrastive loss equals its plain formula, in blocks and on several ranks."""
from functools import cache, partial

import pytest
import torch
import torch.nn.functional as F

from mmcontrast.models import ContrastiveLoss, LogitScale
from mmcontrast.registry import MODELS
from mmcontrast.testing.ranks import on_ranks

PAIRS, DIMS, LEVELS = 7, 5, 3
FORMS = ('softmax', 'focal', 'sigmoid')
FOCAL = dict(alpha=0.3, gamma=1.5)
CLOSE = dict(rtol=1e-6, atol=1e-9)
# Pairs of each rank.
SHARES = {1: [7], 2: [4, 3], 4: [2, 2, 2, 1]}


def batch(form, levels=None, pairs=PAIRS):
    """Images, texts, scale and, for the sigmoid, bias, of float64 and with gradients.
    """
    g = torch.Generator().manual_seed(0)
    shape = () if levels is None else (levels,)

    def draw(*size):
        return torch.randn(size, generator=g, dtype=torch.float64)
    text = draw(pairs, DIMS)
    tensors = [draw(*shape, pairs, DIMS) + text, text, 8 + draw(*shape).abs()]
    if form == 'sigmoid':
        tensors.append(draw(*shape) - 2)
    return [x.requires_grad_() for x in tensors]


def plain(form, image, text, scale, bias=0.):
    """The whole matrix of logits at once, and only torch's own losses."""
    if image.dim() == 3:
        biases = bias if isinstance(bias, torch.Tensor) else [bias] * len(image)
        return torch.stack([plain(form, each, text, s, b) for each, s, b in zip(
            image, scale, biases, strict=True)])
    logits = scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).t() + bias
    if form == 'softmax':
        labels = torch.arange(len(logits))
        return (F.cross_entropy(logits, labels)
                + F.cross_entropy(logits.t(), labels)) / 2
    target = torch.eye(len(logits), dtype=logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
    if form == 'focal':
        right = torch.where(target > 0, logits.sigmoid(), 1 - logits.sigmoid())
        share = torch.where(target > 0, FOCAL['alpha'], 1 - FOCAL['alpha'])
        entropy = 2 * share * (1 - right) ** FOCAL['gamma'] * entropy
    return entropy.sum() / len(logits)


def build(form, chunk_size=3, **settings):
    return ContrastiveLoss(
        form, chunk_size, **settings, **(FOCAL if form == 'focal' else {}))


def gradients(losses, tensors):
    """Of a sum in which levels weigh differently."""
    weights = torch.arange(1., losses.numel() + 1).to(losses).view_as(losses)
    return torch.autograd.grad((losses * weights).sum(), tensors)


@pytest.mark.parametrize('levels', [None, LEVELS])
@pytest.mark.parametrize('chunk_size', [1, 3, PAIRS, PAIRS + 5, None])
@pytest.mark.parametrize('form', FORMS)
def test_blocks_give_the_loss_and_gradients_of_the_plain_formula(
        form, chunk_size, levels):
    tensors = batch(form, levels)
    losses, want = build(form, chunk_size)(*tensors), plain(form, *tensors)
    torch.testing.assert_close(losses, want, **CLOSE)
    for ours, theirs in zip(gradients(losses, tensors), gradients(want, tensors),
                            strict=True):
        assert theirs.abs().sum() > 0
        torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize('form', FORMS)
def test_levels_may_share_one_scale_and_one_bias(form):
    image, text, *factors = batch(form, LEVELS)
    shared = [x[:1].detach().requires_grad_() for x in factors]
    losses = build(form)(image, text, *shared)
    want = plain(form, image, text, *(x.expand(LEVELS) for x in shared))
    torch.testing.assert_close(losses, want, **CLOSE)
    for ours, theirs in zip(gradients(losses, shared), gradients(want, shared),
                            strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize('form, frozen', [
    *((form, frozen) for form in FORMS for frozen in range(3)), ('sigmoid', 3)])
def test_a_frozen_input_gets_no_gradient_and_changes_no_other(form, frozen):
    tensors = batch(form)
    want = plain(form, *tensors)
    trained = [x for i, x in enumerate(tensors) if i != frozen]
    expected = torch.autograd.grad(want, trained)
    tensors[frozen].requires_grad_(False)
    loss = build(form)(*tensors)
    loss.backward()
    assert tensors[frozen].grad is None
    for x, theirs in zip(trained, expected, strict=True):
        torch.testing.assert_close(x.grad, theirs, **CLOSE)


@pytest.mark.parametrize('form', FORMS)
def test_gradients_are_those_of_finite_differences(form):
    loss = build(form, 2, normalize=False)
    assert torch.autograd.gradcheck(loss, batch(form, 2, pairs=3))


def test_softmax_of_two_pairs_by_hand():
    # Cosines: (1, 0) for image 0; (0.6, 0.8) for image 1.
    image, text = torch.tensor([[2., 0], [3, 4]]), torch.eye(2)
    rows = torch.tensor([[1, 0], [0.6, 0.8]]).log_softmax(1).diagonal()
    columns = torch.tensor([[1, 0], [0.6, 0.8]]).log_softmax(0).diagonal()
    torch.testing.assert_close(
        ContrastiveLoss(chunk_size=1)(image, text, 1.), -(rows + columns).mean() / 2)


@pytest.mark.parametrize('form', FORMS)
def test_distant_logits_overflow_in_no_block(form):
    """float32, where exp(89) is infinite and exp(-104) zero."""
    image = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)),
                        dim=1)
    tensors = [image.requires_grad_(), (-image).detach().requires_grad_(),
               torch.tensor(400.)]
    tensors += [torch.tensor(-10.)] if form == 'sigmoid' else []
    loss, want = build(form)(*tensors), plain(form, *(x.double() for x in tensors))
    torch.testing.assert_close(loss.double(), want, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(gradients(loss, tensors[:2]), gradients(want, tensors[:2]),
                            strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def kept_bytes(form, pairs, levels):
    """Bytes that autograd keeps for the backward pass."""
    total = 0

    def count(x):
        nonlocal total
        total += x.numel() * x.element_size()
        return x
    tensors = batch(form, levels, pairs)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
        build(form)(*tensors)
    return total


@pytest.mark.parametrize('form', FORMS)
def test_what_is_kept_for_the_backward_grows_linearly_with_the_batch(form):
    few, twice, many = (kept_bytes(form, n, LEVELS) for n in (64, 128, 1024))
    assert many - few <= 15 * (twice - few)
    assert many < 1024 ** 2 * 8                     # one matrix of logits


@pytest.mark.parametrize('form', FORMS)
def test_no_block_is_larger_than_its_chunk(form):
    """The most elements of a tensor that any operation returns."""
    most = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal most
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                most = max(most, result.numel())
            return result
    tensors = batch(form, LEVELS, pairs=100)
    with Watch():
        gradients(build(form, 20)(*tensors), tensors)
    assert most == 20 * 100 > LEVELS * 100 * DIMS


def test_evaluation_without_gradients_gives_the_same_loss():
    tensors = batch('softmax')
    with torch.no_grad():
        loss = build('softmax')(*tensors)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, plain('softmax', *tensors), **CLOSE)


@pytest.mark.parametrize('form', FORMS)
def test_half_precision_is_computed_in_float32_under_autocast(form):
    tensors = [x.detach().to(torch.bfloat16).requires_grad_() for x in batch(form)]
    with torch.autocast('cpu', torch.bfloat16):
        loss = build(form)(*tensors)
    loss.backward()
    assert loss.dtype == torch.float32 and tensors[0].grad.dtype == torch.bfloat16
    torch.testing.assert_close(
        loss, plain(form, *(x.float() for x in tensors)), rtol=1e-5, atol=1e-6)


def everything(rank, world_size):
    """Losses and gradients of this rank's share, for all forms and levels."""
    found = {}
    shares = SHARES[world_size]
    first = sum(shares[:rank])
    own = slice(first, first + shares[rank])
    for form in FORMS:
        for levels in (None, LEVELS):
            image, text, *factors = batch(form, levels)
            tensors = [image[..., own, :].detach().requires_grad_(),
                       text[own].detach().requires_grad_(), *factors]
            losses = build(form, 2)(*tensors)
            found[f'{form}, levels={levels}'] = [
                losses.detach(), *gradients(losses, tensors)]
    return found


@cache
def ranks_of(world_size):
    return on_ranks(world_size, everything, world_size)


@pytest.mark.parametrize('levels', [None, LEVELS])
@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('world_size', [2, 4])
def test_ranks_with_shares_of_any_size_equal_one_process(world_size, form, levels):
    tensors = batch(form, levels)
    want = plain(form, *tensors)
    images, texts, *factors = gradients(want, tensors)
    found = [rank[f'{form}, levels={levels}'] for rank in ranks_of(world_size)]
    for loss, _, _, *own_factors in found:
        torch.testing.assert_close(loss, want.detach(), **CLOSE)
        for ours, theirs in zip(own_factors, factors, strict=True):
            torch.testing.assert_close(ours, theirs, **CLOSE)
    # DDP divides what features pass on to the weights by the number of ranks.
    for position, dim, theirs in ((1, -2, images), (2, 0, texts)):
        ours = torch.cat([each[position] for each in found], dim) / world_size
        torch.testing.assert_close(ours, theirs, **CLOSE)


rejected = partial(pytest.raises, ValueError)


def test_bad_arguments_are_named():
    with rejected(match="form must be one of .* got 'sigmod': did you mean 'sigmoid'"):
        ContrastiveLoss('sigmod')
    with rejected(match='chunk_size must be at least 1, or None, got 0'):
        ContrastiveLoss(chunk_size=0)
    with rejected(match='alpha must be in .* got alpha=1.5'):
        ContrastiveLoss('focal', alpha=1.5)
    with rejected(match=r'init must be in .* got 0.07'):
        LogitScale(0.07)


@pytest.mark.parametrize('image, text', [
    ((4, 3), (5, 3)), ((4, 3), (4, 2)), ((2, 4, 3), (2, 3)), ((4,), (4,))])
def test_shapes_that_do_not_match_are_named(image, text):
    with rejected(match='got image .* and text'):
        ContrastiveLoss()(torch.ones(image), torch.ones(text), 1.)


def test_a_bias_belongs_to_the_sigmoid_alone():
    x = torch.ones(2, 3)
    with rejected(match='needs bias'):
        ContrastiveLoss('sigmoid')(x, x, 1.)
    with rejected(match="bias belongs to form='sigmoid'"):
        ContrastiveLoss('softmax')(x, x, 1., 0.)
    with rejected(match='scale must be one number or 4'):
        ContrastiveLoss()(x.expand(4, 2, 3), x, torch.ones(3))
    with rejected(match='no pair, on any rank'):
        ContrastiveLoss()(x[:0], x[:0], 1.)


def test_logit_scale_starts_at_its_value_and_returns_from_the_bound():
    scale = LogitScale()
    torch.testing.assert_close(scale().item(), 1 / 0.07, rtol=1e-6, atol=0)
    scale.log_scale.data.fill_(9.)
    value = scale()
    torch.testing.assert_close(value.item(), 100., rtol=1e-5, atol=0)
    value.backward()
    # Not zero, as behind a clamp of the value.
    torch.testing.assert_close(scale.log_scale.grad.item(), 100., rtol=1e-5, atol=0)


def test_a_config_builds_both_and_levels_have_scales_of_their_own():
    loss = MODELS.build(dict(type='ContrastiveLoss', form='sigmoid', chunk_size=2))
    scale = MODELS.build(dict(type='LogitScale', init=10., bias=-10., levels=LEVELS))
    x = torch.randn(LEVELS, 4, 3)
    losses = loss(x, x[0], scale(), scale.bias)
    losses[1].backward()
    assert losses.shape == (LEVELS,)
    for parameter in (scale.log_scale, scale.bias):
        assert parameter.grad[1] != 0 and not parameter.grad[[0, 2]].any()
