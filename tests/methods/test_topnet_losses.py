"""TopNet's losses beside slow loops over cells, and at their edges."""
import logging

import pytest
import torch

from mmcontrast.methods.topnet import negatives_watch
from mmcontrast.methods.topnet.cell_labels import CellLabels
from mmcontrast.methods.topnet.label_losses import GaussianPeakFocalLoss, SparseCellBCE
from mmcontrast.methods.topnet.losses import SparseContrastiveLoss

SHAPE = 3, 5, 6


def cells(*rows):
    return torch.tensor(rows).reshape(-1, 3).long()


POSITIVES = [cells((1, 2, 3)), cells(), cells((0, 0, 0), (2, 4, 5), (0, 0, 0)), cells()]
NEGATIVES = [cells(), cells((0, 1, 1), (2, 2, 2)), cells((1, 1, 1), (2, 4, 4)), cells()]


def labels(own, sizes=None):
    return CellLabels.of(own, SHAPE, sizes)


def logits(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return (2 * torch.randn(4, *SHAPE, generator=generator, dtype=torch.float64)
            ).to(dtype).requires_grad_()


def slow_terms(heat, positives, negatives, margin=0.1, rho=1.0, negative_margin=0.1,
               radius_s=0, radius_xy=0, range_k=1, **_):
    """Rank, range and negative term of one map, cell by cell."""
    free = []
    for s, j, i in torch.cartesian_prod(*map(torch.arange, SHAPE)).tolist():
        near = any(abs(s - p[0]) <= radius_s and abs(j - p[1]) <= radius_xy
                   and abs(i - p[2]) <= radius_xy for p in positives.tolist())
        free += [] if near else [heat[s, j, i]]
    scores = [heat[tuple(p)] for p in positives]
    wrong = [heat[tuple(n)] for n in negatives]
    zero = heat.sum() * 0
    rank = low = neg = zero
    for score in scores:
        over = [u - score + margin for u in free if u - score + margin > 0]
        rank = rank + (sum(over) / len(over) if over else 0) / len(scores)
        lowest = sorted(free)[:range_k]
        if lowest:
            gap = rho - (score - sum(lowest) / len(lowest))
            low = low + max(gap, zero) / len(scores)
    if wrong and scores:
        neg = sum(max(n - g + negative_margin, zero) for n in wrong for g in scores)
        neg = neg / (len(wrong) * len(scores))
    elif wrong:
        neg = sum(wrong) / len(wrong)
    return torch.stack([rank, low, neg])


@pytest.mark.parametrize('options', [
    {}, dict(radius_xy=1), dict(radius_s=1, radius_xy=2, margin=0.3),
    dict(range_k=4, rho=0.7), dict(radius_s=9, radius_xy=9)])
def test_a_batch_gives_the_mean_of_slow_loops_over_its_images(options):
    loss = SparseContrastiveLoss(**options)
    fast, slow = logits(), logits()
    terms = loss.terms(fast, labels(POSITIVES), labels(NEGATIVES))
    expected = torch.stack([
        slow_terms(heat, p, n, **options) for heat, p, n in
        zip(slow.sigmoid(), POSITIVES, NEGATIVES, strict=True)])
    torch.testing.assert_close(terms, expected)
    total = sum(loss(fast, labels(POSITIVES), labels(NEGATIVES)).values())
    torch.testing.assert_close(total, expected.sum(1).mean())
    total.backward()
    expected.sum(1).mean().backward()
    torch.testing.assert_close(fast.grad, slow.grad)


def test_terms_are_weighted_once():
    marks = labels(POSITIVES), labels(NEGATIVES)
    plain = SparseContrastiveLoss()(logits(), *marks)
    heavy = SparseContrastiveLoss(range_weight=3., negative_weight=0.5)(
        logits(), *marks)
    ratios = [heavy[name] / plain[name] for name in plain]
    torch.testing.assert_close(torch.stack(ratios).detach(),
                               torch.tensor([1., 3., 0.5], dtype=torch.float64))


def test_gradients_are_those_of_finite_differences():
    loss = SparseContrastiveLoss(range_k=2)

    def total(x):
        return sum(loss(x, labels(POSITIVES[2:3]), labels(NEGATIVES[2:3])).values())
    assert torch.autograd.gradcheck(total, logits()[2:3])


def test_a_perfect_map_costs_nothing_and_a_flat_one_does():
    perfect = torch.full((1, *SHAPE), -40.)
    perfect[0, 1, 2, 3] = 40.
    marks = labels(POSITIVES[:1]), labels([cells()])
    loss = SparseContrastiveLoss()
    assert sum(loss(perfect, *marks).values()) == 0
    flat = loss(torch.zeros(1, *SHAPE), *marks)
    assert flat['loss_rank'].item() == pytest.approx(0.1)
    assert flat['loss_range'].item() == pytest.approx(1.0)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_compared_in_float32(dtype):
    x = logits(dtype)
    terms = SparseContrastiveLoss().terms(x, labels(POSITIVES), labels(NEGATIVES))
    assert terms.dtype == torch.float32
    exact = SparseContrastiveLoss().terms(
        x.double(), labels(POSITIVES), labels(NEGATIVES))
    torch.testing.assert_close(terms.double(), exact, rtol=1e-5, atol=1e-6)


def test_sparse_cross_entropy_is_the_mean_over_all_labels_of_the_batch():
    x = logits()
    right = [x[b][tuple(c)] for b, own in enumerate(POSITIVES) for c in own]
    wrong = [x[b][tuple(c)] for b, own in enumerate(NEGATIVES) for c in own]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.stack(right + wrong), torch.tensor([1.] * 4 + [0.] * 4).double())
    loss = SparseCellBCE()(x, labels(POSITIVES), labels(NEGATIVES))['loss_bce']
    torch.testing.assert_close(loss, expected)


