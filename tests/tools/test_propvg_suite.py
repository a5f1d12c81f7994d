"""The suite ``propvg``: both of its sides compute the same, targets are measured."""
import pytest
import suites.propvg  # noqa: F401  (registers the suite)
from timing.frame import run_suite

pytest.importorskip('sentencepiece')


@pytest.mark.slow
def test_the_transcription_agrees_and_every_target_is_measured():
    rows = {row.name: row for row in run_suite(
        'propvg', runs=1, progress=False, turns=1, train_images=2, size=64, tokens=12,
        layers=2, width=64, channels=32, vocabulary=300, phrases=3, files=2,
        objects=4)}
    for name in ('scores', 'boxes', 'masks'):
        row = rows[f'{name}, largest difference / largest']
        assert row.spread.median < 1e-4
    assert rows['loss, difference / loss'].spread.median < 1e-5
    gradient = rows["image embedding's gradient, largest difference / largest"]
    assert gradient.spread.median < 1e-3
    # Decoders of JPEG may round differently.
    assert rows['loader: largest difference of pixels, boxes and mask'
                ].spread.median <= 4
    assert {name: row.target for name, row in rows.items() if row.target} == {
        'inference, as written / ours': 'at least 1.5',
        '3 phrases, one call / 3 calls': 'at most 0.5',
        'training step, as written / ours': 'at least 1.3',
        'loader, as written / ours': 'at least 4'}
