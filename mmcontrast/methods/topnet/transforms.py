"""Prepare background and object as the networks see them, and augment both together.

Transforms take what a dataset of :mod:`.datasets` provides: ``background`` (H, W, 3)
uint8 RGB, ``cutout``, a :class:`~.cutouts.CutOut`, ``positives`` and ``negatives``
(N, 4) float64 boxes (x, y, w, h) in pixels of the background, ``background_wh`` and
``object_wh``; pair files also ``object_size_wh`` and, if read from files, ``canvas``.
"""
import random
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from PIL import Image

from ...datasets.transforms.photometric import ViewColorJitter
from ...errors import UserValueError
from ...registry import TRANSFORMS
from .cutouts import CutOut, check_fits
from .sample import PlacementSample

#: ImageNet's mean color as 8-bit RGB: close to zero once it is normalized.
MEAN_COLOR = (124, 116, 104)
# Side in pixels of the largest square that an object is put on.
_LONGEST = 4096
_BLURRED = ('inpainted', 'all', 'none')
_META = ('background_wh', 'object_wh', 'background_path', 'object_path', 'mask_path',
         'background_id', 'object_id', 'object_size_wh', 'seed', 'scene_options',
         'sample_idx')


@TRANSFORMS.register_module()
class FlipPlacement(BaseTransform):
    """Mirror background, object and boxes together, with probability ``prob``."""

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise UserValueError(f'FlipPlacement: prob must be in [0, 1], got {prob}.')
        self.prob = prob

    def transform(self, results: dict) -> dict:
        return flipped(results) if random.random() < self.prob else results


def flipped(results: dict) -> dict:
    """An item mirrored left to right: a box at x of W pixels goes to W - x - w."""
    results = dict(results, cutout=results['cutout'].flipped())
    for key in ('background', 'canvas'):
        if key in results:
            results[key] = np.ascontiguousarray(results[key][:, ::-1])
    for key in ('positives', 'negatives'):
        boxes = results[key].copy()
        boxes[:, 0] = results['background_wh'][0] - boxes[:, 0] - boxes[:, 2]
        results[key] = boxes
    return results


@TRANSFORMS.register_module()
class JitterObject(BaseTransform):
    """Jitter the colors of the object; the background stays as it is.

    A network that sees the object and its old surroundings in the same light could
    learn to look for that light.

    Args:
        prob: Probability of the jitter.
        strengths: ``brightness``, ``contrast``, ``saturation`` and ``hue`` of
            :class:`~mmcontrast.datasets.transforms.ViewColorJitter`.
    """

    def __init__(self, prob: float = 0.8, **strengths: float) -> None:
        self.jitter = ViewColorJitter(prob=prob, **strengths)

    def transform(self, results: dict) -> dict:
        cutout = results['cutout']
        rgb = np.asarray(self.jitter(Image.fromarray(cutout.rgb)))
        return dict(results, cutout=CutOut(rgb, cutout.alpha, cutout.path))


@TRANSFORMS.register_module()
class PrepareTopNet(BaseTransform):
    """Prepare background and object for TopNet.

    The background is resized without regard to its aspect ratio; the object is put on
    the mean color, padded to a square and resized. Sets ``background`` (S, S, 3) and
    ``object`` (T, T, 4) uint8, colors and opacity.

    Args:
        background_size, object_size: Sides S and T in pixels.
        blur: Which backgrounds are blurred: those that the dataset marks as
            'inpainted', 'all' or 'none'. Without blur, a network finds the hole by its
            artifacts: BOOTPLACE (CVPR 2025) reports an IoU@5 of 0.281 with and 0.082
            without. Where all backgrounds of the training set are inpainted, 'all' in
            the test pipeline too: the network has seen no sharp one.
        blur_sigma: Its standard deviation in pixels of the background as given.

    Raises:
        UserValueError: If an argument is out of range.
    """

    #: Whether an object is prepared for the size of one background.
    per_background = False

    def __init__(self, background_size: int = 256, object_size: int = 224,
                 blur: str = 'inpainted', blur_sigma: float = 5.0) -> None:
        if blur not in _BLURRED:
            raise UserValueError(
                f'PrepareTopNet: blur must be one of {_BLURRED}, got {blur!r}.')
        if blur_sigma <= 0:
            raise UserValueError('PrepareTopNet: blur_sigma must be above 0, got '
                                 f"{blur_sigma}; blur='none' switches it off.")
        self.background_size, self.object_size = background_size, object_size
        self.blur, self.blur_sigma = blur, blur_sigma

    def transform(self, results: dict) -> dict:
        return dict(
            results, object=self.prepare_object(results['cutout']),
            background=self.prepare_background(
                results['background'], results.get('inpainted', False)))

    def prepare_background(self, image: np.ndarray, inpainted: bool = False
                           ) -> np.ndarray:
        """(H, W, 3) uint8 -> (S, S, 3)."""
        if self.blur == 'all' or self.blur == 'inpainted' and inpainted:
            image = cv2.GaussianBlur(image, (0, 0), self.blur_sigma)
        return resized(image, self.background_size)

    def prepare_object(self, cutout: CutOut, background_wh: Sequence[int] | None = None
                       ) -> np.ndarray:
        """(T, T, 4) uint8; the size of the background plays no role."""
        return square_object(cutout, self.object_size)

    def over_scales(self) -> 'PrepareTopNet':
        """The step that prepares an object for all sizes: this one."""
        return self


