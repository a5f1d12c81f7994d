"""Time the two-view pipelines against a plain PIL chain, in images per second."""
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from mmengine.dataset import default_collate
from PIL import Image
from timing.frame import Row, seconds, suite, time_in_turns

from mmcontrast.datasets import UnlabeledImages
from mmcontrast.datasets.image_files import open_image
from mmcontrast.datasets.shapes import draw_scene, scene_seed
from mmcontrast.datasets.transforms import decoding
from mmcontrast.models import TwoViewPreprocessor

from .pil_chain import PILChain
from .view_stages import Stage, fast_stages, strict_stages

_RELEASED = 'the released PixPro code'
_REFERENCES = {
    'read and decode': '1.02', 'crop, resize': '1.47', 'crop, resize, flip': '1.47',
    'jitter, view 1': '3.20 for both views', 'jitter, view 2': '3.20 for both views',
    'blur, view 1': '1.70', 'blur, view 2': '0.18',
    'tensor': '0.56, to float and normalized'}
_TARGETS = {'loader side': 4, 'whole chain': 2, 'strict mode': 1}


@suite('views', 'Two views of an image: images per second and core')
def views(data: str = '', images: int = 100, batch: int = 32):
    """Two 224 x 224 views, PixPro's recipe: one process, one thread.

    PIL chain    decode, crop, colors and normalizing, one image at a time
    strict mode  our per-image pipeline, uint8 stacked to batches
    loader side  what data loading workers do by default: decode, crop, stack uint8
    whole chain  loader side, then colors and normalizing per batch, here on the CPU
                 as well

    --data    folder of images; by default scenes of the toy world, written as JPEGs
              of 500 x 400 pixels, quality 90
    --images  maximum number of images
    --batch   batch size
    """
    folder = None
    if not data:
        folder = tempfile.TemporaryDirectory(prefix='mmcontrast-views-')
        data = folder.name
        write_toy_jpegs(Path(data), images)
    bench = Bench(data, images, batch)

    def run() -> Iterator[Row]:
        # A folder by that name lives as long as this function.
        assert folder is None or Path(folder.name).is_dir()
        yield from file_rows(bench.paths)
        yield from bench.total_rows()
        yield from stage_rows('PIL chain', bench.chain.stages(), bench.paths)
        yield from stage_rows('strict mode', strict_stages(bench.strict), bench.paths)
        yield from stage_rows('loader side', fast_stages(bench.fast), bench.paths)
        yield from bench.batch_rows()
    return run


class Bench:
    """The pipelines on the same files."""

    def __init__(self, data: str, images: int, batch: int) -> None:
        self.strict, self.fast = (
            UnlabeledImages(data, pipeline=[dict(type=f'mmcontrast.{name}')
                                            for name in (*steps, 'PackViews')])
            for steps in (('LoadImage', 'TwoViews'), ('FastTwoViews', )))
        self.chain = PILChain()
        self.preprocessor = TwoViewPreprocessor(photometric='BYOL')
        indices = range(min(images, len(self.fast)))
        self.paths = [self.fast.get_data_info(i)['img_path'] for i in indices]
        self.batches = [indices[k:k + batch] for k in range(0, len(indices), batch)]

    def total_rows(self) -> Iterator[Row]:
        """Complete pipelines, in turns."""
        found = time_in_turns({
            'PIL chain': lambda: [self.chain(path) and None
                                  for path in seeded(self.paths)],
            'strict mode': lambda: self.through(self.strict),
            'loader side': lambda: self.through(self.fast),
            'whole chain': lambda: self.through(self.fast, self.preprocess),
        }, runs=1, warmup=0)
        references = {'PIL chain': f'110-119 ({_RELEASED})'}
        for name, took in found.times.items():
            yield Row(name, len(self.paths) / took.median, 'images/s',
                      references.get(name, ''))
        for name, target in _TARGETS.items():
            yield Row(f'{name} over PIL chain, images/s', 1 / found.ratios[name].median,
                      'x', target=f'at least {target}')
        yield Row('JPEGs decoded by simplejpeg, not Pillow',
                  float(decoding.simplejpeg is not None), 'yes = 1')

    def batch_rows(self) -> Iterator[Row]:
        """Operations on a batch."""
        samples = [[self.fast[i] for i in batch] for batch in seeded(self.batches)]
        batches = []
        took = seconds(lambda: batches.extend(map(default_collate, samples)))
        yield self.per_image('loader side: stack a batch', took)
        took = seconds(lambda: [self.preprocess(batch) for batch in batches])
        yield self.per_image('whole chain: colors and normalizing', took)
        plain = TwoViewPreprocessor()
        took = seconds(lambda: [plain(batch) and None for batch in batches])
        yield self.per_image('whole chain: normalizing alone', took)

    def through(self, dataset: UnlabeledImages, then=lambda batch: None) -> None:
        for batch in seeded(self.batches):
            then(default_collate([dataset[i] for i in batch]))

    def preprocess(self, batch: dict) -> None:
        self.preprocessor(batch, training=True)

    def per_image(self, name: str, took: float) -> Row:
        return Row(name, took / len(self.paths) * 1e3, 'ms/image')


def stage_rows(name: str, stages: Sequence[Stage], paths: Sequence[str]
               ) -> Iterator[Row]:
    """Each operation on all images, applied to the output of the previous one."""
    items = seeded(paths)
    for stage, function in stages:
        made = []
        took = seconds(lambda work=function, made=made, items=items:
                       made.extend(map(work, items)))
        items = made
        figure = _REFERENCES.get(stage, '')
        yield Row(f'{name}: {stage}', took / len(paths) * 1e3, 'ms/image',
                  figure and f'{figure} ({_RELEASED})')


def write_toy_jpegs(folder: Path, count: int) -> None:
    """Write scenes of the toy world as JPEGs of 500 x 400 pixels."""
    for i in range(count):
        scene = draw_scene(scene_seed('train', i), 500)
        Image.fromarray(scene.image[50:450]).save(folder / f'{i:05}.jpg', quality=90)


def file_rows(paths: Sequence[str]) -> Iterator[Row]:
    """The size of the files, which determines the speed of a pipeline."""
    sizes = [Path(path).stat().st_size / 1e3 for path in paths]
    pixels = []
    for path in paths:
        image = open_image(Path(path).read_bytes(), path)
        pixels.append(image.width * image.height / 1e6)
    yield Row('images', len(paths), 'files', f'300 ({_RELEASED})')
    yield Row('mean file', sum(sizes) / len(sizes), 'kB', f'53 ({_RELEASED})')
    yield Row('mean image', sum(pixels) / len(pixels), 'Mpixel', f'0.2 ({_RELEASED})')


def seeded(items: Sequence) -> Sequence:
    """Seed the generators, so that all runs draw the same."""
    random.seed(0)
    torch.manual_seed(0)
    return items
