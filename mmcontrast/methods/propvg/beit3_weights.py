"""Load pretrained BEiT-3 files into the encoder; fit their positions to its size."""
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model.weight_init import update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS as ROOT_WEIGHT_INITIALIZERS
from torch import Tensor, nn

from ...errors import UserKeyError, UserValueError
from ...io.checkpoint import count_prefixes, find_state_dict, read_checkpoint
from ...models.functional import at_least_float
from ...registry import WEIGHT_INITIALIZERS

# The encoder's keys in pretrained files begin so; others belong to their heads.
PREFIX = 'beit3.'
POSITIONS = 'encoder.embed_positions.A.weight'
PATCHES = 'vision_embed.proj.weight'
# Rows of a position table that are never read: its tokens begin at row 2.
OFFSET = 2
# Rows before those of the patches: the offset and the class token.
FIRST_PATCH = OFFSET + 1
# For masked image modeling.
UNUSED = 'vision_embed.mask_token'


# In mmengine's root too, as CLIPPretrained.
@ROOT_WEIGHT_INITIALIZERS.register_module()
@WEIGHT_INITIALIZERS.register_module()
class BEiT3Pretrained:
    """Weight initializer that loads a pretrained file into a :class:`BEiT3`.

    ``init_cfg=dict(type='BEiT3Pretrained', checkpoint='beit3_base_patch16_224.zip')``.
    The file is one of torch, whatever it is called; it is read as data only. Vision
    positions and the patch projection are interpolated to the encoder's sizes.

    Args:
        checkpoint: Path of the file.
    """

    def __init__(self, checkpoint: str | Path) -> None:
        self.checkpoint = checkpoint

    def __call__(self, module: nn.Module) -> None:
        """Load the weights.

        Raises:
            FileNotFoundError: If there is no such file.
            KeyError: If it holds no BEiT-3.
            ValueError: If it holds one of other sizes.
        """
        weights = find_state_dict(read_checkpoint(self.checkpoint), self.checkpoint)
        found = {key.removeprefix(PREFIX): value for key, value in weights.items()
                 if key.startswith(PREFIX)}
        found.pop(UNUSED, None)
        if POSITIONS not in found or PATCHES not in found:
            raise UserKeyError(
                f'{self.checkpoint} holds no BEiT-3: expected {PREFIX}{PATCHES} and '
                f'others, found {count_prefixes(weights)}. Give a pretrained file such '
                'as beit3_base_patch16_224.zip. A PropVG checkpoint goes through '
                'tools/convert/official.py propvg, and then into load_from.')
        own = module.state_dict()
        fitted = resize_weights(found, own)
        self._check(fitted, own, module)
        module.load_state_dict({key: fitted[key] for key in own})
        self._report(found, own, set(weights), module)

    def _check(self, fitted: Mapping, own: Mapping, module: nn.Module) -> None:
        """Every weight of the encoder is in the file, and has its shape."""
        problems = [
            f'{key} is {list(fitted[key].shape)}, expected {list(value.shape)}'
            if key in fitted else f'nothing for {key} {list(value.shape)}'
            for key, value in own.items()
            if key not in fitted or fitted[key].shape != value.shape]
        layers = _num_layers(fitted), _num_layers(own)
        if layers[0] != layers[1]:
            problems.insert(0, f'{layers[0]} layers, expected {layers[1]}')
        if problems:
            raise UserValueError(
                f'{self.checkpoint} does not fit this {type(module).__name__}: '
                f'{"; ".join(problems[:5])}{"; ..." * (len(problems) > 5)}. Set '
                'embed_dims, depth, feedforward and vocab_size of the encoder to those '
                'of the file, and no conv_stem.')

    def _report(self, found: Mapping, own: Mapping, keys: set[str], module: nn.Module
                ) -> None:
        resized = [key for key in (POSITIONS, PATCHES)
                   if found[key].shape != own[key].shape]
        unused = {key for key in keys if key.removeprefix(PREFIX) not in own}
        print_log(
            f'{type(module).__name__}: {len(own)} weights of {self.checkpoint}; '
            f'interpolated: {", ".join(resized) or "none"}; unused in the file: '
            f'{count_prefixes(unused) or "none"}.', logger='current')
        if hasattr(module, '_params_init_info'):
            update_init_info(module, f'BEiT3Pretrained: {self.checkpoint}')


def resize_weights(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]
                   ) -> dict[str, Tensor]:
    """Interpolate vision positions and patch projection to the sizes of an encoder.

    Both bicubic, ``align_corners=False``, as the released code does it; other weights
    stay.

    Args:
        weights: Of a file, under our names.
        own: State dict of the encoder.
    """
    fitted = dict(weights)
    side = round((len(own[POSITIONS]) - FIRST_PATCH) ** 0.5)
    fitted[POSITIONS] = resize_positions(weights[POSITIONS], side, side)
    kernel, size = weights[PATCHES], own.get(PATCHES, weights[PATCHES]).shape[-2:]
    if kernel.shape[-2:] != size:
        fitted[PATCHES] = F.interpolate(
            at_least_float(kernel), size, mode='bicubic', align_corners=False
        ).to(kernel.dtype)
    return fitted


def resize_positions(table: Tensor, height: int, width: int) -> Tensor:
    """Resize the square grid at the end of a vision position table.

    Bicubic in float32 with ``align_corners=False`` and without antialiasing, as the
    released code does it for pretrained files.

    Args:
        table: (3 + n * n, C): two unused rows and the class token, which stay, and the
            grid, row by row.

    Returns:
        (3 + h * w, C) in the table's type.

    Raises:
        ValueError: If the table has another number of rows.
    """
    side = round(max(0, len(table) - FIRST_PATCH) ** 0.5)
    if side < 1 or side ** 2 + FIRST_PATCH != len(table):
        raise UserValueError(f'A vision position table has 3 + n * n rows, got '
                             f'{tuple(table.shape)}.')
    if (height, width) == (side, side):
        return table
    grid = at_least_float(table[FIRST_PATCH:]).mT.unflatten(1, (side, side))
    grid = F.interpolate(grid[None], (height, width), mode='bicubic',
                         align_corners=False)[0]
    return torch.cat([table[:FIRST_PATCH], grid.flatten(1).mT.to(table.dtype)])


def _num_layers(weights: Mapping) -> int:
    return len({key.split('.')[2] for key in weights
                if key.startswith('encoder.layers.')})
