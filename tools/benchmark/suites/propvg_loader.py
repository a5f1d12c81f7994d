"""Measure PropVG's data loading: masks of what is meant against masks of everything."""
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from mmdet.structures.mask import BitmapMasks
from pycocotools import mask as coco_masks
from timing.frame import Row, time_in_turns

from mmcontrast.datasets.image_files import decode_bytes
from mmcontrast.registry import DATASETS

WIDTH, HEIGHT = 640, 480


def loader_rows(files: int, objects: int, size: int, turns: int) -> Iterator[Row]:
    """Milliseconds a sample, and the ratio of the two; and whether they agree."""
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), files, objects)
        dataset, literal = build_dataset(folder, size), LiteralLoader(folder, size)
        ours, theirs = dataset[0], literal(0)
        yield Row('loader: largest difference of pixels, boxes and mask',
                  difference(ours, theirs), '')
        found = time_in_turns(
            {name: lambda load=load: [load(i) for i in range(files)] for name, load in
             dict(ours=dataset.__getitem__, literal=literal).items()}, turns)
        masks_only = time_in_turns(annotation_steps(dataset, literal, files), turns)
    for name, who in (('ours', 'ours'), ('literal', 'as written')):
        yield Row(f'loader: a sample of {objects} objects, {who}',
                  [1e3 * x / files for x in found.times[name].values], 'ms')
    yield Row('loader, as written / ours', found.ratios['literal'].values, 'x',
              target='at least 4')
    yield Row('loader without reading and resizing the image, as written / ours',
              masks_only.ratios['literal'].values, 'x')


def annotation_steps(dataset, literal: 'LiteralLoader', files: int
                     ) -> dict[str, Callable]:
    """Boxes and masks alone, of images that are in memory."""
    items = [dataset.get_data_info(i) for i in range(files)]
    load, resize = dataset.pipeline.transforms[1:3]
    image = np.zeros((1, 1, 3), np.uint8)

    def ours() -> None:
        for item in items:
            given = load(dict(item, img=np.broadcast_to(image, (HEIGHT, WIDTH, 3))))
            resize(given | dict(img=image))
    return dict(ours=ours, literal=lambda: [
        literal.annotations(i) for i in range(files)])


class LiteralLoader:
    """Section 2.3: every foreground mask is drawn at full size and resized."""

    def __init__(self, folder: str, size: int):
        self.folder, self.size = Path(folder), size
        self.records = json.loads((self.folder / 'phrases.json').read_text())['train']
        self.foreground = json.loads((self.folder / 'objects.json').read_text())

    def __call__(self, index: int) -> dict:
        record = self.records[index]
        path = self.folder / record['file_name']
        image = cv2.cvtColor(np.asarray(decode_bytes(path.read_bytes(), str(path))),
                             cv2.COLOR_RGB2BGR)
        image = cv2.resize(image, (self.size, self.size),
                           interpolation=cv2.INTER_LINEAR)
        boxes, mask, _ = self.annotations(index)
        return dict(image=np.ascontiguousarray(image.transpose(2, 0, 1)), boxes=boxes,
                    mask=mask)

    def annotations(self, index: int) -> tuple[np.ndarray, np.ndarray, BitmapMasks]:
        record = self.records[index]
        objects = self.foreground[str(record['image_id'])]
        kept = [i for i, area in enumerate(objects['area'])
                if area > 100 and 0.05 < area / (WIDTH * HEIGHT) < 0.8]
        boxes = np.array([objects['bbox'][i] for i in kept], np.float64)
        boxes[:, 2:] += boxes[:, :2]
        boxes[:, 0::2] = boxes[:, 0::2].clip(0, WIDTH - 1)
        boxes[:, 1::2] = boxes[:, 1::2].clip(0, HEIGHT - 1)
        masks = BitmapMasks([draw(objects['segmentation'][i]) for i in kept],
                            HEIGHT, WIDTH).resize((self.size, self.size))
        meant = draw(sum((a['segmentation'] for a in record['annotations']), []))
        meant = cv2.resize(meant, (self.size, self.size),
                           interpolation=cv2.INTER_NEAREST)
        scale = np.array([self.size / WIDTH, self.size / HEIGHT] * 2)
        return boxes * scale, meant, masks


def draw(polygons: list[list[float]]) -> np.ndarray:
    """(H, W) uint8 union of polygons."""
    return coco_masks.decode(coco_masks.merge(
        coco_masks.frPyObjects(polygons, HEIGHT, WIDTH)))


def build_dataset(folder: str, size: int):
    return DATASETS.build(dict(
        type='GroundingDataset', data_root=folder, ann_file='phrases.json',
        foreground='objects.json', data_prefix=dict(img_path=''), pipeline=[
            dict(type='LoadGroundingImage'), dict(type='LoadGroundingAnnotations'),
            dict(type='ResizeGrounding', scale=size), dict(type='PackGrounding')]))


def difference(ours: dict, theirs: dict) -> float:
    """Pixels in gray levels, of which decoders of JPEG may differ by a few."""
    sample = ours['data_samples']
    pairs = [(ours['inputs'].numpy(), theirs['image']),
             (sample.gt_instances.bboxes.numpy(), theirs['boxes']),
             (sample.gt_mask.numpy(), theirs['mask'])]
    return max(float(np.abs(a.astype(float) - b).max()) for a, b in pairs)


def write_files(folder: Path, files: int, objects: int) -> None:
    """Images and ellipses of 40 corners, one of which a phrase means."""
    rng = np.random.default_rng(0)
    records, foreground = [], {}
    for number in range(1, files + 1):
        shapes = [ellipse(rng) for _ in range(objects)]
        coarse = rng.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
        name = f'{number:012d}.jpg'
        cv2.imwrite(str(folder / name), cv2.resize(coarse, (WIDTH, HEIGHT)))
        ids = [100 * number + i for i in range(objects)]
        boxes = [box_of(shape) for shape in shapes]
        foreground[str(number)] = dict(
            id=ids, bbox=boxes, segmentation=[[shape] for shape in shapes],
            area=[float(draw([shape]).sum()) for shape in shapes])
        records.append(dict(
            image_id=number, width=WIDTH, height=HEIGHT, file_name=name,
            expressions=dict(raw='the ellipse'), annotations=[
                dict(id=ids[0], bbox=boxes[0], segmentation=[shapes[0]])]))
    (folder / 'phrases.json').write_text(json.dumps(dict(train=records)))
    (folder / 'objects.json').write_text(json.dumps(foreground))


def ellipse(rng: np.random.Generator) -> list[float]:
    """x1, y1, x2, ... of an ellipse that is not too small to be a proposal."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radii = rng.uniform(75, 140, 2)
    center = rng.uniform(radii, np.array([WIDTH, HEIGHT]) - radii)
    points = center + radii * np.stack([np.cos(angles), np.sin(angles)], 1)
    return points.round(2).ravel().tolist()


def box_of(polygon: list[float]) -> list[float]:
    points = np.array(polygon).reshape(-1, 2)
    return [*points.min(0), *np.ptp(points, 0)]
