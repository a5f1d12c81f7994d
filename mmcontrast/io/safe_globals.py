"""List the pickled objects that are data and safe to load."""
import argparse
import datetime
import pathlib
import pickle
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version

from .file_kinds import describe_content

# Plain values of Python that torch's own list lacks.
_VALUES = (
    argparse.Namespace, slice, range, frozenset, dict, list, int, float,
    pathlib.PosixPath, pathlib.PurePosixPath, datetime.datetime, datetime.date,
    datetime.time, datetime.timedelta, datetime.timezone)

# From this version torch accepts a list of further safe objects.
TAKES_LISTS = digit_version(torch.__version__) >= digit_version('2.6')


def safe_globals() -> AbstractContextManager:
    """Inside, ``torch.load(weights_only=True)`` also accepts these objects."""
    if not TAKES_LISTS:
        return nullcontext()
    return torch.serialization.safe_globals(_globals())


def _globals() -> list:
    """What mmengine and released checkpoints hold besides tensors; all of it data."""
    dtypes = {type(np.dtype(kind)) for kind in np.sctypeDict.values()}
    core = np._core.multiarray if hasattr(np, '_core') else np.core.multiarray
    # numpy 1 and 2 write different module names for the same two functions.
    rebuild = [(getattr(core, name), f'numpy.{module}.multiarray.{name}')
               for name in ('_reconstruct', 'scalar') for module in ('core', '_core')]
    return [*dtypes, *rebuild, *_VALUES, np.ndarray, np.dtype, HistoryBuffer,
            (_log_statistic, 'builtins.getattr'),
            # torch fills dicts and lists alone.
            (_as_dict, 'collections.defaultdict'), (_as_list, 'collections.deque')]


def _log_statistic(owner, name: str):
    # HistoryBuffer pickles its methods as getattr(HistoryBuffer, 'mean'); anything
    # else that a file asks getattr for is refused.
    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f'Unsupported global: GLOBAL getattr({owner}, {name})')


def _as_dict(default_factory=None) -> dict:
    return {}


def _as_list(items=(), max_length=None) -> list:
    return list(items)


def unreadable_file_message(path: Path, error: Exception) -> str:
    """Message for a file that is no checkpoint, or damaged: what it is, what to do."""
    what = describe_content(path)
    if what:
        return f'{path} cannot be read as a checkpoint: {what}'
    reason = str(error).split('\n')[0].strip()
    if 'weights_only' in reason:  # torch advises to execute the file.
        reason = 'it does not begin as a file of torch.save does'
    return (f'{path} cannot be read as a checkpoint{reason and f" ({reason})"}. It may '
            'be truncated: compare its size with the original and copy it again.')


def unsafe_file_message(path: Path, error: Exception) -> str:
    """Message for a file that holds more than data: what was found, what to do."""
    text = str(error)
    found = text.partition('GLOBAL ')[2].split(' was ')[0].split(' whose ')[0]
    found = (found or text.partition('Unpickler error: ')[2]).split('\n')[0].strip()
    # Letters of a text may happen to be operands of pickle.
    what = describe_content(path) or 'pickle'
    is_pickle = 'pickle' in what or 'TorchScript' in what
    if not found or 'Unsupported operand' in text or not is_pickle:
        return unreadable_file_message(path, error)
    return (
        f'{path} holds {found}, which is code and not data; nothing was executed. '
        'Expected tensors, numbers, text and numpy arrays. If you trust its author, '
        'load it in the environment it was written in and save the weights alone: '
        "torch.save(dict(state_dict=model.state_dict()), 'weights.pth')."
        + (' Training checkpoints of mmengine need torch 2.6 or newer.'
           if not TAKES_LISTS else ''))
