"""Write scenes and clips in the file layouts of COCO, mmseg, gRefCOCO, DAVIS, ImageNet.

Image-text pairs as tables and shards are in ``pair_layouts``.

All layouts may share one folder. A writer takes the scenes of one split one after the
other, and writes what is known only at the end (JSON, lists of names) in ``finish``.
"""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from ...io.atomic import write_text
from .clip import Clip
from .layout_files import add_image, write_image, write_json, write_rgb
from .objects import SceneObject
from .pair_layouts import CsvWriter, ShardWriter
from .scene import Scene
from .vocabulary import CLASSES, COMBINATIONS, PALETTE, SHAPES, SKY_LABEL, STUFF

THINGS_CLASSES = ('object', *STUFF)
# Label in CLASSES -> label in THINGS_CLASSES.
THINGS_LABELS = np.array(
    [0] * len(SHAPES) + list(range(1, 1 + len(STUFF))), dtype=np.uint8)
# Every color-shape pair is a class. Those that are held out come last, so that labels
# of scenes without them fit a model that does not know them.
PAIRS = COMBINATIONS['seen'] + COMBINATIONS['held_out']
NUM_SEEN = len(COMBINATIONS['seen'])
COMBINATION_CLASSES = tuple(map(' '.join, PAIRS))
PAIR_CLASSES = (
    *COMBINATION_CLASSES[:NUM_SEEN], *STUFF, *COMBINATION_CLASSES[NUM_SEEN:])


class CocoWriter:
    """COCO detection and captions; file names are relative to ``images/SPLIT``.

    ``images/SPLIT/*.jpg``, ``annotations/instances_SPLIT.json`` (masks as RLE; color
    and texture under ``attributes``) and ``annotations/captions_SPLIT.json``.
    """

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = root, split
        self.images: list[dict] = []
        self.annotations: list[dict] = []
        self.captions: list[dict] = []

    def add(self, name: str, scene: Scene) -> None:
        image = add_image(self.root, self.split, name, scene, self.images)
        self.annotations += _instances(scene, image['id'], len(self.annotations) + 1)
        self.captions += [
            dict(id=len(self.captions) + 1 + i, image_id=image['id'], caption=text)
            for i, text in enumerate(scene.captions)]

    def finish(self) -> None:
        folder = self.root / 'annotations'
        write_json(folder / f'instances_{self.split}.json', dict(
            images=self.images, annotations=self.annotations,
            categories=_categories(SHAPES)))
        write_json(folder / f'captions_{self.split}.json', dict(
            images=self.images, annotations=self.captions))


class CombinationWriter(CocoWriter):
    """COCO detection whose 64 categories are color-shape pairs: 'red circle', ...

    ``images/SPLIT/*.jpg`` and ``annotations/combinations_SPLIT.json``. Categories 1 to
    56 are seen pairs, 57 to 64 the held-out ones, in every split. The vocabulary files
    ``combination_classes.txt``, ``base_classes.txt`` and ``novel_classes.txt`` list all
    of them, the seen and the held-out ones.
    """

    def add(self, name: str, scene: Scene) -> None:
        image = add_image(self.root, self.split, name, scene, self.images)
        self.annotations += [
            dict(instance, category_id=PAIRS.index((thing.color, thing.shape)) + 1)
            for instance, thing in zip(
                _instances(scene, image['id'], len(self.annotations) + 1),
                scene.objects, strict=True)]

    def finish(self) -> None:
        categories = [dict(id=i + 1, name=name, supercategory=shape) for i, (name, (
            _, shape)) in enumerate(zip(COMBINATION_CLASSES, PAIRS, strict=True))]
        write_json(
            self.root / 'annotations' / f'combinations_{self.split}.json',
            dict(images=self.images, annotations=self.annotations,
                 categories=categories))
        for file, names in (('combination_classes.txt', COMBINATION_CLASSES),
                            ('base_classes.txt', COMBINATION_CLASSES[:NUM_SEEN]),
                            ('novel_classes.txt', COMBINATION_CLASSES[NUM_SEEN:])):
            write_text(self.root / file, '\n'.join(names) + '\n')


