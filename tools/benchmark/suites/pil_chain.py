"""Draw PixPro's two views with plain PIL and torchvision: a baseline for timing.

One image at a time, as the released code works: decode, crop, resize, flip, jitter,
gray, blur, solarize, float tensor.
"""
import math
import random
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageFilter, ImageOps
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import functional as tvf

from mmcontrast.datasets.image_files import open_image

Views = tuple[list[Image.Image], list[tuple]]


class PILChain:
    """Turn a path into two normalized float views and their coordinates.

    Coordinates are the published ones: relative to the whole image, pixel centers at
    both ends, entries 0 and 2 swapped by the flip.
    """

    def __init__(self) -> None:
        self.jitter = transforms.RandomApply(
            [transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8)
        self.gray = transforms.RandomGrayscale(0.2)

    def __call__(self, path: str) -> tuple[list[Tensor], list[tuple]]:
        item = path
        for _, function in self.stages():
            item = function(item)
        return item

    def stages(self) -> list[tuple[str, Callable]]:
        """Names and operations, in their order."""
        def on(k: int, transform: Callable) -> Callable:
            def apply(item: Views) -> Views:
                item[0][k] = transform(item[0][k])
                return item
            return apply

        return [
            ('read and decode', decode), ('crop, resize', crop_twice), ('flip', flip),
            ('jitter, view 1', on(0, self.jitter)), ('gray, view 1', on(0, self.gray)),
            ('blur, view 1', on(0, blur)),
            ('jitter, view 2', on(1, self.jitter)), ('gray, view 2', on(1, self.gray)),
            ('blur, view 2', on(1, lambda x: blur(x) if random.random() < 0.1 else x)),
            ('solarize, view 2', on(1, solarize)), ('tensor', to_tensors)]


def decode(path: str) -> Image.Image:
    return open_image(Path(path).read_bytes(), path).convert('RGB')


def crop_twice(image: Image.Image) -> Views:
    """Two independent random resized crops and their coordinates."""
    pairs = [_crop(image) for _ in range(2)]
    return [view for view, _ in pairs], [coord for _, coord in pairs]


def _crop(image: Image.Image) -> tuple[Image.Image, tuple]:
    top, left, height, width = draw_crop(*image.size)
    view = image.crop((left, top, left + width, top + height)).resize(
        (224, 224), Image.Resampling.BILINEAR)
    across, down = image.width - 1, image.height - 1
    return view, (left / across, top / down,
                  (left + width - 1) / across, (top + height - 1) / down)


def draw_crop(width: int, height: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a random crop."""
    for _ in range(10):
        area = random.uniform(0.08, 1) * width * height
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return random.randint(0, height - h), random.randint(0, width - w), h, w
    w, h = width, height
    if width / height < 3 / 4:
        h = round(width / (3 / 4))
    elif width / height > 4 / 3:
        w = round(height * 4 / 3)
    return (height - h) // 2, (width - w) // 2, h, w


def flip(item: Views) -> Views:
    views, coords = item
    for k in range(2):
        if random.random() < 0.5:
            views[k] = views[k].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            coords[k] = (coords[k][2], coords[k][1], coords[k][0], coords[k][3])
    return views, coords


def blur(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


def solarize(image: Image.Image) -> Image.Image:
    return ImageOps.solarize(image, 128) if random.random() < 0.2 else image


def to_tensors(item: Views) -> tuple[list[Tensor], list[tuple]]:
    views, coords = item
    return [tvf.normalize(tvf.to_tensor(view), (0.485, 0.456, 0.406),
                          (0.229, 0.224, 0.225)) for view in views], coords
