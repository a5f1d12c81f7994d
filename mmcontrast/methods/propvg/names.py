"""Map the parameters of the released PropVG checkpoints to ours."""
import re
from collections.abc import Mapping
from fnmatch import fnmatch

from torch import Tensor

# Shell patterns of released parameters that no forward pass reads, or that are another
# name of one that is read: all layers share one class head and one box head.
NEVER_USED = (
    'vis_enc.beit3.vision_embed.mask_token', 'head.decoder_transformer.level_embeds',
    'head.nt_embed.*', 'head.refer_embed.*', 'head.query_pos_embedding.*',
    'head.refer_class_embed.*', 'head.refer_bbox_embed.*',
    'head.query_linear_scoring.*')
COPIES = ('head.class_embed.[12].*', 'head.bbox_embed.[12].*')
# Values that are arguments of ours.
CONSTANTS = ('head.detrloss.criterion.empty_weight',)
# What a model without an existence branch does not have, though its files do.
EXISTENCE = ('head.dist_head.*',)

# Names in transformer layers of mmcv 1 -> mmdet 3.
LAYERS = (('attentions.0.', 'self_attn.'), ('attentions.1.', 'cross_attn.'),
          ('ffns.0.', 'ffn.'), ('post_norm_layer.', 'post_norm.'))
# Beginning of a name -> ours; the first that fits counts.
MODULES = (
    ('vis_enc.beit3.', 'encoder.'),
    ('head.img_embedding.', 'head.image_embedding.'),
    ('head.lan_embedding.', 'head.text_embedding.'),
    ('head.refer_adapter.', 'head.refer_adapter.'),
    ('head.neck.fpn1.0.', 'head.pyramid.p2.up1.'),
    ('head.neck.fpn1.1.', 'head.pyramid.p2.up1_ln.'),
    ('head.neck.fpn1.3.', 'head.pyramid.p2.up2.'),
    ('head.neck.fpn2.0.', 'head.pyramid.p3.up1.'),
    ('head.seg_branch.predict.', 'head.mask_decoder.predict.'),
    ('head.query_embed.', 'head.proposal_decoder.query_embed.'),
    ('head.query_pos.', 'head.proposal_decoder.query_pos.'),
    ('head.class_embed.0.', 'head.proposal_decoder.class_embed.'),
    ('head.bbox_embed.0.', 'head.proposal_decoder.bbox_embed.'),
    ('head.decoder_transformer.reference_points.',
     'head.proposal_decoder.reference_points.'),
    ('head.decoder_transformer.decoder.', 'head.proposal_decoder.decoder.'),
    ('head.mrsm.word_attn.', 'head.refer_scoring.word_attention.'),
    ('head.mrsm.refer_linear.', 'head.refer_scoring.gate.'),
    ('head.dist_head.query_nt.', 'head.target_discrimination.token.'),
    ('head.dist_head.distinguish_linear.', 'head.target_discrimination.mlp.'),
    ('head.dist_head.DETAttn.', 'head.target_discrimination.object_layer.'),
    ('head.dist_head.SegAttn.', 'head.target_discrimination.semantic_layer.'))
PYRAMID = re.compile(r'head\.neck\.(lateral|fpn)_convs\.(\d)\.(conv|norm_layer)\.(.+)')
MASK_DECODER = re.compile(r'head\.unet_decoder\.(conv[12]|bn[12])_(\d)\.(.+)')


def our_key(key: str) -> str | None:
    """Our name of a released parameter, None where there is no place for it."""
    if found := PYRAMID.fullmatch(key):
        kind, level, part, rest = found.groups()
        layer = ('conv' if part == 'conv' else 'ln') + '12'[kind == 'fpn']
        return f'head.pyramid.p{int(level) + 2}.{layer}.{rest}'
    if found := MASK_DECODER.fullmatch(key):
        layer, level, rest = found.groups()
        return f'head.mask_decoder.fusions.{4 - int(level)}.{layer}.{rest}'
    if any(fnmatch(key, pattern) for pattern in NEVER_USED + COPIES):
        return None
    for theirs, ours in MODULES:
        if key.startswith(theirs):
            key = ours + key.removeprefix(theirs)
            break
    else:
        return None
    if key.startswith('head.'):
        for theirs, ours in LAYERS:
            key = key.replace(theirs, ours)
    return key


def our_weights(released: Mapping[str, Tensor], with_existence: bool = True
                ) -> dict[str, Tensor]:
    """What a model of ours reads of released weights, under its names.

    Args:
        released: Weights by their released names.
        with_existence: Whether the model has an existence branch.
    """
    dropped = () if with_existence else EXISTENCE
    named = {our_key(key): value for key, value in released.items()
             if not any(fnmatch(key, pattern) for pattern in dropped)}
    named.pop(None, None)
    return named
