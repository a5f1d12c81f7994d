"""The suite ``denseclip``: both of its sides compute the same."""
import json
import sys
from pathlib import Path

import pytest

from tests.helpers.processes import run_python

pytest.importorskip('mmseg')
pytest.importorskip('open_clip')

ROOT = Path(__file__).parents[2]
BASE = ROOT / 'configs/denseclip/denseclip-seg_fpn-rn50_8xb4-80k_ade20k-512x512.py'
SMALL = f"""
_base_ = {str(BASE)!r}
model = dict(
    backbone=dict(tower=None, layers=(1, 1, 1, 1), width=16, embed_dims=32),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=16),
    decode_head=dict(in_channels=[16] * 4, channels=16),
    text_encoder=dict(tower=None, embed_dims=32, width=64, heads=1, layers=2))
"""


@pytest.mark.slow
def test_the_transcription_agrees_and_every_promise_is_measured(tmp_path):
    config = tmp_path / 'small.py'
    config.write_text(SMALL)
    run_python(
        [sys.executable, 'tools/benchmark/run.py', 'denseclip', '--size', '64',
         '--classes', '9', '--turns', '1', '--runs', '1', '--config', str(config),
         '--out', str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True)
    report = json.loads((tmp_path / 'denseclip.json').read_text())
    rows = {row['name']: row for row in report['rows']}
    for name in ('logits, largest difference / largest', 'loss, difference / loss'):
        assert rows[name]['spread']['median'] < 1e-5
    gradient = rows["contexts' gradient, largest difference / largest"]
    assert gradient['spread']['median'] < 1e-3
    assert [row['target'] for row in report['rows'] if row['target']] == [
        'at least 1.8', 'at least 2.5', 'at least 1.3', 'at most 0.8']
    # 9 x 64 x 64 logits upsampled in float32, and at least one copy of them.
    peak = 'cross entropy of maps of stride 32, peak memory, as written'
    assert rows[peak]['spread']['median'] > 2 * 9 * 64 * 64 * 4 / 1e6
