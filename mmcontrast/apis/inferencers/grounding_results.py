"""Decide what was found for phrases in an image, draw it and write it to files."""
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision.ops import nms

from ...io.folders import save_output_image
from ...structures import GroundedPhrase, PhrasePrediction
from ...visualization.grounding import draw_phrases, draw_proposals
from .images import ImageSource, InputImage
from .results import (
    apart,
    is_image_file,
    mask_fields,
    output_stems,
    refuse_overwriting,
    write_coco,
)


@dataclass(frozen=True)
class GroundingRule:
    """By which thresholds predictions become boxes.

    Attributes:
        score_thr: A score above is a box.
        exists_thr: A phrase whose existence is less probable is not there; None to
            decide by the scores alone.
        top_k: Largest number of boxes a phrase; None for all.
        nms_iou: Leave out boxes that overlap a better one by a higher IoU; None for
            none.
        mask_thr, mask_resize: See :meth:`PhrasePrediction.mask`.
    """

    score_thr: float
    exists_thr: float | None = None
    top_k: int | None = None
    nms_iou: float | None = None
    mask_thr: float = 0.5
    mask_resize: str = 'nearest'

    def __call__(self, phrase: str, prediction: PhrasePrediction, height: int,
                 width: int) -> GroundedPhrase:
        """What is found in an image of a size in pixels."""
        scores, order = prediction.scores.float().sort(descending=True, stable=True)
        boxes = prediction.boxes(height, width).float()[order]
        # As doubles, as the metrics compare them.
        kept = (scores.double() > self.score_thr).nonzero()[:, 0]
        if self.nms_iou is not None:
            kept = nms(boxes[kept], scores[kept], self.nms_iou)
        kept = kept[:self.top_k].cpu().numpy()
        prob = None if prediction.exists is None else float(prediction.exists)
        exists = bool(len(kept)) and not (
            None not in (prob, self.exists_thr) and prob < self.exists_thr)
        kept = kept if exists else kept[:0]
        boxes, scores = boxes.cpu().numpy(), scores.cpu().numpy()
        mask = prediction.mask(height, width, self.mask_thr, self.mask_resize
                               ).cpu().numpy() if exists else np.zeros(
                                   (height, width), bool)
        return GroundedPhrase(phrase, exists, prob, boxes[kept], scores[kept], mask,
                              boxes, scores)


@dataclass(frozen=True)
class GroundedImage:
    """What was found for phrases in one image.

    Attributes:
        name: Of the image: its file, below the folder that was named.
        image_size: (H, W) of the image in pixels.
        phrases: What was found for each phrase, in the order in which they were given.
    """

    name: str
    image_size: tuple[int, int]
    phrases: tuple[GroundedPhrase, ...]

    unit = 'boxes'

    @property
    def distinct(self) -> list[GroundedPhrase]:
        """What was found, once for a phrase that was given twice."""
        return list({each.phrase: each for each in self.phrases}.values())

    def tally(self) -> dict[str, int]:
        """Boxes of each phrase, 0 for those that are not there."""
        return {each.phrase: len(each.scores) for each in self.distinct}

    def draw(self, image: np.ndarray) -> Image.Image:
        """A panel for each phrase: boxes, mask and whether it is there.

        Args:
            image: (H, W, 3) uint8 RGB.
        """
        return draw_phrases(image, self.phrases, self.name)

    def draw_proposals(self, image: np.ndarray) -> Image.Image:
        """A row for each phrase: all proposals with their scores."""
        return draw_proposals(image, self.phrases, self.name)

    def to_coco(self, image_id: int = 1, categories: Mapping[str, int] | None = None
                ) -> list[dict]:
        """COCO annotations with scores, one a box.

        Args:
            image_id: Number of the image.
            categories: Number of each phrase; None counts them from 1 in their order.

        Returns:
            Dicts with ``image_id``, ``category_id``, ``bbox`` (x, y, width, height) in
            pixels, ``score``, ``iscrowd`` (0), ``segmentation`` (run lengths, whose
            ``counts`` are a string) and its ``area``: the part of the phrase's mask
            inside the box, as a mask has no parts of its own.
        """
        categories = categories or numbered(each.phrase for each in self.phrases)
        return [
            mask_fields(_inside(each.mask, box)) | dict(
                image_id=image_id, category_id=categories[each.phrase],
                bbox=_xywh(box), score=round(score, 5), iscrowd=0)
            for each in self.distinct for box, score in zip(
                each.boxes_xyxy.tolist(), each.scores.tolist(), strict=True)]

    def phrase_rows(self, image_id: int = 1,
                    categories: Mapping[str, int] | None = None) -> list[dict]:
        """What annotations cannot say, one dict a phrase.

        Returns:
            Dicts with ``image_id``, ``category_id``, ``exists``, ``exists_prob``,
            ``best_score`` of all proposals, and ``segmentation`` and ``area`` of the
            whole mask.
        """
        categories = categories or numbered(each.phrase for each in self.phrases)
        rows = []
        for each in self.distinct:
            mask = mask_fields(each.mask)
            prob = None if each.exists_prob is None else round(each.exists_prob, 5)
            rows.append(dict(
                image_id=image_id, category_id=categories[each.phrase],
                exists=each.exists, exists_prob=prob,
                best_score=round(float(each.proposal_scores[0]), 5),
                segmentation=mask['segmentation'], area=mask['area']))
        return rows


