"""Read and write thresholds that were calibrated on labeled phrases, as JSON."""
import json
import os
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from pathlib import Path

from ..errors import UserValueError, did_you_mean
from ..io.atomic import write_text
from ..io.text_files import read_text

FORMAT, VERSION = 'mmcontrast calibration', 1
_EXPECTED = 'Expected a file that tools/analysis/calibrate.py wrote.'


@dataclass(frozen=True)
class Calibration:
    """Thresholds by which a phrase is found or not, and how they were measured.

    A score above ``score_thr`` is a box. A phrase exists if a box remains and, where
    the model has an existence branch and ``exists_thr`` is not None, the probability of
    its existence is ``exists_thr`` or more.

    Attributes:
        score_thr, exists_thr: The thresholds, in [0, 1].
        recall: Share of the phrases with a target that exist by these thresholds.
        false_positive_rate: Share of those without a target that do; None if there
            were none.
        num_present, num_absent: Phrases with and without a target.
        model: Config or name of the model.
        note: Anything else, such as the data.
    """

    score_thr: float
    exists_thr: float | None = None
    recall: float | None = None
    false_positive_rate: float | None = None
    num_present: int = 0
    num_absent: int = 0
    model: str = ''
    note: str = ''


def write_calibration(calibration: Calibration, path: str | Path) -> None:
    """Write a calibration as JSON, atomically."""
    content = dict(format=FORMAT, version=VERSION, **asdict(calibration))
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + '\n')


def read_calibration(path: str | Path) -> Calibration:
    """Read a file of :func:`write_calibration`.

    Raises:
        FileNotFoundError: If there is none.
        UserValueError: If it is something else, of a later version, or a value is out
            of range; names the key.
    """
    path = os.path.expanduser(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f'No calibration at {path}. {_EXPECTED}')
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserValueError(f'{path} is not valid JSON: {error}. {_EXPECTED}'
                             ) from None
    if not isinstance(content, dict) or content.pop('format', None) != FORMAT:
        raise UserValueError(
            f"{path} is no calibration: it has no 'format': {FORMAT!r}. {_EXPECTED}")
    version = content.pop('version', None)
    if version != VERSION:
        raise UserValueError(
            f'{path}: version is {version!r}, and this mmcontrast reads {VERSION}. '
            'Update mmcontrast, or calibrate again.')
    _check(content, path)
    return Calibration(**content)


def _check(content: dict, path: str) -> None:
    known = [field.name for field in fields(Calibration)]
    for key in content:
        if key not in known:
            raise UserValueError(f'{path}: unknown key {key!r}'
                                 f'{did_you_mean(key, known)} {_EXPECTED}')
    if 'score_thr' not in content:
        raise UserValueError(f"{path}: 'score_thr' is missing. {_EXPECTED}")
    for key, value in content.items():
        if expected := _problem(key, value):
            raise UserValueError(
                f'{path}: {key} must be {expected}, got {value!r}. {_EXPECTED}')


def _problem(key: str, value: object) -> str | None:
    """What a value must be, if it is not."""
    if key in ('model', 'note'):
        return None if isinstance(value, str) else 'text'
    if isinstance(value, bool):
        return 'a number'
    if key.startswith('num_'):
        is_count = isinstance(value, Integral) and value >= 0
        return None if is_count else 'a whole number, 0 or more'
    if value is None and key != 'score_thr':
        return None
    # Nothing scores above 1, so no box would be left.
    if key == 'score_thr' and value == 1:
        return 'below 1'
    return None if isinstance(value, Real) and 0 <= value <= 1 else 'in [0, 1]'
