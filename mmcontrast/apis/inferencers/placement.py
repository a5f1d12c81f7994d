"""Run models that say where and how large an object belongs in an image."""
from collections.abc import Iterator, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UserValueError
from ...registry import FUNCTIONS, INFERENCERS
from ...structures.protocols import PlacesObjects
from ..loading import LoadedModel
from .images import Images, InputImage, InputImages, iterate_batches, list_images
from .model_inferencer import ModelInferencer, is_single
from .placement_inputs import BackgroundPipeline, preparing_step
from .placement_objects import (
    Objects,
    ObjectToPlace,
    read_avoid,
    read_objects,
    read_pair,
    read_region,
)
from .placement_results import ObjectPlaces, PlacedObjects, placement_writer

_RANKING = ('window', 'keep_inside', 'nms_iou')


@INFERENCERS.register_module()
class PlacementInferencer(ModelInferencer):
    """Find places for objects in backgrounds, with a model such as TopNet.

    ::

        infer = open_inferencer('CONFIG.py', 'CHECKPOINT.pth')
        result = infer('scene.jpg', objects='cup.png', out='result.png')
        result.objects[0].boxes_xywh, result.objects[0].heat

    A background is encoded once for all objects. An object is encoded once for all
    backgrounds or, where the model sees it at sizes that follow from the background
    (TopNetPair), once for all backgrounds of a width and height.

    Args:
        config, checkpoint, device, cfg_options: As of :class:`ModelInferencer`.

    Raises:
        ValueError: Also if the test pipeline of the config has no step that prepares
            backgrounds and objects.
    """

    wanted = ('name the config of a model that places objects, such as those of '
              'configs/topnet.')
    lacks = 'places no objects'
    options = ('objects', 'masks', 'k', 'at', 'size', 'scale', 'avoid', 'allow',
               'nms_iou', 'overlap', 'feather', 'blend', 'maps')

    def __init__(self, config: str | LoadedModel, checkpoint: str | None = None,
                 device: str | None = None, cfg_options: dict | None = None) -> None:
        super().__init__(config, checkpoint, device, cfg_options)
        self._step = preparing_step(self.loaded)

    @classmethod
    def serves(cls, model: nn.Module) -> bool:
        return isinstance(model, PlacesObjects)

    def __call__(self, images: Images, objects: Objects | None = None,
                 **options: Any) -> PlacedObjects | list[PlacedObjects]:
        """Place objects in backgrounds.

        Args:
            images, objects, options: As of :meth:`stream`.

        Returns:
            The result of a single image, or a list for folders and lists, without heat
            maps and without the images that could not be used: a warning counts them.

        Raises:
            FileNotFoundError, ValueError: See :meth:`stream`.
        """
        results = self.stream(images, objects, **options)
        return self.collect(
            images, results if is_single(images) else map(without_heat, results))

    def stream(self, images: Images, objects: Objects | None = None,
               masks: str | Path | Sequence | None = None,
               out: str | Path | None = None, k: int = 5,
               at: str | Sequence[float] | None = None,
               size: str | Sequence[float] | None = None, scale: float | None = None,
               avoid: Any = None, allow: Any = None, nms_iou: float | None = None,
               overlap: bool = False, feather: float = 2.0, blend: str = 'alpha',
               maps: bool = False, batch_size: int = 4, workers: int = 2,
               progress: bool = True) -> Iterator[PlacedObjects]:
        """Yield the placements of one background after another.

        Of several objects, the one with the best score is placed first, and the others
        keep out of the boxes that are taken. All lengths are pixels of the background.

        Args:
            images: Backgrounds: a file, a folder (with all below it), an (H, W, 3)
                uint8 BGR array, a ``PIL.Image``, or a list of these.
            objects: Cut-outs: RGBA files, folders of them, (h, w, 4) uint8 BGRA arrays,
                ``PIL.Image`` with alpha, or a list of these.
            masks: A mask file for each object, in their order, in place of its alpha,
                or a folder of masks with the same names; arrays may then be BGR.
            out: An image file for the composite of a single background, or a folder:
                composites ``NAME.jpg``, ``sheets/NAME.jpg`` with objects, heat maps and
                ranked boxes, and ``placements.json``. Backgrounds in folders called
                ``sheets`` or ``maps`` get ``in_sheets/NAME.jpg``.
            k: Largest number of boxes per object.
            at: (x, y), where the center of the box is to lie: only the size is sought.
            size: (w, h), which the object is to fill as far as its shape allows: only
                the position is sought.
            scale: Likewise, as a share of the background: max(w / W, h / H).
            avoid: Boxes (x, y, w, h) that the object's box must not overlap, or a mask
                of pixels that it must not cover: an (H, W) array, bool or white where
                nothing may lie, or a file.
            allow: Mask in which the center of the box must lie, likewise.
            nms_iou: Leave out boxes that overlap a better one by a higher IoU; None for
                the model's setting.
            overlap: Rank the boxes of each object as if it were alone.
            feather: Pixels over which the edge of the object fades.
            blend: 'alpha', or 'poisson' to take on the colors around the object.
            maps: Also write ``maps/NAME.jpg``, the heat map of every size, to the
                folder ``out``.
            batch_size: Maximum number of backgrounds or objects to pass at a time.
            workers: Processes that read backgrounds, where there are many.
            progress: Show a bar where there are several backgrounds.

        Raises:
            FileNotFoundError: If a file is missing or a folder holds no image.
            ValueError: If there are no objects, or one has neither alpha nor mask or
                shows nothing; if a number is out of range, or options contradict each
                other; if ``out`` would overwrite what is read; if no background
                can be used, be it that it cannot be read, that a point or region lies
                outside of it, or that no place is left.
        """
        if objects is None:
            raise UserValueError(
                f'{type(self.model).__name__} places objects: give objects, RGBA '
                'cut-outs or a folder of them (--objects cup.png), or images with '
                'masks.')
        if any(not isinstance(count, Integral) or count < 1
               for count in (k, batch_size)):
            raise UserValueError('k and batch_size must be 1 or more, whole numbers, '
                                 f'got {k!r} and {batch_size!r}.')
        self.skipped, self.notes = [], []
        sources = list_images(images)
        FUNCTIONS.get('check_blending')(blend, feather, 'blend')
        placed = read_objects(objects, masks, self.notes)
        search = FUNCTIONS.get('PlacementSearch')(
            [item.name for item in placed], overlap, at=read_pair('at', at),
            size=read_pair('size', size), scale=scale, avoid=read_avoid(avoid),
            allow=read_region(allow), **self._ranking(k, nms_iou))
        scorer = FUNCTIONS.get('PlaceScorer')(
            self.model, self._step, [item.cutout for item in placed], batch_size)
        inputs = InputImages(sources, BackgroundPipeline(self._step), bgr=False)
        with placement_writer(out, sources, len(placed) if maps else 0, objects,
                              masks, avoid, allow) as write:
            for batch in iterate_batches(inputs, batch_size, workers, progress,
                                         self.skipped):
                for item, heats in zip(batch, _heats(batch, scorer), strict=True):
                    try:
                        result = self._place(item, placed, heats, search)
                    except UserValueError as error:
                        self.skipped.append(f'{item.name}: {error}')
                        continue
                    source = sources[item.index].image
                    result = replace(
                        result, feather=feather, blend=blend,
                        path=source if isinstance(source, str) else '')
                    write(item, result)
                    yield result

    def _ranking(self, k: int, nms_iou: float | None) -> dict:
        """Options of the ranking; those of the model where a call says nothing."""
        given = {key: self.model.test_cfg[key] for key in _RANKING
                 if key in self.model.test_cfg}
        return dict(given, k=k, **{} if nms_iou is None else {'nms_iou': nms_iou})

    def _place(self, item: InputImage, placed: Sequence[ObjectToPlace], heats: Tensor,
               search: Any) -> PlacedObjects:
        background_wh = item.image.shape[1::-1]
        grid = self.model.grid.with_scales(heats.shape[1])
        found, order = search(
            heats, grid, background_wh, [source.cutout.size_wh for source in placed])
        left = [i for i in range(len(placed)) if i not in order]
        self.notes += [f'{placed[i].name}: no place is left in {item.name}.'
                       for i in left]
        objects = [ObjectPlaces(
            placed[i].name, placed[i].path, placed[i].cutout.size_wh,
            found[i].boxes_xywh.numpy(), found[i].scores.numpy(),
            (found[i].boxes_xywh[:, 2:].numpy() / background_wh).max(1, initial=0),
            found[i].cells.numpy(), heats[i].cpu(), placed[i].cutout)
            for i in (*order, *left)]
        return PlacedObjects(
            item.name, '', item.image.shape[:2], tuple(objects), grid.ratios)


def _heats(batch: Sequence[InputImage], scorer: Any) -> Iterator[Tensor]:
    """(O, S, H, W) scores of all objects, for each background of a batch."""
    encoded = scorer.encode_backgrounds([item.inputs for item in batch])
    for item, background in zip(batch, encoded, strict=True):
        yield torch.cat(list(scorer(background, item.image.shape[1::-1])))


def without_heat(result: PlacedObjects) -> PlacedObjects:
    """A result without the heat maps, which are large."""
    return replace(result, objects=tuple(
        replace(placed, heat=None) for placed in result.objects))
