"""Build the ResNets of released pretraining code, and read their depth off weights."""
from collections.abc import Mapping

from torch import Tensor, nn

#: By depth: blocks of the stages, and whether they are bottlenecks.
BLOCKS = {18: ((2, 2, 2, 2), False), 34: ((3, 4, 6, 3), False),
          50: ((3, 4, 6, 3), True), 101: ((3, 4, 23, 3), True),
          152: ((3, 8, 36, 3), True)}


def infer_backbone(encoder: Mapping[str, Tensor]) -> dict:
    """Config of the backbone that released weights belong to."""
    kind = 'ResNetV1d' if has_deep_stem(encoder) else 'ResNet'
    return dict(type=f'mmpretrain.{kind}', depth=resnet_depth(encoder), norm_eval=False)


def has_deep_stem(encoder: Mapping[str, Tensor]) -> bool:
    """Whether the stem has three convolutions (the ``_d`` networks)."""
    return 'conv1.0.0.weight' in encoder


def resnet_depth(encoder: Mapping[str, Tensor]) -> int:
    """Depth of the ResNet that has these keys.

    Raises:
        ValueError: If it has other blocks or widths than the usual ResNets.
    """
    blocks = tuple(len({key.split('.')[1] for key in encoder
                        if key.startswith(f'layer{stage}.')}) for stage in range(1, 5))
    bottleneck = 'layer1.0.conv3.weight' in encoder
    depth = next((depth for depth, built in BLOCKS.items()
                  if built == (blocks, bottleneck)), None)
    if depth is None:
        raise ValueError(f'The encoder has {blocks} blocks a stage; a ResNet of depth '
                         f'{list(BLOCKS)} is expected.')
    width = encoder['layer1.0.conv1.weight'].shape[0], encoder[
        'layer1.0.conv2.weight'].shape[1]
    if width != (64, 64):
        raise ValueError('The encoder is a wide or grouped ResNet: its first block has '
                         f'{width} channels, expected (64, 64).')
    return depth


def released_encoder(encoder: Mapping[str, Tensor], cfg: Mapping) -> nn.Module:
    """The network of the released code, from torchvision's ResNet.

    ``_d`` networks get a stem of three convolutions and pooled shortcuts; strides and
    dilations are those of the backbone config (``50_16s``).
    """
    from torchvision import models
    network = models.get_model(f'resnet{resnet_depth(encoder)}', weights=None)
    network.fc = nn.Identity()
    deep = has_deep_stem(encoder)
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
