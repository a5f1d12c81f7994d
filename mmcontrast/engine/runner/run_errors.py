"""Explain what stopped a run: full disks, lost and damaged data."""
import errno
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from mmengine.dist import get_world_size
from mmengine.runner import Runner

from ...datasets.bad_images import ImagesGone
from ...errors import DataError
from ...io.checkpoint_files import latest_good_checkpoint
from ...io.disk import FORBIDDEN, FULL, DiskError, cannot_write
from ..distributed.unwrap import leaf_datasets
from ..resume.checkpoint_hook import checkpoint_folder

# torch passes on an exception of a loader process as text.
_IN_WORKER = re.compile(r'Caught \w+ in DataLoader worker process')
_LAST = re.compile(r'^(?P<kind>[\w.]*(?:Error|Exception|error|Gone)): (?P<text>.*)',
                   re.M)
_NUMBERED = re.compile(r"\[Errno (?P<number>\d+)\] [^:]*(?:: '(?P<path>.*)')?")
_UNDECODED = 'failed to load image: '  # Of mmcv; the path follows.
# Of OpenCV and Pillow, decoding bytes: no file is named.
_NAMELESS = ('!buf.empty()', 'cannot identify image file', 'image file is truncated')
_READING = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EIO, errno.ESTALE,
            errno.ENOTCONN, errno.ENODEV, errno.ETIMEDOUT)
# Of torch's batch norm.
_ONE_VALUE = 'Expected more than 1 value per channel when training'
# Files of a data set to check when the error names none.
_MAX_CHECKED = 100_000


@contextmanager
def explained_errors(runner: Runner) -> Iterator[None]:
    """Explain errors that a full disk or lost data raise in a run.

    Raises:
        DiskError: If a file of the run could not be written.
        DataError: If a file that the run was reading is gone or damaged.
    """
    try:
        yield
    except Exception as error:
        explained = None if hasattr(error, 'explained') else explain(error, runner)
        if explained is None:
            raise
        full = type(explained)(f'{explained}{_how_to_resume(runner)}')
        full.explained = True  # A tool around the runner need not do so again.
        raise full from error


def explain(error: Exception, runner: Runner) -> DiskError | DataError | None:
    """The error to show to the user; None if it is about something else."""
    if isinstance(error, DiskError):
        return error
    cause = _unfold(error)
    ours = cause.path is not None and _is_below(cause.path, runner.work_dir)
    if (cause.number in FULL and not cause.in_worker) or (
            cause.number in FORBIDDEN and ours):
        path = cause.path or runner.work_dir
        return cannot_write(path, OSError(cause.number, os.strerror(cause.number)))
    if cause.path is not None and cause.number in _READING and not ours:
        return DataError(_lost(cause.path, cause.number))
    if cause.kind.endswith(ImagesGone.__name__):
        return DataError(cause.text)
    if cause.text.startswith(_UNDECODED):
        return DataError(_broken(cause.text.removeprefix(_UNDECODED).strip()))
    if _ONE_VALUE in cause.text:
        return DataError(_single_image(runner))
    if any(text in cause.text for text in _NAMELESS):
        empty = _first_empty(runner)
        return DataError(_broken(empty) if empty else (
            f'A file of the data is no image that can be read ({cause.text}). '
            'python tools/doctor.py CONFIG names the damaged ones.'))
    return None


def resume_command() -> str:
    """The command that resumes this run, as far as it is known."""
    tool, *arguments = sys.argv
    if tool != 'mmcontrast train' and Path(tool).name != 'train.py':
        return 'start the run again with resume=True'
    if get_world_size() > 1:
        return 'the command that started the run, with --resume'
    start = tool.split() if tool == 'mmcontrast train' else ['python', tool]
    return shlex.join([*start, *without_resume(arguments), '--resume'])


def without_resume(argv: Sequence[str]) -> list[str]:
    """A command line without ``--resume`` and its value."""
    kept, skip = [], False
    for argument in argv:
        if argument == '--resume' or argument.startswith('--resume='):
            skip = argument == '--resume'
        elif not skip or argument.startswith('-'):
            kept.append(argument)
            skip = False
        else:
            skip = False
    return kept


class _Cause(NamedTuple):
    kind: str
    text: str
    number: int | None
    path: str | None
    in_worker: bool


def _unfold(error: Exception) -> _Cause:
    """The cause of an error, also of one in a loader process."""
    kind, text = type(error).__name__, str(error)
    in_worker = _IN_WORKER.match(text) is not None
    last = list(_LAST.finditer(text)) if in_worker else []
    if last:
        kind, text = last[-1]['kind'], text[last[-1].start('text'):].strip()
    elif isinstance(error, OSError) and error.errno is not None:
        path = error.filename and os.fsdecode(error.filename)
        return _Cause(kind, text, error.errno, path, in_worker)
    match = _NUMBERED.match(text)
    number, path = (int(match['number']), match['path']) if match else (None, None)
    return _Cause(kind, text, number, path, in_worker)


def _lost(path: str, number: int) -> str:
    if number == errno.EACCES:
        return f'{path} of the data may not be read. Give this user the right to.'
    if number not in (errno.ENOENT, errno.ENOTDIR):
        return (f'{path} of the data cannot be read ({os.strerror(number)}). See to '
                'the disk or the network it lies on.')
    gone = Path(path).absolute()
    if gone.parent.is_dir():
        return (f'{gone} of the data is missing. Restore it, or remove it from the '
                'list of the data set.')
    while not gone.parent.is_dir() and gone.parent != gone:
        gone = gone.parent
    return (f'{path} of the data is missing: there is no folder {gone}. Restore it '
            '(is its disk mounted?).')


def _broken(path: str) -> str:
    return (f'{path} of the data is no image that can be read: damaged, truncated or '
            'empty. Replace it by a good copy, or remove it from the list of the data '
            'set.')


def _single_image(runner: Runner) -> str:
    loader = runner.train_dataloader
    return (
        f'A batch holds a single image, of which batch norm has one value a channel: '
        f'{len(loader.dataset)} images in batches of {loader.batch_size} for each of '
        f'{get_world_size()} process(es). Set train_dataloader.drop_last=True to leave '
        'out the last batch, or another batch_size.')


def _first_empty(runner: Runner) -> str | None:
    """The first file of the training data without content."""
    for dataset in leaf_datasets(getattr(runner.train_dataloader, 'dataset', None)):
        if not hasattr(dataset, 'get_data_info'):
            continue
        for idx in range(min(len(dataset), _MAX_CHECKED)):
            info = dataset.get_data_info(idx)
            for path in filter(None, map(info.get, ('img_path', 'seg_map_path'))):
                if os.path.isfile(path) and not os.path.getsize(path):
                    return path
    return None


def _is_below(path: str, folder: str) -> bool:
    return Path(folder).absolute() in Path(path).absolute().parents


def _how_to_resume(runner: Runner) -> str:
    """The checkpoint to resume from, in words; empty without one."""
    with suppress(OSError, ValueError):
        last = latest_good_checkpoint(runner.work_dir, checkpoint_folder(runner))
        if last is not None:
            return f' The last checkpoint, {last}, is intact: continue with --resume.'
    return ''
