"""Measure TopNet: one pass, many objects, many backgrounds, ranked boxes."""
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from timing.frame import Row, time_in_turns
from torch import Tensor, nn

from mmcontrast.methods.topnet.compositing import paste
from mmcontrast.methods.topnet.cutouts import CutOut
from mmcontrast.methods.topnet.decoding import decode_batch
from mmcontrast.registry import MODELS

PATCH, SCALES, BEST = 16, 16, 5


@dataclass(frozen=True)
class PlaceSizes:
    """The ViTs, the side of backgrounds, how many objects and composites, the device.
    """

    layers: int
    width: int
    size: int
    objects: int
    composites: int
    device: str

    @property
    def candidates(self) -> int:
        """Boxes of a coarse grid: all scales around every patch."""
        return SCALES * (self.size // PATCH) ** 2


@torch.no_grad()
def place_rows(sizes: PlaceSizes, turns: int) -> Iterator[Row]:
    """All measurements of the default variant."""
    model = build_model(sizes)
    generator = torch.Generator().manual_seed(0)
    backgrounds, objects = (torch.randn(
        sizes.objects, 3, side, side, generator=generator).to(sizes.device)
        for side in (sizes.size, sizes.size * 7 // 8))
    yield from composite_rows(model, sizes, backgrounds[:1], objects[:1], turns)
    yield from sharing_rows(model, sizes, backgrounds, objects, turns)
    yield from ranking_rows(model, sizes, turns)


def build_model(sizes: PlaceSizes) -> nn.Module:
    """The published model with ViTs of these sizes."""
    arch = dict(embed_dims=sizes.width, num_layers=sizes.layers,
                num_heads=max(1, sizes.width // 64),
                feedforward_channels=4 * sizes.width)
    vit = dict(type='mmpretrain.VisionTransformer', arch=arch, patch_size=PATCH)
    side = sizes.size * 7 // 8
    model = MODELS.build(dict(
        type='TopNet', image_size=(sizes.size, side),
        background_encoder=dict(vit, img_size=sizes.size, out_type='featmap'),
        object_encoder=dict(vit, img_size=side),
        fusion=dict(heads=8),
        grid=dict(size=(sizes.size,) * 2, scales=SCALES)))
    return model.to(sizes.device).eval()


def composite_rows(model: nn.Module, sizes: PlaceSizes, background: Tensor,
                   cutout: Tensor, turns: int) -> Iterator[Row]:
    """One pass against a composite at a time, through the same ViT.

    The composites are of a coarse grid, although the pass scores every pixel.
    """
    scene = np.zeros((sizes.size, sizes.size, 3), np.uint8)
    thing = CutOut.from_rgba(np.full((64, 48, 4), 200, np.uint8))
    cells = torch.stack(torch.unravel_index(torch.arange(
        0, sizes.candidates, max(1, sizes.candidates // sizes.composites)),
        (SCALES, *(sizes.size // PATCH,) * 2)), 1)[:sizes.composites]
    boxes = model.grid.boxes(cells * torch.tensor([1, PATCH, PATCH]),
                             (sizes.size,) * 2, thing.size_wh).tolist()

    def one_by_one() -> None:
        for box in boxes:
            image = torch.from_numpy(paste(scene, thing, box)[0]).permute(2, 0, 1)
            model.encode_backgrounds(image[None].to(background) / 255).mean(1)

    def one_pass() -> None:
        _heat(model, model.encode_backgrounds(background),
              model.encode_objects(cutout))
    found = time_in_turns({'pass': one_pass, 'composites': one_by_one}, turns)
    yield Row('one pass: background, object, map and ranking',
              found.times['pass'].median, 's')
    share = sizes.candidates / len(boxes)
    yield Row(f'{sizes.candidates} composites one at a time, from {len(boxes)}',
              found.times['composites'].median * share, 's')
    yield Row(f'{sizes.candidates} composites one at a time / one pass',
              [x * share for x in found.ratios['composites'].values], 'x',
              target='at least 20')


def sharing_rows(model: nn.Module, sizes: PlaceSizes, backgrounds: Tensor,
                 objects: Tensor, turns: int) -> Iterator[Row]:
    """Many objects on one background, and one object on many backgrounds."""
    count = sizes.objects
    tokens, scenes = model.encode_objects(objects), model.encode_backgrounds(
        backgrounds)

    def place(background: Tensor, things: Tensor) -> None:
        _heat(model, model.encode_backgrounds(background), things)
    found = time_in_turns({
        'one': lambda: place(backgrounds[:1], tokens[:1]),
        'kept': lambda: place(backgrounds[:1], tokens),
        'separate': lambda: [place(backgrounds[:1], own) for own in tokens.split(1)],
        'encoded': lambda: place(backgrounds[:1], model.encode_objects(objects))},
        turns)
    yield Row('one object, encoded before', found.times['one'].median, 's')
    yield Row(f'{count} objects, encoded before / one',
              found.ratios['kept'].values, 'x', target='at most 2')
    yield Row(f'{count} objects, each by itself / one',
              found.ratios['separate'].values, 'x')
    yield Row(f'{count} objects, encoded on the spot / one',
              found.ratios['encoded'].values, 'x')
    found = time_in_turns({
        'kept': lambda: _heat(model, scenes, tokens[:1]),
        'encoded': lambda: [_heat(model, model.encode_backgrounds(own),
                                  model.encode_objects(objects[:1]))
                            for own in backgrounds.split(1)]}, turns)
    yield Row(f'{count} backgrounds, nothing kept / both kept',
              found.ratios['encoded'].values, 'x')


def ranking_rows(model: nn.Module, sizes: PlaceSizes, turns: int) -> Iterator[Row]:
    """Ranked boxes of one map, without and with suppression."""
    heat = torch.rand(1, *model.grid.shape, generator=torch.Generator().manual_seed(0))
    heat = heat.to(sizes.device)
    for name, iou in (('peaks', None), ('peaks and suppression', 0.5)):
        found = time_in_turns({name: lambda iou=iou: _rank(model, heat, iou)}, turns)
        yield Row(f'ranked boxes of a map of noise, {name}',
                  found.times[name].median * 1e3, 'ms')


def _heat(model: nn.Module, backgrounds: Tensor, objects: Tensor) -> list:
    return _rank(model, model.score_places(backgrounds, objects))


def _rank(model: nn.Module, heat: Tensor, nms_iou: float | None = None) -> list:
    return decode_batch(heat, model.grid, (640, 480), (90, 120), BEST, nms_iou=nms_iou)
