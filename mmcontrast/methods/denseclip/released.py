"""Compute the outputs of DenseCLIP's released code, with open_clip's modules.

The converter compares our model with them: equal weights must give equal maps, class
embeddings and score maps. Everything here follows the released code and its key names.
"""
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.clip_weights import open_clip

Weights = Mapping[str, Tensor]


def released_outputs(weights: Weights, image: Tensor, tokens: Tensor, text_heads: int,
                     pos_mode: str) -> dict[str, Tensor]:
    """Maps of the backbone, class embeddings and score map.

    Args:
        weights: Of a released checkpoint.
        image: (B, 3, H, W), normalized; H and W multiples of 32. Its type is that of
            the computation.
        tokens: (K, L) token ids of the class names.
        text_heads: Heads of the text tower, which do not follow from the weights.
        pos_mode: 'resize' (segmentation) or 'crop' (detection), of the position table
            of a ResNet.
    """
    def cast(name: str) -> Weights:
        return {key: value.to(image.dtype) if value.is_floating_point() else value
                for key, value in part(weights, name).items()}

    contexts, gamma = (weights[key].to(image.dtype) for key in ('contexts', 'gamma'))
    backbone = cast('backbone')
    if 'class_embedding' in backbone:
        maps, (whole, local) = _vit(backbone, image)
    else:
        maps, (whole, local) = _resnet(backbone, image, pos_mode)
    text = _text(cast('text_encoder'), contexts, tokens, text_heads)
    visual = torch.cat([whole[:, None], local.flatten(2).transpose(1, 2)], 1)
    text = text.expand(len(image), -1, -1)
    text = text + gamma * _context_decoder(cast('context_decoder'), text, visual)
    score = torch.einsum('bkd,bdhw->bkhw', F.normalize(text, dim=-1),
                         F.normalize(local, dim=1))
    return {f'map{i}': x for i, x in enumerate(maps)} | dict(text=text, score_map=score)


def part(weights: Weights, name: str) -> dict[str, Tensor]:
    """The weights below ``name``, without that prefix."""
    return {key[len(name) + 1:]: value for key, value in weights.items()
            if key.startswith(f'{name}.')}


def count(weights: Weights, name: str) -> int:
    """Number of modules in a list: 3 for ``name.0.*`` to ``name.2.*``."""
    return len({key[len(name) + 1:].partition('.')[0] for key in weights
                if key.startswith(f'{name}.')})


