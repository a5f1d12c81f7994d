"""Build a backbone as another library does."""
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec

from torch import nn

from ..io.config_types import named, type_name
from ..registry import MODELS
from .detectron2 import Detectron2ResNet, resnet_to_detectron2
from .layouts import resnet_rule, same_name, swin_to_timm
from .report import Rule

LIBRARIES = ('mmdet', 'mmseg', 'mmpretrain', 'torchvision', 'timm', 'detectron2')
_PACKAGES = dict(mmdet='onedl-mmdetection', mmseg='onedl-mmsegmentation',
                 mmpretrain='onedl-mmpretrain')
_RESNETS = dict(ResNet=dict(), ResNetV1c=dict(deep_stem=True),
                ResNetV1d=dict(deep_stem=True, avg_down=True))
DETECTRON2_USAGE = """\
MODEL:
    WEIGHTS: {path}
    PIXEL_MEAN: [{{mean}}]
    PIXEL_STD: [{{std}}]
    BACKBONE:
      FREEZE_AT: 0
    RESNETS:
      DEPTH: {depth}
      STRIDE_IN_1X1: {caffe}{width}
      NORM: SyncBN
  INPUT:
    FORMAT: {{channel_order}}"""
# Settings of training and of what is returned; the weights do not depend on them.
_NO_STRUCTURE = ('type', 'init_cfg', 'frozen_stages', 'norm_eval', 'with_cp',
                 'zero_init_residual', 'drop_path_rate', 'drop_rate', 'attn_drop_rate',
                 'pretrained', 'convert_weights', 'out_indices', 'img_size',
                 'pretrain_img_size', 'pad_small_map', 'norm_cfg')
# Norms by the names and classes that a config may give, as a fine-tuning names them.
_NORMS = dict(SyncBN='BN', MMSyncBN='BN', BN2d='BN', SyncBatchNorm='BN',
              BatchNorm2d='BN', LayerNorm='LN', GroupNorm='GN')
# Where a ResNet strides or dilates; its weights do not depend on it.
_STRIDES = ('strides', 'dilations', 'contract_dilation', 'multi_grid')
# Detectors have anchors for maps of strides 4 to 32, classifiers are trained with them;
# the heads of mmseg read maps of any stride, most the last one at stride 8 or 16.
_NEED_USUAL_STRIDES = ('mmdet', 'mmpretrain', 'torchvision', 'timm', 'detectron2')


@dataclass
class Target:
    """A network of another library and how to fill it.

    Attributes:
        network: The library's own model.
        rule: Names of the source's weights in it.
        usage: How a user loads the file ``{path}``; may name ``{mean}``, ``{std}`` and
            ``{channel_order}`` of the images.
        size: Height and width of the input of the equality check.
        derived: Patterns of source keys that the network computes itself.
        ignored: Patterns of target keys that belong to a classifier.
        prefix: Put in front of every key of the file.
        without: Arguments of the source that leave the weights as they are, and that
            the library's network lacks or its task does not want.
        instead: Arguments in their place; the equality check builds the source so.
    """

    network: nn.Module
    rule: Rule
    usage: str
    size: int = 64
    derived: Sequence[str] = ()
    ignored: Sequence[str] = ()
    prefix: str = ''
    without: dict = field(default_factory=dict)
    instead: dict = field(default_factory=dict)


def build_target(cfg: dict, source: nn.Module, to: str) -> Target:
    """The backbone of config ``cfg`` in library ``to``.

    Args:
        cfg: Backbone config, e.g. ``dict(type='mmpretrain.ResNet', depth=50)``.
        source: The network built from it.
        to: One of ``LIBRARIES``.

    Raises:
        ValueError: If the library has no such network; names those that have.
        ImportError: If the library is not installed; its model is needed to verify
            the outputs. detectron2's is built here.
    """
    if to not in LIBRARIES:
        raise ValueError(f'--to must be one of {", ".join(LIBRARIES)}, got {to!r}.')
    if to != 'detectron2' and find_spec(to) is None:
        raise ImportError(f'Exporting to {to} builds its model to verify outputs: '
                          f'pip install {_PACKAGES.get(to, to)}')
    name, library = type(source).__name__, type(source).__module__.split('.')[0]
    mm_source = library in _PACKAGES
    if mm_source and name in _RESNETS:
        return _resnet(cfg, source, to)
    if mm_source and name == 'SwinTransformer':
        return _swin(cfg, source, to)
    if library == to:
        return _same_class(cfg, source, to)
    raise ValueError(
        f'{name} of {library} can be exported to its own library only (--to '
        f'{library}), got --to {to}. mmdet and mmseg configs can use it as it is: '
        f"type='{library}.{name}'. ResNet, ResNetV1c, ResNetV1d and SwinTransformer go "
        'to all libraries that have them.')


