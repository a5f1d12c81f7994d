"""Convert released PropVG checkpoints and pretrained BEiT-3 files.

Source: the ``.pth`` files of huggingface.co/Dmmm997/PropVG, which all have one layout,
and ``beit3_base_patch16_224`` of the BEiT-3 release.
"""
import fnmatch
import re
from collections.abc import Mapping, Sequence
from math import isqrt

import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ...converters.equality import Outputs, verify_outputs
from ...converters.report import Conversion, rename_keys
from ...errors import UserValueError
from ...io.checkpoint import count_prefixes
from ...registry import MODELS
from . import released
from .names import CONSTANTS, COPIES, EXISTENCE, NEVER_USED, our_key

# Begin of the encoder's keys in a PropVG and in a pretrained BEiT-3.
ENCODER, PRETRAINED = 'vis_enc.beit3.', 'beit3.'
POSITIONS = 'encoder.embed_positions.A.weight'
# Options of the head that change outputs, by module: released weights were trained
# with the variant 'reference'.
VARIANTS = {'refer_scoring': ('sentence_pooling', 'word_pooling'),
            'target_discrimination': ('pixel_token_layout',)}


def convert(weights: Mapping[str, Tensor], model_cfg: dict | None = None,
            drop: Sequence[str] = (), meta: Mapping | None = None) -> Conversion:
    """Convert a released checkpoint to the keys of our model, and verify its outputs.

    Args:
        weights: Released keys: of a whole PropVG, or of BEiT-3 (``beit3.*``), which
            becomes a lone encoder.
        model_cfg: The model to fill; by default it is read off the weights.
        drop: Patterns of keys that may be lost.
        meta: Not used; these files have none.

    Raises:
        ValueError: If this is another file, keys would be lost, copies of a shared
            module or outputs differ, or the model has another variant than the
            released one.
    """
    is_whole = any(key.startswith(ENCODER) for key in weights)
    _check_kind(weights, is_whole)
    model_cfg = dict(model_cfg or infer_model(weights))
    # Whatever a Runner of this process left as the default.
    with DefaultScope.overwrite_default_scope('mmcontrast'), torch.device('meta'):
        model = MODELS.build(model_cfg).eval()
    if is_whole:
        _check_variants(model)
    dropped = _without_place(weights, model, is_whole)
    kept = {key: value for key, value in weights.items() if key not in dropped}

    def rule(key: str, value: Tensor) -> tuple[str, Tensor] | None:
        ours = our_key(key) if is_whole else key.removeprefix(PRETRAINED)
        return None if ours is None else (ours, value)

    title = f'Released {"PropVG" if is_whole else "BEiT-3"} -> {type(model).__name__}'
    state, report = rename_keys(kept, rule, model.state_dict(), title, drop)
    report.dropped += dropped.items()
    if not report.unset:
        model.load_state_dict(state, assign=True)
        kept = {theirs: weights[theirs] for theirs, _, _ in report.rows}
        report.checks += _verify(model, kept) if is_whole else _verify_encoder(
            model, released.part(kept, 'beit3'))
    if is_whole:
        report.checks += _remarks(weights, model)
    return Conversion(state, model_cfg, report)


def infer_model(weights: Mapping[str, Tensor]) -> dict:
    """Config of the model that released weights belong to.

    All released files hold both heads. Where existence was never trained (RefCOCO,
    RefCOCO+, RefCOCOg), the model gets no branch for it, and 20 tokens; the others were
    trained with 50.
    """
    if not any(key.startswith(ENCODER) for key in weights):
        return infer_encoder(released.part(weights, 'beit3'))
    head = released.part(weights, 'head')
    with_existence = _is_existence_trained(weights)
    queries, channels = head['query_embed.weight'].shape
    return dict(
        type='PropVG', encoder=infer_encoder(released.part(weights, ENCODER[:-1])),
        tokenizer=dict(type='BEiT3Tokenizer', model_file='pretrained/beit3.spm',
                       max_tokens=50 if with_existence else 20),
        head=dict(
            type='PropVGHead', channels=channels, num_queries=queries,
            num_layers=released.count(head, 'decoder_transformer.decoder.layers'),
            with_existence=with_existence),
        data_preprocessor=dict(
            type='mmdet.DetDataPreprocessor', mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375], bgr_to_rgb=True))