def numbered(phrases: Iterator[str], known: dict[str, int] | None = None
             ) -> dict[str, int]:
    """Number of each phrase, from 1; those that are not known yet are added."""
    known = {} if known is None else known
    for phrase in phrases:
        known.setdefault(phrase, len(known) + 1)
    return known


@contextmanager
def grounding_writer(out: str | Path | None, sources: Sequence[ImageSource],
                     proposals: bool, *read: Any) -> Iterator:
    """A function that writes the result of an image below a folder, or to a file.

    At the end, also of a call that fails, ``annotations.json`` holds what was found.

    Args:
        out: The folder or file; None to write nothing.
        sources: The images.
        proposals: Whether to draw the proposals, too: ``proposals/NAME.jpg``, or in
            place of what was found, where ``out`` is a file.
        read: What names files that are read, beside the images.

    Raises:
        ValueError: If a file that is read would be overwritten.
    """
    if out is None:
        yield lambda item, result: None
        return
    out, read = Path(out), ([source.image for source in sources], *read)
    if is_image_file(out, len(sources)):
        refuse_overwriting([out], *read)
        yield lambda item, result: save_output_image(
            result.draw_proposals(item.image) if proposals else result.draw(item.image),
            out)
        return
    stems = output_stems([apart(source.name, ('proposals',)) for source in sources])
    folders = ('', 'proposals/') if proposals else ('',)
    refuse_overwriting([out / 'annotations.json', *(
        out / f'{folder}{stem}.jpg' for stem in stems for folder in folders)], *read)
    coco: dict = dict(images=[], categories=[], annotations=[], phrases=[])
    categories: dict[str, int] = {}

    def write(item: InputImage, result: GroundedImage) -> None:
        numbered((each.phrase for each in result.phrases), categories)
        _add(coco, result, categories)
        for folder in folders:
            drawn = result.draw_proposals if folder else result.draw
            save_output_image(drawn(item.image), out / (
                f'{folder}{stems[item.index]}.jpg'), quality=92)
    try:
        yield write
    finally:
        if coco['images']:
            write_coco(coco, out / 'annotations.json')


def _add(coco: dict, result: GroundedImage, categories: Mapping[str, int]) -> None:
    """Add an image to a COCO file."""
    height, width = result.image_size
    image_id = len(coco['images']) + 1
    coco['images'].append(dict(id=image_id, file_name=result.name, height=height,
                               width=width))
    coco['categories'] = [dict(id=number, name=phrase)
                          for phrase, number in categories.items()]
    count = len(coco['annotations'])
    coco['annotations'] += [dict(id=count + i, **row) for i, row in enumerate(
        result.to_coco(image_id, categories), 1)]
    coco['phrases'] += result.phrase_rows(image_id, categories)


def _xywh(box: Sequence[float]) -> list[float]:
    left, top, right, bottom = box
    return [round(side, 2) for side in (left, top, right - left, bottom - top)]


def _inside(mask: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """The part of a mask whose pixel centers lie in a box."""
    left, top, right, bottom = (round(side) for side in box)
    part = np.zeros_like(mask)
    part[top:bottom, left:right] = mask[top:bottom, left:right]
    return part
