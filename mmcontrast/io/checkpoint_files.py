"""Find the newest undamaged checkpoint of a run, and clean up its folder."""
import logging
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mmengine.logging import print_log

from ..errors import UserValueError
from .atomic import remove_partial_files
from .checkpoint import read_checkpoint
from .integrity import UnreadableFileError, damage, unreadable
from .manifest import Manifest, manifest_path, read_manifest, usable_manifest
from .run_note import read_run_note

# Names given by the hooks that save; best_*.pth are not the latest of anything.
_NAME = re.compile(r'(epoch|iter|stopped_iter)_\d+\.pth')
_BEST = 'best_'


def latest_good_checkpoint(work_dir: str | Path, out_dir: str | Path | None = None
                           ) -> Path | None:
    """The undamaged training checkpoint of a run with the most iterations.

    Searches the folders of the run: files with a manifest, ``epoch_N.pth``,
    ``iter_N.pth`` and the one that ``last_checkpoint`` names, but no ``best_*``. A file
    is undamaged if it matches its manifest; without one, if its checksums are correct
    and it can be read. Others are named in a warning.

    Checkpoints of an earlier run in the same folder do not count if ``run.json`` notes
    the last one; a warning names them. Without that note, files older than the one in
    ``last_checkpoint``, but with more iterations, are taken to be of an earlier run:
    they come last.

    Args:
        work_dir: Of the run.
        out_dir: Where it writes checkpoints, if that is another folder. Paths in
            ``last_checkpoint`` that lead out of both are those of the work dir that
            this one is a copy of: a file of that name is looked for here.

    Returns:
        None if there is no checkpoint.

    Raises:
        ValueError: If there are checkpoints but all are damaged: to start again would
            silently discard the run.
    """
    work_dir = Path(work_dir).expanduser()
    folders = [work_dir, *([Path(out_dir)] if out_dir else [])]
    last, damaged = _last_checkpoint(folders), []
    candidates = _of_last_run(
        list(map(_candidate, _training_files(folders, last))), work_dir)
    noted = next((c for c in candidates if _same_file(c.path, last)), None)
    for candidate in sorted(candidates, key=lambda c: (
            _is_of_earlier_run(c, noted), *_newest_first(c))):
        problem = candidate.problem or _problem(candidate)
        if problem is None:
            return candidate.path
        damaged.append(f'{candidate.path} {problem}')
        print_log(f'{damaged[-1]}. Trying an older checkpoint.',
                  logger='current', level=logging.WARNING)
    if damaged:
        raise UserValueError(
            f'No checkpoint of {work_dir} can be used. ' + '; '.join(damaged) + '. '
            'Restore one from a copy, or remove them to start over.')
    return None


def remove_checkpoint(path: str | Path) -> None:
    """Remove a checkpoint and its manifest."""
    Path(path).unlink(missing_ok=True)
    manifest_path(path).unlink(missing_ok=True)


def clean_up(folder: str | Path) -> list[Path]:
    """Remove leftovers of dead runs: partial files, manifests without a checkpoint.

    Returns:
        What was removed.
    """
    removed = remove_partial_files(folder)
    for path in sorted(Path(folder).glob('*.pth.json')):
        checkpoint = path.with_suffix('')
        with suppress(ValueError, OSError):
            if not checkpoint.exists() and read_manifest(checkpoint):
                path.unlink()
                removed.append(path)
    return removed


class _Candidate(NamedTuple):
    path: Path
    manifest: Manifest | None
    step: int
    problem: str | None
    run: str = ''


