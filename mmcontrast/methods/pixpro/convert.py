"""Released PixPro checkpoints into ours."""
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch

import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ...apis.convert.layouts import resnet_rule
from ...apis.convert.official import Conversion
from ...apis.convert.proof import compare, prove_stages, randomised
from ...apis.convert.report import rename_keys
from ...registry import MODELS

# Module of the released code -> ours. A twin ends in '_k' there.
MODULES = dict(
    encoder='backbone', projector='projector', value_transform='propagation.transform',
    projector_instance='instance_projector', predictor='instance_predictor',
    encoder_k='momentum.backbone', projector_k='momentum.projector',
    projector_instance_k='momentum.instance_projector')
# Blocks a stage, and whether they are bottlenecks.
DEPTHS = {((2, 2, 2, 2), False): 18, ((3, 4, 6, 3), False): 34,
          ((3, 4, 6, 3), True): 50, ((3, 4, 23, 3), True): 101,
          ((3, 8, 36, 3), True): 152}


def convert(weights: Mapping[str, Tensor], model_cfg: dict | None = None,
            drop: Sequence[str] = ()) -> Conversion:
    """Convert the ``model`` part of a released checkpoint.

    Source: github.com/zdaxie/PixPro, the keys of its training and published files
    (``encoder*``, ``projector*``, ``value_transform``, ``predictor``).

    Args:
        weights: Released keys without ``module.``.
        model_cfg: The PixPro model to fill; read off the weights if None.
        drop: Patterns of keys that may be lost.

    Raises:
        ValueError: If this is no PixPro file, keys would be lost or outputs differ.
    """
    if not any(key.startswith('encoder.') for key in weights):
        heads = sorted({key.partition('.')[0] for key in weights})
        raise ValueError('No released PixPro checkpoint: expected keys encoder.*, '
                         f'projector.* and others, found {heads[:8]}.')
    kept = {key: value for key, value in weights.items()
            if not any(fnmatch(key, pattern) for pattern in drop)}
    model_cfg = dict(model_cfg or infer_model(kept))
    # Whatever a Runner of this process left as the default.
    with DefaultScope.overwrite_default_scope('mmcontrast'):
        model = MODELS.build(model_cfg).eval()
    expected = model.state_dict()
    encoder, backbone = _part(weights, 'encoder'), _part(expected, 'backbone')
    inner = resnet_rule(encoder, backbone)

    def rule(key: str, value: Tensor) -> tuple[str, Tensor] | None:
        head, _, rest = key.partition('.')
        if head not in MODULES:
            return None
        if head.startswith('encoder'):
            rest, value = inner(rest, value)
        return f'{MODULES[head]}.{rest}', value

    title = (f'Released PixPro, ResNet-{_depth(encoder)} '
             f'-> {type(model).__name__} with {model_cfg["backbone"]["type"]}')
    state, report = rename_keys(weights, rule, expected, title, drop)
    model.load_state_dict(state, strict=not report.unset)
    for name in ('encoder', 'encoder_k'):
        if part := _part(kept, name):
            report.proofs += [f'{name}: {line}' for line in prove_stages(
                released_encoder(part, model_cfg['backbone']),
                model.get_submodule(MODULES[name]), part,
                lambda given: dict(inner(k, v) for k, v in given.items()))]
    model.load_state_dict(state, strict=not report.unset)
    report.proofs += _prove_heads(kept, model)
    return Conversion(state, model_cfg, report)


def infer_model(weights: Mapping[str, Tensor]) -> dict:
    """Config of the PixPro model that released weights belong to."""
    if 'projector.linear1.weight' not in weights:
        raise ValueError('The file has no projector.*, so its model cannot be read off '
                         'it; name one with --config, and --drop what it lacks.')
    encoder, hidden = _part(weights, 'encoder'), weights['projector.linear1.weight']
    deep = 'conv1.0.0.weight' in encoder
    transform = _part(weights, 'value_transform')
    return dict(
        type='PixPro',
        backbone=dict(type='mmpretrain.ResNetV1d' if deep else 'mmpretrain.ResNet',
                      depth=_depth(encoder), norm_eval=False),
        projector=dict(type='ConvMLP', hidden_channels=len(hidden),
                       out_channels=len(weights['projector.linear2.weight'])),
        propagation=dict(type='PixelPropagation', transform_layers=(
            2 if 'linear1.weight' in transform else int(bool(transform)))),
        loss=dict(type='PairConsistencyLoss'),
        instance_weight=float('predictor.linear1.weight' in weights))


