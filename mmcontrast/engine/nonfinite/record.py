"""Save a batch, with the state to run it again, in a folder, and read it back."""
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from ...errors import UserValueError
from ...io.atomic import atomic_folder
from ...io.checkpoint import read_checkpoint
from ...io.plain_data import from_plain, left_out, to_plain
from ...models.momentum import MomentumEncoder
from ..resume.rng_state import (
    RNGState,
    restore_rng_state,
    rng_state_from_data,
    rng_state_to_data,
)

FORMAT = 1
# Earlier names of keys of the state.
_FORMER_KEYS = dict(twins='momentum_encoders', twins_moved='momentum_updated',
                    never_finite='always_nonfinite')


@dataclass
class Record:
    """A saved batch.

    Attributes:
        folder: Where it is.
        batch: As the data loader gave it; what could not be saved is None.
        state: See :func:`training_state`, with ``losses`` and ``info``.
        config_text: Of the run; to be parsed, never executed.
        missing: What of the batch could not be saved, as ``path: type``.
    """

    folder: Path
    batch: object
    state: dict
    config_text: str
    missing: list[str]


def training_state(model: nn.Module, wrapper: OptimWrapper | OptimWrapperDict,
                   rng_state: RNGState) -> dict:
    """Weights, buffers, optimizer and RNG state, as plain data.

    Args:
        model: Without wrappers of distribution.
        rng_state: At the beginning of the step.
    """
    weights = model.state_dict()
    several = isinstance(wrapper, OptimWrapperDict)
    return dict(
        weights=dict(weights),
        transient={name: buffer for name, buffer in model.named_buffers()
                   if name not in weights},
        optimizer=to_plain(wrapper.state_dict()),
        generators=rng_state_to_data(rng_state),
        modes={name: module.training for name, module in model.named_modules()},
        momentum_encoders={name: module.coefficient
                           for name, module in model.named_modules()
                           if isinstance(module, MomentumEncoder)},
        wrappers=list(wrapper.keys()) if several else None,
        autocast=_autocast(next(iter(wrapper.values())) if several else wrapper))


def restore_state(state: dict, model: nn.Module) -> None:
    """Restore a saved state in a model and in the global random generators.

    Raises:
        ValueError: If the weights do not fit the model.
    """
    try:
        model.load_state_dict(state['weights'])
    except RuntimeError as error:
        raise ValueError(f'The saved weights do not fit the model: {error}') from error
    buffers = dict(model.named_buffers())
    with torch.no_grad():
        for name, saved in state['transient'].items():
            if name in buffers and buffers[name].shape == saved.shape:
                buffers[name].copy_(saved)
    for name, module in model.named_modules():
        module.training = state['modes'].get(name, True)
        if name in state['momentum_encoders']:
            module.coefficient = state['momentum_encoders'][name]
    restore_rng_state(rng_state_from_data(state['generators']))


def write_record(folder: Path, batch: object, state: dict, config_text: str,
                 report: str) -> list[str]:
    """Write a record, a folder, atomically.

    A folder of that name, of an earlier run in the same work dir, is replaced.

    Returns:
        What of the batch could not be saved.
    """
    plain = to_plain(batch)
    with atomic_folder(folder, overwrite=True) as partial:
        torch.save(dict(batch=plain), partial / 'batch.pth')
        torch.save(dict(state, format=FORMAT), partial / 'state.pth')
        (partial / 'config.py').write_bytes(config_text.encode())
        (partial / 'report.txt').write_bytes(
            report.encode('utf-8', 'backslashreplace'))  # names of images
    return list(left_out(plain))


def read_record(folder: str | Path) -> Record:
    """Read a record, executing nothing of it.

    Raises:
        FileNotFoundError: If a file of it is missing.
        ValueError: If a file holds more than data, or is of a later format.
    """
    folder = Path(folder)
    if not (folder / 'state.pth').is_file():
        inside = sorted(p.parent.name for p in folder.glob('*/state.pth'))
        inside = inside or sorted(
            f'nonfinite/{p.parent.name}' for p in folder.glob('nonfinite/*/state.pth'))
        hint = (f'there is {", ".join(inside)} in it.' if inside else
                'name a folder WORK_DIR/nonfinite/iter_N.')
        raise FileNotFoundError(f'{folder} holds no state.pth and is no saved batch; '
                                f'{hint}')
    state = {_FORMER_KEYS.get(key, key): value for key, value in
             read_checkpoint(folder / 'state.pth').items()}
    if state.get('format') != FORMAT:
        raise ValueError(f'{folder}/state.pth has format {state.get("format")}, this '
                         f'version of mmcontrast reads {FORMAT}.')
    plain = read_checkpoint(folder / 'batch.pth').get('batch')
    config = folder / 'config.py'
    try:
        batch, missing = from_plain(plain), list(left_out(plain))
    except (KeyError, TypeError, RecursionError) as error:
        raise UserValueError(f'{folder}/batch.pth is no saved batch '
                             f'({type(error).__name__}: {error}).') from error
    return Record(folder, batch, state,
                  config.read_text() if config.is_file() else '', missing)


def bit_equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal bit by bit, NaN included."""
    return (a.dtype == b.dtype and a.shape == b.shape
            and torch.equal(a.reshape(-1).view(torch.uint8),
                            b.reshape(-1).view(torch.uint8)))


def _autocast(wrapper: OptimWrapper) -> dict | None:
    """Settings of autocast in mixed precision; None without."""
    if not isinstance(wrapper, AmpOptimWrapper):
        return None
    dtype = wrapper.cast_dtype
    return dict(dtype=None if dtype is None else str(dtype).split('.')[-1])
