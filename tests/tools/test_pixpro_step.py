import json
import sys
from pathlib import Path

import pytest

from tests.helpers.processes import run_python

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_suite_reports_parts_of_a_step_and_bounds_the_masks(tmp_path):
    run_python(
        [sys.executable, 'tools/benchmark/run.py', 'pixpro_step', '--config',
         'mmcontrast::pixpro/pixpro_resnet18_1xb32-coslr-600i_demo.py', '--images', '2',
         '--size', '64', '--turns', '1', '--runs', '1', '--out', str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True)
    report = json.loads((tmp_path / 'pixpro_step.json').read_text())
    rows = {row['name']: row for row in report['rows']}
    for name in ('whole step', 'momentum update / streaming', 'LARS step / streaming'):
        assert rows[name]['spread']['median'] > 0
    # 32 images of 784 x 784 pairs are 79 MB; a mask has at most 2 ** 24 elements.
    largest = next(row for name, row in rows.items() if 'largest tensor' in name)
    assert largest['spread']['median'] <= 2 ** 24 * 4 / 1e6