def _of_last_run(candidates: list[_Candidate], work_dir: Path) -> list[_Candidate]:
    """Those of the run that was begun last, or the one that it was begun from."""
    note = read_run_note(work_dir)
    if note is None:
        return candidates
    # mmengine's own Runner writes no id.
    mine = [c for c in candidates if c.run == note.run
            or not c.run and _written(c) >= note.started_at]
    if mine or not candidates and not note.begun_from:
        return mine
    source = Path(work_dir, note.begun_from)  # A path elsewhere is absolute.
    if note.begun_from and source.is_file():
        return [_candidate(source)]
    newest = max(candidates, key=lambda c: c.step, default=None)
    if newest:
        print_log(
            f'{newest.path} is of an earlier run. The last one begun in {work_dir}'
            + (f', of {note.config},' if note.config else '')
            + f' at {note.started}, has no checkpoint. To continue the earlier one: '
            f'--resume {newest.path}', logger='current', level=logging.WARNING)
    return []


def _training_files(folders: list[Path], last: Path | None) -> Iterator[Path]:
    for folder in {folder.resolve(): folder for folder in folders}.values():
        for path in folder.glob('*.pth') if folder.is_dir() else ():
            is_training = (_NAME.fullmatch(path.name) or manifest_path(path).exists()
                           or _same_file(path, last))
            # A link whose target is gone is named, not passed over.
            if (is_training and (path.is_file() or path.is_symlink())
                    and not path.name.startswith((_BEST, '.'))):
                yield path


def _same_file(path: Path, last: Path | None) -> bool:
    # Not Path.resolve, to which a link to itself is an error.
    return last is not None and os.path.realpath(path) == os.path.realpath(last)


def _last_checkpoint(folders: list[Path]) -> Path | None:
    """The file that mmengine's note names; None if it is missing or no path."""
    try:
        text = (folders[0] / 'last_checkpoint').read_text().strip()
    except (OSError, ValueError):
        return None
    if not text or '\0' in text:
        return None
    # Written relative to where the run was started; the folder may have been moved, or
    # copied from one that another run still uses.
    path = Path(text)
    with suppress(OSError, RuntimeError):
        if path.resolve().parent in [folder.resolve() for folder in folders]:
            return path
    return next((folder / path.name for folder in reversed(folders)
                 if (folder / path.name).is_file()), folders[0] / path.name)


def _candidate(path: Path) -> _Candidate:
    manifest = usable_manifest(path)
    if manifest is not None:
        return _Candidate(path, manifest, manifest.step, None, manifest.run)
    try:
        meta = read_checkpoint(
            path, mmap=zipfile.is_zipfile(path), verify=False).get('meta')
        return _Candidate(path, None, int(meta['iter']), None,
                          str(meta.get('run', '')))
    except (KeyError, TypeError, OverflowError):
        problem = "is damaged: it is no training checkpoint: no 'iter' in its 'meta'"
    except UnreadableFileError as error:
        problem = unreadable(path, error.__cause__)
    except OSError as error:
        problem = unreadable(path, error)
    except ValueError as error:
        problem = f'is damaged: {error}'.rstrip('.')
    return _Candidate(path, None, -1, problem)


def _newest_first(candidate: _Candidate) -> tuple:
    # A file whose step cannot be read may be the newest: it gets a warning.
    unknown = candidate.problem is not None
    return not unknown, -candidate.step, -_modified(candidate.path)


def _is_of_earlier_run(candidate: _Candidate, noted: _Candidate | None) -> bool:
    return (noted is not None and candidate.step > noted.step
            and _written(candidate) < _written(noted))


def _written(candidate: _Candidate) -> float:
    """Time in seconds; a copy keeps the one in its manifest."""
    if candidate.manifest is not None:
        with suppress(ValueError, OverflowError):
            return datetime.fromisoformat(candidate.manifest.written).timestamp()
    return _modified(candidate.path)


def _modified(path: Path) -> float:
    return (path.stat() if path.exists() else path.lstat()).st_mtime


def _problem(candidate: _Candidate) -> str | None:
    try:
        problem = damage(candidate.path, candidate.manifest)
    except OSError as error:
        return unreadable(candidate.path, error)
    return problem and f'is damaged: {problem}'
