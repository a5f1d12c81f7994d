"""Small training checkpoints with their manifests, and damage to them."""
from pathlib import Path

import torch

from mmcontrast.io.checkpoint_writer import write_training_checkpoint


def write(folder: Path, name: str, step: int, epoch: int = 0) -> Path:
    """A checkpoint whose one weight is its step."""
    weights = {'a': torch.full((3000,), float(step)), 'b': torch.arange(50.)}
    write_training_checkpoint(
        dict(state_dict=weights, meta=dict(iter=step, epoch=epoch)), folder / name,
        epoch=epoch, step=step, config_text='a = 1\n')
    return folder / name


def three(folder: Path) -> list[Path]:
    return [write(folder, f'epoch_{n}.pth', 4 * n, n) for n in (1, 2, 3)]


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(torch.full((8,), 12.).numpy().tobytes()) + 400] ^= 4
    path.write_bytes(content)
