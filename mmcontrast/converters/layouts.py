"""Map the names that different libraries give to the same weights."""
import re
from collections.abc import Iterable

from torch import Tensor

from .report import Rule

# Convolutions and norms of a ResNet stem, in the order they are applied.
RESNET_STEMS = dict(
    plain=('conv1', 'bn1'),
    mmpretrain=('stem.0.conv', 'stem.0.bn', 'stem.1.conv', 'stem.1.bn',
                'stem.2.conv', 'stem.2.bn'),
    mmdet=('stem.0', 'stem.1', 'stem.3', 'stem.4', 'stem.6', 'stem.7'),
    timm=('conv1.0', 'conv1.1', 'conv1.3', 'conv1.4', 'conv1.6', 'bn1'),
    released=('conv1.0.0', 'conv1.0.1', 'conv1.1.0', 'conv1.1.1', 'conv1.2', 'bn1'))


def resnet_rule(source: Iterable[str], target: Iterable[str]) -> Rule:
    """Rule between two ResNets, found from their keys alone.

    Blocks are named alike everywhere. Stems differ, and the convolution and norm of a
    shortcut have other numbers where it starts with a pooling layer.
    """
    source, target = list(source), list(target)
    names = _stem_names(source, target) | _shortcut_names(source, target)

    def rule(key: str, value: Tensor) -> tuple[str, Tensor]:
        module, _, leaf = key.rpartition('.')
        return f'{names.get(module, module)}.{leaf}', value
    return rule


def _stem_names(source: list[str], target: list[str]) -> dict[str, str]:
    stems = []
    for keys in (source, target):
        modules = {key.rpartition('.')[0] for key in keys}
        stems.append(next((stem for stem in RESNET_STEMS.values()
                           if modules.issuperset(stem)), ()))
    # Stems of different depth stay unmapped and are reported key by key.
    return dict(zip(*stems, strict=True)) if len(stems[0]) == len(stems[1]) else {}


def _shortcut_names(source: list[str], target: list[str]) -> dict[str, str]:
    names = {}
    ours, theirs = _shortcuts(source), _shortcuts(target)
    for block, numbers in ours.items():
        if len(numbers) == len(theirs.get(block, [])):
            for number, other in zip(numbers, theirs[block], strict=True):
                names[f'{block}.{number}'] = f'{block}.{other}'
    return names


def _shortcuts(keys: list[str]) -> dict[str, list[int]]:
    found: dict[str, set[int]] = {}
    for key in keys:
        if match := re.match(r'(layer\d+\.\d+\.downsample)\.(\d+)\.', key):
            found.setdefault(match[1], set()).add(int(match[2]))
    return {block: sorted(numbers) for block, numbers in found.items()}


def swin_to_timm(key: str, value: Tensor) -> tuple[str, Tensor] | None:
    """Rule from the Swin of mmpretrain, mmdet and mmseg to timm's.

    timm starts a stage with the merging of patches where the others end the stage
    before with it, and orders the merged channels by patch, then channel; the others
    use ``nn.Unfold``: channel, then patch (row by row, timm column by column).
    """
    if key.startswith('stages.3.downsample'):
        return None
    merging = r'stages\.(\d+)\.downsample\.(norm|reduction)\.(\w+)'
    if match := re.fullmatch(merging, key):
        merged = value.unflatten(-1, (-1, 4))[..., [0, 2, 1, 3]]
        stage = int(match[1]) + 1
        return (f'layers.{stage}.downsample.{match[2]}.{match[3]}',
                merged.transpose(-1, -2).flatten(-2).contiguous())
    for ours, timm in (('patch_embed.projection.', 'patch_embed.proj.'),
                       ('stages.', 'layers.'), ('attn.w_msa.', 'attn.'),
                       ('ffn.layers.0.0.', 'mlp.fc1.'), ('ffn.layers.1.', 'mlp.fc2.'),
                       ('norm3.', 'norm.')):
        if ours != 'norm3.' or key.startswith(ours):
            key = key.replace(ours, timm)
    return key, value


def same_name(key: str, value: Tensor) -> tuple[str, Tensor]:
    """Rule between two networks whose keys are the same."""
    return key, value
