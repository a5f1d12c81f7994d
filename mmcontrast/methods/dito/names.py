"""Map the parameters of the released Flax trees to ours, in both directions.

Source: google-research/google-research, folder ``fvlm``: the tree of the detector has
the roots ``vision_model``, ``frozen_vision_model`` and ``task_heads_0``.
"""
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Transform = Callable[[Tensor], Tensor]
# The three arrays that become one parameter.
QKV = ('query', 'key', 'value')
# Side of the maps that the box head flattens.
ROI_SIZE = 7


class Kind(NamedTuple):
    """How an array is stored here and there.

    Attributes:
        ours: Flax array -> parameter of PyTorch.
        flax: The way back.
    """

    ours: Transform
    flax: Transform


# A letter an axis: rows h and columns w of a kernel, channels i in and o out.
SAME = Kind(lambda x: x, lambda x: x)
# hwio <-> oihw
CONV = Kind(lambda x: x.permute(3, 2, 0, 1), lambda x: x.permute(2, 3, 1, 0))
# hwio <-> iohw. Flax does not mirror the kernel of a transposed convolution, PyTorch
# does.
DECONV = Kind(lambda x: x.flip(0, 1).permute(2, 3, 0, 1),
              lambda x: x.permute(2, 3, 0, 1).flip(0, 1))
LINEAR = Kind(lambda x: x.mT, lambda x: x.mT)
# The box head flattens (h, w, c) there and (c, h, w) here.
FLATTENED = Kind(
    lambda x: x.unflatten(0, (ROI_SIZE, ROI_SIZE, -1)).permute(3, 2, 0, 1).flatten(1),
    lambda x: x.unflatten(1, (-1, ROI_SIZE, ROI_SIZE)).permute(2, 3, 1, 0).flatten(0, 2)
)

#: Our name -> (theirs, kind).
Table = dict[str, tuple[str, Kind]]


def detector_table(heads: int, blocks: int, levels: Sequence[int], num_convs: int = 4,
                   with_vlm: bool = True, with_mask: bool = True) -> Table:
    """Names of a whole detector.

    Args:
        heads, blocks: Of the ViT.
        levels: Of the pyramid, such as (2, 3, 4, 5).
        num_convs: Of the box and mask heads.
        with_vlm: Whether there is a frozen copy of the ViT.
        with_mask: Whether there is a mask head.
    """
    tasks, roi = 'task_heads_0', 'roi_head'
    table = below(vit_table(heads, blocks), 'backbone', 'vision_model')
    if with_vlm:
        table |= below(vit_table(heads, blocks), 'vlm', 'frozen_vision_model')
    table |= below(pyramid_table(levels), 'neck', f'{tasks}/feature_pyramid_fn')
    table |= below(rpn_table(levels), 'rpn_head', f'{tasks}/region_proposal_head_fn')
    table |= below(box_head_table(num_convs), f'{roi}.bbox_head',
                   f'{tasks}/fastrcnn_head_fn')
    if with_mask:
        table |= below(mask_head_table(num_convs), f'{roi}.mask_head',
                       f'{tasks}/maskrcnn_head_fn')
    return table | {f'{roi}.bbox_head.temperature': (f'{tasks}/temperature', SAME)}


def pretraining_table(heads: int, blocks: int, levels: Sequence[int],
                      num_convs: int = 4) -> Table:
    """Names of a pretrained file, as :func:`detector_table`; all below ``visual``."""
    return (below(vit_table(heads, blocks), 'backbone', '')
            | below(pyramid_table(levels), 'neck', 'feature_pyramid_fn')
            | below(box_head_table(num_convs), 'box_head', 'fastrcnn_head_fn'))


def below(table: Table, ours: str, theirs: str) -> Table:
    """The same table one module deeper; '' for no deeper."""
    return {f'{ours}.{name}': (f'{theirs}/{path}' if theirs else path, kind)
            for name, (path, kind) in table.items()}