class PanopticWriter:
    """COCO panoptic: ``annotations/panoptic_SPLIT.json`` and ``panoptic_SPLIT/*.png``.

    A pixel's segment id is R + 256 G + 65536 B.
    """

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = root, split
        self.images: list[dict] = []
        self.annotations: list[dict] = []

    def add(self, name: str, scene: Scene) -> None:
        image = add_image(self.root, self.split, name, scene, self.images)
        ids = scene.panoptic_map
        bgr = np.stack([ids >> 16, ids >> 8, ids], axis=-1).astype(np.uint8)
        file_name = f'{name}.png'
        folder = self.root / 'annotations' / f'panoptic_{self.split}'
        write_image(folder / file_name, bgr)
        segments = [
            dict(id=segment.id, category_id=segment.label + 1, area=segment.area,
                 bbox=list(cv2.boundingRect((ids == segment.id).astype(np.uint8))),
                 iscrowd=0) for segment in scene.segments]
        self.annotations.append(dict(
            image_id=image['id'], file_name=file_name, segments_info=segments))

    def finish(self) -> None:
        path = self.root / 'annotations' / f'panoptic_{self.split}.json'
        write_json(path, dict(images=self.images, annotations=self.annotations,
                              categories=_categories(CLASSES)))


class SegmentationWriter:
    """mmseg: ``img_dir/SPLIT/*.jpg`` and ``ann_dir/SPLIT/*.png``, labels from 0.

    ``ann_dir_things/SPLIT/*.png`` holds an easier task, without shapes: object,
    sky, ground (:data:`THINGS_CLASSES`). ``ann_dir_pairs/SPLIT/*.png`` holds a harder
    one, color and shape (:data:`PAIR_CLASSES`, also line by line in
    ``pair_classes.txt``).
    """

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = root, split

    def add(self, name: str, scene: Scene) -> None:
        write_rgb(self.root / 'img_dir' / self.split / f'{name}.jpg', scene.image)
        write_image(
            self.root / 'ann_dir' / self.split / f'{name}.png', scene.semantic_map)
        write_image(self.root / 'ann_dir_things' / self.split / f'{name}.png',
                    THINGS_LABELS[scene.semantic_map])
        write_image(
            self.root / 'ann_dir_pairs' / self.split / f'{name}.png', pair_map(scene))

    def finish(self) -> None:
        write_json(self.root / 'classes.json', dict(
            classes=CLASSES, palette=PALETTE, things_classes=THINGS_CLASSES,
            pair_classes=PAIR_CLASSES))
        # A vocabulary file, for --classes.
        write_text(self.root / 'pair_classes.txt', '\n'.join(PAIR_CLASSES) + '\n')


class ReferringWriter:
    """gRefCOCO: ``annotations/refs_SPLIT.json``.

    COCO's images, annotations and categories, and under ``refs`` one entry for
    each expression. ``ann_id`` lists the targets; without one it is [-1] and
    ``no_target`` is true.
    """

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = root, split
        self.images: list[dict] = []
        self.annotations: list[dict] = []
        self.refs: list[dict] = []

    def add(self, name: str, scene: Scene) -> None:
        image = add_image(self.root, self.split, name, scene, self.images)
        first = len(self.annotations) + 1
        self.annotations += _instances(scene, image['id'], first)
        for expression in scene.referring:
            number = len(self.refs) + 1
            sentence = dict(
                sent_id=number, raw=expression.text, sent=expression.text,
                tokens=expression.text.split())
            self.refs.append(dict(
                ref_id=number, image_id=image['id'], file_name=image['file_name'],
                split=self.split, no_target=not expression.targets,
                ann_id=[first + i for i in expression.targets] or [-1],
                category_id=[scene.objects[i].label + 1 for i in expression.targets],
                sent_ids=[number], sentences=[sentence]))

    def finish(self) -> None:
        write_json(self.root / 'annotations' / f'refs_{self.split}.json', dict(
            images=self.images, annotations=self.annotations, refs=self.refs,
            categories=_categories(SHAPES)))


