"""Convert the unofficial TopNet and SimOPA from their released layouts and back.

Source: ``best_weight.pth`` of github.com/bcmi/TopNet-Object-Placement and
``best-acc.pth`` of github.com/bcmi/Object-Placement-Assessment-Dataset-OPA. A FOPA
checkpoint, which the README of the former links to by mistake, is recognized.
"""
from collections.abc import Mapping, Sequence

import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ...converters.equality import Outputs, verify_outputs
from ...converters.report import Conversion, rename_keys
from ...errors import UserValueError
from ...io.checkpoint import count_prefixes
from ...registry import MODELS
from . import released
from .pair_trunk import SEQUENTIAL_NAMES

#: Ending of the files that ``convert_back`` is written to.
RELEASED_SUFFIX = '.pth'
# Prefix of the release -> ours.
LAYER_NAMES = {
    'MultiheadAttention.': 'attention.', 'layer_norm1.': 'norm1.',
    'layer_norm2.': 'norm2.', 'mlp.model.': 'mlp.'}
PAIR_NAMES = {
    'bg_encoder1.0.': 'background_trunk.conv1.',
    'bg_encoder1.1.': 'background_trunk.bn1.',
    'bg_encoder2.1.': 'background_trunk.layer1.',
    'bg_encoder4.': 'background_trunk.layer2.',
    'bg_encoder8.': 'background_trunk.layer3.',
    'bg_encoder16.': 'background_trunk.layer4.',
    'fg_encoder1.0.': 'object_trunk.conv1.', 'fg_encoder2.0.': 'object_trunk.bn1.',
    'fg_encoder4.1.': 'object_trunk.layer1.', 'fg_encoder8.': 'object_trunk.layer2.',
    'fg_encoder16.': 'object_trunk.layer3.', 'fg_encoder32.': 'object_trunk.layer4.',
    **{f'upconv{i}.basicconv.': f'decoder.up{i}.' for i in (32, 16, 8, 4, 2, 1)},
    'deconv.': 'head.deconv.', 'classifier.': 'head.classifier.'}
SIMOPA_NAMES = {'prediction_head.': 'head.', **{
    theirs: f'trunk.{ours}' for theirs, ours in SEQUENTIAL_NAMES.items()}}
FOPA_PREFIXES = ('fg_trans', 'selfdc_', 'mask_conv')


def convert(weights: Mapping[str, Tensor], model_cfg: dict | None = None,
            drop: Sequence[str] = (), meta: Mapping | None = None) -> Conversion:
    """Convert a released checkpoint to the keys of our model, and verify its outputs.

    Args:
        weights: Released keys.
        model_cfg: The model to fill; by default it is read off the weights.
        drop: Patterns of keys that may be lost.
        meta: Not used; these files have none.

    Raises:
        ValueError: If this is another file, keys would be lost or outputs differ.
    """
    kind = _kind_of(weights)
    names = SIMOPA_NAMES if kind == 'SimOPA' else PAIR_NAMES
    model_cfg = dict(model_cfg or infer_model(weights))
    # Whatever a Runner of this process left as the default.
    with DefaultScope.overwrite_default_scope('mmcontrast'):
        model = MODELS.build(model_cfg).eval()

    def rule(key: str, value: Tensor) -> tuple[str, Tensor] | None:
        ours = renamed(key, names)
        return None if ours is None else (ours, value)

    state, report = rename_keys(weights, rule, model.state_dict(),
                                f'Released {kind} -> {type(model).__name__}', drop)
    if not report.unset:
        kept = {theirs: weights[theirs] for theirs, _, _ in report.rows}
        report.checks += _verify(model, kept, kind)
    return Conversion(state, model_cfg, report)


def convert_back(weights: Mapping[str, Tensor], model_cfg: Mapping | None = None
                 ) -> dict[str, Tensor]:
    """Give our weights the released names.

    Args:
        weights: State dict of a TopNetPair with ``fusion='reference'``, or of a SimOPA.
        model_cfg: Its model; without it, the fusion is recognized by its norms.

    Raises:
        ValueError: If the model is of another kind or a parameter has no name there.
    """
    is_simopa = any(key.startswith('trunk.') for key in weights)
    names = {ours: theirs for theirs, ours in (
        SIMOPA_NAMES if is_simopa else PAIR_NAMES).items()}
    norm = weights.get('fusion.layers.0.norm1.weight')
    attention = weights.get('fusion.layers.0.attention.out_proj.bias')
    is_fixed = (model_cfg or {}).get('fusion') == 'fixed' or (
        norm is not None and attention is not None and len(norm) == len(attention))
    if is_fixed:
        raise UserValueError(
            "A TopNetPair with fusion='fixed' has no released layout: the released "
            "network norms the width of the map. Only fusion='reference' has one.")
    found = {key: renamed(key, names, back=True) for key in weights}
    if lost := sorted(key for key, theirs in found.items() if theirs is None):
        raise UserValueError(
            f'{len(lost)} weights have no place in the released layout: {lost[:5]}. '
            'Only TopNetPair and SimOPA have one; TopNet itself was not released.')
    return {found[key]: value for key, value in weights.items()}