def vit_table(heads: int, blocks: int) -> Table:
    """Names of a ViT."""
    table = (_with_bias('conv1', 'conv1', CONV) | _norm('ln_post', 'ln_post')
             | {'positional_embedding': ('positional_embedding', SAME)})
    # (3, C, heads, C / heads) <-> (3 C, C), (heads, C / heads, C) <-> (C, C)
    qkv = Kind(lambda x: x.flatten(2).mT.flatten(0, 1),
               lambda x: x.unflatten(0, (3, -1)).mT.unflatten(2, (heads, -1)))
    bias = Kind(lambda x: x.flatten(), lambda x: x.unflatten(0, (3, heads, -1)))
    out = Kind(lambda x: x.flatten(0, 1).mT, lambda x: x.mT.unflatten(0, (heads, -1)))
    for i in range(blocks):
        attn = {'in_proj_weight': ('qkv/kernel', qkv),
                'in_proj_bias': ('qkv/bias', bias)}
        attn |= _with_bias('out_proj', 'out', out)
        block = below(attn, 'attn', 'attn') | _norm('ln_1', 'ln_1') | _norm(
            'ln_2', 'ln_2')
        for layer in ('c_fc', 'c_proj'):
            block |= below(_with_bias(layer, layer, LINEAR), 'mlp', 'mlp')
        table |= below(block, f'transformer.resblocks.{i}',
                       f'transformer/resblocks.{i}')
    return table


def pyramid_table(levels: Sequence[int]) -> Table:
    """Names of the pyramid. Flax numbers convolutions in the order of their calls."""
    table = _norm('p2.up1_ln', 'simfpn-l2-ln-d2')
    for i, name in enumerate(('p2.up1', 'p2.up2', 'p3.up1')):
        table[f'{name}.weight'] = f'ConvTranspose_{i}/kernel', DECONV
    for i, level in enumerate(levels):
        for j in (1, 2):
            table[f'p{level}.conv{j}.weight'] = f'Conv_{2 * i + j - 1}/kernel', CONV
            table |= _norm(f'p{level}.ln{j}', f'simfpn-l{level}-ln-out-{j}')
    return table


def rpn_table(levels: Sequence[int]) -> Table:
    """Names of the region proposal network."""
    table: Table = {}
    for ours, theirs in (('conv0', 'rpn'), ('conv1', 'rpn-1'), ('cls', 'rpn-class'),
                         ('reg', 'rpn-box')):
        table |= _with_bias(ours, theirs, CONV)
    for i, level in enumerate(levels):
        for j, end in enumerate(('', '-1')):
            table |= _norm(f'p{level}.ln{j}', f'SubRpnHead_{i}/rpn-l{level}-bn{end}')
    return table


def box_head_table(num_convs: int) -> Table:
    """Names of the box head."""
    table: Table = {}
    for i in range(num_convs):
        table |= _with_bias(f'conv{i}', f'conv_{i}', CONV)
        table |= _norm(f'ln{i}', f'conv_{i}_bn')
    table |= _with_bias('fc', 'fc6', FLATTENED) | _norm('fc_ln', 'fc6_bn')
    table |= _with_bias('box_predict', 'box-predict', LINEAR)
    return table | {'class_predict.weight': ('class-predict/kernel', LINEAR)}


def mask_head_table(num_convs: int) -> Table:
    """Names of the mask head."""
    table: Table = {}
    for i in range(num_convs):
        table |= _with_bias(f'conv{i}', f'mask-conv-l{i}', CONV)
        table |= _norm(f'ln{i}', f'mask-conv-l{i}-bn')
    table |= _with_bias('up', 'conv5-mask', DECONV) | _norm('up_ln', 'conv5-mask-bn')
    return table | _with_bias('logits', 'mask_fcn_logits', CONV)


def stack_qkv(tree: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace query, key and value of each attention by one array, ``qkv``."""
    stacked = {}
    for path, value in tree.items():
        start, _, end = path.rpartition('/')
        attention, _, name = start.rpartition('/')
        paths = [f'{attention}/{part}/{end}' for part in QKV]
        if name not in QKV or not all(part in tree for part in paths):
            stacked[path] = value
        elif name == QKV[0]:
            stacked[f'{attention}/qkv/{end}'] = torch.stack([tree[p] for p in paths])
    return stacked


def split_qkv(tree: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of :func:`stack_qkv`."""
    split = {}
    for path, value in tree.items():
        if '/qkv/' in path:
            for name, part in zip(QKV, value, strict=True):
                split[path.replace('/qkv/', f'/{name}/')] = part
        else:
            split[path] = value
    return split


def _with_bias(ours: str, theirs: str, kind: Kind) -> Table:
    return {f'{ours}.weight': (f'{theirs}/kernel', kind),
            f'{ours}.bias': (f'{theirs}/bias', SAME)}


def _norm(ours: str, theirs: str) -> Table:
    return {f'{ours}.weight': (f'{theirs}/scale', SAME),
            f'{ours}.bias': (f'{theirs}/bias', SAME)}
