"""What tests of methods stand on: a case that must fail does fail."""
import json
import zlib

import numpy as np
import pytest
import torch

from mmcontrast.testing import fill
from mmcontrast.testing.golden import RECIPES, Case, Tolerance


def write(folder, outputs: dict, arrays: dict, **meta) -> Case:
    meta = dict(tolerance=dict(rtol=0.0, atol=0.1), outputs=outputs) | meta
    (folder / 'a.json').write_text(json.dumps(meta))
    np.savez(folder / 'a.npz', **arrays)
    return Case(folder, 'a')


def test_a_tensor_follows_from_its_name_alone():
    stream = np.random.RandomState(zlib.crc32(b'a/w'))
    expected = 0.5 * stream.standard_normal((2, 3))
    np.testing.assert_array_equal(fill.randn('a/w', (2, 3), 0.5), np.float32(expected))
    weights = fill.fill_state_dict({
        'conv.weight': [4, 2, 3, 3], 'bn.weight': [50], 'bn.bias': [50],
        'bn.running_var': [50], 'bn.num_batches_tracked': [], 'scale': []}, 'a/')
    assert weights['conv.weight'].equal(
        fill.randn('a/conv.weight', (4, 2, 3, 3), 18 ** -0.5))
    assert abs(weights['bn.weight'].mean() - 1) < 0.1 > abs(weights['bn.bias'].mean())
    var = weights['bn.running_var']
    assert 0.5 <= var.min() < 1 < var.max() < 1.5
    assert weights['bn.num_batches_tracked'].dtype == torch.int64
    assert weights['scale'].shape == () and 0.5 < weights['scale'] < 1.5


def test_every_output_out_of_tolerance_is_named(tmp_path):
    case = write(tmp_path, dict(x=dict(shape=[2]), y=dict(shape=[2]), z=dict(value=3)),
                 dict(x=np.array([1., 2.]), y=np.array([1, 2])))
    case.check(dict(x=torch.tensor([1.05, 1.95]), y=torch.tensor([1, 2]), z=3))
    with pytest.raises(AssertionError) as error:
        case.check(dict(x=torch.tensor([1.2, 2.]), y=[1, 3], z=4))
    first, second, third = str(error.value).splitlines()
    assert first.startswith('x: max error 0.2, 50.0% of the values out of tolerance')
    assert second.startswith('y: max error 1') and third == 'z: 4, want 3'
    assert 'shape [3], want [2]' in case.compare('x', torch.zeros(3))


def test_nan_belongs_where_the_reference_has_it(tmp_path):
    case = write(tmp_path, dict(x=dict(shape=[2])), dict(x=np.array([np.nan, 2.])))
    assert not case.compare('x', [np.nan, 2.])
    assert case.compare('x', [2., np.nan]) and case.compare('x', [2., 2.])


def test_infinities_belong_where_the_reference_has_them(tmp_path):
    # Tolerances are of the finite values: 0.1 * 2 = 0.2, whatever is infinite.
    case = write(tmp_path, dict(x=dict(shape=[3])),
                 dict(x=np.array([np.inf, -np.inf, 2.])),
                 tolerance=dict(rtol=0.0, atol_rel=0.1))
    assert not case.compare('x', [np.inf, -np.inf, 2.1])
    for wrong in ([np.inf, -np.inf, 2.3], [np.inf, np.inf, 2.], [9., -np.inf, 2.],
                  [np.inf, np.nan, 2.], [np.inf, -np.inf, np.inf]):
        assert '33.3%' in case.compare('x', wrong)
    case.meta['tolerance'] = dict(rtol=0.1)
    assert not case.compare('x', [np.inf, -np.inf, 2.1])
    assert '33.3%' in case.compare('x', [np.inf, -9., 2.])


@pytest.mark.parametrize('stored, arrays', [
    (dict(store='slice+stats', stride=3), dict(x__slice=np.arange(0., 10, 3))),
    (dict(stored='flat[::stride]', stride=3), dict(x=np.arange(0., 10, 3))),
    (dict(stored='flat[::3]', step=3), dict(x=np.arange(0., 10, 3))),
    (dict(step=1), dict(x=np.arange(10.)))])
