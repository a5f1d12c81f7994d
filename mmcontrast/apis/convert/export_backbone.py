"""Export a pretrained backbone for other libraries."""
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ...converters.equality import verify_outputs, verify_stages
from ...converters.report import KeyReport, rename_keys
from ...converters.targets import Target, build_target
from ...errors import UserKeyError
from ...io.checkpoint import count_prefixes
from ...io.config_types import full_name, with_names
from ...registry import MODELS, class_of, default_scope
from ...structures.protocols import ExportsBranch
from ..config import read_config
from ..loading import build_model, read_weights
from .weight_files import provenance, write_weights

#: ImageNet's, for usage lines where the config says nothing.
DEFAULT_FORMAT = dict(mean='123.675, 116.28, 103.53', std='58.395, 57.12, 57.375',
                      channel_order='RGB')


def export_backbone(config: str | Path | Config, checkpoint: str | Path,
                    dst: str | Path, to: str, branch: str | None = None,
                    with_neck: bool = False, drop: Sequence[str] = ()) -> KeyReport:
    """Write the backbone of a checkpoint under the names of another library.

    Args:
        config: Config of the trained model; its ``model.backbone`` is built.
        checkpoint: Checkpoint of that model.
        dst: File to write. mmdet, mmseg and mmpretrain get ``dict(state_dict, meta)``,
            torchvision and timm a plain state dict, or safetensors if it ends so,
            detectron2 a ``.pkl`` of arrays.
        to: ``mmdet``, ``mmseg``, ``mmpretrain``, ``torchvision``, ``timm`` or
            ``detectron2``.
        branch: ``online`` or ``momentum``; by default the model's ``export_branch``.
        with_neck: Export ``neck.*`` too (mmdet only; keys get ``backbone.``).
        drop: Patterns of keys that may be dropped.

    Returns:
        What each key was converted to; the last line says how to load the file.

    Raises:
        ValueError: If keys would be lost, outputs differ or ``to`` lacks the network.
        KeyError: If the checkpoint has no such branch.
    """
    config = config if isinstance(config, Config) else read_config(config)
    with default_scope(config, 'mmcontrast'):
        return _export(config, checkpoint, dst, to, branch, with_neck, drop)


def _export(config: Config, checkpoint: str | Path, dst: str | Path, to: str,
            branch: str | None, with_neck: bool, drop: Sequence[str]) -> KeyReport:
    layout = dict(torchvision='weights', timm='weights', detectron2='detectron2').get(
        to, 'checkpoint')
    if to == 'detectron2' and Path(dst).suffix != '.pkl':
        raise ValueError(f'detectron2 reads .pkl files; let DST end so, got {dst}.')
    if Path(dst).suffix == '.safetensors' and layout != 'weights':
        raise ValueError(f'{to} reads no safetensors; let DST end in .pth.')
    branch = branch or default_branch(config.model)
    everything = read_weights(checkpoint)
    weights = _part(everything, branch, 'backbone', checkpoint)
    cfg = {k: v for k, v in config.model.backbone.items() if k != 'init_cfg'}
    source = build_model(config, 'backbone')
    load_exactly(source, weights, checkpoint,
                 f'the backbone of {config.filename or "CONFIG"}')
    target = build_target(cfg, source, to)
    if target.without:
        source = MODELS.build({k: v for k, v in cfg.items()
                               if k not in target.without} | target.instead)
    title = f'{Path(checkpoint).name}, {branch} {full_name(cfg["type"])} -> {to}'
    state, report = _renamed(weights, target, title, drop)
    own = target.network.state_dict()
    report.checks += verify_stages(
        source, target.network, weights,
        lambda given: own | _renamed(given, target, title, drop)[0], target.size)
    prefix, usage = target.prefix, target.usage
    if with_neck:
        neck = _verified_neck(config.model, everything, branch, to, checkpoint, report)
        prefix, usage = 'backbone.', "load_from = '{path}'  # in the detector's config"
    state = {prefix + key: value for key, value in state.items()}
    state |= neck if with_neck else {}
    images = input_format(config)
    write_weights(state, dst, dict(
        provenance(checkpoint), exported_from=Path(checkpoint).name, branch=branch,
        to=to, backbone=with_names(Config(dict(backbone=cfg))).pretty_text, **images),
        layout)
    if target.without:
        report.checks.append(
            f'Trained with {target.without}, verified without: the network of {to} has '
            'the same weights and the usual strides'
            + (', which an FPN and its anchors need.' if to == 'mmdet' else '.'))
    if images:
        report.checks.append(
            f'Trained on {images["channel_order"]} images with mean '
            f'({images["mean"]}) and std ({images["std"]}), gray levels from 0 to 255.')
    for name, value in (DEFAULT_FORMAT | images).items():
        usage = usage.replace(f'{{{name}}}', value)
    if Path(dst).suffix == '.safetensors':
        usage = usage.replace('torch.load(', 'safetensors.torch.load_file(')
    report.checks.append('Load it with\n  ' + usage.replace('{path}', str(dst)))
    return report


