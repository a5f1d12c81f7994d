"""Training checkpoints on disk: written with a manifest, the newest good one found."""
import logging
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.logging import print_log

from ..errors import UserValueError
from .atomic import atomic_write, remove_partial_files
from .checkpoint import read_checkpoint
from .disk import check_room
from .manifest import Manifest, manifest_path, read_manifest, versions, write_manifest
from .torch_writer import HashingWriter, count_bytes

# What the hooks that save call their files; best_*.pth are not the latest of anything.
_NAME = re.compile(r'(epoch|iter|stopped_iter)_\d+\.pth')
_BEST = 'best_'


def write_training_checkpoint(checkpoint: Mapping, path: str | Path, *, epoch: int,
                              step: int, config_text: str) -> None:
    """Write a checkpoint of a run and, beside it, its manifest ``<name>.json``.

    The file appears complete or not at all; the tensors go to the disk from where they
    are, without a copy in memory. An older file of that name stays until then.

    Args:
        checkpoint: What ``torch.save`` takes.
        path: The file; its folder is created.
        epoch: Epochs trained.
        step: Iterations trained.
        config_text: Text of the config, for the manifest.

    Raises:
        DiskError: If there is no room, or it cannot be written for another reason.
    """
    path = Path(path).expanduser()
    needed = count_bytes(checkpoint)
    check_room(path, needed)
    with atomic_write(path, needed) as file:
        hashing = HashingWriter(file)
        try:
            torch.save(dict(checkpoint), hashing)
        except RuntimeError as error:
            if hashing.failure is None:
                raise
            # torch's writer hides what the disk said.
            raise hashing.failure from error
        # A manifest of an older file must not speak about this one.
        with suppress(FileNotFoundError):
            manifest_path(path).unlink()
    write_manifest(Manifest(
        file=path.name, bytes=hashing.num_bytes, sha256=hashing.hash.hexdigest(),
        epoch=epoch, step=step, versions=versions(), config=config_text), path)


def latest_good_checkpoint(work_dir: str | Path) -> Path | None:
    """The training checkpoint of a run that went furthest and is undamaged.

    Looked at are the work dir and the folder that its ``last_checkpoint`` names: files
    with a manifest, ``epoch_N.pth``, ``iter_N.pth`` and the one in ``last_checkpoint``,
    but no ``best_*``. A file is good if it agrees with its manifest; without one, if
    its checksums are right and it can be read. Damaged ones are warned about by name.
    Files that were written before the one in ``last_checkpoint``, and yet are further,
    are of an earlier run in the same folder: they come last.

    Returns:
        None if no checkpoint was ever written there.

    Raises:
        ValueError: If there are checkpoints and every one is damaged: to begin anew
            would throw the run away without a word.
    """
    work_dir = Path(work_dir).expanduser()
    candidates = list(map(_candidate, _training_files(work_dir)))
    last, damaged = _last_checkpoint(work_dir), []
    noted = next((c for c in candidates if _are_one(c.path, last)), None)
    for candidate in sorted(candidates, key=lambda c: (
            _is_of_earlier_run(c, noted), *_newest_first(c))):
        problem = candidate.problem or _damage(candidate)
        if problem is None:
            return candidate.path
        damaged.append(f'{candidate.path} is damaged: {problem}')
        print_log(f'{damaged[-1]}. An older checkpoint is looked for.',
                  logger='current', level=logging.WARNING)
    if damaged:
        raise UserValueError(
            f'No checkpoint of {work_dir} can be used. ' + '; '.join(damaged) + '. '
            'Restore one from a copy, or remove them to begin anew.')
    return None


def remove_checkpoint(path: str | Path) -> None:
    """Remove a checkpoint and its manifest."""
    Path(path).unlink(missing_ok=True)
    manifest_path(path).unlink(missing_ok=True)


def tidy_up(folder: str | Path) -> list[Path]:
    """Remove what died runs left: half-written files, manifests without a checkpoint.

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


def _training_files(work_dir: Path) -> Iterator[Path]:
    last = _last_checkpoint(work_dir)
    folders = {work_dir.resolve(): work_dir}
    if last:
        folders.setdefault(last.parent.resolve(), last.parent)
    for folder in folders.values():
        for path in folder.glob('*.pth') if folder.is_dir() else ():
            is_one = (_NAME.fullmatch(path.name) or manifest_path(path).exists()
                      or _are_one(path, last))
            if is_one and path.is_file() and not path.name.startswith((_BEST, '.')):
                yield path


def _are_one(path: Path, last: Path | None) -> bool:
    return last is not None and path.resolve() == last.resolve()


def _last_checkpoint(work_dir: Path) -> Path | None:
    """What the text file of mmengine names; nothing if it is missing or no path."""
    try:
        text = (work_dir / 'last_checkpoint').read_text().strip()
    except (OSError, ValueError):
        return None
    if not text or '\0' in text:
        return None
    path = Path(text)
    # Written relative to where the run was started; the folder may have been moved.
    return path if path.parent.is_dir() else work_dir / path.name


def _candidate(path: Path) -> _Candidate:
    try:
        manifest = read_manifest(path)
    except ValueError as error:
        print_log(f'{error} {path.name} is judged without it.', logger='current',
                  level=logging.WARNING)
        manifest = None
    if manifest is not None:
        return _Candidate(path, manifest, manifest.step, None)
    try:
        meta = read_checkpoint(path, mmap=zipfile.is_zipfile(path)).get('meta')
        return _Candidate(path, None, int(meta['iter']), None)
    except (ValueError, OSError) as error:
        return _Candidate(path, None, -1, str(error))
    except (KeyError, TypeError):
        return _Candidate(path, None, -1, "it is no training checkpoint: no 'iter' in "
                                          "its 'meta'")


def _newest_first(candidate: _Candidate) -> tuple:
    # A file whose step cannot be read may be the newest: it is warned about.
    unknown = candidate.problem is not None
    return not unknown, -candidate.step, -candidate.path.stat().st_mtime


def _is_of_earlier_run(candidate: _Candidate, noted: _Candidate | None) -> bool:
    return (noted is not None and candidate.step > noted.step
            and _written(candidate) < _written(noted))


def _written(candidate: _Candidate) -> float:
    """When, in seconds; a copy keeps the time in its manifest."""
    if candidate.manifest is not None:
        with suppress(ValueError):
            return datetime.fromisoformat(candidate.manifest.written).timestamp()
    return candidate.path.stat().st_mtime


def _damage(candidate: _Candidate) -> str | None:
    if candidate.manifest is not None:
        return candidate.manifest.mismatch(candidate.path)
    if not zipfile.is_zipfile(candidate.path):
        return None  # An old format without checksums, which was read in full.
    with zipfile.ZipFile(candidate.path) as archive:
        record = archive.testzip()
    return record and f'the checksum of its part {record} is wrong'
