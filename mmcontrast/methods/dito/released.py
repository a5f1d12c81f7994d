"""Compute the outputs of DITO's released code from a tree of Flax arrays.

The converter compares our model with them: equal weights must give equal outputs.
Everything follows the layout of Flax: channels last, kernels (rows, columns, in, out).
"""
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Tree = Mapping[str, Tensor]


def part(tree: Tree, name: str) -> dict[str, Tensor]:
    """The arrays below ``name``, without that prefix."""
    return {path[len(name) + 1:]: value for path, value in tree.items()
            if path.startswith(f'{name}/')}


def vit(tree: Tree, image: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, h, w, C), all blocks with global attention, one pass."""
    kernel = tree['conv1/kernel']
    x = _conv(image.permute(0, 2, 3, 1), tree, 'conv1', stride=len(kernel))
    rows, cols = x.shape[1:3]
    x = x.flatten(1, 2) + _positions(tree['positional_embedding'], rows, cols)
    blocks = {path.split('/')[1] for path in tree if path.startswith('transformer/')}
    for i in range(len(blocks)):
        block = part(tree, f'transformer/resblocks.{i}')
        x = x + _attention(_norm(x, block, 'ln_1'), part(block, 'attn'))
        hidden = F.gelu(_dense(_norm(x, block, 'ln_2'), block, 'mlp/c_fc'),
                        approximate='tanh')
        x = x + _dense(hidden, block, 'mlp/c_proj')
    return _norm(x, tree, 'ln_post').unflatten(1, (rows, cols))


def pyramid(tree: Tree, x: Tensor, levels: tuple[int, ...]) -> dict[str, Tensor]:
    """(B, h, w, C) of stride 16 -> maps by level; 5 is the last one."""
    high = F.gelu(_norm(_double(x, tree, 'ConvTranspose_0'), tree, 'simfpn-l2-ln-d2'))
    maps = {2: _double(high, tree, 'ConvTranspose_1'),
            3: _double(x, tree, 'ConvTranspose_2'), 4: x, 5: _halved(x)}
    found = {}
    for i, level in enumerate(levels):
        y = _conv(maps[min(level, 5)], tree, f'Conv_{2 * i}')
        y = _norm(y, tree, f'simfpn-l{level}-ln-out-1')
        y = _conv(y, tree, f'Conv_{2 * i + 1}')
        y = _norm(y, tree, f'simfpn-l{level}-ln-out-2')
        found[f'p{level}'] = y[:, ::2 ** max(0, level - 5), ::2 ** max(0, level - 5)]
    return found


def rpn(tree: Tree, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Objectness and l, r, t, b of each level."""
    found = {}
    for i, (level, x) in enumerate(maps.items()):
        for name, end in (('rpn', ''), ('rpn-1', '-1')):
            norm = f'SubRpnHead_{i}/rpn-l{level[1:]}-bn{end}'
            x = F.relu(_norm(_conv(x, tree, name), tree, norm))
        found[f'score {level}'] = _conv(x, tree, 'rpn-class')
        found[f'distances {level}'] = _conv(x, tree, 'rpn-box')
    return found


def box_head(tree: Tree, regions: Tensor) -> dict[str, Tensor]:
    """(R, 7, 7, C) -> L2-normalized embeddings (R, D) and deltas (R, 4)."""
    x, convs = regions, sum(path.endswith('_bn/scale') and path.startswith('conv_')
                            for path in tree)
    for i in range(convs):
        x = F.relu(_norm(_conv(x, tree, f'conv_{i}'), tree, f'conv_{i}_bn'))
    x = F.relu(_norm(_dense(x.flatten(1), tree, 'fc6'), tree, 'fc6_bn'))
    # The factor 20 of the normalized layer falls out of the cosine.
    embeds = F.normalize(x, dim=1) @ F.normalize(tree['class-predict/kernel'], dim=0)
    return dict(embedding=F.normalize(embeds, dim=1),
                deltas=_dense(x, tree, 'box-predict'))


def mask_head(tree: Tree, regions: Tensor) -> Tensor:
    """(R, 14, 14, C) -> (R, 28, 28) logits."""
    x, convs = regions, sum(path.startswith('mask-conv-l') and path.endswith('/kernel')
                            for path in tree)
    for i in range(convs):
        name = f'mask-conv-l{i}'
        x = F.relu(_norm(_normed_conv(x, tree, name), tree, f'{name}-bn'))
    x = _double(x, tree, 'conv5-mask') + tree['conv5-mask/bias']
    x = F.relu(_norm(x, tree, 'conv5-mask-bn'))
    return _normed_conv(x, tree, 'mask_fcn_logits')[..., 0]


def _attention(x: Tensor, tree: Tree) -> Tensor:
    q, k, v = (torch.einsum('nlc,chd->nhld', x, tree[f'{name}/kernel'])
               + tree[f'{name}/bias'][:, None] for name in ('query', 'key', 'value'))
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    return torch.einsum('nhld,hdc->nlc', weights @ v, tree['out/kernel']) \
        + tree['out/bias']


def _positions(table: Tensor, rows: int, cols: int) -> Tensor:
    side = int(len(table) ** 0.5)
    if rows * cols == len(table):
        return table
    grid = table.T.unflatten(1, (side, side))[None]
    grid = F.interpolate(grid, (rows, cols), mode='bilinear', antialias=True)
    return grid[0].flatten(1).T


def _conv(x: Tensor, tree: Tree, name: str, stride: int = 1) -> Tensor:
    kernel = tree[f'{name}/kernel']
    out = F.conv2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1),
                   tree.get(f'{name}/bias'), stride,
                   padding=0 if stride > 1 else len(kernel) // 2)
    return out.permute(0, 2, 3, 1)


def _normed_conv(x: Tensor, tree: Tree, name: str) -> Tensor:
    """Kernel normalized over input channels at each tap, inputs over channels, x 20."""
    kernel = F.normalize(tree[f'{name}/kernel'], dim=2)
    return _conv(20 * F.normalize(x, dim=3), {
        f'{name}/kernel': kernel, f'{name}/bias': tree[f'{name}/bias']}, name)


def _double(x: Tensor, tree: Tree, name: str) -> Tensor:
    """Flax's ConvTranspose of 2 x 2: an input cell meets the kernel back to front."""
    kernel = tree[f'{name}/kernel'].flip(0, 1)
    # a, b: row and column within the 2 x 2 cells
    out = torch.einsum('nhwi,abio->nhawbo', x, kernel)
    return out.flatten(3, 4).flatten(1, 2)


def _halved(x: Tensor) -> Tensor:
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def _dense(x: Tensor, tree: Tree, name: str) -> Tensor:
    return x @ tree[f'{name}/kernel'] + tree[f'{name}/bias']


def _norm(x: Tensor, tree: Tree, name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], tree[f'{name}/scale'], tree[f'{name}/bias'],
                        eps=1e-6)