def infer_model(weights: Mapping[str, Tensor]) -> dict:
    """Config of the model that released weights belong to."""
    if _kind_of(weights) == 'SimOPA':
        return dict(type='SimOPA')
    first = 'Transformer.layers.0.'
    layers = {key.split('.')[2] for key in weights if key.startswith('Transformer.')}
    return dict(type='TopNetPair', fusion='reference', layers=len(layers),
                size=32 * len(weights[f'{first}layer_norm1.weight']),
                mlp_channels=len(weights[f'{first}mlp.model.0.weight']))


def renamed(key: str, names: Mapping[str, str], back: bool = False) -> str | None:
    """A key with its prefix replaced; None if it has none of them."""
    start, other = 'Transformer.layers.', 'fusion.layers.'
    if back:
        start, other = other, start
    if key.startswith(start):
        number, _, rest = key.removeprefix(start).partition('.')
        parts = {ours: theirs for theirs, ours in LAYER_NAMES.items()} if back else (
            LAYER_NAMES)
        inner = _replaced(rest, parts)
        return None if inner is None else f'{other}{number}.{inner}'
    return _replaced(key, names)


def _replaced(key: str, names: Mapping[str, str]) -> str | None:
    return next((new + key.removeprefix(old) for old, new in names.items()
                 if key.startswith(old)), None)


def _kind_of(weights: Mapping[str, Tensor]) -> str:
    if found := [key for key in weights if key.startswith(FOPA_PREFIXES)]:
        raise UserValueError(
            f'This is a FOPA checkpoint ({found[0]} and {len(found) - 1} more keys of '
            'its dynamic convolution), not the unofficial TopNet, and FOPA has no '
            'converter here. The README of TopNet-Object-Placement links to the same '
            'file as that of FOPA; its network has Transformer.layers.* and upconv*.')
    if 'prediction_head.weight' in weights and 'backbone.0.weight' in weights:
        return 'SimOPA'
    needed = ('Transformer.layers.0.layer_norm1.weight',
              'Transformer.layers.0.mlp.model.0.weight', 'bg_encoder1.0.weight')
    if missing := [key for key in needed if key not in weights]:
        raise UserValueError(
            f'Neither the unofficial TopNet nor SimOPA: the file lacks {missing[0]}. '
            'Expected bg_encoder*, fg_encoder*, Transformer.*, upconv*, deconv.* and '
            'classifier.*, or backbone.* and prediction_head.weight; found '
            f'{count_prefixes(weights)}.')
    return 'TopNet (unofficial)'


def _verify(model: nn.Module, weights: Mapping[str, Tensor], kind: str) -> list[str]:
    """Compare our model with :mod:`.released`, in double precision."""
    model = model.double()
    generator = torch.Generator().manual_seed(0)
    size = 64 if kind == 'SimOPA' else model.size
    # Two images: in the released network they change each other.
    colors, canvas = (torch.randn(2, channels, size, size, generator=generator,
                                  dtype=torch.float64) for channels in (3, 4))
    names = SIMOPA_NAMES if kind == 'SimOPA' else PAIR_NAMES

    def run(given: Mapping[str, Tensor]) -> tuple[Outputs, Outputs]:
        given = {key: value.double() if value.is_floating_point() else value
                 for key, value in given.items()}
        model.load_state_dict({renamed(key, names): value
                               for key, value in given.items()})
        if kind == 'SimOPA':
            return (dict(logits=released.simopa(given, canvas)),
                    dict(logits=model(canvas)))
        return released.pair_net(given, colors, canvas), _our_outputs(
            model, colors, canvas)

    return verify_outputs(weights, run)


def _our_outputs(model: nn.Module, background: Tensor, canvas: Tensor) -> Outputs:
    maps, objects = model.encode_backgrounds(background), model.encode_objects(canvas)
    fused = model.fusion(torch.cat([maps[-1], objects], 1))
    decoded = model.decoder(fused, maps[:-1])
    side = released.SHOWN
    return dict(fused=fused, decoded=decoded,
                logits=model.head(decoded[..., :side, :side]))
