"""Measure DITO's detector: windows, crops, vocabularies, steps and images a second."""
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.structures import InstanceData
from timing.frame import Row, time_in_turns
from torch import Tensor, nn
from torchvision.ops import roi_align

from mmcontrast.registry import MODELS

NAMES = 80, 1200


@dataclass(frozen=True)
class DetectorSizes:
    """The ViT, the side of the images in pixels, regions of an image, the device."""

    layers: int
    width: int
    size: int
    proposals: int
    device: str

    @property
    def heads(self) -> int:
        return max(1, self.width // 64)


def detector_rows(sizes: DetectorSizes, turns: int) -> Iterator[Row]:
    """All measurements of the detector."""
    detector = build_detector(sizes)
    image = torch.rand(1, 3, sizes.size, sizes.size, device=sizes.device)
    yield from window_rows(sizes, image, turns)
    yield from crop_rows(sizes, turns)
    yield from vocabulary_rows(detector, image, turns)
    yield from speed_rows(detector, image, turns)


def build_detector(sizes: DetectorSizes) -> nn.Module:
    """The published detector with a ViT of these sizes and a small text tower."""
    model = Config.fromfile('configs/_base_/models/dito_vit-b16.py').model
    windows, tokens = (4, 4, None), sizes.size // 16
    model.backbone.update(
        layers=sizes.layers, width=sizes.width, heads=sizes.heads, shift=tokens // 8,
        windows=(windows * sizes.layers)[:sizes.layers])
    model.neck.in_channels = model.roi_head.bbox_head.embed_dims = sizes.width
    for part in (model.test_cfg.rpn, model.train_cfg.rpn_proposal):
        part.max_per_img = sizes.proposals
    model.train_cfg.rcnn = dict(num_samples=min(512, sizes.proposals))
    model.vlm = dict(windows=(4,) * (sizes.layers - 1) + (None,))
    model.text_encoder = dict(type='CLIPTextEncoder', embed_dims=sizes.width, width=64,
                              heads=1, layers=1)
    detector = MODELS.build(dict(model, class_names=_names(NAMES[0]), templates='name'))
    return detector.to(sizes.device)


@torch.no_grad()
def window_rows(sizes: DetectorSizes, image: Tensor, turns: int) -> Iterator[Row]:
    """The ViT with global attention, with windows, and with a shifted pass."""
    def vit(**options) -> nn.Module:
        return MODELS.build(dict(
            type='PlainViT', layers=sizes.layers, width=sizes.width, heads=sizes.heads,
            patch_size=16, **options)).to(sizes.device).eval()
    windows = ((4, 4, None) * sizes.layers)[:sizes.layers]
    networks = {'global attention': vit(), 'windows': vit(windows=windows),
                'windows that do not divide the map': vit(
                    windows=tuple(count and 5 for count in windows)),
                'windows and a shifted pass': vit(
                    windows=windows, shift=sizes.size // 128)}
    found = time_in_turns({name: lambda network=network: network(image)
                           for name, network in networks.items()}, turns)
    for name, times in found.times.items():
        yield Row(f'ViT, {name}', times.median, 's')
    for name in list(networks)[1:]:
        yield Row(f'ViT, {name} / global attention', found.ratios[name].median, 'x')


@torch.no_grad()
def crop_rows(sizes: DetectorSizes, turns: int, count: int = 512) -> Iterator[Row]:
    """Crops of all levels in one call, and a RoIAlign for each level."""
    strides, generator = (4, 8, 16, 32), torch.Generator().manual_seed(0)
    maps = [torch.randn(1, 256, sizes.size // s, sizes.size // s, generator=generator)
            .to(sizes.device, memory_format=torch.channels_last) for s in strides]
    corners = torch.rand(count, 2, 2, generator=generator) * sizes.size
    boxes = torch.cat([corners.amin(1), corners.amax(1) + 1], 1).clamp(max=sizes.size)
    rois = torch.cat([torch.zeros(count, 1), boxes], 1).to(sizes.device)
    crop = MODELS.build(dict(type='PyramidRoICrop', output_size=7))
    levels = crop.map_levels(rois)

    def each_level() -> None:
        for level, (x, stride) in enumerate(zip(maps, strides, strict=True)):
            roi_align(x, rois[levels == level], 7, 1 / stride, 1, True)
    found = time_in_turns(dict(loop=each_level, ours=lambda: crop(maps, rois)), turns)
    yield Row(f'{count} crops, all levels at once', found.times['ours'].median * 1e3,
              'ms')
    yield Row(f'{count} crops, all levels at once / RoIAlign for each level',
              found.ratios['ours'].median, 'x')


@torch.no_grad()
def vocabulary_rows(detector: nn.Module, image: Tensor, turns: int) -> Iterator[Row]:
    """A forward pass and what a vocabulary of 1200 names adds to one of 80."""
    detector.eval()
    forward = time_in_turns(dict(whole=_predict(detector, image)), turns)
    whole = forward.times['whole'].median
    yield Row(f'image with {NAMES[0]} names', whole, 's')
    # What follows the features alone: the difference is a share of the whole that
    # the spread of the whole would hide.
    x, sample = detector.extract_feat(image), _sample(image)
    proposals = detector.rpn_head.predict(x, [sample])
    vlm_map = detector.vlm_map(image)

    def heads(count: int):
        detector.set_classes(_names(count))
        text, base = detector.text_embeds(), detector._is_base
        return lambda: detector.roi_head.predict(
            x, proposals, [sample], text=text, vlm_map=vlm_map, base=base)
    found = time_in_turns({count: heads(count) for count in NAMES}, turns)
    added = found.times[NAMES[1]].median - found.times[NAMES[0]].median
    detector.set_classes(None)
    yield Row(f'added by {NAMES[1]} names', 100 * added / whole, '% of the image',
              target='at most 2')


def speed_rows(detector: nn.Module, image: Tensor, turns: int) -> Iterator[Row]:
    """Images a second in inference and in training steps of one image."""
    detector.eval()
    with torch.no_grad():
        tested = time_in_turns(dict(test=_predict(detector, image)), turns)
    yield Row('inference', 1 / tested.times['test'].median, 'images/s')
    detector.train()
    side = image.shape[-1]
    truth = InstanceData(
        bboxes=image.new_tensor([[0, 0, side / 2, side / 2], [5, 9, 90, 80]]),
        labels=torch.tensor([0, 1], device=image.device),
        masks=torch.ones(2, side, side, dtype=torch.uint8, device=image.device))

    def step() -> None:
        losses = detector.loss(image, [_sample(image, gt_instances=truth)])
        sum(losses.values()).backward()
        detector.zero_grad(set_to_none=True)
    trained = time_in_turns(dict(train=step), turns)
    yield Row('training step, forward and backward',
              1 / trained.times['train'].median, 'images/s')


def _predict(detector: nn.Module, image: Tensor):
    return lambda: detector.predict(image, [_sample(image)])


def _sample(image: Tensor, **fields):
    from mmdet.structures import DetDataSample
    shape = tuple(image.shape[-2:])
    found = DetDataSample(metainfo=dict(
        img_shape=shape, ori_shape=shape, batch_input_shape=shape,
        scale_factor=(1.0, 1.0)))
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def _names(count: int) -> list[str]:
    return [f'class number {i}' for i in range(count)]
