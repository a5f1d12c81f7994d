"""The suite ``topnet``: every target is measured, both sides compute the same."""
import suites.topnet  # noqa: F401  (registers the suite)
from timing.frame import run_suite


def test_targets_are_measured_and_the_short_head_gives_the_same_logits():
    rows = {row.name: row for row in run_suite(
        'topnet', runs=1, progress=False, turns=1, layers=1, width=64, size=64,
        objects=3, composites=4, pair_size=32)}
    assert rows['256 composites one at a time / one pass'].target == 'at least 20'
    assert rows['3 objects, encoded before / one'].target == 'at most 2'
    assert rows['head: largest difference of logits'].spread.median < 1e-5
    assert rows['16 sizes, background once / anew'].unit == 'x'
