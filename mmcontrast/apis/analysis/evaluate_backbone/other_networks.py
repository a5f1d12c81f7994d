"""Build networks of timm and torchvision that give feature maps."""
from torch import Tensor, nn

from ....evaluation.features import IMAGENET_MEAN, IMAGENET_STD

_STAGES = ('layer1', 'layer2', 'layer3', 'layer4')


class TimmMaps(nn.Module):
    """One map (N, C, h, w) of a network of timm, transformers included.

    Args:
        name: As ``timm.create_model`` takes it.
        layer: Stage or block, from 0 or, from the end, -1.
    """

    def __init__(self, name: str, layer: int) -> None:
        super().__init__()
        self.model = _create(name)
        self.layer = layer
        found = self.model.pretrained_cfg
        self.mean = [255 * x for x in found['mean']]
        self.std = [255 * x for x in found['std']]
        embed = getattr(self.model, 'patch_embed', None)
        side = max(getattr(embed, 'patch_size', (32,)))
        self.multiple = 32 if 32 % side == 0 else side

    def forward(self, images: Tensor) -> Tensor:
        # norm: the last map as the head would see it.
        return self.model.forward_intermediates(
            images, indices=[self.layer], norm=self.layer == -1, output_fmt='NCHW',
            intermediates_only=True)[0]


class TorchvisionMaps(nn.Module):
    """One map (N, C, h, w) of a network of torchvision.

    Those with ``layer1`` to ``layer4`` (ResNet, ResNeXt, RegNet's cousins) give their
    stages; those with ``features`` (ConvNeXt, Swin, EfficientNet, VGG) its modules.
    """

    multiple = 32
    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(self, name: str, layer: int) -> None:
        super().__init__()
        import torchvision
        try:
            self.model = torchvision.models.get_model(name, weights=None)
        except ValueError as error:
            raise ValueError(
                f'torchvision knows no model {name!r} ({error}).') from None
        if all(hasattr(self.model, stage) for stage in _STAGES):
            for head in ('avgpool', 'fc'):
                setattr(self.model, head, nn.Identity())
            self.steps = [['conv1', 'bn1', 'relu', 'maxpool', 'layer1'],
                          *([stage] for stage in _STAGES[1:])]
        elif isinstance(getattr(self.model, 'features', None), nn.Sequential):
            self.steps = [[f'features.{i}'] for i in range(len(self.model.features))]
        else:
            raise ValueError(
                f'torchvision:{name} has neither stages layer1 to layer4 nor features; '
                'take the network of timm (timm:NAME), transformers above all.')
        self.channels_last = hasattr(self.model, 'permute')
        self.layer = range(len(self.steps))[_checked(layer, len(self.steps), name)]

    def forward(self, images: Tensor) -> Tensor:
        maps = images
        for step in self.steps[:self.layer + 1]:
            for name in step:
                maps = self.model.get_submodule(name)(maps)
        # Swin keeps channels last until its head.
        return maps.permute(0, 3, 1, 2) if self.channels_last else maps


def timm_backbone(name: str, layer: int | None) -> TimmMaps:
    """``layer`` of a network of timm; the last if None.

    Raises:
        ImportError: Without timm.
        ValueError: If timm has no such network, or it gives no maps.
    """
    maps = TimmMaps(name, -1 if layer is None else layer)
    if not hasattr(maps.model, 'forward_intermediates'):
        raise ValueError(f'timm:{name} gives no intermediate maps.')
    return maps


def torchvision_backbone(name: str, layer: int | None) -> TorchvisionMaps:
    """``layer`` of a network of torchvision; the last if None.

    Raises:
        ValueError: If torchvision has no such network, or it gives no maps.
    """
    return TorchvisionMaps(name, -1 if layer is None else layer)


def _create(name: str) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise ImportError('timm:NAME needs timm: pip install timm.') from error
    if not timm.is_model(name):
        close = timm.list_models(f'*{name.split("_")[0]}*')[:5]
        raise ValueError(f'timm knows no model {name!r}; close: {close}.')
    # What lets a transformer take images of any size, where it has it.
    for option in (dict(dynamic_img_size=True), dict(strict_img_size=False), {}):
        try:
            return timm.create_model(name, pretrained=False, num_classes=0, **option)
        except TypeError:
            if not option:
                raise
    raise AssertionError


def _checked(layer: int, count: int, name: str) -> int:
    if not -count <= layer < count:
        raise ValueError(f'{name} has the layers 0 to {count - 1}, got {layer}.')
    return layer
