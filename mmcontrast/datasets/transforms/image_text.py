"""Make image-text pairs: crop a region and choose one of its texts."""
import random
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement
from PIL import Image

from ...registry import TRANSFORMS
from ..gray_levels import to_rgb
from .packing import image_to_tensor


@TRANSFORMS.register_module()
class CropRegion(BaseTransform):
    """Crop one of the image's regions and choose one of its texts.

    ``regions`` is a mapping from a kind to a list of things with a ``box_xyxy`` and
    ``texts``. ``img``, (H, W, 3) uint8, becomes the crop, ``text`` the text; the
    regions are removed.

    Args:
        size: Side of the crop in pixels.
        kinds: Weight of each kind; kinds without a region in the image are left out.
        margin: Range of the side of the square crop, as a multiple of the region's
            longer side. No crop is larger than the image.
        centered: Center the crop on the region, within the image; otherwise place it
            randomly around it.
        centred: Former spelling of ``centered``, for configs of earlier versions.
    """

    def __init__(self, size: int, kinds: Mapping[str, float],
                 margin: tuple[float, float] = (1.05, 1.8), centered: bool = False,
                 centred: bool | None = None) -> None:
        if size < 1:
            raise ValueError(f'size must be 1 pixel or more, got {size}.')
        if not kinds or min(kinds.values()) <= 0:
            raise ValueError('kinds must give every kind a share above 0, got '
                             f'{dict(kinds)}.')
        if not 0 < margin[0] <= margin[1]:
            raise ValueError(f'margin must be 0 < low <= high, got {margin}.')
        self.size, self.kinds = size, dict(kinds)
        self.margin = tuple(margin)
        self.centered = centered if centred is None else centred

    def transform(self, results: dict, rng: random.Random = random) -> dict:
        region = self._choose(results, rng)
        image = results['img']
        left, top, side = self._square(region.box_xyxy, image.shape, rng)
        crop = image[top:top + side, left:left + side]
        filter = cv2.INTER_AREA if side > self.size else cv2.INTER_LINEAR
        results['img'] = cv2.resize(
            crop, (self.size, self.size), interpolation=filter)
        results['img_shape'] = (self.size, self.size)
        results['text'] = rng.choice(region.texts)
        return results

    def _choose(self, results: dict, rng: random.Random):
        regions = results.pop('regions')
        present = [kind for kind in self.kinds if regions.get(kind)]
        if not present:
            found = sorted(kind for kind, those in regions.items() if those)
            raise ValueError(
                f'{results.get("img_path", "An image")} has regions of {found}, but '
                f'kinds asks for {sorted(self.kinds)}.')
        kind, = rng.choices(present, [self.kinds[kind] for kind in present])
        return rng.choice(regions[kind])

    def _square(self, box: Sequence[int], shape: Sequence[int], rng: random.Random
                ) -> tuple[int, int, int]:
        """Left, top and side of the crop, in whole pixels."""
        left, top, right, bottom = box
        longest = max(right - left, bottom - top)
        side = min(max(round(longest * rng.uniform(*self.margin)), 1), *shape[:2])
        return (self._start(left, right, side, shape[1], rng),
                self._start(top, bottom, side, shape[0], rng), side)

    def _start(self, low: int, high: int, side: int, end: int, rng: random.Random
               ) -> int:
        """Where the crop starts on one axis."""
        if self.centered:
            start = round((low + high - side) / 2)
        else:
            start = rng.randint(*sorted((high - side, low)))
        return min(max(start, 0), end - side)


@TRANSFORMS.register_module()
class PackImageText(BaseTransform):
    """Pack an image-text pair for the model: ``dict(inputs, data_samples)``.

    ``inputs`` is the (3, H, W) uint8 RGB image, from a PIL.Image or an (H, W, 3) array.
    The sample holds those of ``keys`` that exist: ``text``, and ``questions`` (see
    :class:`~mmcontrast.methods.clip.MultipleChoiceAccuracy`).

    Args:
        keys: Result keys that become fields of the sample.
        meta_keys: Result keys that become its meta information.

    Raises:
        KeyError: If captions were read but none was chosen.
    """

    def __init__(self, keys: Sequence[str] = ('text', 'questions'),
                 meta_keys: Sequence[str] = ('img_path', 'sample_idx')) -> None:
        self.keys, self.meta_keys = tuple(keys), tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        if 'texts' in results and not {'text', 'texts'} & results.keys() & {*self.keys}:
            raise KeyError(
                f"{results.get('img_path', 'A sample')} has {len(results['texts'])} "
                "'texts' and no 'text': put dict(type='ChooseText') before "
                'PackImageText.')
        sample = BaseDataElement(
            metainfo={k: results[k] for k in self.meta_keys if k in results},
            **{k: results[k] for k in self.keys if k in results})
        image = results['img']
        image = to_rgb(image) if isinstance(image, Image.Image) else np.asarray(image)
        return dict(inputs=image_to_tensor(image), data_samples=sample)
