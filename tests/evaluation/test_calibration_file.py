"""Calibrated thresholds in a file, and files that are something else."""
import json

import pytest

from mmcontrast.errors import UserValueError
from mmcontrast.evaluation.calibration_file import (
    Calibration,
    read_calibration,
    write_calibration,
)

FULL = Calibration(0.6, 0.25, 0.9, 0.1, 40, 20, 'propvg.py', 'val of Müller')
HEAD = dict(format='mmcontrast calibration', version=1)


def test_what_is_written_is_read(tmp_path):
    for made in (FULL, Calibration(0)):
        write_calibration(made, tmp_path / 'found.json')
        assert read_calibration(tmp_path / 'found.json') == made
    assert json.loads((tmp_path / 'found.json').read_text())['format'] == HEAD['format']


@pytest.mark.parametrize(('content', 'message'), [
    ('{"score_thr": 0.5}', "no calibration: it has no 'format': 'mmcontrast calib"),
    ('[1]', 'is no calibration'),
    ('score_thr: 0.5', r'is not valid JSON: .* Expected a file that tools/'),
    (dict(HEAD, version=2, score_thr=0.5), 'version is 2, and this mmcontrast reads 1'),
    (HEAD, "'score_thr' is missing"),
    (dict(HEAD, score_thr=1.5), r'score_thr must be in \[0, 1\], got 1.5'),
    (dict(HEAD, score_thr=None), r'score_thr must be in \[0, 1\], got None'),
    (dict(HEAD, score_thr=True), 'score_thr must be a number, got True'),
    (dict(HEAD, score_thr=float('nan')), r'score_thr must be in \[0, 1\], got nan'),
    (dict(HEAD, score_thr=0.5, exists_thr='0.5'), r"exists_thr must be in .* '0.5'"),
    (dict(HEAD, score_thr=0.5, num_absent=-1), 'num_absent must be a whole number, 0'),
    (dict(HEAD, score_thr=0.5, model=3), 'model must be text, got 3'),
    (dict(HEAD, score_thr=0.5, exist_thr=0.5),
     "unknown key 'exist_thr': did you mean 'exists_thr'"),
])
def test_what_is_no_calibration_is_named(tmp_path, content, message):
    path = tmp_path / 'bad.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserValueError, match=message):
        read_calibration(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='No calibration at .*absent.json'):
        read_calibration(tmp_path / 'absent.json')