def infer_encoder(weights: Mapping[str, Tensor]) -> dict:
    """Config of the BEiT-3 that weights belong to, keys as in its encoder.

    Raises:
        ValueError: If its positions are no square grid.
    """
    vocabulary, dims = weights['text_embed.weight'].shape
    patch_size = weights['vision_embed.proj.weight'].shape[-1]
    rows = len(weights[POSITIONS]) - 3
    side = isqrt(max(0, rows))
    if side < 1 or side ** 2 != rows:
        raise UserValueError(f'{POSITIONS} has {rows + 3} rows, expected 3 + n * n.')
    return dict(
        type='BEiT3', image_size=side * patch_size, patch_size=patch_size,
        embed_dims=dims, depth=released.count(weights, 'encoder.layers'),
        num_heads=dims // released.HEAD_WIDTH,
        feedforward=len(weights['encoder.layers.0.ffn.A.fc1.weight']),
        vocab_size=vocabulary,
        max_text_positions=len(weights['encoder.embed_positions.B.weight']))


def _check_kind(weights: Mapping[str, Tensor], is_whole: bool) -> None:
    encoder = ENCODER if is_whole else PRETRAINED
    needed = [encoder + name for name in (
        'text_embed.weight', 'vision_embed.proj.weight', POSITIONS,
        'encoder.embed_positions.B.weight', 'encoder.layers.0.ffn.A.fc1.weight')]
    needed += ['head.query_embed.weight', 'head.mrsm.refer_linear.weight'] * is_whole
    if missing := [key for key in needed if key not in weights]:
        raise UserValueError(
            f'Neither a released PropVG nor a BEiT-3: the file lacks {missing[0]}. '
            'Expected vis_enc.beit3.* and head.*, or beit3.*; found '
            f'{count_prefixes(weights)}.')
    # Sizes of the model are read off these.
    for key in needed:
        value, wanted = weights[key], 4 if key.endswith('proj.weight') else 2
        if value.ndim != wanted or not value.numel() or not value.is_floating_point():
            raise UserValueError(
                f'{key} must be a floating-point tensor of {wanted} dimensions, got '
                f'{value.dtype} {tuple(value.shape)}. The file is damaged, or of '
                'another model.')


def _check_variants(model: nn.Module) -> None:
    for name, options in VARIANTS.items():
        for option in options:
            value = getattr(getattr(model.head, name), option, 'reference')
            if value != 'reference':
                raise UserValueError(
                    f"Released weights were trained with {option}='reference', the "
                    f'config has {value!r}. Convert without --config and use the '
                    'result in load_from of your config, to train it further.')


def _without_place(weights: Mapping[str, Tensor], model: nn.Module, is_whole: bool
                   ) -> dict[str, str]:
    """Keys that our model does not need, and why.

    Raises:
        ValueError: If copies of a shared module differ.
    """
    if not is_whole:
        return {key: 'not of the encoder' for key in weights
                if not key.startswith(PRETRAINED)} | {
                    key: 'for masked image modeling' for key in weights
                    if key == f'{PRETRAINED}vision_embed.mask_token'}
    reasons = dict.fromkeys(NEVER_USED, 'never used by the released code')
    reasons |= dict.fromkeys(CONSTANTS, 'a constant of the loss')
    if model.head.target_discrimination is None:
        reasons |= dict.fromkeys(EXISTENCE, 'the model has no existence branch')
    found = {key: reason for pattern, reason in reasons.items()
             for key in fnmatch.filter(weights, pattern)}
    copies = [key for pattern in COPIES for key in fnmatch.filter(weights, pattern)]
    return found | {key: f'the same as {_checked_copy(key, weights)}' for key in copies}


