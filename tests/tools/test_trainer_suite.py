import json
import sys
from pathlib import Path

from tests.helpers.processes import run_python

ROOT = Path(__file__).parents[2]


def test_the_trainer_is_set_beside_a_plain_one_and_writes_without_a_copy(tmp_path):
    ended = run_python(
        [sys.executable, 'tools/benchmark/run.py', 'trainer', '--images', '4',
         '--batch', '2', '--size', '32', '--steps', '1', '--runs', '1',
         '--out', str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    rows = {row['name']: row['spread']['median'] for row in
            json.loads((tmp_path / 'trainer.json').read_text())['rows']}
    assert rows['step, ReliableRunner over Runner'] > 0
    # mmengine holds the file in memory before it writes; ours streams it.
    theirs = rows["memory while mmengine's Runner writes, in sizes of the file"]
    ours = rows['memory while ReliableRunner writes, in sizes of the file']
    assert ours < 0.5 < theirs
