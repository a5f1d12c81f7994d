"""Convert DITO's released Flax checkpoints to ours and back.

Source: google-research/google-research, folder ``fvlm``: ``pretrained_dito_large``
(ViT, pyramid and box head), detectors as its training writes them, and their trees
saved alone. The text tower of the release is a TensorFlow model; its class embeddings
come as ``.npy`` files, see ``text_embeddings`` of the detector.
"""
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ...converters.equality import Outputs, verify_outputs
from ...converters.report import Conversion, rename_keys
from ...errors import UserValueError
from ...io.config_types import type_name
from ...models.backbones.plain_vit import PlainViT
from ...models.functional import l2_normalize
from ...registry import MODELS
from . import released
from .names import Table, detector_table, pretraining_table, split_qkv, stack_qkv

#: Ending of the files that ``convert_back`` is written to.
RELEASED_SUFFIX = '.msgpack'
# Where the tree of a file begins: of a detector, of pretraining.
DETECTOR, PRETRAINED = 'vision_model/', 'visual/'
# Blocks of the ViT -> its published config.
CONFIGS = {12: 'vit-b16', 24: 'vit-l16'}
PARTS = ('backbone', 'vlm', 'neck', 'rpn_head', 'roi_head', 'box_head')


def convert(weights: Mapping[str, Tensor], model_cfg: dict | None = None,
            drop: Sequence[str] = (), meta: Mapping | None = None) -> Conversion:
    """Convert a released tree to the keys of our model, and verify its outputs.

    Args:
        weights: Arrays by their paths, as :func:`~mmcontrast.io.flax_files.read_flax`
            gives them.
        model_cfg: The model to fill; by default the published one that fits the tree.
        drop: Patterns of paths that may be lost.
        meta: Not used; these files have none.

    Raises:
        ValueError: If this is no such file, keys would be lost or outputs differ.
    """
    tree = _strip_root(weights)
    is_detector = any(path.startswith('task_heads_0/') for path in tree)
    table = _table_of(tree, is_detector)
    model_cfg = model_cfg or published_model(tree, is_detector)
    parts = build_parts(model_cfg, is_detector)
    ours = {path: (name, kind) for name, (path, kind) in table.items()}

    def rule(path: str, value: Tensor) -> tuple[str, Tensor] | None:
        if path not in ours:
            return None
        name, kind = ours[path]
        return name, kind.ours(value).contiguous()

    stacked = stack_qkv(tree)
    state, report = rename_keys(
        stacked, rule, parts.state_dict(), f'Released DITO -> {type_name(model_cfg)} '
        f'with {type_name(model_cfg["backbone"])}', drop)
    if not report.unset:
        kept = split_qkv({path: stacked[path] for path, _, _ in report.rows})
        report.checks += _verify(parts, kept, ours, is_detector)
    report.checks.append(
        'The text tower is no part of the file: set text_embeddings of the model to '
        'the .npy file of the release, or train with a text tower of open_clip.')
    return Conversion(state, model_cfg, report)


def convert_back(weights: Mapping[str, Tensor], model_cfg: Mapping | None = None
                 ) -> dict[str, Tensor]:
    """Give our weights the names and layout of the released trees.

    Weights of the text side have no place in them and are left out.

    Args:
        weights: State dict of a detector or of pretraining.
        model_cfg: Its model, for the heads of the ViT; by default they have 64
            channels, as in all released models.

    Returns:
        Arrays by their paths, for :func:`~mmcontrast.io.flax_files.write_flax`.

    Raises:
        ValueError: If the model is of another kind or a parameter has no name there.
    """
    weights = {key: value for key, value in weights.items()
               if key.partition('.')[0] in PARTS}
    is_detector = any(key.startswith('roi_head.') for key in weights)
    if not is_detector:
        weights.pop('box_head.temperature', None)  # not trained, not released
    table = _table_of_ours(weights, is_detector, model_cfg)
    lost = sorted(set(weights) - set(table))
    missing = sorted(set(table) - set(weights))
    if lost or missing:
        raise UserValueError(
            f'{len(lost)} weights have no place in the released tree ({lost[:5]}), '
            f'{len(missing)} of its arrays have no weight here ({missing[:5]}). Only '
            'models with the parts of the published configs have a released layout.')
    tree = split_qkv({path: kind.flax(weights[name])
                      for name, (path, kind) in table.items()})
    if is_detector:
        return tree
    return {f'model_state/params/visual/{path}': value for path, value in tree.items()}


