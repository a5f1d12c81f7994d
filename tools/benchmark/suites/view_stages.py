"""Split our two-view pipelines into their operations, for the suite ``views``."""
import random
from collections.abc import Callable

from mmcontrast.datasets import UnlabeledImages
from mmcontrast.datasets.image_files import open_image, read_bytes
from mmcontrast.datasets.transforms import FastTwoViews, TwoViews, crop_and_resize
from mmcontrast.datasets.transforms.decoding import best_shrink, decode_jpeg
from mmcontrast.datasets.transforms.resampling import crop_decoded
from mmcontrast.structures import View

Stage = tuple[str, Callable[[object], object]]

_STEP_NAMES = dict(ViewColorJitter='jitter', ViewGrayscale='gray',
                   ViewGaussianBlur='blur', ViewSolarize='solarize')


def strict_stages(dataset: UnlabeledImages) -> list[Stage]:
    """Of ``LoadImage, TwoViews, PackViews``, as functions from item to item."""
    load, two_views, pack = dataset.pipeline.transforms

    def cut_both(item: dict) -> dict:
        image = item['img']
        draw_views(two_views, item, image.size)
        item['img'] = [
            crop_and_resize(
                image, crop, view.flipped, two_views.size, two_views.resample
            )
            for crop, view in zip(item['crops'], item['views'], strict=True)
        ]
        return item

    stages = [('read and decode', lambda path: load(dict(img_path=path))),
              ('crop, resize, flip', cut_both)]
    for k, steps in enumerate(two_views.steps):
        for step in steps:
            name = _STEP_NAMES.get(type(step).__name__, type(step).__name__)
            stages.append((f'{name}, view {k + 1}',
                           lambda item, k=k, step=step: _step(item, k, step)))
    return [*stages, ('tensor', pack)]


def fast_stages(dataset: UnlabeledImages) -> list[Stage]:
    """Of ``FastTwoViews, PackViews``, on JPEGs."""
    two_views, pack = dataset.pipeline.transforms

    def read(path: str) -> dict:
        return dict(img_path=path, data=read_bytes(path))

    def draw(item: dict) -> dict:
        item['image'] = open_image(item['data'], item['img_path'])
        return draw_views(two_views, item, item['image'].size)

    def decode(item: dict) -> dict:
        image = item.pop('image')
        shrink = best_shrink(image.size, item['crops'], two_views.size)
        item['pixels'] = decode_jpeg(item['data'], image, item['img_path'], shrink)
        return item

    def cut_both(item: dict) -> dict:
        pixels = item.pop('pixels')
        item['img'] = [
            crop_decoded(pixels, crop, view.flipped, two_views.size,
                         two_views.interpolation)
            for crop, view in zip(item['crops'], item['views'], strict=True)]
        return item

    return [('read', read), ('header and crops', draw), ('decode', decode),
            ('crop, resize, flip', cut_both), ('tensor', pack)]


def draw_views(two_views: TwoViews | FastTwoViews, item: dict, size: tuple[int, int]
               ) -> dict:
    item['crops'] = two_views.crop_pair(two_views.crops, *size, random)
    item['views'] = tuple(
        View(*crop.box, random.random() < two_views.flip_prob, *size)
        for crop in item['crops'])
    return item


def _step(item: dict, k: int, step: Callable) -> dict:
    item['img'][k] = step(item['img'][k], random)
    return item
