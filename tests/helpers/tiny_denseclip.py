"""The smallest DenseCLIP that has every part, and batches for it."""
import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData

from mmcontrast.registry import MODELS

NAMES = ('sky', 'a red car', 'tree')
# Stride-4 map of 16 channels, ..., stride-32 map of 128.
CHANNELS = [16, 32, 64, 128]
TEXT = dict(type='CLIPTextEncoder', embed_dims=24, width=16, heads=2, layers=2)


def config(**changes) -> dict:
    """Semantic FPN; ``changes`` replace whole parts."""
    return dict(
        type='DenseCLIP', class_names=NAMES,
        backbone=dict(type='mmcontrast.CLIPResNetWithAttention', layers=(1, 1, 1, 1),
                      width=4, embed_dims=24, num_heads=2, input_size=64),
        text_encoder=dict(TEXT),
        context_decoder=dict(type='ContextDecoder', width=8, heads=2, layers=1),
        neck=dict(type='FPN', in_channels=list(CHANNELS), out_channels=8, num_outs=4),
        decode_head=dict(
            type='FPNHead', in_channels=[8] * 4, in_index=[0, 1, 2, 3],
            feature_strides=[4, 8, 16, 32], channels=8, dropout_ratio=0.,
            loss_decode=dict(type='CrossEntropyLoss')),
        train_cfg=dict(), test_cfg=dict(mode='whole')) | changes


def model(**changes):
    """Built, with random weights that make attention and prompts matter."""
    torch.manual_seed(0)
    # mmseg reads parts of it by attribute.
    built = MODELS.build(ConfigDict(config(**changes)))
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            # CLIP's start is so small that nothing would depend on the texts.
            if '.text_encoder.' in name and parameter.ndim == 2:
                parameter.normal_(std=parameter.shape[1] ** -0.5)
            if name.endswith('.gamma'):
                parameter.fill_(0.5)
            if '.context_decoder.' in name and parameter.ndim == 2:
                parameter.normal_(std=parameter.shape[1] ** -0.5)
    return built


def images(count: int = 2, size: tuple = (64, 96)) -> torch.Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


def samples(count: int = 2, size: tuple = (64, 96), num_classes: int = 3,
            ignored: float = 0.2) -> list:
    from mmseg.structures import SegDataSample
    draw = torch.Generator().manual_seed(2)
    out = []
    for _ in range(count):
        labels = torch.randint(num_classes, (1, *size), generator=draw)
        labels[torch.rand(1, *size, generator=draw) < ignored] = 255
        out.append(SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=dict(
            img_shape=size, ori_shape=size, pad_shape=size)))
    return out


class Calls:
    """Counts the calls of a module."""

    def __init__(self, module):
        self.count = 0
        module.register_forward_hook(self._add)

    def _add(self, *_):
        self.count += 1
