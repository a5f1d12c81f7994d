"""The suite ``dito``: both sides compute the same, and every target is measured."""
import suites.dito  # noqa: F401  (registers the suite)
from timing.frame import run_suite


def test_losses_agree_and_chunks_take_less_memory():
    rows = {row.name: row for row in run_suite(
        'dito', runs=1, progress=False, pairs=1024, dims=8, chunk_size=64, turns=1,
        layers=3, width=64, size=128, proposals=16)}
    for form in ('softmax', 'focal', 'sigmoid'):
        assert rows[f'{form}: loss, difference / loss'].spread.median < 1e-5
        gradients = rows[f'{form}: gradients, largest difference / largest']
        assert gradients.spread.median < 1e-4
    for name in ('softmax', 'focal', 'sigmoid', 'softmax, one of 2 ranks',
                 'softmax, one of 4 ranks'):
        assert rows[f'{name}: in chunks / plain'].target == 'at most 1.2'
        memory = rows[f'{name}: peak memory, in chunks / plain']
        assert memory.target == 'at most 0.25' and memory.spread.median < 0.5
        # Logits and softmax of the pairs of a rank with those of all, in float32.
        ranks = int(name.split()[3]) if 'ranks' in name else 1
        assert rows[f'{name}: peak memory, plain'].spread.median > (
            2 * 1024 ** 2 * ranks * 4 / 1e6)
    assert rows['added by 1200 names'].target == 'at most 2'
    for name in ('inference', 'training step, forward and backward'):
        assert rows[name].unit == 'images/s' and rows[name].spread.median > 0
