"""Make the placement pair of one image: background, cut-out and box."""
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ...datasets.placement_bank import unique_stem
from ...io.atomic import atomic_write
from .annotated_images import read_entry
from .cutting import Instances, Rules
from .inpainting import MAX_HOLES, Inpainter, hole_of, remove_object

#: (H, W, 3) uint8 RGB image and (H, W) bool mask of an object -> how plausible, 0 to 1.
Scorer = Callable[[np.ndarray, np.ndarray], float]

NOT_CHOSEN = 'another object of the image was taken'
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]


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
        record = dict(image_id=entry['id'], file_name=entry['file_name'], pair=None,
                      skipped=[])
        if not annotations:
            return record | dict(skipped=[(None, 'image without an object')])
        image, problem = read_entry(self.images, entry)
        if image is None:
            return record | dict(skipped=[(None, problem)])
        rng = np.random.default_rng([self.seed, _number(str(entry['id']))])
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
            elif hole_of(masks[k], self.dilate).mean() > MAX_HOLES:
                reasons[k] = 'takes more than half of the image'
            elif self.scorer and self.scorer(image, masks[k]) < self.min_score:
                reasons[k] = 'implausible by its score'
            else:
                chosen = k
        return chosen

    def _write(self, image: np.ndarray, masks: np.ndarray, chosen: int, entry: dict,
               annotation: dict, rng: np.random.Generator) -> dict:
        mask = masks[chosen]
        others = np.delete(masks, chosen, axis=0).any(0)
        background, _ = remove_object(image, mask, others, self.inpainter, rng,
                                      self.dilate, self.num_extra)
        box = cv2.boundingRect(mask.astype(np.uint8))
        stem = _stem(entry['id'])
        names = f'backgrounds/{stem}.jpg', f'objects/{stem}.png'
        write_image(self.out / names[0], background, _QUALITY)
        write_image(self.out / names[1], cut_out(image, mask, box))
        return dict(
            background=names[0], object=names[1], positives=[list(box)], negatives=[],
            inpainted=True, background_id=str(entry['id']),
            object_id=str(annotation['id']), file_name=entry['file_name'],
            category=self.wanted[annotation['category_id']])


def _stem(image_id: int | str) -> str:
    """File name of an image: COCO's for its ids; 17 and '17' are two images."""
    if isinstance(image_id, int) and image_id >= 0:
        return f'{image_id:012d}'
    return unique_stem(json.dumps(image_id))


def cut_out(image: np.ndarray, mask: np.ndarray, box_xywh: Sequence[int]
            ) -> np.ndarray:
    """(h, w, 4) RGBA of an object, black around it: readers fill that in."""
    x, y, width, height = box_xywh
    window = np.s_[y:y + height, x:x + width]
    inside = mask[window]
    return np.dstack([image[window] * inside[..., None], 255 * inside.astype(np.uint8)])


def write_image(path: Path, image: np.ndarray, options: Sequence[int] = ()) -> None:
    """Write an RGB or RGBA image atomically, in the format of its name."""
    code = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, code), list(options))[1]
    with atomic_write(path) as file:
        file.write(encoded.tobytes())


def _number(name: str) -> int:
    """A 32-bit number for an id, the same in every process."""
    digest = hashlib.sha256(name.encode(errors='surrogatepass')).digest()
    return int.from_bytes(digest[:4], 'big')
