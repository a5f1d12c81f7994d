import json
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers.processes import run_python

ROOT = Path(__file__).parents[2]
SMALL = ('--images', '6', '--batch', '2', '--size', '32', '--steps', '3', '--runs', '1')


def run_suite(*options):
    return run_python(
        [sys.executable, 'tools/benchmark/run.py', 'loader_step', *SMALL, *options],
        cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_the_suite_sets_steps_on_files_against_steps_on_memory(tmp_path):
    found = run_suite('--channels-last', '1', '--out', str(tmp_path))
    assert found.returncode == 0, found.stderr
    rows = {row['name']: row for row in
            json.loads((tmp_path / 'loader_step.json').read_text())['rows']}

    def value(name: str) -> float:
        return rows[name]['spread']['median']
    share = value('share of the in-memory step rate')
    assert share == pytest.approx(100 * value('steps on data from files')
                                  / value('steps on data in memory'))
    assert rows['share of the in-memory step rate']['target'] == 'at least 90 %'
    waiting = value('trainer waiting for data, share of the time')
    assert 0 < waiting < 100
    assert value('step on data in memory') == pytest.approx(
        2 / value('steps on data in memory') * 1e3)


@pytest.mark.parametrize('options, sentence', [
    (('--precision', 'bfloat16'), '--precision bfloat16 needs a GPU'),
    (('--device', 'cuda'), '--device cuda: no GPU is here')])
def test_what_needs_a_gpu_is_a_sentence(tmp_path, options, sentence):
    if torch.cuda.is_available() and '--device' in options:
        pytest.skip('there is a GPU')
    found = run_suite(*options, '--out', str(tmp_path))
    assert found.returncode == 1
    assert sentence in found.stderr and 'Traceback' not in found.stderr