def released_encoder(encoder: Mapping[str, Tensor], cfg: Mapping) -> nn.Module:
    """The network of the released code, from torchvision's ResNet.

    ``_d`` nets get three convolutions as a stem and a pooled shortcut; strides and
    dilations are those of the backbone config (``50_16s``).
    """
    from torchvision import models
    network = models.get_model(f'resnet{_depth(encoder)}', weights=None)
    network.fc = nn.Identity()
    deep = 'conv1.0.0.weight' in encoder
    if deep:
        network.conv1 = nn.Sequential(_conv_bn(3, 32, 2), _conv_bn(32, 32, 1),
                                      nn.Conv2d(32, 64, 3, 1, 1, bias=False))
    strides = cfg.get('strides', (1, 2, 2, 2))
    dilations = cfg.get('dilations', (1, 1, 1, 1))
    for i, (stride, dilation) in enumerate(zip(strides, dilations, strict=True)):
        for j, block in enumerate(getattr(network, f'layer{i + 1}')):
            _set_stride(block, stride if j == 0 else 1, dilation, deep)
    return network.eval()


def _conv_bn(channels: int, width: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, width, 3, stride, 1, bias=False),
                         nn.BatchNorm2d(width), nn.ReLU())


def _set_stride(block: nn.Module, stride: int, dilation: int, pooled: bool):
    # As in mm libraries: the second convolution of a bottleneck, the first of a basic
    # block.
    conv = block.conv2 if hasattr(block, 'conv3') else block.conv1
    conv.stride = (stride, stride)
    conv.dilation = conv.padding = (dilation, dilation)
    if block.downsample is None:
        return
    conv, norm = block.downsample
    conv.stride = (1, 1) if pooled else (stride,) * 2
    if pooled:
        block.downsample = nn.Sequential(nn.AvgPool2d(stride, stride), conv, norm)


def _prove_heads(weights: Mapping[str, Tensor], model: nn.Module) -> list[str]:
    """Heads in plain torch functions on the released tensors against our modules."""
    lines = []
    for name, ours in MODULES.items():
        part = _part(weights, name)
        if name.startswith('encoder') or not part:
            continue
        module = model.get_submodule(ours)
        first = part.get('linear1.weight', part.get('weight'))
        image = torch.randn(2, first.shape[1], 4, 4,
                            generator=torch.Generator().manual_seed(0))
        kept = {k: v.clone() for k, v in module.state_dict().items()}
        for label, given in (('weights of the file', part),
                             ('random weights', randomised(part))):
            module.load_state_dict(given)
            with torch.no_grad():
                lines += [f'{name}: {line}' for line in compare(
                    label, dict(map=_released_head(given, image)),
                    dict(map=module(image)))]
        module.load_state_dict(kept)
    return lines


def _released_head(part: Mapping[str, Tensor], x: Tensor) -> Tensor:
    if 'weight' in part:
        return F.conv2d(x, part['weight'], part['bias'])
    x = F.conv2d(x, part['linear1.weight'], part['linear1.bias'])
    x = F.batch_norm(x, part['bn1.running_mean'], part['bn1.running_var'],
                     part['bn1.weight'], part['bn1.bias'])
    return F.conv2d(F.relu(x), part['linear2.weight'], part['linear2.bias'])


def _part(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key[len(name) + 1:]: value for key, value in weights.items()
            if key.startswith(f'{name}.')}


def _depth(encoder: Mapping[str, Tensor]) -> int:
    blocks = tuple(len({key.split('.')[1] for key in encoder
                        if key.startswith(f'layer{stage}.')}) for stage in range(1, 5))
    bottleneck = 'layer1.0.conv3.weight' in encoder
    if (blocks, bottleneck) not in DEPTHS:
        raise ValueError(f'The encoder has {blocks} blocks a stage; a ResNet of depth '
                         f'{sorted(set(DEPTHS.values()))} is expected.')
    width = encoder['layer1.0.conv1.weight'].shape[0], encoder[
        'layer1.0.conv2.weight'].shape[1]
    if width != (64, 64):
        raise ValueError('The encoder is a wide or grouped ResNet: its first block has '
                         f'{width} channels, expected (64, 64).')
    return DEPTHS[blocks, bottleneck]
