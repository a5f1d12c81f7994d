"""The folder that one batch, and all it takes to run it again, is kept in."""
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

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


@dataclass
class Record:
    """What a folder holds.

    Attributes:
        folder: Where it is.
        batch: As the data loader gave it; what could not be kept is None.
        state: See :func:`state_of`, with ``losses`` and ``info``.
        config_text: Of the run; parsed by those who need it, never run.
        missing: What of the batch could not be kept, as ``place: type``.
    """

    folder: Path
    batch: object
    state: dict
    config_text: str
    missing: list[str]


def state_of(model: nn.Module, wrapper: OptimWrapper | OptimWrapperDict,
             generators: RNGState) -> dict:
    """Weights, buffers, optimizer and generators, as plain data.

    Args:
        model: Without wrappers of distribution.
        generators: As they were when the step began.
    """
    weights = model.state_dict()
    several = isinstance(wrapper, OptimWrapperDict)
    return dict(
        weights=dict(weights),
        transient={
            name: buffer
            for name, buffer in model.named_buffers()
            if name not in weights
        },
        optimizer=to_plain(wrapper.state_dict()),
        generators=rng_state_to_data(generators),
        modes={name: module.training for name, module in model.named_modules()},
        momentum_encoders={
            name: module.coefficient
            for name, module in model.named_modules()
            if isinstance(module, MomentumEncoder)
        },
        wrappers=list(wrapper.keys()) if several else None,
        autocast=_autocast(next(iter(wrapper.values())) if several else wrapper),
    )


def restore(state: dict, model: nn.Module) -> None:
    """Give a model, and the generators of this process, a saved state.

    Raises:
        ValueError: If the model is another one.
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
    """Write a record; the folder appears complete or not at all.

    A folder of that name, of an earlier run in the same work dir, is replaced.

    Returns:
        What of the batch could not be kept.
    """
    plain = to_plain(batch)
    with atomic_folder(folder, overwrite=True) as partial:
        torch.save(dict(batch=plain), partial / 'batch.pth')
        torch.save(dict(state, format=FORMAT), partial / 'state.pth')
        (partial / 'config.py').write_bytes(config_text.encode())
        (partial / 'report.txt').write_bytes(report.encode())
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
    state = read_checkpoint(folder / 'state.pth')
    if state.get('format') != FORMAT:
        raise ValueError(f'{folder}/state.pth has format {state.get("format")}, this '
                         f'version of mmcontrast reads {FORMAT}.')
    plain = read_checkpoint(folder / 'batch.pth')['batch']
    config = folder / 'config.py'
    return Record(folder, from_plain(plain), state,
                  config.read_text() if config.is_file() else '', list(left_out(plain)))


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bits, NaN among them."""
    return (a.dtype == b.dtype and a.shape == b.shape
            and torch.equal(a.reshape(-1).view(torch.uint8),
                            b.reshape(-1).view(torch.uint8)))


def _autocast(wrapper: OptimWrapper) -> dict | None:
    """The autocast of mixed precision, as text."""
    if not isinstance(wrapper, AmpOptimWrapper):
        return None
    dtype = wrapper.cast_dtype
    return dict(dtype=None if dtype is None else str(dtype).split('.')[-1])
