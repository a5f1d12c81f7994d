"""Write the weights of a checkpoint as safetensors, which can hold nothing else."""
from pathlib import Path

import torch
from torch import Tensor

from ...engine.nonfinite.record import bit_equal
from ...io.checkpoint import find_state_dict, read_checkpoint
from .weight_files import provenance, write_weights

# Entries of 'meta' in training checkpoints that are kept.
_META_KEYS = ('epoch', 'iter', 'experiment_name', 'cfg')


def to_safetensors(checkpoint: str | Path, dst: str | Path) -> str:
    """Write all weights of a checkpoint to a safetensors file, and read them back.

    Names stay as they are; ``load_from`` of our configs takes the file. Where the
    weights come from (file, hash, epoch, config text) goes into the header.

    Args:
        checkpoint: Any file that :func:`read_checkpoint` takes.
        dst: The file to write; its name ends in ``.safetensors``.

    Returns:
        A sentence on what was written.

    Raises:
        ValueError: If ``dst`` has another ending, or a tensor has no such form.
        FileNotFoundError, KeyError: If there is no checkpoint, or no weight in it.
    """
    if Path(dst).suffix != '.safetensors':
        raise ValueError(f'DST must end in .safetensors, got {dst}.')
    content = read_checkpoint(checkpoint)
    weights = _untied(find_state_dict(content, checkpoint), checkpoint)
    meta = content.get('meta') if isinstance(content.get('meta'), dict) else {}
    write_weights(weights, dst, meta=dict(
        {key: str(meta[key]) for key in _META_KEYS if key in meta}, format='pt',
        exported_from=Path(checkpoint).name, **provenance(checkpoint)))
    again = read_checkpoint(dst)['state_dict']
    assert set(again) == set(weights)
    assert all(bit_equal(again[key], value) for key, value in weights.items())
    return f'{dst}: {len(again)} tensors, read back and equal to those of {checkpoint}'


def _untied(weights: dict[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """Copies of tied weights: safetensors cannot tie them."""
    seen, untied = set(), {}
    for key, value in weights.items():
        if value.layout is not torch.strided or value.is_quantized:
            raise ValueError(f'{path}: {key} is {value.layout}, quantized: '
                             f'{value.is_quantized}; safetensors are dense and plain.')
        address = value.untyped_storage().data_ptr()
        untied[key] = value.clone() if address in seen else value
        seen.add(address)
    return untied