class VideoWriter:
    """``JPEGImages/CLIP/*.jpg``, ``Annotations/CLIP/*.png``, ``ImageSets/SPLIT.txt``.

    A palette PNG holds object ids, 0 for none; ``meta_SPLIT.json`` lists the objects.

    Attributes:
        resolution, year: Folders above the clips and above the lists.
    """

    resolution = year = ''

    def __init__(self, root: Path, split: str) -> None:
        self.root, self.split = root, split
        self.videos: dict[str, dict] = {}

    def add(self, name: str, clip: Clip) -> None:
        name = f'{self.split}_{name}'
        for time, frame in enumerate(clip.frames):
            images, masks = (self.root / folder / self.resolution / name
                             for folder in ('JPEGImages', 'Annotations'))
            write_rgb(images / f'{time:05d}.jpg', frame.image)
            path = masks / f'{time:05d}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            ids = Image.fromarray(frame.instance_map, mode='P')
            ids.putpalette([0, 0, 0, *(tone for rgb in PALETTE for tone in rgb)])
            ids.save(path)
        self.videos[name] = dict(objects={
            str(i + 1): dict(category=thing.shape, **_attributes(thing))
            for i, thing in enumerate(clip.frames[0].objects)})

    def finish(self) -> None:
        write_text(self.root / 'ImageSets' / self.year / f'{self.split}.txt',
                   ''.join(f'{name}\n' for name in self.videos))
        write_json(self.root / f'meta_{self.split}.json', dict(videos=self.videos))


class DavisWriter(VideoWriter):
    """The same with the folders of DAVIS 2017, where its own evaluation looks:
    ``JPEGImages/480p/CLIP``, ``Annotations/480p/CLIP``, ``ImageSets/2017``."""

    resolution, year = '480p', '2017'


class ClassWriter:
    """ImageNet: ``by_shape/SPLIT/SHAPE/*.jpg``, a close-up of one object each.

    The object is the nearest one without occlusion; the window around it is one and a
    half times as wide as the object, within the image.
    """

    window = 1.5

    def __init__(self, root: Path, split: str) -> None:
        self.folder = root / 'by_shape' / split
        for shape in SHAPES:
            (self.folder / shape).mkdir(parents=True, exist_ok=True)

    def add(self, name: str, scene: Scene) -> None:
        whole = [thing for thing in scene.objects if thing.area == thing.amodal_area]
        thing = (whole or scene.objects)[-1]
        left, top, right, bottom = thing.box_xyxy
        side = min(scene.size, max(8, round(
            self.window * max(right - left, bottom - top))))
        x, y = (min(max(0, round(center - side / 2)), scene.size - side)
                for center in thing.center_xy)
        close = cv2.resize(scene.image[y:y + side, x:x + side],
                           (scene.size, scene.size), interpolation=cv2.INTER_CUBIC)
        write_rgb(self.folder / thing.shape / f'{name}.jpg', close)

    def finish(self) -> None:
        """Nothing is left to write."""


SCENE_LAYOUTS = {
    'coco': CocoWriter, 'combinations': CombinationWriter, 'panoptic': PanopticWriter,
    'mmseg': SegmentationWriter, 'refcoco': ReferringWriter, 'classes': ClassWriter,
    'csv': CsvWriter, 'shards': ShardWriter}
CLIP_LAYOUTS = {'video': VideoWriter, 'davis': DavisWriter}
LAYOUTS = (*SCENE_LAYOUTS, *CLIP_LAYOUTS)


def pair_map(scene: Scene) -> np.ndarray:
    """(S, S) uint8, indices into :data:`PAIR_CLASSES`; every pixel has a class."""
    things = [PAIR_CLASSES.index(f'{thing.color} {thing.shape}')
              for thing in scene.objects]
    stuff = scene.semantic_map - np.uint8(SKY_LABEL) + np.uint8(NUM_SEEN)
    table = np.array([0, *things], np.uint8)
    return np.where(scene.instance_map == 0, stuff, table.take(scene.instance_map))


def _instances(scene: Scene, image_id: int, first_id: int) -> list[dict]:
    codes = coco_mask.encode(
        np.asfortranarray(scene.masks.transpose(1, 2, 0), dtype=np.uint8))
    instances = []
    for i, (thing, code) in enumerate(zip(scene.objects, codes, strict=True)):
        left, top, right, bottom = thing.box_xyxy
        instances.append(dict(
            id=first_id + i, image_id=image_id, category_id=thing.label + 1,
            bbox=[left, top, right - left, bottom - top], area=thing.area, iscrowd=0,
            segmentation=dict(size=code['size'], counts=code['counts'].decode()),
            attributes=_attributes(thing)))
    return instances


def _attributes(thing: SceneObject) -> dict:
    return dict(color=thing.color, texture=thing.texture)


def _categories(names: Sequence[str]) -> list[dict]:
    """COCO's ids start at 1."""
    return [dict(id=i + 1, name=name, isthing=int(name in SHAPES), color=PALETTE[i],
                 supercategory='shape' if name in SHAPES else 'stuff')
            for i, name in enumerate(names)]
