"""Compute outputs of the unofficial TopNet and SimOPA from their released weights.

The converter compares our models with them: equal weights must give equal outputs.
Keys and order of operations are those of the release.
"""
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]

# Rows and columns of the decoded map whose logits are computed, of full width 512.
SHOWN = 24


def pair_net(weights: Weights, background: Tensor, canvas: Tensor) -> dict[str, Tensor]:
    """Outputs of the unofficial TopNet, images mixed as in its batches.

    Args:
        weights: Released keys.
        background: (B, 3, H, W).
        canvas: (B, 4, H, W).

    Returns:
        ``fused`` (B, 1024, h, w), ``decoded`` (B, 64, H, W), and ``logits`` of its
        upper left corner, convolved alone.
    """
    zeros = torch.zeros_like(background[:, :1])
    maps = _background(weights, torch.cat([background, zeros], 1))
    fused = torch.cat([maps[-1], _object(weights, canvas)], 1)
    heads = 8
    for i in range(len({k.split('.')[2] for k in weights if k.startswith('Trans')})):
        fused = _layer(weights, f'Transformer.layers.{i}', fused, heads)
    x = _up_conv(weights, 'upconv32', fused)
    for name, skip in zip(('upconv16', 'upconv8', 'upconv4', 'upconv2'),
                          (maps[3], maps[2], maps[1], maps[0]), strict=True):
        x = _doubled(_up_conv(weights, name, x), False) + skip
    x = _up_conv(weights, 'upconv1', _doubled(x, True))
    corner = x[..., :SHOWN, :SHOWN]
    wide = F.conv_transpose2d(corner, weights['deconv.weight'], weights['deconv.bias'],
                              padding=1)
    logits = F.conv2d(wide, weights['classifier.weight'], weights['classifier.bias'])
    return dict(fused=fused, decoded=x, logits=logits)


def simopa(weights: Weights, composites: Tensor) -> Tensor:
    """Logits (B, 2) of SimOPA for (B, 4, H, W)."""
    x = F.conv2d(composites, weights['backbone.0.weight'], stride=2, padding=3)
    x = F.max_pool2d(F.relu(_norm(weights, 'backbone.1', x)), 3, 2, 1)
    for i in range(4, 8):
        x = _stage(weights, f'backbone.{i}', x, stride=1 if i == 4 else 2)
    return F.linear(F.adaptive_avg_pool2d(x, 1).flatten(1),
                    weights['prediction_head.weight'])


def _background(weights: Weights, x: Tensor) -> list[Tensor]:
    x = F.conv2d(x, weights['bg_encoder1.0.weight'], stride=2, padding=3)
    maps = [F.relu(_norm(weights, 'bg_encoder1.1', x))]
    maps.append(_stage(weights, 'bg_encoder2.1', F.max_pool2d(maps[0], 3, 2, 1), 1))
    for name in ('bg_encoder4', 'bg_encoder8', 'bg_encoder16'):
        maps.append(_stage(weights, name, maps[-1], 2))
    return maps


def _object(weights: Weights, x: Tensor) -> Tensor:
    x = F.conv2d(x, weights['fg_encoder1.0.weight'], stride=2, padding=3)
    x = F.max_pool2d(F.relu(_norm(weights, 'fg_encoder2.0', x)), 3, 2, 1)
    x = _stage(weights, 'fg_encoder4.1', x, 1)
    for name in ('fg_encoder8', 'fg_encoder16', 'fg_encoder32'):
        x = _stage(weights, name, x, 2)
    return x


def _stage(weights: Weights, name: str, x: Tensor, stride: int) -> Tensor:
    """Two basic blocks of a ResNet."""
    for i in range(2):
        block, step = f'{name}.{i}', stride if i == 0 else 1
        y = F.conv2d(x, weights[f'{block}.conv1.weight'], stride=step, padding=1)
        y = F.relu(_norm(weights, f'{block}.bn1', y))
        y = F.conv2d(y, weights[f'{block}.conv2.weight'], padding=1)
        if f'{block}.downsample.0.weight' in weights:
            x = _norm(weights, f'{block}.downsample.1', F.conv2d(
                x, weights[f'{block}.downsample.0.weight'], stride=step))
        x = F.relu(_norm(weights, f'{block}.bn2', y) + x)
    return x


def _layer(weights: Weights, name: str, x: Tensor, heads: int) -> Tensor:
    """Attention along the batch at each position, then the MLP over the whole map."""
    part = {key.removeprefix(f'{name}.'): value for key, value in weights.items()
            if key.startswith(f'{name}.')}
    batch, channels, rows, cols = x.shape

    def norm(number: int, x: Tensor) -> Tensor:
        return F.layer_norm(x, (cols,), part[f'layer_norm{number}.weight'],
                            part[f'layer_norm{number}.bias'])

    tokens = norm(1, x).flatten(2).permute(2, 0, 1)         # position, image, channel
    q, k, v = F.linear(
        tokens, part['MultiheadAttention.in_proj_weight'],
        part['MultiheadAttention.in_proj_bias']).unflatten(
            2, (3, heads, channels // heads)).permute(2, 0, 3, 1, 4)
    mixed = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
    mixed = F.linear(mixed.transpose(1, 2).flatten(2),
                     part['MultiheadAttention.out_proj.weight'],
                     part['MultiheadAttention.out_proj.bias'])
    x = x + mixed.permute(1, 2, 0).reshape(x.shape)
    y = norm(2, x).reshape(batch, -1)
    for i in (0, 2, 4):
        y = F.linear(y, part[f'mlp.model.{i}.weight'], part[f'mlp.model.{i}.bias'])
        y = F.relu(y) if i < 4 else y
    return x + y.reshape(x.shape)


def _up_conv(weights: Weights, name: str, x: Tensor) -> Tensor:
    x = F.conv2d(x, weights[f'{name}.basicconv.0.weight'], padding=1)
    return F.relu(_norm(weights, f'{name}.basicconv.1', x))


def _doubled(x: Tensor, align_corners: bool) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode='bilinear',
                         align_corners=align_corners)


def _norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    return F.batch_norm(
        x, weights[f'{name}.running_mean'], weights[f'{name}.running_var'],
        weights[f'{name}.weight'], weights[f'{name}.bias'])
