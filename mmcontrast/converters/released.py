"""Convert released checkpoints of two-view methods from a table of their names.

A method's ``convert.py`` describes its files with :class:`ReleasedLayout`.
"""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch

from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ..io.config_types import type_name
from ..registry import MODELS
from .equality import Weights, verify_outputs, verify_stages
from .layouts import resnet_rule
from .report import Conversion, Rule, rename_keys
from .resnets import released_encoder, resnet_depth


@dataclass(frozen=True)
class Head:
    """One module of a released file beside the encoders.

    Attributes:
        module: Name of our module.
        rename: Our name of a key in it, None for an unknown one.
        input_of: Input of the equality check, from the released weights.
        released: What the released code computes from weights and input, in plain
            torch functions; our module must give the same.
    """

    module: str
    rename: Callable[[str], str | None]
    input_of: Callable[[Weights], Tensor]
    released: Callable[[Weights, Tensor], Tensor]


@dataclass(frozen=True)
class ReleasedLayout:
    """How a released file names the modules of our model.

    Attributes:
        method: Name in messages.
        encoders: Name of each encoder -> our module, the trained one first.
        heads: Every other module by its released name.
        infer_model: Config of our model, read off released weights.
        single: Tensors that belong to no module, released key -> ours.
    """

    method: str
    encoders: Mapping[str, str]
    heads: Mapping[str, Head]
    infer_model: Callable[[Weights], dict]
    single: Mapping[str, str] = field(default_factory=dict)


def convert_released(layout: ReleasedLayout, weights: Weights,
                     model_cfg: dict | None = None, drop: Sequence[str] = (),
                     meta: Mapping | None = None) -> Conversion:
    """Convert the ``model`` part of a released checkpoint.

    Args:
        layout: The names in it.
        weights: Released keys without ``module.``.
        model_cfg: The model to fill; read off the weights if None.
        drop: Patterns of keys that may be dropped.
        meta: What else the file holds; not used.

    Raises:
        ValueError: If this is another kind of file, keys would be lost or outputs
            differ.
    """
    trained = next(iter(layout.encoders))
    encoder = part_of(weights, trained)
    if not encoder:
        found = sorted({key.partition('.')[0] for key in weights})
        raise ValueError(f'No released {layout.method} checkpoint: expected keys '
                         f'{trained}.*, projector* and others, found {found[:8]}.')
    kept = {key: value for key, value in weights.items()
            if not any(fnmatch(key, pattern) for pattern in drop)}
    model_cfg = dict(model_cfg or layout.infer_model(kept))
    # Independent of the default scope that an earlier Runner left.
    with DefaultScope.overwrite_default_scope('mmcontrast'):
        model = MODELS.build(model_cfg).eval()
    expected = model.state_dict()
    inner = resnet_rule(encoder, part_of(expected, 'backbone'))
    title = (f'Released {layout.method}, ResNet-{resnet_depth(encoder)} '
             f'-> {type(model).__name__} with {type_name(model_cfg["backbone"])}')
    state, report = rename_keys(weights, _rule(layout, inner), expected, title, drop)
    strict = not report.unset
    model.load_state_dict(state, strict=strict)
    report.checks += _verify_encoders(layout, kept, model, model_cfg['backbone'], inner)
    for name, head in layout.heads.items():
        if part := part_of(kept, name):
            report.checks += _verify_head(name, head, part, model)
    return Conversion(state, model_cfg, report)


def part_of(weights: Weights, name: str) -> dict[str, Tensor]:
    """The weights of one module, under their names inside of it."""
    return {key[len(name) + 1:]: value for key, value in weights.items()
            if key.startswith(f'{name}.')}


def _rule(layout: ReleasedLayout, inner: Rule) -> Rule:
    def rule(key: str, value: Tensor) -> tuple[str, Tensor] | None:
        name, _, rest = key.partition('.')
        if key in layout.single:
            return layout.single[key], value
        if name in layout.encoders:
            rest, value = inner(rest, value)
            return f'{layout.encoders[name]}.{rest}', value
        head = layout.heads.get(name)
        rest = head and head.rename(rest)
        return (f'{head.module}.{rest}', value) if rest else None
    return rule


def _verify_encoders(layout: ReleasedLayout, weights: Weights, model: nn.Module,
                     backbone_cfg: Mapping, inner: Rule) -> list[str]:
    lines = []
    for name, ours in layout.encoders.items():
        if part := part_of(weights, name):
            lines += [f'{name}: {line}' for line in verify_stages(
                released_encoder(part, backbone_cfg), model.get_submodule(ours), part,
                lambda given: dict(inner(k, v) for k, v in given.items()))]
    return lines


def _verify_head(name: str, head: Head, part: Weights, model: nn.Module) -> list[str]:
    module, given_input = model.get_submodule(head.module), head.input_of(part)

    def run(given: Weights) -> tuple[dict, dict]:
        module.load_state_dict({head.rename(k): v for k, v in given.items()})
        return (dict(map=head.released(given, given_input)),
                dict(map=module(given_input)))
    return [f'{name}: {line}' for line in verify_outputs(part, run)]