def input_format(config: Config) -> dict[str, str]:
    """What the network was trained on: ``mean``, ``std`` and ``channel_order``.

    Mean and std are numbers with commas, in gray levels from 0 to 255 and in the order
    of the channels, ``RGB`` or ``BGR``.

    Returns:
        Empty if the model's preprocessor does not normalize, or cannot be built.
    """
    settings = config.model.get('data_preprocessor') or {}
    preprocessor = None
    with suppress(Exception):  # A model may need files that are not here.
        preprocessor = (MODELS.build(settings) if 'type' in settings
                        else build_model(config).data_preprocessor)
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    if mean is None or std is None:
        return {}
    numbers = {name: ', '.join(f'{value:.6g}' for value in values.flatten().tolist())
               for name, values in (('mean', mean), ('std', std))}
    return dict(numbers, channel_order=_channel_order(preprocessor, settings))


def _channel_order(preprocessor: nn.Module, settings: Mapping) -> str:
    if settings.get('rgb_to_bgr'):
        return 'BGR'
    # Of mmengine and mmdet, of mmseg, of mmpretrain; their readers give BGR, ours RGB.
    switches = [getattr(preprocessor, name) for name in (
        '_channel_conversion', 'channel_conversion', 'to_rgb')
        if hasattr(preprocessor, name)]
    return 'RGB' if any(switches) or not switches else 'BGR'


def default_branch(model: Mapping) -> str:
    """The branch that the class of a model exports: ``online`` or ``momentum``."""
    cls = class_of(model['type'], MODELS) if 'type' in model else None
    return cls.export_branch if isinstance(cls, ExportsBranch) else 'online'


def _part(weights: Mapping[str, Tensor], branch: str, module: str, path: str | Path
          ) -> dict[str, Tensor]:
    if branch not in ('online', 'momentum'):
        raise ValueError(f"branch must be 'online' or 'momentum', got {branch!r}.")
    prefix = f'momentum.{module}.' if branch == 'momentum' else f'{module}.'
    part = {k[len(prefix):]: v for k, v in weights.items() if k.startswith(prefix)}
    if not part:
        raise UserKeyError(
            f'{path}: no weight of the {branch} {module} ({prefix}*). It holds '
            f'{count_prefixes(weights)}. Try the other --branch, or python '
            f'tools/convert/inspect_checkpoint.py {path}')
    return part


def load_exactly(network: nn.Module, weights: Mapping[str, Tensor], path: str | Path,
                 role: str) -> None:
    """Load weights into the network that they were trained in.

    Args:
        path, role: The file and what the network is, for the message.

    Raises:
        ValueError: If a weight is missing, unknown or of another shape.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f'{path} does not fit {role}; give the config it was trained '
                         f'with. {error}') from error


def _renamed(weights: Mapping[str, Tensor], target: Target, title: str,
             drop: Sequence[str]) -> tuple[dict[str, Tensor], KeyReport]:
    wanted = {k: v for k, v in target.network.state_dict().items()
              if not any(fnmatch(k, pattern) for pattern in target.ignored)}
    return rename_keys(weights, target.rule, wanted, title, drop, target.derived)


def _verified_neck(model: Mapping, everything: Mapping[str, Tensor], branch: str,
                   to: str, path: str | Path, report: KeyReport) -> dict[str, Tensor]:
    """``neck.*`` as mmdet reads it, verified on random maps and added to the report."""
    cfg = {k: v for k, v in (model.get('neck') or {}).items() if k != 'init_cfg'}
    name = full_name(cfg.get('type', ''))
    if to != 'mmdet' or not name.startswith('mmdet.'):
        raise ValueError(
            "--with-neck takes a neck of mmdet (model.neck with type='mmdet.FPN') to "
            f'mmdet, got {name or None!r} to {to}.')
    from mmdet.registry import MODELS as MMDET_MODELS

    from ...models.inspection import feature_channels
    weights = _part(everything, branch, 'neck', path)
    channels = feature_channels(MODELS.build({**model['backbone'], 'init_cfg': None}))
    cfg.setdefault('in_channels', channels)
    ours = MODELS.build(cfg).eval()
    theirs = MMDET_MODELS.build(cfg).eval()
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(1, c, 32 >> i, 32 >> i, generator=generator)
            for i, c in enumerate(cfg['in_channels'])]

    def run(given: Mapping[str, Tensor]) -> tuple[dict, ...]:
        for neck in (ours, theirs):
            neck.load_state_dict(given)
        return tuple({f'level{i}': level for i, level in enumerate(neck(maps))}
                     for neck in (ours, theirs))
    report.checks += [f'neck: {line}' for line in verify_outputs(weights, run)]
    report.rows += [(f'neck.{k}', f'neck.{k}', tuple(v.shape))
                    for k, v in weights.items()]
    return {f'neck.{key}': value for key, value in weights.items()}