@TRANSFORMS.register_module()
class PrepareTopNetPair(BaseTransform):
    """Prepare background and object for the pair network, as the unofficial code does.

    The object is drawn at ``object_size_wh`` in the middle of a black canvas of the
    background's size; then both are resized without regard to the aspect ratio, images
    with Pillow's bilinear, the mask with its nearest filter (golden case
    ``ref_dataset_item``). Sets ``background`` (S, S, 3) and ``object`` (S, S, 4) uint8.

    Args:
        size: Side S in pixels.
    """

    def __init__(self, size: int = 256) -> None:
        self.size = size

    def transform(self, results: dict) -> dict:
        canvas = results.get('canvas')
        if canvas is None:
            canvas = object_canvas(results['cutout'], _fixed_size(results),
                                   results['background_wh'])
        return dict(results, background=resized(results['background'], self.size),
                    object=resized_canvas(canvas, self.size))

    def over_scales(self) -> BaseTransform:
        """The step that prepares an object at all sizes of a search."""
        return TRANSFORMS.build(dict(type='PrepareTopNetPairScales', size=self.size))


@TRANSFORMS.register_module()
class PackPlacement(BaseTransform):
    """Pack an item into the model's inputs and a sample.

    Returns:
        ``inputs``, a dict of ``background`` (3, h, w) and ``object`` (4, h, w) uint8
        tensors (at S scales (S, 4, h, w)), and ``data_samples``, a
        :class:`~.sample.PlacementSample`.
    """

    def transform(self, results: dict) -> dict:
        for key, channels in dict(background=3, object=4).items():
            if np.shape(results.get(key))[2:][-1:] != (channels,):
                raise UserValueError(
                    f'PackPlacement: the item has no {key} of {channels} channels. '
                    'Put PrepareTopNet or PrepareTopNetPair before it.')
        sample = PlacementSample(metainfo={
            key: results[key] for key in _META if key in results})
        sample.positives, sample.negatives = results['positives'], results['negatives']
        inputs = {key: torch.from_numpy(np.ascontiguousarray(
            np.moveaxis(results[key], -1, -3))) for key in ('background', 'object')}
        return dict(inputs=inputs, data_samples=sample)


def resized(pixels: np.ndarray, size: int, resample: int = Image.BILINEAR
            ) -> np.ndarray:
    """A square of (h, w) or (h, w, 3) uint8 pixels, the aspect ratio ignored."""
    return np.asarray(Image.fromarray(pixels).resize((size, size), resample))


def resized_canvas(canvas: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 4) uint8 colors and mask -> (size, size, 4), the mask unsmoothed."""
    return np.dstack([resized(canvas[..., :3], size),
                      resized(canvas[..., 3], size, Image.NEAREST)])


def square_object(cutout: CutOut, size: int = 224) -> np.ndarray:
    """The object on the mean color, in the middle of a square.

    Returns:
        (size, size, 4) uint8: colors, outside the object :data:`MEAN_COLOR`, and
        opacity.
    """
    side = max(cutout.size_wh)
    if side > _LONGEST:
        cutout = cutout.resized([
            max(1, round(length * _LONGEST / side)) for length in cutout.size_wh])
        side = _LONGEST
    width, height = cutout.size_wh
    corner = (side - width) // 2, (side - height) // 2
    alpha = Image.fromarray(cutout.alpha)
    colors = Image.new('RGB', (side, side), MEAN_COLOR)
    mask = Image.new('L', (side, side))
    colors.paste(Image.fromarray(cutout.rgb), corner, alpha)
    mask.paste(alpha, corner)
    return np.dstack([image.resize((size, size), Image.BILINEAR)
                      for image in (colors, mask)])


def object_canvas(cutout: CutOut, size_wh: tuple[int, int],
                  background_wh: tuple[int, int]) -> np.ndarray:
    """The object at a size in the middle of a black, transparent background.

    Source: FOPA's scale script; an odd rest is above and to the left one pixel less.

    Returns:
        (H, W, 4) uint8.

    Raises:
        UserValueError: If the object is larger than the background.
    """
    check_fits(size_wh, background_wh, cutout.path)
    width, height = (int(side) for side in background_wh)
    placed = cutout.resized(size_wh)
    left, top = (width - size_wh[0]) // 2, (height - size_wh[1]) // 2
    canvas = np.zeros((height, width, 4), np.uint8)
    canvas[top:top + size_wh[1], left:left + size_wh[0]] = placed.rgba
    return canvas


def _fixed_size(results: dict) -> tuple[int, int]:
    if 'object_size_wh' not in results:
        raise UserValueError(
            'PrepareTopNetPair needs the width and height at which the object is to be '
            "pasted, 'object_size_wh'. Datasets of pair files (OPAPairs) provide it; "
            'for other data use PrepareTopNet.')
    return tuple(int(side) for side in results['object_size_wh'])
