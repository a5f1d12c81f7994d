import pytest
import torch
import torch.nn.functional as F

from mmcontrast.methods.pixpro import pooled_keys, positive_pairs, published_coords
from mmcontrast.methods.pixpro.losses import (
    PairConsistencyLoss,
    PixContrastLoss,
    pair_consistency,
)
from mmcontrast.structures import View, ViewBatch


def coords(*views: View):
    return published_coords(ViewBatch.stack(views))


def test_coords_have_pixel_centers_at_both_ends():
    # Pixels 10 ... 50 of 0 ... 100, rows 0 ... 20 of 0 ... 40.
    view = View(10, 0, 51, 21, False, 101, 41)
    torch.testing.assert_close(coords(view), torch.tensor([[0.1, 0, 0.5, 0.5]]))


def test_flip_swaps_the_ends_in_x():
    view = View(10, 0, 51, 21, True, 101, 41)
    torch.testing.assert_close(coords(view), torch.tensor([[0.5, 0, 0.1, 0.5]]))


def test_a_view_without_source_size_is_rejected():
    with pytest.raises(ValueError, match='source_width'):
        coords(View(0, 0, 10, 10))


def test_equal_views_pair_each_cell_with_itself():
    c = coords(View(0, 0, 100, 100, False, 100, 100))
    assert positive_pairs(c, c, (7, 7), (7, 7))[0].equal(torch.eye(49).bool())


def test_a_mirrored_view_pairs_with_the_mirrored_cells():
    plain = coords(View(0, 0, 100, 100, False, 100, 100))
    mirrored = coords(View(0, 0, 100, 100, True, 100, 100))
    cells = torch.arange(16).view(4, 4)
    expected = F.one_hot(cells.flip(1).reshape(-1), 16).bool()
    assert positive_pairs(plain, mirrored, (4, 4), (4, 4))[0].equal(expected)


def test_maps_of_different_size_and_a_slow_loop_agree():
    a = coords(View(5, 9, 60, 80, True, 100, 120))
    b = coords(View(20, 0, 90, 70, False, 100, 120))
    fast = positive_pairs(a, b, (3, 5), (4, 2))[0]

    def centers(c, rows, cols):
        w, h = (c[2] - c[0]) / cols, (c[3] - c[1]) / rows
        return [(c[0] + (x + .5) * w, c[1] + (y + .5) * h)
                for y in range(rows) for x in range(cols)], (w ** 2 + h ** 2) ** .5

    (p, d1), (q, d2) = centers(a[0].tolist(), 3, 5), centers(b[0].tolist(), 4, 2)
    for i, (x1, y1) in enumerate(p):
        for j, (x2, y2) in enumerate(q):
            near = ((x1 - x2) ** 2 + (y1 - y2) ** 2) ** .5 / max(d1, d2) < .7
            assert fast[i, j] == near
    assert 0 < fast.sum() < fast.numel()


@pytest.mark.parametrize('max_pairs', [1, 200, 2 ** 24])
def test_pooled_keys_do_not_depend_on_the_chunks(max_pairs):
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(5, 4, generator=generator).sort(1)[0][:, [0, 1, 2, 3]]
    b = torch.rand(5, 4, generator=generator).sort(1)[0][:, [0, 1, 2, 3]]
    key_a = torch.randn(5, 8, 4, 4, generator=generator)
    key_b = torch.randn(5, 8, 4, 4, generator=generator)
    mask = positive_pairs(a, b, (4, 4), (4, 4)).float()
    for_a, for_b, counts = pooled_keys(a, b, key_a, key_b, max_pairs=max_pairs)
    torch.testing.assert_close(
        for_a, torch.einsum('nij,ncj->nci', mask, key_b.flatten(2)))
    torch.testing.assert_close(
        for_b, torch.einsum('nij,nci->ncj', mask, key_a.flatten(2)))
    assert counts.tolist() == mask.sum((1, 2)).tolist()


def test_perfect_agreement_gives_minus_four():
    c = coords(*[View(0, 0, 50, 50, False, 80, 80)] * 3)
    maps = F.normalize(torch.randn(3, 16, 4, 4), dim=1)
    losses = PairConsistencyLoss()((maps, maps), (maps, maps), (c, c))
    assert losses.one_to_two + losses.two_to_one == pytest.approx(-4, abs=1e-5)


def test_an_image_without_overlap_counts_in_the_mean():
    near = View(0, 0, 20, 20, False, 100, 100)
    far = View(60, 60, 90, 90, False, 100, 100)
    maps = F.normalize(torch.randn(2, 16, 4, 4), dim=1)
    losses = PairConsistencyLoss()(
        (maps, maps), (maps, maps), (coords(near, near), coords(near, far)))
    # One image agrees (-2 a direction), the other adds 0.
    assert losses.one_to_two == pytest.approx(-1, abs=1e-5)
    assert losses.num_pairs.tolist() == [16, 0]


def test_views_without_overlap_cost_nothing_and_keep_the_graph():
    query = torch.randn(2, 8, 9, requires_grad=True)
    loss = pair_consistency(query, torch.zeros(2, 8, 9), torch.zeros(2)).mean()
    loss.backward()
    assert loss.item() == 0 and query.grad.abs().sum() == 0


def test_pixcontrast_against_a_slow_loop():
    generator = torch.Generator().manual_seed(1)
    a = coords(View(0, 0, 60, 60, False, 99, 99), View(0, 0, 9, 9, False, 99, 99))
    b = coords(View(10, 10, 70, 90, True, 99, 99), View(50, 50, 99, 99, False, 99, 99))
    q, k = (F.normalize(torch.randn(2, 8, 3, 3, generator=generator), dim=1)
            for _ in range(2))
    loss = PixContrastLoss(temperature=0.3)((q, q), (k, k), (a, b))
    mask = positive_pairs(a, b, (3, 3), (3, 3))
    total = 0.
    for n in range(2):
        each = []
        for i in range(9):
            e = torch.stack([(q[n].flatten(1)[:, i] @ k[n].flatten(1)[:, j] / .3).exp()
                             for j in range(9)])
            if mask[n, i].any():
                each.append(-(e[mask[n, i]].sum() / e.sum()).log())
        total += sum(each) / len(each) if each else 0.
    assert loss.one_to_two.item() == pytest.approx(float(total) / 2, rel=1e-5)
    assert mask[1].sum() == 0, 'the second image must have no pair'


def test_pixcontrast_without_any_pair_has_a_zero_gradient():
    query = torch.randn(1, 8, 3, 3, requires_grad=True)
    a = coords(View(0, 0, 9, 9, False, 99, 99))
    b = coords(View(50, 50, 99, 99, False, 99, 99))
    loss = sum(PixContrastLoss()((query, query), (query.detach(),) * 2, (a, b))[:2])
    loss.backward()
    assert loss.item() == 0 and query.grad.abs().sum() == 0