def _checked_copy(key: str, weights: Mapping[str, Tensor]) -> str:
    """The key that one of another layer must equal, as they are one module."""
    first = re.sub(r'_embed\.\d+\.', '_embed.0.', key)
    if first not in weights or not torch.equal(weights[key], weights[first]):
        raise UserValueError(
            f'{key} differs from {first}, or that is missing. In released files all '
            'layers share one class head and one box head; this is another model.')
    return first


def _is_existence_trained(weights: Mapping[str, Tensor]) -> bool:
    """Whether a norm of the existence branch has left its initial value of 1."""
    return any(bool((weights[key] != 1).any()) for pattern in EXISTENCE
               for key in fnmatch.filter(weights, f'{pattern}.norm?.weight'))


def _remarks(weights: Mapping[str, Tensor], model: nn.Module) -> list[str]:
    with_existence = model.head.target_discrimination is not None
    lines = ['The tokenizer is no part of the file: set model_file of the tokenizer to '
             f'beit3.spm, and keep max_tokens={model.tokenizer.max_tokens}.']
    if with_existence and not _is_existence_trained(weights):
        lines.append(
            'The existence branch of the file was never trained (a checkpoint of '
            'RefCOCO, RefCOCO+ or RefCOCOg): scores mean nothing until it is. Use '
            'head=dict(with_existence=False) for such data.')
    elif with_existence:
        lines.append('existence_top_k is 250 as for gRefCOCO; Ref-ZOM and R-RefCOCO '
                     'were tested with 100.')
    return lines


def _verify(model: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    lines = [f'Encoder: {line}' for line in _verify_encoder(
        model.encoder, released.part(weights, ENCODER[:-1]))]
    lines += [f'Head: {line}' for line in _verify_head(
        model.head, released.part(weights, 'head'))]
    return lines


def _verify_encoder(encoder: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Compare with :mod:`.released` for one image and a padded phrase."""
    generator = torch.Generator().manual_seed(0)
    side = encoder.grid * encoder.patch_size
    images = torch.randn(1, 3, side, side, generator=generator)
    ids = torch.randint(len(weights['text_embed.weight']), (1, 6), generator=generator)
    padding = torch.arange(6)[None] >= 4

    def run(given: Mapping[str, Tensor]) -> tuple[Outputs, Outputs]:
        encoder.load_state_dict(given, assign=True)
        ours = encoder(images, ids, padding)
        return (released.encoder(given, images, ids, padding),
                dict(image=ours.image, text=ours.text))

    return verify_outputs(weights, run)


def _verify_head(head: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Compare with :mod:`.released` in double precision, on tokens of a small image."""
    generator = torch.Generator().manual_seed(0)
    dims = weights['lan_embedding.weight'].shape[1]
    # Two phrases: one is padded, which changes where sentence vectors come from.
    image, text = (torch.randn(2, *shape, generator=generator, dtype=torch.float64)
                   for shape in ((dims, 4, 6), (5, dims)))
    padding = torch.arange(5) >= torch.tensor([[3], [5]])
    existence = head.target_discrimination
    top_k = existence.top_k if existence else 0

    def run(given: Mapping[str, Tensor]) -> tuple[Outputs, Outputs]:
        given = {key: value.double() if value.is_floating_point() else value
                 for key, value in given.items()}
        head.load_state_dict({
            our_key(f'head.{key}').removeprefix('head.'): value
            for key, value in given.items()}, assign=True)
        theirs = released.head(given, image, text, padding, existence is not None,
                               top_k)
        ours = head(image, text, padding)
        found = dict(logits=ours.proposals.logits, boxes=ours.proposals.boxes,
                     refer=ours.refer, exists=ours.exists,
                     mask_logits=ours.mask_logits)
        return theirs, found

    return verify_outputs(weights, run)
