"""Paste objects where a model wants them, for metrics of the composite images."""
import io
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric
from PIL import Image
from torch import Tensor

from ...datasets.image_files import open_image, read_image
from ...datasets.shapes import draw_placement
from ...errors import UserKeyError, UserValueError
from .compositing import paste
from .cutouts import CutOut, read_cutout
from .sample import boxes_tensor, sample_name

CHOICES = ('random', 'best')
# Pairs that stay decoded: the metrics of a test see the same batch one after another.
_KEPT_PAIRS = 16

#: (H, W, 3) uint8 image and (H, W) uint8 opacity of the object in it.
Composite = tuple[np.ndarray, np.ndarray]


class CompositeMetric(BaseMetric):
    """Base of the metrics that look at composite images, after GracoNet's protocol.

    Background and object of a sample are read again at their original size and the
    object is pasted into predicted boxes. Only samples with a positive count.

    A box is drawn for each pair of object and background, whatever row of it a sample
    is: items of ``OPAComposites`` for each pair (``group=True``) and for each row
    (``group=False``) give the same scores, the first with less work.

    Args:
        choice: Which boxes: 'random', drawn among the first ``among``, as for the
            published numbers of FOPA and TopNet; or 'best', in the order of the model.
        among: Boxes to draw from. The model must predict as many
            (``test_cfg=dict(k=50)``); of fewer, all take part.
        seed: Of the draw, which depends on it and on the pair alone: on the ids that
            the dataset gives, or the names of the files without their folders.
        paste_cfg: ``feather`` and ``mode`` of :func:`~.compositing.paste`.
        device: Where the network runs; default: a GPU if there is one.
        collect_device, prefix: See mmengine's ``BaseMetric``.

    Raises:
        UserValueError: If ``choice`` is unknown or ``among`` below 1.
    """

    default_prefix = 'composite'

    def __init__(self, choice: str = 'random', among: int = 50, seed: int = 0,
                 paste_cfg: dict | None = None, device: str | None = None,
                 collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        name = type(self).__name__
        if choice not in CHOICES:
            raise UserValueError(
                f'{name}: choice must be one of {CHOICES}, got {choice!r}.')
        if among < 1:
            raise UserValueError(f'{name}: among must be 1 or more, got {among}.')
        self.choice, self.among, self.seed = choice, among, seed
        self.paste_cfg = dict(paste_cfg or {})
        self.device = device or get_device()

    @torch.no_grad()
    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        counted = [sample for sample in data_samples
                   if len(_field(sample, 'positives', type(self)))]
        entries = iter(self.measured(counted) if counted else ())
        # One entry a sample: mmengine truncates the results to the number of samples.
        self.results += [next(entries) if len(sample['positives']) else None
                         for sample in data_samples]

    def measured(self, samples: Sequence[Mapping]) -> list:
        """What the metric keeps of each sample of a batch; all have a positive."""
        raise NotImplementedError

    def composites(self, sample: Mapping, num: int = 1) -> list[Composite]:
        """Composites at chosen boxes of a sample, at most ``num``."""
        boxes = boxes_tensor(_field(sample, 'boxes_xywh', type(self))).cpu()
        order = chosen(len(boxes), num, self.choice, self.among,
                       [self.seed, fingerprint(sample)])
        return self.pasted(sample, boxes[order])

    def pasted(self, sample: Mapping, boxes_xywh: Tensor) -> list[Composite]:
        """Composites of a sample at these boxes."""
        if not len(boxes_xywh):
            return []
        background, cutout = read_pair(sample)
        return [paste(background, cutout, box, **self.paste_cfg)
                for box in boxes_xywh.tolist()]


def chosen(num_boxes: int, num: int, choice: str, among: int, seed: Sequence[int]
           ) -> list[int]:
    """Which boxes to paste: ``num`` different ones, or all if there are fewer.

    Args:
        num_boxes: Number of predicted boxes, the best first.
        num: Number wanted.
        choice, among: As of :class:`CompositeMetric`.
        seed: Numbers that decide a random choice.
    """
    if choice == 'best':
        return list(range(min(num, num_boxes)))
    return np.random.default_rng(seed).permutation(
        min(num_boxes, among))[:num].tolist()


def read_pair(sample: Mapping) -> tuple[np.ndarray, CutOut]:
    """Background and object of a sample, at their original size.

    The mask of an object without an alpha channel is ``mask_path``, or the file beside
    it that OPA calls ``mask_NAME``. The object is cropped to its visible part only if
    the sample's ``object_wh`` says that its boxes belong to that.

    Returns:
        (H, W, 3) uint8 RGB and the cut-out.

    Raises:
        UserKeyError: If the sample names no files.
        BadImage: If a file is missing or damaged.
    """
    if 'seed' in sample:
        options = sample.get('scene_options', {})
        return _toy_pair(sample['seed'], tuple(
            (key, tuple(value) if isinstance(value, list) else value)
            for key, value in options.items()))
    for key in ('background_path', 'object_path'):
        if key not in sample:
            raise UserKeyError(
                f'Composites need the original images, but {sample_name(sample)} has '
                f'no {key}, only {sorted(sample)}. The dataset must provide it.')
    path = Path(sample['object_path'])
    beside = path.with_name(f'mask_{path.name}')
    # None of a dataset says that there is no mask.
    mask_path = sample.get('mask_path', beside if beside.is_file() else None)
    background, cutout = _pair_of_files(sample['background_path'], path, mask_path)
    if tuple(sample.get('object_wh', cutout.size_wh)) != cutout.size_wh:
        cutout = CutOut.from_rgba(cutout.rgba, cutout.path)
    return background, cutout


@lru_cache(_KEPT_PAIRS)
def _toy_pair(seed: int, options: tuple) -> tuple[np.ndarray, CutOut]:
    pair = draw_placement(seed, **dict(options))
    return pair.background.image, CutOut.from_rgba(pair.cutout, tight=False)


@lru_cache(_KEPT_PAIRS)
def _pair_of_files(background_path: str | Path, object_path: str | Path,
                   mask_path: str | Path | None) -> tuple[np.ndarray, CutOut]:
    """A background and the whole image of an object."""
    return (np.asarray(read_image(str(background_path))),
            read_cutout(object_path, mask_path, tight=False))


def as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """(H, W, 3) uint8 image as it comes back from a JPEG file, written by Pillow."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'JPEG', quality=quality)
    return np.asarray(open_image(file.getvalue(), 'a composite'))


def stacked(images: Sequence[np.ndarray]) -> Tensor:
    """(H, W, 3) or (H, W) uint8 images of one size -> (N, C, H, W) uint8."""
    pixels = torch.from_numpy(np.stack(images))
    return pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)


def _field(sample: Mapping, name: str, metric: type) -> Tensor:
    if name not in sample:
        raise UserKeyError(
            f'{metric.__name__}: {sample_name(sample)} has no {name}, only '
            f'{sorted(sample)}. boxes_xywh come from the model, positives from the '
            'dataset.')
    return sample[name]


def fingerprint(sample: Mapping) -> int:
    """A number that names the pair, the same in every process and for every root."""
    names = [sample.get('seed')]
    for kind in ('background', 'object'):
        name = sample.get(f'{kind}_id')
        names.append(Path(str(sample.get(f'{kind}_path'))).name if name is None
                     else name)
    return zlib.crc32(repr([str(name) for name in names]).encode())
