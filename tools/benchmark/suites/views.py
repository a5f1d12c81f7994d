"""Images per second of the two-view pipeline, beside a plain PIL chain."""
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from mmcv.transforms import BaseTransform
from PIL import Image

from mmcontrast.apis.benchmark import Row, compare, seconds, suite
from mmcontrast.datasets import UnlabelledImages
from mmcontrast.datasets.shapes import draw_scene, scene_seed
from mmcontrast.datasets.transforms.two_views import cut
from mmcontrast.structures import View

from .pil_chain import PILChain

Stage = tuple[str, Callable[[object], object]]

_SPEC = 'PixPro spec, section 6'
_REFERENCES = {
    'read and decode': '1.02', 'crop, resize': '1.47', 'crop, resize, flip': '1.47',
    'jitter, view 1': '3.20 for both views', 'jitter, view 2': '3.20 for both views',
    'blur, view 1': '1.70', 'blur, view 2': '0.18',
    'tensor': '0.56, to float and normalised'}
_STEP_NAMES = dict(ViewColorJitter='jitter', ViewGrayscale='grey',
                   ViewGaussianBlur='blur', ViewSolarize='solarize')


@suite('views', 'Two views of an image: images per second and core')
def views(data: str = '', images: int = 100):
    """Two 224 x 224 views, PixPro's recipe: one process, one thread.

    --data    folder of pictures; by default scenes of the toy world, written as JPEGs
              of 500 x 400 pixels, quality 90
    --images  at most so many of them
    """
    folder = None
    if not data:
        folder = tempfile.TemporaryDirectory(prefix='mmcontrast-views-')
        data = folder.name
        write_toy_jpegs(Path(data), images)
    dataset = UnlabelledImages(data, pipeline=[
        dict(type='mmcontrast.LoadImage'), dict(type='mmcontrast.TwoViews'),
        dict(type='mmcontrast.PackViews')])
    paths = [dataset.get_data_info(i)['img_path']
             for i in range(min(images, len(dataset)))]
    chain = PILChain()

    def run() -> Iterator[Row]:
        # A folder by that name lives as long as this function.
        assert folder is None or Path(folder.name).is_dir()
        yield from file_rows(paths)
        yield from total_rows(dataset, chain, paths)
        yield from stage_rows('mmcontrast', pipeline_stages(dataset), paths)
        yield from stage_rows('PIL chain', chain.stages(), paths)
    return run


def total_rows(dataset: UnlabelledImages, chain: PILChain, paths: Sequence[str]
               ) -> Iterator[Row]:
    """Whole pipelines, in turns."""
    found = compare({
        'PIL chain': lambda: [chain(path) for path in seeded(paths)],
        'mmcontrast': lambda: [dataset[i] for i in seeded(range(len(paths)))],
    }, runs=1, warmup=0)
    references = {'PIL chain': f'110-119 ({_SPEC}: the reference code)'}
    for name, took in found.times.items():
        yield Row(f'{name}, total', len(paths) / took.median, 'images/s',
                  references.get(name, ''))
    yield Row('mmcontrast over PIL chain, images/s',
              1 / found.ratios['mmcontrast'].median, 'x')


def stage_rows(name: str, stages: Sequence[Stage], paths: Sequence[str]
               ) -> Iterator[Row]:
    """Each operation on all images at once, the next one on what it made."""
    items = seeded(paths)
    for stage, function in stages:
        made = []
        took = seconds(lambda work=function, made=made, items=items:
                       made.extend(map(work, items)))
        items = made
        figure = _REFERENCES.get(stage, '')
        yield Row(f'{name}: {stage}', took / len(paths) * 1e3, 'ms/image',
                  figure and f'{figure} ({_SPEC})')


def pipeline_stages(dataset: UnlabelledImages) -> list[Stage]:
    """The operations of our pipeline, as functions from item to item."""
    load, two_views, pack = dataset.pipeline.transforms
    stages = [('read and decode', lambda path: load(dict(img_path=path))),
              ('crop, resize, flip', lambda item: _cut_both(two_views, item))]
    for k, steps in enumerate(two_views.steps):
        for step in steps:
            name = _STEP_NAMES.get(type(step).__name__, type(step).__name__)
            stages.append((f'{name}, view {k + 1}',
                           lambda item, k=k, step=step: _step(item, k, step)))
    return [*stages, ('tensor', pack)]


def write_toy_jpegs(folder: Path, count: int) -> None:
    """Scenes of the toy world as photographs of 500 x 400 pixels."""
    for i in range(count):
        scene = draw_scene(scene_seed('train', i), 500)
        Image.fromarray(scene.image[50:450]).save(folder / f'{i:05}.jpg', quality=90)


def file_rows(paths: Sequence[str]) -> Iterator[Row]:
    """What was read: a pipeline is as fast as its files are small."""
    sizes = [Path(path).stat().st_size / 1e3 for path in paths]
    pixels = []
    for path in paths:
        with Image.open(path) as image:
            pixels.append(image.width * image.height / 1e6)
    yield Row('images', len(paths), 'files', f'300 ({_SPEC})')
    yield Row('mean file', sum(sizes) / len(sizes), 'kB', f'53 ({_SPEC})')
    yield Row('mean image', sum(pixels) / len(pixels), 'Mpixel', f'0.2 ({_SPEC})')


def seeded(items: Sequence) -> Sequence:
    """Start the generators anew, so that all runs draw the same."""
    random.seed(0)
    torch.manual_seed(0)
    return items


def _cut_both(two_views: BaseTransform, item: dict) -> dict:
    crops = two_views.crop_pair(two_views.crops, *item['img'].size, random)
    item['views'] = tuple(
        View(*crop.box, random.random() < two_views.flip_prob, *item['img'].size)
        for crop in crops)
    item['img'] = [
        cut(item['img'], crop, view.flipped, two_views.size, two_views.resample)
        for crop, view in zip(crops, item['views'], strict=True)]
    return item


def _step(item: dict, k: int, step: Callable) -> dict:
    item['img'][k] = step(item['img'][k], random)
    return item