def test_sparse_cross_entropy_warns_once_where_no_negative_is_ever_seen(
        caplog, monkeypatch):
    monkeypatch.setattr(negatives_watch, 'print_log', lambda text, *_:
                        logging.getLogger().warning(text))
    monkeypatch.setattr(negatives_watch, 'MANY', 3 * labels(POSITIVES).total)
    none = labels([cells()] * 4)
    for seen, expected in ((none, 1), (labels(NEGATIVES), 0)):
        caplog.clear()
        loss = SparseCellBCE()
        for step in range(8):
            loss(logits(), labels(POSITIVES), none if step else seen)
            assert len(caplog.records) == (expected if step >= 2 else 0)
        assert all('SparseCellBCE' in text and 'SparseContrastiveLoss' in text
                   for text in caplog.messages)


def test_peaks_have_the_width_of_an_eighth_of_the_shorter_side():
    own, sizes = [cells((1, 2, 3))], [torch.tensor([[8., 16.]])]
    target, counts = GaussianPeakFocalLoss().targets(
        (1, *SHAPE), labels(own, sizes), labels([cells()]))
    # Standard deviation 1: exp(-1 / 2) one cell away, exp(-1) on the diagonal.
    assert target[0, 1, 2, 3] == 1
    assert target[0, 1, 2, 4].item() == pytest.approx(0.60653, rel=1e-4)
    assert target[0, 1, 3, 4].item() == pytest.approx(0.36788, rel=1e-4)
    assert counts[0, 1, 2, 0] and not counts[0, 1, 0, 0]     # 3 and 3.6 cells away
    assert not counts[0, [0, 2]].any()


def test_focal_loss_is_that_of_a_slow_loop_near_the_labels():
    generator = torch.Generator().manual_seed(1)
    sizes = [4 + 10 * torch.rand(len(p), 2, generator=generator) for p in POSITIVES]
    x, loss = logits(), 0.0
    for b, (own, wide) in enumerate(zip(POSITIVES, sizes, strict=True)):
        for s, j, i in torch.cartesian_prod(*map(torch.arange, SHAPE)).tolist():
            target, counts = 0.0, False
            for (ps, pj, pi), size in zip(own.tolist(), wide, strict=True):
                away, sigma = (j - pj) ** 2 + (i - pi) ** 2, size.min().item() / 8
                sigma = max(sigma, 1 / 3)
                if s == ps and away <= 9 * sigma ** 2:
                    counts, height = True, torch.tensor(-away / (2 * sigma ** 2)).exp()
                    target = max(target, height.item())
            counts |= any(s == ns and abs(j - nj) <= 2 and abs(i - ni) <= 2
                          for ns, nj, ni in NEGATIVES[b].tolist())
            p = x[b, s, j, i].sigmoid()
            term = ((1 - p) ** 2 * p.log() if target == 1 else
                    (1 - target) ** 4 * p ** 2 * (1 - p).log())
            loss = loss - counts * term / 4
    found = GaussianPeakFocalLoss()(x, labels(POSITIVES, sizes), labels(NEGATIVES))
    torch.testing.assert_close(found['loss_focal'], loss, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('make', [
    SparseContrastiveLoss, SparseCellBCE, GaussianPeakFocalLoss])
def test_padding_of_other_images_changes_nothing(make):
    generator = torch.Generator().manual_seed(1)
    sizes = [4 + 10 * torch.rand(len(p), 2, generator=generator) for p in POSITIVES]
    weights = dict(SparseContrastiveLoss=lambda b: 1 / 4, SparseCellBCE=lambda b: len(
        POSITIVES[b]) / 8 + len(NEGATIVES[b]) / 8, GaussianPeakFocalLoss=lambda b: max(
        len(POSITIVES[b]), 1) / 4)[make.__name__]
    x, total = logits(), 0.0
    for b in range(4):
        own = (labels(POSITIVES[b:b + 1], sizes[b:b + 1]), labels(NEGATIVES[b:b + 1]))
        total += weights(b) * sum(make()(x[b:b + 1], *own).values())
    together = make()(x, labels(POSITIVES, sizes), labels(NEGATIVES))
    torch.testing.assert_close(sum(together.values()), total)
