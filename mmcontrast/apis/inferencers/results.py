"""What an inferencer answers for one image, and its files."""
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Segmentation:
    """Which class text fits each pixel best.

    Attributes:
        name: Of the image: its file, below the folder that was asked about.
        classes: The class texts, in the order of the labels.
        labels: (H, W) uint8 (uint16 beyond 256 classes) at the size of the image.
    """

    name: str
    classes: list[str]
    labels: np.ndarray

    def write(self, folder: Path, stem: str) -> Path:
        """Write the labels as a PNG of one channel, ``labels/STEM.png``."""
        path = _made(folder / 'labels' / f'{stem}.png')
        Image.fromarray(self.labels).save(path)
        return path


@dataclass(frozen=True)
class Detection:
    """Boxes with the class text of each, the best score first.

    Attributes:
        name: Of the image: its file, below the folder that was asked about.
        classes: The class texts, in the order of the labels.
        boxes_xyxy: (N, 4) float32 in pixels of the image.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64.
        masks: (N, H, W) bool, of a detector with masks; else None.
    """

    name: str
    classes: list[str]
    boxes_xyxy: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None

    def write(self, folder: Path, stem: str) -> Path:
        """Write everything but the picture to ``boxes/STEM.json``.

        Masks are written as COCO's run lengths.
        """
        rows = [dict(text=self.classes[label], label=label, score=round(score, 4),
                     box_xyxy=[round(edge, 2) for edge in box])
                for box, score, label in zip(
                    self.boxes_xyxy.tolist(), self.scores.tolist(),
                    self.labels.tolist(), strict=True)]
        for row, mask in zip(rows, _run_lengths(self.masks), strict=False):
            row['mask'] = mask
        path = _made(folder / 'boxes' / f'{stem}.json')
        path.write_text(json.dumps(
            dict(image=self.name, classes=self.classes, boxes=rows),
            ensure_ascii=False), encoding='utf-8')
        return path


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


def _run_lengths(masks: np.ndarray | None) -> list[dict]:
    if masks is None:
        return []
    from pycocotools.mask import encode
    encoded = encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
    return [dict(size=rle['size'], counts=rle['counts'].decode()) for rle in encoded]


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