def _structure(cfg: dict, source: nn.Module) -> dict:
    """Arguments that shape the network and differ from the class's defaults."""
    defaults = inspect.signature(_constructor(type(source))).parameters
    return {k: _plain(v) for k, v in cfg.items() if k not in _NO_STRUCTURE
            and (k not in defaults or _plain(v) != _plain(defaults[k].default))}


def _plain(value: object) -> object:
    if isinstance(value, dict) and 'type' in value:
        return dict(value, type=type_name(value))
    return tuple(value) if isinstance(value, list) else value


def _constructor(cls: type) -> Callable:
    # ResNetV1d(**kwargs) hides the arguments of its parent.
    return next(c.__init__ for c in cls.__mro__ if 'kwargs' not in
                inspect.signature(c.__init__).parameters)


def _norm(cfg: dict, default: str) -> dict:
    norm = dict(cfg.get('norm_cfg') or dict(type=default))
    norm.pop('requires_grad', None)
    norm['type'] = _NORMS.get(type_name(norm), norm['type'])
    return norm


def _resnet(cfg: dict, source: nn.Module, to: str) -> Target:
    args = _RESNETS[type(source).__name__] | _structure(cfg, source)
    norm = _norm(cfg, 'BN')
    args, without, instead = _usual_strides(args, to)
    if to in _PACKAGES:
        network = _mm_class(to, 'ResNet', args)(
            **args, norm_cfg=norm, out_indices=tuple(range(cfg.get('num_stages', 4))))
        shown = args if norm == dict(type='BN') else args | dict(norm_cfg=norm)
        usage = _mm_usage('ResNet', shown)
        if to == 'mmseg' and set(args) & set(_STRIDES):
            usage += ('  # for heads of several maps (FPN, UPerNet) without strides '
                      'and dilations')
        return Target(network, resnet_rule(source.state_dict(), network.state_dict()),
                      usage, without=without, instead=instead)
    depth = args.pop('depth')
    caffe = to == 'detectron2' and args.pop('style', 'pytorch') == 'caffe'
    stem = args.pop('deep_stem', False), args.pop('avg_down', False)
    if args or norm != dict(type='BN'):
        odd = args if norm == dict(type='BN') else args | dict(norm_cfg=norm)
        raise ValueError(f'{to} has no ResNet with {odd}; export to '
                         f'{", ".join(_PACKAGES)}, which have these arguments.')
    if to == 'detectron2':
        return _detectron2_resnet(depth, caffe, any(stem), without)
    network, usage = _torch_resnet(to, depth, *stem)
    rule = resnet_rule(source.state_dict(), network.state_dict())
    return Target(network, rule, usage, ignored=('fc.*',), without=without)


def _usual_strides(args: dict, to: str) -> tuple[dict, dict, dict]:
    """Leave out where a network strides and dilates, if the target has its own rule.

    Returns:
        The other arguments; what was left out; what stands in its place, for networks
        of fewer than four stages.
    """
    stages = args.get('num_stages', 4)
    usual = dict(strides=(1, 2, 2, 2)[:stages], dilations=(1,) * stages)
    given = {name: args[name] for name in _STRIDES if name in args}
    if to not in _NEED_USUAL_STRIDES or not given:
        return args, {}, {}
    others = {name: value for name, value in args.items() if name not in given}
    without = {name: value for name, value in given.items()
               if _plain(value) != usual.get(name)}
    instead = {} if stages == 4 else usual
    return others | instead, without, instead


def _detectron2_resnet(depth: int, caffe: bool, deep: bool, without: dict) -> Target:
    if deep:
        raise ValueError('detectron2 has no ResNet with a stem of three convolutions; '
                         f'export to {", ".join(_PACKAGES)} or timm.')
    return Target(Detectron2ResNet(depth, caffe), resnet_to_detectron2,
                  DETECTRON2_USAGE.format(
                      path='{path}', depth=depth, caffe=caffe,
                      width='\n      RES2_OUT_CHANNELS: 64' * (depth < 50)),
                  without=without)