def _resnet(weights: Weights, image: Tensor, pos_mode: str) -> tuple:
    channels = weights['attnpool.q_proj.weight'].shape[0]
    embed_dims = weights['attnpool.c_proj.weight'].shape[0]
    side = int((len(weights['attnpool.positional_embedding']) - 1) ** 0.5)
    with torch.device('meta'):
        network = open_clip().modified_resnet.ModifiedResNet(
            [count(weights, f'layer{i}') for i in range(1, 5)], embed_dims,
            channels // 64, 32 * side, channels // 32)
    network.load_state_dict(weights, assign=True)
    _, *maps = network.eval().forward_intermediates(
        image, intermediates_only=True)['image_intermediates']
    pool, (rows, cols) = network.attnpool, maps[-1].shape[2:]
    tokens = maps[-1].flatten(2).permute(2, 0, 1)
    tokens = torch.cat([tokens.mean(0, keepdim=True), tokens])
    first, grid = pool.positional_embedding.split([1, side ** 2])
    grid = grid.unflatten(0, (side, side))
    if pos_mode == 'crop':
        grid = grid[:rows, :cols]
    else:
        grid = _resized(grid, rows, cols)
    tokens = tokens + torch.cat([first, grid.flatten(0, 1)])[:, None]
    out = _attention(tokens, tokens, pool.state_dict(), pool.num_heads, 'c_proj')
    return maps, (out[0], out[1:].permute(1, 2, 0).unflatten(2, (rows, cols)))


def _vit(weights: Weights, image: Tensor) -> tuple:
    layers, width = count(weights, 'transformer.resblocks'), len(weights['ln_pre.bias'])
    transformer = _transformer(part(weights, 'transformer'), width, layers, width // 64)
    kernel = weights['conv1.weight']
    x = F.conv2d(image, kernel, stride=kernel.shape[-1])
    rows, cols = x.shape[2:]
    table = weights['positional_embedding']
    side = int((len(table) - 1) ** 0.5)
    grid = _resized(table[1:].unflatten(0, (side, side)), rows, cols).flatten(0, 1)
    patches = x.flatten(2).transpose(1, 2) + grid
    # The released code adds the class embedding once more with its position.
    first = (2 * weights['class_embedding'] + table[0]).expand(len(x), 1, -1)
    x = _norm(torch.cat([first, patches], 1), weights, 'ln_pre')
    pyramid = []
    for i, block in enumerate(transformer.resblocks):
        x = block(x)
        if i + 1 in (layers // 3, layers // 2, layers * 2 // 3, layers):
            pyramid.append(x[:, 1:].transpose(1, 2).unflatten(2, (rows, cols)))
    maps = [F.group_norm(level, 1, weights[f'{name}.weight'], weights[f'{name}.bias'])
            for level, name in zip(pyramid, ('fpn1.0', 'fpn2.0', 'fpn3', 'fpn4.0'),
                                   strict=True)]
    bn = part(weights, 'fpn1.2')
    maps[0] = _double(F.gelu(F.batch_norm(
        _double(maps[0], weights, 'fpn1.1'), bn['running_mean'], bn['running_var'],
        bn['weight'], bn['bias'])), weights, 'fpn1.4')
    maps[1], maps[3] = _double(maps[1], weights, 'fpn2.1'), F.max_pool2d(maps[3], 2)
    out = _norm(x, weights, 'ln_post') @ weights['proj']
    return maps, (out[:, 0], out[:, 1:].transpose(1, 2).unflatten(2, (rows, cols)))


def _text(weights: Weights, contexts: Tensor, tokens: Tensor, heads: int) -> Tensor:
    layers, width = count(weights, 'transformer.resblocks'), contexts.shape[2]
    embeds = weights['token_embedding.weight'][tokens]
    x = torch.cat([embeds[:, :1], contexts.expand(len(tokens), -1, -1), embeds[:, 1:]],
                  1)
    x = x + weights['positional_embedding'][:x.shape[1]]
    mask = torch.full((x.shape[1],) * 2, -torch.inf).triu(1).to(x)
    x = _transformer(part(weights, 'transformer'), width, layers, heads)(x, mask)
    # The end token has the highest id.
    ends = tokens.argmax(1) + contexts.shape[1]
    x = _norm(x, weights, 'ln_final')[torch.arange(len(x)), ends]
    return (x @ weights['text_projection'])[None]


def _context_decoder(weights: Weights, text: Tensor, visual: Tensor) -> Tensor:
    memory = _norm(_linear(_norm(visual, weights, 'memory_proj.0'), weights,
                           'memory_proj.1'), weights, 'memory_proj.2').transpose(0, 1)
    x = _linear(_norm(text, weights, 'text_proj.0'), weights,
                'text_proj.1').transpose(0, 1)
    for i in range(count(weights, 'decoder')):
        layer = part(weights, f'decoder.{i}')
        normed = _norm(x, layer, 'norm1')
        x = x + _attention(normed, normed, part(layer, 'self_attn'), 4, 'proj')
        x = x + _attention(_norm(x, layer, 'norm2'), memory, part(layer, 'cross_attn'),
                           4, 'proj')
        x = x + _linear(F.gelu(_linear(_norm(x, layer, 'norm3'), layer, 'mlp.0')),
                        layer, 'mlp.3')
    return _linear(_norm(x.transpose(0, 1), weights, 'out_proj.0'), weights,
                   'out_proj.1')


def _transformer(weights: Weights, width: int, layers: int, heads: int) -> nn.Module:
    """open_clip's, with OpenAI's activation: its own configs say GELU."""
    clip = open_clip().transformer
    with torch.device('meta'):
        network = clip.Transformer(width, layers, heads, act_layer=clip.QuickGELU)
    network.load_state_dict(weights, assign=True)
    return network.eval()


def _attention(query: Tensor, memory: Tensor, weights: Weights, heads: int, out: str
               ) -> Tensor:
    """(T, B, C) queries; biases where the weights have them."""
    names = ('q_proj', 'k_proj', 'v_proj')
    bias = (torch.cat([weights[f'{n}.bias'] for n in names])
            if 'q_proj.bias' in weights else None)
    return F.multi_head_attention_forward(
        query, memory, memory, query.shape[2], heads, None, bias, None, None, False,
        0.0, weights[f'{out}.weight'], weights[f'{out}.bias'], training=False,
        need_weights=False, use_separate_proj_weight=True,
        **{f'{n}_weight': weights[f'{n}.weight'] for n in names})[0]


def _resized(grid: Tensor, rows: int, cols: int) -> Tensor:
    # Always in float32, as in our towers.
    resized = F.interpolate(grid.float().permute(2, 0, 1)[None], (rows, cols),
                            mode='bilinear', align_corners=False)
    return resized[0].permute(1, 2, 0).to(grid)


def _norm(x: Tensor, weights: Weights, name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f'{name}.weight'],
                        weights[f'{name}.bias'])


def _linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    return F.linear(x, weights[f'{name}.weight'], weights[f'{name}.bias'])


def _double(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Transposed convolution to twice the size."""
    return F.conv_transpose2d(x, weights[f'{name}.weight'], weights[f'{name}.bias'],
                              stride=2)
