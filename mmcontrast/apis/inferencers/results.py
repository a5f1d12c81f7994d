"""Store the result of an inferencer for one image, draw it and write it to files."""
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ...datasets.image_lists import IMAGE_SUFFIXES, list_folder
from ...errors import UserValueError
from ...io.atomic import write_text
from ...io.folders import save_output_image
from ...visualization.detections import draw_detections
from ...visualization.label_maps import draw_label_maps, label_colors

# Longest side of a drawn image in pixels; smaller ones are upsampled to be legible.
_SMALLEST, _LARGEST = 640, 800
# Lines of a legend.
_NAMED = 20


@dataclass(frozen=True)
class Segmentation:
    """The class of each pixel.

    Attributes:
        name: Of the image: its file, below the folder that was named.
        classes: The K classes, in the order of the labels.
        labels: (H, W) uint8 (uint16 beyond 256 classes) at the size of the image.
    """

    name: str
    classes: list[str]
    labels: np.ndarray

    unit = 'pixels'

    def tally(self) -> dict[str, int]:
        """Pixels of each class that is found."""
        return _tally(self.labels, self.classes)

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) of the image in pixels."""
        return self.labels.shape

    def draw(self, image: np.ndarray, colors: np.ndarray | None = None) -> Image.Image:
        """The image, the same in the colors of its classes, and a legend.

        Args:
            image: (H, W, 3) uint8 RGB.
            colors: (K, 3) uint8; colors of our own if None.
        """
        return draw_label_maps(
            [image], [self.labels], [self.name], _colors(colors, self.classes),
            _width(image), max_named=_NAMED, called=self.classes.__getitem__,
            mark=self.classes.__getitem__)

    def to_coco(self, image_id: int = 1) -> list[dict]:
        """COCO annotations, one for each class that the image shows.

        Returns:
            Dicts with ``image_id``, ``category_id`` (label + 1), ``segmentation`` (run
            lengths, ``counts`` as a string), ``bbox`` (x, y, width, height), ``area``
            in pixels and ``iscrowd`` (0).
        """
        labels = np.unique(self.labels).tolist()
        return [dict(image_id=image_id, category_id=label + 1, iscrowd=0,
                     **mask_fields(self.labels == label)) for label in labels]

    def write(self, folder: Path, stem: str) -> Path:
        """Write the labels as a PNG of one channel, ``labels/STEM.png``."""
        path = folder / 'labels' / f'{stem}.png'
        save_output_image(Image.fromarray(self.labels), path)
        return path


@dataclass(frozen=True)
class Detection:
    """Boxes, and masks where the detector has them, the best score first.

    Attributes:
        name: Of the image: its file, below the folder that was named.
        classes: The K classes, in the order of the labels.
        image_size: (H, W) of the image in pixels.
        boxes_xyxy: (N, 4) float32 in pixels of the image.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64.
        masks: (N, H, W) bool, or None.
        novel: Labels of the classes without boxes in training, which are marked where
            the detections are drawn.
    """

    name: str
    classes: list[str]
    image_size: tuple[int, int]
    boxes_xyxy: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None
    novel: tuple[int, ...] = ()

    unit = 'boxes'

    def tally(self) -> dict[str, int]:
        """Boxes of each class that is found."""
        return _tally(self.labels, self.classes)

    def draw(self, image: np.ndarray, colors: np.ndarray | None = None) -> Image.Image:
        """The image, the same with its detections, and a legend; see
        :meth:`Segmentation.draw`."""
        names = [f'{name} (novel)' if label in self.novel else name
                 for label, name in enumerate(self.classes)]
        return draw_detections(
            image, self.boxes_xyxy, self.scores, self.labels, self.masks, names,
            _colors(colors, self.classes), self.name, _width(image))

    def to_coco(self, image_id: int = 1) -> list[dict]:
        """COCO annotations with scores, one an object.

        Returns:
            Dicts with ``image_id``, ``category_id`` (label + 1), ``bbox`` (x, y, width,
            height) and ``area`` in pixels, ``score``, ``iscrowd`` (0) and, with masks,
            ``segmentation``: run lengths whose ``counts`` are a string. ``area`` is
            that of the mask, if there is one.
        """
        found = []
        for i, (box, score, label) in enumerate(zip(
                self.boxes_xyxy.tolist(), self.scores.tolist(), self.labels.tolist(),
                strict=True)):
            left, top, right, bottom = box
            sides = [round(x, 2) for x in (left, top, right - left, bottom - top)]
            row = dict(area=round(sides[2] * sides[3], 2))
            if self.masks is not None:
                row = mask_fields(self.masks[i])
            found.append(row | dict(
                image_id=image_id, category_id=label + 1, bbox=sides,
                score=round(score, 4), iscrowd=0))
        return found


def coco_dataset(results: Iterable[Segmentation | Detection]) -> dict:
    """A whole COCO file of results: ``images``, ``categories`` and ``annotations``.

    ``pycocotools.coco.COCO`` reads it, and its annotations alone go into ``loadRes``.
    Images count from 1 in the order of the results.
    """
    dataset: dict = dict(images=[], categories=[], annotations=[])
    for result in results:
        add_to_coco(dataset, result)
    return dataset


def add_to_coco(dataset: dict, result: Segmentation | Detection) -> None:
    """Add an image and what was found in it to a :func:`coco_dataset`."""
    images, annotations = dataset['images'], dataset['annotations']
    height, width = result.image_size
    images.append(dict(id=len(images) + 1, file_name=result.name, height=height,
                       width=width))
    dataset['categories'] = [dict(id=label + 1, name=name)
                             for label, name in enumerate(result.classes)]
    annotations += [dict(id=len(annotations) + i, **row)
                    for i, row in enumerate(result.to_coco(len(images)), 1)]


def write_coco(dataset: dict, path: Path) -> None:
    """Write a :func:`coco_dataset` as JSON, atomically."""
    write_text(path, json.dumps(dataset, ensure_ascii=False))


def is_image_file(out: Path, count: int) -> bool:
    """Whether an output is one image file, not a folder.

    Raises:
        ValueError: If it is, but there are several images.
    """
    if out.suffix.lower() not in IMAGE_SUFFIXES or out.is_dir():
        return False
    if count > 1:
        raise ValueError(f'out={out} is one image file, but there are {count} images; '
                         'name a folder.')
    out.parent.mkdir(parents=True, exist_ok=True)
    return True


def refuse_overwriting(files: Iterable[Path], *read: Any) -> None:
    """Check that no file to be written is one of those that are read.

    Args:
        files: To be written.
        read: Arguments that may name files to read: files, folders of images, lists of
            them; anything else is passed over.

    Raises:
        UserValueError: If one is, also by way of a link.
    """
    inputs = {_identity(path) for path in _named_files(read)} - {None}
    for file in files:
        if _identity(file) in inputs:
            raise UserValueError(
                f'out: the result {file} would overwrite a file that is read. Name '
                'another folder or file.')


def _named_files(named: Any) -> Iterator[Path]:
    if isinstance(named, list | tuple):
        for each in named:
            yield from _named_files(each)
    elif isinstance(named, str | Path):
        path = Path(named).expanduser()
        if os.path.isdir(path):
            yield from (Path(item['img_path']) for item in list_folder(str(path))[0])
        else:
            yield path


def _identity(path: Path) -> tuple[int, int] | None:
    """Of a file, whatever its name; None if there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def output_stems(names: Sequence[str]) -> list[str]:
    """File names without suffix, one an image, none twice.

    ``a/1`` for ``a/1.jpg``, but ``a/1.jpg`` where there is an ``a/1.png`` too.
    """
    stems = [str(Path(name).with_suffix('')) for name in names]
    for longer in (list(names), [f'{i}_{Path(name).name}'
                                 for i, name in enumerate(names)]):
        # Upper and lower case are one on some file systems.
        counts = Counter(stem.lower() for stem in stems)
        stems = [stem if counts[stem.lower()] == 1 else other
                 for stem, other in zip(stems, longer, strict=True)]
    return stems


