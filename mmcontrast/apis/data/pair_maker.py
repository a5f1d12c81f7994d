"""Make the placement pair of one image: background, cut-out and box."""
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ...datasets.bad_images import BadImage
from ...datasets.transforms.loading import read_image
from ...io.atomic import atomic_write
from .cutting import Instances, Rules
from .inpainting import Inpainter, dilated, remove_object

#: (H, W, 3) uint8 RGB image and (H, W) bool mask of an object -> how plausible, 0 to 1.
Scorer = Callable[[np.ndarray, np.ndarray], float]

NOT_CHOSEN = 'another object of the image was taken'
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]
# Pixels of its surroundings that a cut-out keeps, for resizing without a dark edge.
_RIM = 4


@dataclass(frozen=True)
class PairMaker:
    """Makes the pair of one image; see :func:`make_placement_pairs`."""

    images: Path
    out: Path
    wanted: dict
    rules: Rules
    inpainter: Inpainter
    dilate: float = 0.08
    num_extra: int = 3
    scorer: Scorer | None = None
    min_score: float = 0.5
    seed: int = 0

    def __call__(self, job: tuple[dict, list[dict]]) -> dict:
        """Write background and object of an image, unless nothing can be used.

        Args:
            job: COCO's entry of the image, and its annotations.

        Returns:
            ``image_id``, ``file_name``, the entry ``pair`` or None, and ``skipped``,
            pairs of an annotation id (None for the image) and a reason.
        """
        entry, annotations = job
        record = dict(image_id=str(entry['id']), file_name=entry['file_name'],
                      pair=None, skipped=[])
        if not annotations:
            return record | dict(skipped=[(None, 'image without an object')])
        try:
            image = np.asarray(read_image(str(self.images / entry['file_name'])))
        except BadImage as bad:
            return record | dict(skipped=[(None, f'image: {bad.reason.sentence}')])
        if image.shape[:2] != (entry['height'], entry['width']):
            return record | dict(skipped=[(None, 'image of another size than its '
                                           'annotations')])
        rng = np.random.default_rng([self.seed, _number(record['image_id'])])
        instances = Instances.of(annotations, image.shape[:2])
        reasons = [reason if a['category_id'] in self.wanted else 'other class'
                   for a, reason in zip(annotations, instances.reasons(self.rules),
                                        strict=True)]
        chosen = self._choose(image, instances.masks, reasons, rng)
        if chosen is not None:
            record['pair'] = self._write(image, instances.masks, chosen, entry,
                                         annotations[chosen], rng)
        record['skipped'] = [(a['id'], reason) for a, reason in zip(
            annotations, reasons, strict=True) if reason]
        return record

    def _choose(self, image: np.ndarray, masks: np.ndarray, reasons: list,
                rng: np.random.Generator) -> int | None:
        """Index of one good object; the others get their reason in ``reasons``."""
        good = [k for k, reason in enumerate(reasons) if reason is None]
        chosen = None
        for k in rng.permutation(good).tolist():
            if chosen is not None:
                reasons[k] = NOT_CHOSEN
            elif self.scorer and self.scorer(image, masks[k]) < self.min_score:
                reasons[k] = 'implausible by its score'
            else:
                chosen = k
        return chosen

    def _write(self, image: np.ndarray, masks: np.ndarray, chosen: int, entry: dict,
               annotation: dict, rng: np.random.Generator) -> dict:
        mask = masks[chosen]
        others = np.delete(masks, chosen, axis=0).any(0)
        background, holes = remove_object(image, mask, others, self.inpainter, rng,
                                          self.dilate, self.num_extra)
        box = cv2.boundingRect(mask.astype(np.uint8))
        stem = file_stem(str(entry['id']))
        names = f'backgrounds/{stem}.jpg', f'objects/{stem}.png'
        write_image(self.out / names[0], background, _QUALITY)
        write_image(self.out / names[1], cut_out(image, mask, box))
        return dict(
            background=names[0], object=names[1], positives=[list(box)], negatives=[],
            inpainted=True, background_id=str(entry['id']),
            object_id=str(annotation['id']), file_name=entry['file_name'],
            category=self.wanted[annotation['category_id']],
            num_regions=cv2.connectedComponents(holes.astype(np.uint8))[0] - 1)


def cut_out(image: np.ndarray, mask: np.ndarray, box_xywh: Sequence[int]
            ) -> np.ndarray:
    """(h, w, 4) RGBA of an object; a few pixels around it keep their color."""
    x, y, width, height = box_xywh
    window = np.s_[y:y + height, x:x + width]
    near = dilated(mask, _RIM)[window]
    return np.dstack([image[window] * near[..., None],
                      255 * mask[window].astype(np.uint8)])


def write_image(path: Path, image: np.ndarray, options: Sequence[int] = ()) -> None:
    """Write an RGB or RGBA image atomically, in the format of its name."""
    code = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, code), list(options))[1]
    with atomic_write(path) as file:
        file.write(encoded.tobytes())


def file_stem(name: str) -> str:
    """A file name for an id of any kind; different ids never share one."""
    if name.isdigit():
        return name.zfill(12)
    plain = re.sub(r'[^A-Za-z0-9_-]+', '_', name)[:60]
    return plain if plain == name else f'{plain}-{_number(name):08x}'


def _number(name: str) -> int:
    """A 32-bit number for an id, the same in every process."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], 'big')