def build_parts(model_cfg: Mapping, is_detector: bool) -> nn.Module:
    """The parts of a model that a released file fills, without its text side."""
    parts = nn.Module()
    # Whatever a Runner of this process left as the default.
    with DefaultScope.overwrite_default_scope('mmcontrast'):
        for name in ('backbone', 'neck', 'box_head')[:2 if is_detector else 3]:
            parts.add_module(name, _build(model_cfg, name))
        if is_detector:
            if model_cfg.get('vlm') is not None:
                vlm = dict(model_cfg['backbone'], **model_cfg['vlm'])
                parts.vlm = MODELS.build(dict(vlm, init_cfg=None))
            parts.rpn_head = _build(model_cfg, 'rpn_head')
            parts.roi_head = _build(model_cfg, 'roi_head')
    return parts.eval()


def published_model(tree: Mapping[str, Tensor], is_detector: bool) -> dict:
    """Config of the published model that a tree belongs to.

    Raises:
        ValueError: If it belongs to none.
    """
    root = DETECTOR if is_detector else ''
    blocks = _count_blocks(tree, root)
    if blocks not in CONFIGS:
        raise UserValueError(
            f'The file has a ViT of {blocks} blocks, but only those of '
            f'{" and ".join(CONFIGS.values())} have published configs; name the config '
            'of the model with --config.')
    name = ('dito_mask-rcnn-{}_32xb8-46k_lvis-1024x1024' if is_detector else
            'dito-pretrain-regions_{}_32xb128-30k_image-text-256x256')
    model = get_config(f'mmcontrast::dito/{name.format(CONFIGS[blocks])}.py').model
    model.backbone.init_cfg = None
    return model


def _build(model_cfg: Mapping, name: str) -> nn.Module:
    return MODELS.build(dict(model_cfg[name], init_cfg=None))