def apart(name: str, folders: Sequence[str]) -> str:
    """A name that does not lie in a folder of results: ``in_sheets/x.png``."""
    return f'in_{name}' if Path(name).parts[0].lower() in folders else name


def _tally(labels: np.ndarray, classes: Sequence[str]) -> dict[str, int]:
    found, amounts = np.unique(labels, return_counts=True)
    # Two classes may have one name.
    totals = Counter()
    for label, amount in zip(found.tolist(), amounts.tolist(), strict=True):
        totals[classes[label]] += amount
    return totals


def mask_fields(mask: np.ndarray) -> dict:
    """``segmentation``, ``area`` and ``bbox`` of an (H, W) bool mask."""
    from pycocotools import mask as coco
    # Run lengths go down the columns; OpenCV's transpose is much faster than NumPy's.
    lengths = coco.encode(cv2.transpose(mask.astype(np.uint8)).T)
    # JSON has no bytes.
    text = dict(size=[int(x) for x in lengths['size']],
                counts=lengths['counts'].decode())
    return dict(segmentation=text, area=float(coco.area(lengths)),
                bbox=coco.toBbox(lengths).tolist())


def _colors(colors: np.ndarray | None, classes: Sequence[str]) -> np.ndarray:
    count = len(classes)
    return label_colors({i: i for i in range(count)}, count) if colors is None \
        else colors


def _width(image: np.ndarray) -> int:
    return min(max(*image.shape[:2], _SMALLEST), _LARGEST)
