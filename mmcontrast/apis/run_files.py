"""Read the checkpoint, scores and curves in the work dir of a run."""
import json
from pathlib import Path


def last_checkpoint(work_dir: Path) -> Path:
    """The newest checkpoint that the run noted.

    Raises:
        FileNotFoundError: If it saved none.
    """
    note = work_dir / 'last_checkpoint'
    if not note.is_file():
        raise FileNotFoundError(f'no checkpoint in {work_dir}: {note.name} is missing.')
    path = Path(note.read_text().strip())
    # In a copy of a work dir the note names the file of the original.
    own = work_dir / path.name
    return own if own.is_file() else path


def read_scores(work_dir: Path) -> dict[str, float]:
    """Metric names and values of the newest ``tools/test.py`` run.

    Raises:
        FileNotFoundError: If no test ended there.
    """
    return json.loads(_newest(work_dir, '*/[0-9]*.json').read_text())


def read_scalars(work_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """Curves (step, value) by name from the newest training."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for line in _newest(work_dir, '*/vis_data/scalars.json').read_text().splitlines():
        row = json.loads(line)
        for name, value in row.items():
            if name not in ('step', 'iter', 'epoch') and isinstance(value, int | float):
                curves.setdefault(name, []).append((row.get('step', 0), value))
    return curves


def _newest(work_dir: Path, pattern: str) -> Path:
    found = sorted(work_dir.glob(pattern), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError(f'no {pattern} in {work_dir}.')
    return found[-1]
