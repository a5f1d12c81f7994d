"""Extract features of backgrounds and object canvases with a four-channel ResNet."""
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.model.weight_init import update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS as ROOT_WEIGHT_INITIALIZERS
from torch import Tensor, nn
from torchvision.models import resnet18

from ...errors import UserKeyError
from ...io.checkpoint import count_prefixes, find_state_dict, read_checkpoint
from ...registry import WEIGHT_INITIALIZERS

# Places in the nn.Sequential of SimOPA's files -> torchvision's names.
SEQUENTIAL_NAMES = {
    'backbone.0.': 'conv1.', 'backbone.1.': 'bn1.', 'backbone.4.': 'layer1.',
    'backbone.5.': 'layer2.', 'backbone.6.': 'layer3.', 'backbone.7.': 'layer4.'}
# Weights of red, green and blue in the luma of a color.
LUMA = (0.299, 0.587, 0.114)
# A file that fills less than this is another network's.
MIN_KEYS = 100


class FourChannelResNet(BaseModule):
    """torchvision's ResNet-18 over RGB and a mask, without its classifier.

    Weights of a three-channel ResNet-18 (``init_cfg=dict(type='Pretrained',
    checkpoint='torchvision://resnet18')``) are widened when they are loaded: the mask
    is seen by the kernel 0.299 R + 0.587 G + 0.114 B.

    Attributes:
        out_channels: Channels of the five maps.
    """

    out_channels = (64, 64, 128, 256, 512)

    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        net = resnet18()
        self.conv1 = nn.Conv2d(4, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode='fan_out', nonlinearity='relu')
        self.bn1, self.relu, self.maxpool = net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2 = net.layer1, net.layer2
        self.layer3, self.layer4 = net.layer3, net.layer4

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps of strides 2, 4, 8, 16 and 32.

        Args:
            x: (B, 4, H, W); (B, 3, H, W) has a mask of zeros.
        """
        kernel = self.conv1.weight[:, :x.shape[1]]
        x = self.relu(self.bn1(F.conv2d(x, kernel, stride=2, padding=3)))
        maps = [x]
        x = self.maxpool(x)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            maps.append(x)
        return maps

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs) -> None:
        key = f'{prefix}conv1.weight'
        kernel = state_dict.get(key)
        if kernel is not None and kernel.ndim == 4 and kernel.shape[1] == 3:
            state_dict[key] = with_mask_channel(kernel)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def with_mask_channel(kernel: Tensor) -> Tensor:
    """(C, 3, h, w) kernel over RGB -> (C, 4, h, w); the fourth is its luma."""
    luma = kernel.new_tensor(LUMA)
    mask = torch.einsum('cihw,i->chw', kernel, luma)
    return torch.cat([kernel, mask[:, None]], 1)


def torchvision_key(key: str) -> str:
    """The name that torchvision gives a key of a SimOPA file; others stay."""
    for theirs, ours in SEQUENTIAL_NAMES.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return key


# In mmengine's root too, as CLIPPretrained.
@ROOT_WEIGHT_INITIALIZERS.register_module()
@WEIGHT_INITIALIZERS.register_module()
class SOPAPretrained:
    """Weight initializer that loads the trunk of a plausibility classifier.

    ``init_cfg=dict(type='SOPAPretrained', checkpoint='data/SOPA.pth.tar')`` of a trunk.
    Keys are torchvision's, as in FOPA's ``SOPA.pth.tar``, or those of SimOPA
    (``backbone.0.weight``). Files are read as data only.

    Args:
        checkpoint: Path of the file.
    """

    def __init__(self, checkpoint: str | Path) -> None:
        self.checkpoint = checkpoint

    def __call__(self, module: nn.Module) -> None:
        """Load the weights.

        Raises:
            FileNotFoundError: If there is no such file.
            KeyError: If it fills fewer than 100 of the trunk's 120 weights; the
                released code would then train from scratch without a word.
        """
        state = find_state_dict(read_checkpoint(self.checkpoint), self.checkpoint)
        state = {torchvision_key(key): value for key, value in state.items()}
        own = module.state_dict()
        fitting = {key: value for key, value in state.items()
                   if key in own and own[key].shape == value.shape}
        if len(fitting) < MIN_KEYS:
            raise UserKeyError(
                f'{self.checkpoint}: {len(fitting)} keys fit the {len(own)} weights of '
                f'{type(module).__name__}, expected at least {MIN_KEYS}. It holds '
                f'{count_prefixes(state)}. Give SOPA.pth.tar of FOPA (conv1.*, bn1.*, '
                'layer1.* to layer4.*) or a SimOPA checkpoint (backbone.0.*, ...).')
        module.load_state_dict(fitting, strict=False)
        print_log(f'{type(module).__name__}: {len(fitting)} of {len(own)} weights from '
                  f'{self.checkpoint}.', 'current')
        if hasattr(module, '_params_init_info'):
            update_init_info(module, f'SOPAPretrained: {self.checkpoint}')
