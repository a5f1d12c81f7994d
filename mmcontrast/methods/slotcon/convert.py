"""Convert released SlotCon checkpoints.

Source: github.com/CVMI-Lab/SlotCon, the keys of its training files
(``encoder_{q,k}``, ``projector_{q,k}``, ``grouping_{q,k}``, ``predictor_slot``,
``center``).
"""
from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ...converters.released import Head, ReleasedLayout, convert_released, part_of
from ...converters.resnets import infer_backbone

# Places in the released nn.Sequential -> our layers.
LAYERS = {'mlp.0': 'linear1', 'mlp.1': 'bn1', 'mlp.3': 'linear2', 'mlp.4': 'bn2',
          'mlp.6': 'linear3'}
PROTOTYPES = 'slot_embed.weight'


def infer_model(weights: Mapping[str, Tensor]) -> dict:
    """Config of the SlotCon model that released weights belong to."""
    needed = ('projector_q.mlp.6.weight', f'grouping_q.{PROTOTYPES}',
              'predictor_slot.mlp.0.weight')
    if missing := [key for key in needed if key not in weights]:
        raise ValueError(f'The file has no {missing[0]}, so its model cannot be read '
                         'off it; name one with --config, and --drop what it lacks.')
    last, prototypes, first = (weights[key] for key in needed)
    mlp = dict(num_layers=3, act_cfg=dict(type='GELU'))
    return dict(
        type='SlotCon', backbone=infer_backbone(part_of(weights, 'encoder_q')),
        projector=dict(type='ConvMLP', hidden_channels=last.shape[1],
                       out_channels=last.shape[0], **mlp),
        grouping=dict(type='SlotGrouping', num_slots=len(prototypes)),
        predictor=dict(type='RowMLP', hidden_channels=len(first), **mlp))


def _mlp_name(key: str) -> str | None:
    layer, _, leaf = key.rpartition('.')
    return f'{LAYERS[layer]}.{leaf}' if layer in LAYERS else None


def _mlp_input(part: Mapping[str, Tensor]) -> Tensor:
    first = part['mlp.0.weight']
    # A map for the projector, rows for the predictor.
    place = (4, 4) if first.ndim == 4 else ()
    return torch.randn(8, first.shape[1], *place,
                       generator=torch.Generator().manual_seed(0))


def _released_mlp(part: Mapping[str, Tensor], x: Tensor) -> Tensor:
    linear = F.conv2d if x.ndim == 4 else F.linear
    for layer, norm in (('mlp.0', 'mlp.1'), ('mlp.3', 'mlp.4')):
        x = linear(x, part[f'{layer}.weight'], part[f'{layer}.bias'])
        x = F.gelu(F.batch_norm(
            x, part[f'{norm}.running_mean'], part[f'{norm}.running_var'],
            part[f'{norm}.weight'], part[f'{norm}.bias']))
    return linear(x, part['mlp.6.weight'], part['mlp.6.bias'])


def _similarities(part: Mapping[str, Tensor], x: Tensor) -> Tensor:
    prototypes = F.normalize(part[PROTOTYPES], dim=1)
    return torch.einsum('kc,nchw->nhwk', prototypes, F.normalize(x, dim=1))


def _random_map(part: Mapping[str, Tensor]) -> Tensor:
    return torch.randn(2, part[PROTOTYPES].shape[1], 4, 4,
                       generator=torch.Generator().manual_seed(0))


def _mlp(module: str) -> Head:
    return Head(module, _mlp_name, _mlp_input, _released_mlp)


def _grouping(module: str) -> Head:
    return Head(module, {PROTOTYPES: 'prototypes'}.get, _random_map, _similarities)


LAYOUT = ReleasedLayout(
    method='SlotCon', infer_model=infer_model,
    encoders=dict(encoder_q='backbone', encoder_k='momentum.backbone'),
    heads=dict(
        projector_q=_mlp('projector'), projector_k=_mlp('momentum.projector'),
        grouping_q=_grouping('grouping'), grouping_k=_grouping('momentum.grouping'),
        predictor_slot=_mlp('predictor')),
    single=dict(center='center'))

#: ``convert(weights, model_cfg=None, drop=())``, see :func:`convert_released`.
convert = partial(convert_released, LAYOUT)
