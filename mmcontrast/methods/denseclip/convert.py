"""Convert released DenseCLIP checkpoints into ours.

Source: github.com/raoyongming/DenseCLIP, segmentation (Semantic FPN) and detection
(RetinaNet, Mask R-CNN). The keys of the text side get another prefix, all others are
the same. Neck and heads are mmseg's and mmdet's own.
"""
from collections.abc import Mapping, Sequence

import torch
from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ...converters.equality import verify_outputs
from ...converters.report import Conversion, rename_keys
from ...io.former_keys import current_key
from ...registry import MODELS
from .released import count, released_outputs

# Key that only such a file has: our published config, and its class list.
PUBLISHED = {
    'decode_head.conv_seg.weight': (
        'denseclip-seg_fpn-{}_8xb4-80k_ade20k-{size}x{size}', 'ade'),
    'bbox_head.retina_cls.weight': (
        'denseclip-det_retinanet-{}_8xb2-12e_coco', 'coco'),
    'roi_head.mask_head.conv_logits.weight': (
        'denseclip-det_mask-rcnn-{}_8xb2-12e_coco', 'coco')}
# Blocks of the stages -> tower; a ViT has its width instead.
TOWERS = {(3, 4, 6, 3): 'rn50', (3, 4, 23, 3): 'rn101', 768: 'vit-b16'}


def convert(weights: Mapping[str, Tensor], model_cfg: dict | None = None,
            drop: Sequence[str] = (), meta: Mapping | None = None) -> Conversion:
    """Convert a released checkpoint to the keys of our model, and verify its outputs.

    Args:
        weights: Released keys.
        model_cfg: The model to fill; by default the published one that fits the keys.
        drop: Patterns of keys that may be lost.
        meta: ``meta`` of the file; its ``CLASSES`` are the class names, by default
            those of ADE20K or COCO.

    Raises:
        ValueError: If this is no such file, keys would be lost or outputs differ.
    """
    if missing := [key for key in ('contexts', 'gamma', 'text_encoder.text_projection')
                   if key not in weights]:
        found = sorted({key.partition('.')[0] for key in weights})
        raise ValueError(f'No released DenseCLIP checkpoint: it lacks {missing[0]}. '
                         'Expected contexts, gamma, text_encoder.*, context_decoder.* '
                         f'and others, found {found[:8]}.')
    model_cfg = model_cfg or infer_model(weights, meta or {})
    # Whatever a Runner of this process left as the default.
    with DefaultScope.overwrite_default_scope('mmcontrast'):
        model = MODELS.build(model_cfg).eval()
    backbone = type(model.backbone).__name__
    state, report = rename_keys(
        weights, lambda key, value: (current_key(key, model), value),
        model.state_dict(),
        f'Released DenseCLIP -> {type(model).__name__} with {backbone}', drop)
    released = {source: weights[source] for source, _, _ in report.rows}
    report.checks += verify(model, released, strict=not report.unset)
    names = model.class_names
    report.checks.append(f'Classes ({len(names)}): {", ".join(names[:4])}, ...')
    return Conversion(state, model_cfg, report, dict(dataset_meta=dict(classes=names)))


def infer_model(weights: Mapping[str, Tensor], meta: Mapping) -> dict:
    """Config of the published model that a released file belongs to."""
    layout = next((value for key, value in PUBLISHED.items() if key in weights), None)
    tower = TOWERS.get(_tower_shape(weights))
    if layout is None or tower is None:
        raise ValueError(
            'The file is none of the published models (Semantic FPN, RetinaNet or Mask '
            'R-CNN on RN50, RN101 or ViT-B/16); name its config with --config.')
    name, classes = layout
    name = name.format(tower, size=640 if tower == 'vit-b16' else 512)
    cfg = get_config(f'mmcontrast::denseclip/{name}.py').model
    cfg.class_names = list(meta.get('CLASSES') or ()) or classes
    cfg.num_contexts = weights['contexts'].shape[1]
    # Towers and sizes of the position tables come from the file.
    cfg.backbone.init_cfg = cfg.text_encoder.init_cfg = None
    cfg.text_encoder.context_length = len(weights['text_encoder.positional_embedding'])
    table = 'positional_embedding' if tower == 'vit-b16' else (
        'attnpool.positional_embedding')
    side = int((len(weights[f'backbone.{table}']) - 1) ** 0.5)
    cfg.backbone.input_size = side * (16 if tower == 'vit-b16' else 32)
    cfg.context_decoder.layers = count(weights, 'context_decoder.decoder')
    return cfg


def verify(
    model: nn.Module, released: dict[str, Tensor], strict: bool = True
) -> list[str]:
    """Compare our model with :func:`released_outputs`, in double precision.

    Args:
        model: It loads weights under their released names.
        released: Weights under these names.
        strict: Whether they are all that the model needs.

    Raises:
        ValueError: If outputs differ.
    """
    image = torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(0),
                        dtype=torch.float64)
    model = model.double()
    pool = getattr(model.backbone, 'attnpool', None)
    texts = model.class_texts
    heads = texts.text_encoder.transformer.resblocks[0].attn.num_heads

    def run(weights: Mapping[str, Tensor]) -> tuple[dict, dict]:
        model.load_state_dict(weights, strict=strict)
        matched = model.match_text(model.backbone(image))
        maps, index = list(matched.features), model.prompting.concat_index
        maps[index] = maps[index][:, :-matched.score_map.shape[1]]
        ours = {f'map{i}': x for i, x in enumerate(maps)}
        ours |= dict(text=matched.text, score_map=matched.score_map)
        return released_outputs(weights, image, texts.tokens.cpu(), heads,
                                getattr(pool, 'pos_mode', 'resize')), ours

    # A fresh gamma of 1e-4 would hide the context decoder; random weights do not.
    return verify_outputs(released, run)


def _tower_shape(weights: Mapping[str, Tensor]) -> tuple[int, ...] | int:
    if 'backbone.class_embedding' in weights:
        return len(weights['backbone.class_embedding'])
    return tuple(count(weights, f'backbone.layer{i}') for i in range(1, 5))