def _torch_resnet(to: str, depth: int, deep_stem: bool, avg_down: bool):
    letter = {(False, False): '', (True, False): 'c', (True, True): 'd'}.get(
        (deep_stem, avg_down), '?')
    name = f'resnet{depth}{letter}'
    if to == 'torchvision':
        from torchvision import models
        if name in models.list_models(models):
            return models.get_model(name, weights=None), (
                f'model = torchvision.models.{name}()\n  '
                "model.load_state_dict(torch.load('{path}'), strict=False)"
                '  # fc alone is missing')
    else:
        import timm
        if timm.is_model(name):
            return timm.create_model(name, num_classes=0), (
                f"model = timm.create_model('{name}', num_classes=0, "
                "checkpoint_path='{path}')")
    raise ValueError(
        f'{to} has no ResNet of depth {depth} with deep_stem={deep_stem}, '
        f'avg_down={avg_down} (looked for {name}); export to {", ".join(_PACKAGES)}'
        + (' or timm.' if deep_stem and to == 'torchvision' else '.'))


def _swin(cfg: dict, source: nn.Module, to: str) -> Target:
    args = _structure(cfg, source)
    dims = {'embed_dims': 96, 'depths': (2, 2, 6, 2), 'num_heads': (3, 6, 12, 24)}
    if type(source).__module__.startswith('mmpretrain'):
        args.pop('arch', None)
        dims = {name: getattr(source, name) for name in dims}
    dims = {name: args.pop(name, value) for name, value in dims.items()}
    dims = {k: tuple(v) if isinstance(v, list) else v for k, v in dims.items()}
    window = args.pop('window_size', 7)
    if args or _norm(cfg, 'LN') != dict(type='LN'):
        raise ValueError(
            f'A SwinTransformer with {sorted(args) or "another norm_cfg"} cannot be '
            'exported; only embed_dims, depths, num_heads and window_size may differ '
            'from the defaults.')
    # One window and a patch in the last stage: padding and shifting both take part.
    size = 32 * (window + 1)
    if to == 'torchvision':
        raise ValueError('torchvision keeps its Swin in another form (one fused block '
                         'class without patch_embed); export to '
                         'mmdet, mmseg, mmpretrain or timm.')
    if to == 'timm':
        return _timm_swin(dims, window)
    out = tuple(source.out_indices)
    shown = dict(**dims, window_size=window)
    if to == 'mmpretrain':
        shown = dict(arch=dims, window_size=window)
        if cfg.get('pad_small_map'):
            shown['pad_small_map'] = True
    network = _mm_class(to, 'SwinTransformer', shown)(**shown, out_indices=out)
    # mmdet's Swin reads only keys with this prefix, whatever init_cfg says.
    return Target(network, same_name, _mm_usage('SwinTransformer', shown), size,
                  prefix='backbone.' if to == 'mmdet' else '')


def _timm_swin(dims: dict, window: int) -> Target:
    import timm
    # timm rolls a map before it pads it, mm libraries after: the outputs agree where
    # all maps are multiples of the window. Two windows, so that shifting takes part.
    size = 64 * window
    args = dict(embed_dim=dims['embed_dims'], depths=dims['depths'],
                num_heads=dims['num_heads'], window_size=window)
    name = 'swin_tiny_patch4_window7_224'
    network = timm.create_model(name, num_classes=0, img_size=size, **args)
    shown = ', '.join(f'{k}={v!r}' for k, v in args.items())
    return Target(
        network, swin_to_timm,
        f"model = timm.create_model('{name}', {shown}, num_classes=0, "
        "checkpoint_path='{path}')", size, derived=('*.relative_position_index',),
        ignored=('head.*',))


def _same_class(cfg: dict, source: nn.Module, to: str) -> Target:
    shown = {k: v for k, v in cfg.items() if k not in ('type', 'init_cfg')}
    without, instead = {}, {}
    if any(base.__name__ == 'ResNet' for base in type(source).__mro__):
        shown, without, instead = _usual_strides(shown, to)  # ResNeXt and others
    return Target(MODELS.build(dict(type=cfg['type'], **shown)), same_name,
                  _mm_usage(type(source).__name__, shown), 224, without=without,
                  instead=instead)


def _mm_class(to: str, name: str, args: dict) -> type:
    cls = getattr(import_module(f'{to}.models.backbones'), name)
    known = inspect.signature(_constructor(cls)).parameters
    unknown = sorted(set(args) - set(known))
    if unknown:
        raise ValueError(f'{name} of {to} has no {", ".join(unknown)}; it would not be '
                         'the network that was trained. Export to the library it is '
                         'from, or train without.')
    return cls


def _mm_usage(name: str, args: dict) -> str:
    shown = ''.join(f'{k}={named(v)!r}, ' for k, v in args.items())
    return (f"backbone=dict(type='{name}', {shown}init_cfg=dict(type='Pretrained', "
            "checkpoint='{path}'))")