def test_a_part_of_an_output_is_compared_with_that_part(tmp_path, stored, arrays):
    case = write(tmp_path, dict(x=dict(shape=[2, 5], **stored)), arrays)
    whole = torch.arange(10.).view(2, 5)
    assert not case.compare('x', whole)
    assert case.compare('x', whole + 0.2)


def test_packed_booleans_are_compared_bit_by_bit(tmp_path):
    mask = np.arange(20).reshape(4, 5) % 3 == 0
    output = dict(shape=[4, 5], stored='numpy.packbits of the flattened array')
    case = write(tmp_path, dict(x=output), dict(x=np.packbits(mask)))
    assert not case.compare('x', torch.from_numpy(mask))
    mask[3, 4] = ~mask[3, 4]
    assert case.compare('x', torch.from_numpy(mask))


@pytest.mark.parametrize('meta, output, expected', [
    (dict(tolerance=dict(rtol=1., atol=2., note='')), {}, Tolerance(1., 2.)),
    (dict(rtol=1., atol=2., tolerance_overrides=[]), {}, Tolerance(1., 2.)),
    (dict(tolerance='exact'), {}, Tolerance()),
    (dict(), dict(tolerance=dict(atol=3.)), Tolerance(atol=3.)),
    (dict(), dict(tol=1e-3), Tolerance(atol_rel=1e-3)),
    (dict(tolerance=dict(default=dict(atol=1.), x=dict(atol=2., bad_fraction=.1))), {},
     Tolerance(atol=2., bad_fraction=.1)),
    (dict(tolerance=dict(default=dict(atol=1.))), {}, Tolerance(atol=1.)),
    (dict(tolerance_overrides=[['x*', dict(atol_rel=4.)]]), {}, Tolerance(atol_rel=4.)),
])
def test_a_tolerance_stands_in_one_of_five_places(tmp_path, meta, output, expected):
    case = write(tmp_path, dict(x=dict(shape=[1], **output)), {}, **meta)
    if 'rtol' in meta:
        del case.meta['tolerance']
    assert case.tolerance('x') == expected


def test_a_bad_fraction_counts_elements(tmp_path):
    tolerance = dict(atol=0., bad_fraction=0.25)
    case = write(tmp_path, dict(x=dict(shape=[4])), dict(x=np.arange(4)),
                 tolerance=tolerance)
    assert not case.compare('x', [0, 1, 2, 9])
    assert '50.0%' in case.compare('x', [0, 1, 8, 9])


def test_inputs_follow_their_recipes(tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, 'twos', lambda r: torch.full(r['shape'], 2.))
    case = write(tmp_path, {}, {}, inputs={
        'a': dict(fn='fill.randn', key='k<step>', shape=[2], scale=3.),
        'b': {'c': dict(fn='rand', name='n', shape=[2], shift=1.)},
        'd/e': dict(gen='values', values=[1, 2], dtype='int64'),
        'f': dict(make='twos', shape=[1]), 'g': [[1., 2.]],
        'h': dict(gen='stack', items=[dict(value=[1.]), dict(value=[2.])])})
    assert case.input('a', step=7).equal(fill.randn('k7', (2,), 3.))
    assert case.input('b/c').equal(fill.rand('n', (2,)) + 1)
    assert case.input('d/e').tolist() == [1, 2]
    assert case.input('f').tolist() == [2.] and case.input('g').tolist() == [[1., 2.]]
    assert case.input('h').tolist() == [[1.], [2.]]


def test_params_take_prefix_salt_and_scales(tmp_path):
    case = write(tmp_path, {}, {}, salt='s/', state_scale={'w': 2.}, params={
        'a.w': [2, 2], 'a.new': [2], 'b.w': [1]})
    found = case.params('a.')
    assert set(found) == {'w', 'new'}
    assert found['w'].equal(2 * fill.fill_value('a.w', (2, 2), 's/'))
    assert found['new'].equal(fill.fill_value('a.new', (2,), 's/'))
