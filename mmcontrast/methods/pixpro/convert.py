"""Convert released PixPro checkpoints.

Source: github.com/zdaxie/PixPro, the keys of its training and published files
(``encoder*``, ``projector*``, ``value_transform``, ``predictor``).
"""
from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ...converters.released import Head, ReleasedLayout, convert_released, part_of
from ...converters.resnets import infer_backbone


def infer_model(weights: Mapping[str, Tensor]) -> dict:
    """Config of the PixPro model that released weights belong to."""
    if 'projector.linear1.weight' not in weights:
        raise ValueError('The file has no projector.*, so its model cannot be read off '
                         'it; name one with --config, and --drop what it lacks.')
    hidden = weights['projector.linear1.weight']
    transform = part_of(weights, 'value_transform')
    return dict(
        type='PixPro', backbone=infer_backbone(part_of(weights, 'encoder')),
        projector=dict(type='ConvMLP', hidden_channels=len(hidden),
                       out_channels=len(weights['projector.linear2.weight'])),
        propagation=dict(type='PixelPropagation', transform_layers=(
            2 if 'linear1.weight' in transform else int(bool(transform)))),
        loss=dict(type='PairConsistencyLoss'),
        instance_weight=float('predictor.linear1.weight' in weights))


def _small_map(part: Mapping[str, Tensor]) -> Tensor:
    first = part.get('linear1.weight', part.get('weight'))
    return torch.randn(2, first.shape[1], 4, 4,
                       generator=torch.Generator().manual_seed(0))


def _released_head(part: Mapping[str, Tensor], x: Tensor) -> Tensor:
    if 'weight' in part:
        return F.conv2d(x, part['weight'], part['bias'])
    x = F.conv2d(x, part['linear1.weight'], part['linear1.bias'])
    x = F.batch_norm(x, part['bn1.running_mean'], part['bn1.running_var'],
                     part['bn1.weight'], part['bn1.bias'])
    return F.conv2d(F.relu(x), part['linear2.weight'], part['linear2.bias'])


def _head(module: str) -> Head:
    return Head(module, str, _small_map, _released_head)


# Modules of the momentum branch end in '_k' in the released code.
LAYOUT = ReleasedLayout(
    method='PixPro', infer_model=infer_model,
    encoders=dict(encoder='backbone', encoder_k='momentum.backbone'),
    heads=dict(
        projector=_head('projector'), projector_k=_head('momentum.projector'),
        value_transform=_head('propagation.transform'),
        projector_instance=_head('instance_projector'),
        projector_instance_k=_head('momentum.instance_projector'),
        predictor=_head('instance_predictor')))

#: ``convert(weights, model_cfg=None, drop=())``, see :func:`convert_released`.
convert = partial(convert_released, LAYOUT)