def _strip_root(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Paths from ``vision_model`` and its neighbors on, or from below ``visual``."""
    for path in weights:
        for root in (DETECTOR, PRETRAINED):
            start, found, _ = f'/{path}'.partition(f'/{root}')
            if not found:
                continue
            start = start[1:] + '/' * bool(start)
            start += PRETRAINED if root == PRETRAINED else ''
            return {other[len(start):]: value for other, value in weights.items()
                    if other.startswith(start)}
    raise UserValueError(
        'No released DITO checkpoint: it has no arrays below vision_model or visual, '
        f'only {sorted({path.partition("/")[0] for path in weights})[:8]}. Give the '
        '.msgpack file of the release.')


def _table_of(tree: Mapping[str, Tensor], is_detector: bool) -> Table:
    root = DETECTOR if is_detector else ''
    query = tree.get(f'{root}transformer/resblocks.0/attn/query/kernel')
    if query is None:
        raise UserValueError(f'The file has no {root}transformer/resblocks.0.')
    levels = sorted({int(path.partition('simfpn-l')[2][0]) for path in tree
                     if '-ln-out-1/scale' in path})
    heads, blocks = query.shape[1], _count_blocks(tree, root)
    if not is_detector:
        return pretraining_table(heads, blocks, levels)
    return detector_table(
        heads, blocks, levels, with_vlm=f'frozen_{DETECTOR}conv1/kernel' in tree,
        with_mask='task_heads_0/maskrcnn_head_fn/mask_fcn_logits/kernel' in tree)


def _table_of_ours(weights: Mapping[str, Tensor], is_detector: bool,
                   model_cfg: Mapping | None) -> Table:
    blocks = len({key.split('.')[3] for key in weights
                  if key.startswith('backbone.transformer.resblocks.')})
    levels = sorted({int(key[6]) for key in weights if key.startswith('neck.p')})
    heads = len(weights['backbone.ln_post.weight']) // 64
    if model_cfg is not None:
        heads = model_cfg['backbone'].get('heads') or heads
    if not is_detector:
        return pretraining_table(heads, blocks, levels)
    return detector_table(
        heads, blocks, levels, with_vlm='vlm.conv1.weight' in weights,
        with_mask='roi_head.mask_head.logits.weight' in weights)


def _count_blocks(tree: Mapping[str, Tensor], root: str) -> int:
    start = f'{root}transformer/resblocks.'
    return len({path[len(start):].partition('/')[0] for path in tree
                if path.startswith(start)})


def _verify(parts: nn.Module, tree: Mapping[str, Tensor], ours: Mapping,
            is_detector: bool) -> list[str]:
    """Compare each part with :mod:`.released`, in double precision.

    All blocks attend globally, in one pass: windows and shifts have no weights.
    """
    parts, patch = parts.double(), parts.backbone.patch_size
    # Few patches, and another number on each side.
    image = torch.randn(1, 3, 2 * patch, 4 * patch, dtype=torch.float64,
                        generator=torch.Generator().manual_seed(0))

    def run(given: Mapping[str, Tensor]) -> tuple[Outputs, Outputs]:
        given = {path: value.double() for path, value in given.items()}
        stacked = stack_qkv(given)
        parts.load_state_dict({ours[path][0]: ours[path][1].ours(value)
                               for path, value in stacked.items()})
        return (_released_outputs(given, image, parts.neck.levels, is_detector),
                _our_outputs(parts, image, is_detector))

    with _plain_attention(parts):
        return verify_outputs(tree, run)


def _released_outputs(tree: Mapping[str, Tensor], image: Tensor,
                      levels: tuple[int, ...], is_detector: bool) -> dict[str, Tensor]:
    def below(root: str) -> dict[str, Tensor]:
        return released.part(tree, root)

    tasks, vit = ('task_heads_0/', below('vision_model')) if is_detector else ('', tree)
    feature = released.vit(vit, image)
    maps = released.pyramid(below(f'{tasks}feature_pyramid_fn'), feature, levels)
    outputs = dict(map=feature, **maps)
    regions = maps[f'p{levels[0]}'][:, :7, :7]
    outputs |= released.box_head(below(f'{tasks}fastrcnn_head_fn'), regions)
    if is_detector:
        outputs |= released.rpn(below(f'{tasks}region_proposal_head_fn'), maps)
    if vlm := below('frozen_vision_model'):
        outputs['frozen map'] = released.vit(vlm, image)
    if mask_head := below(f'{tasks}maskrcnn_head_fn'):
        outputs['mask'] = released.mask_head(mask_head, regions)
    return outputs


def _our_outputs(parts: nn.Module, image: Tensor, is_detector: bool
                 ) -> dict[str, Tensor]:
    feature, = parts.backbone(image)
    maps = parts.neck(feature)
    outputs = dict(map=_last(feature)) | {
        f'p{level}': _last(x) for level, x in zip(parts.neck.levels, maps, strict=True)}
    regions = maps[0][..., :7, :7]
    box_head = parts.roi_head.bbox_head if is_detector else parts.box_head
    embeds, deltas = box_head(regions)
    outputs |= dict(embedding=l2_normalize(embeds), deltas=deltas)
    if not is_detector:
        return outputs
    for name, found in zip(('score', 'distances'), parts.rpn_head(maps), strict=True):
        outputs |= {f'{name} p{level}': _last(x)
                    for level, x in zip(parts.neck.levels, found, strict=True)}
    if hasattr(parts, 'vlm'):
        outputs['frozen map'] = _last(parts.vlm(image)[0])
    if parts.roi_head.with_mask:
        outputs['mask'] = parts.roi_head.mask_head(regions)[:, 0]
    return outputs


@contextmanager
def _plain_attention(parts: nn.Module) -> Iterator[None]:
    """Let the ViTs attend globally, in one pass, for a while."""
    vits = [part for part in parts.children() if isinstance(part, PlainViT)]
    kept = [(vit.windows, vit.shift) for vit in vits]
    for vit in vits:
        vit.windows, vit.shift = (None,) * len(vit.windows), 0
    try:
        yield
    finally:
        for vit, (windows, shift) in zip(vits, kept, strict=True):
            vit.windows, vit.shift = windows, shift


def _last(x: Tensor) -> Tensor:
    """Channels last, as in Flax."""
    return x.permute(0, 2, 3, 1)
