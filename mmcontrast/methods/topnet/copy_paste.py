"""Paste objects into training images at places that a trained TopNet predicts."""
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
from mmcv.transforms import BaseTransform

from ...datasets.placement_bank import ImagePlaces, ObjectPlaces, PlacementBank
from ...errors import UserKeyError, UserValueError, did_you_mean
from ...models.text.vocabulary import class_list
from ...registry import TRANSFORMS
from .compositing import check_blending, paste
from .cutouts import read_cutout
from .pasted_labels import OcclusionRule, add_labels, boxes_xyxy

_CHOICES = dict(placement=('placed', 'random'), choice=('sampled', 'ranked'),
                channel_order=('bgr', 'rgb'))
# Opacity from which on a pixel belongs to the object.
_SOLID = 128


@TRANSFORMS.register_module()
class PlacedCopyPaste(BaseTransform):
    """Paste objects of a placement bank into an image, and label them.

    For pipelines of mmdet and mmseg, right after ``LoadAnnotations``: places are in
    pixels of the image file. There is no network in here; the bank holds what one
    found, see :mod:`mmcontrast.datasets.placement_bank`. Beside mmdet's ``CopyPaste``,
    which keeps an object where it was in its own image, no second image is read, and
    datasets with boxes or label maps only work as well.

    Results: ``img``; ``gt_bboxes``, ``gt_bboxes_labels``, ``gt_ignore_flags`` and
    ``gt_masks``, also of what is now partly hidden, see
    :func:`~.pasted_labels.add_labels`; ``gt_seg_map``. For every image, one number is
    drawn from NumPy's generator, whatever happens: runs that differ in ``placement``
    alone see the same objects, and the same random choices in all other transforms.

    Args:
        bank: Folder of ``tools/data/place_objects.py``.
        classes: Those of the dataset, in the order of its labels: a list, a text file
            with one class per line, or the name of a dataset, such as 'mmdet.coco' or
            'ade'. The bank's must be among them.
        num_objects: Number of objects, or (least, most); fewer if they do not fit.
        prob: Probability that anything is pasted into an image.
        placement: 'placed' as the bank says; 'random', for comparison: the same objects
            in the sizes of the bank, anywhere within the image.
        choice: Which of the places of an object comes first: 'sampled' with a
            probability that is proportional to its score, or 'ranked', the best. It is
            the first in this order that ``max_overlap`` allows; if that allows none of
            those in the bank, the object is left out.
        min_score: Smallest score of a place, as a share of the best one of the object:
            low-ranked places, though each is unlikely, are many.
        mode, feather: How to blend, see :func:`~.compositing.paste`.
        max_overlap: Largest intersection of the box with another one, labeled or
            pasted, as a share of the smaller of the two; 1 allows everything.
        bbox_occluded_thr, mask_occluded_thr: Pixels by which edges may move, and that
            must be left, of an object that is partly hidden: it stays if one of the two
            holds. As in mmdet's ``CopyPaste``.
        channel_order: Of ``img``: 'bgr' as mmcv's ``LoadImageFromFile`` reads it.

    Raises:
        FileNotFoundError: If there is no bank, or an unfinished one.
        UserKeyError: If a class of the bank is not in ``classes``; later, if an image
            is not in the bank.
        UserValueError: If an argument is out of range; later, if the image is of
            another size than the one in the bank or no color image, or if there are no
            labels yet.
    """

    def __init__(self, bank: str, classes: str | Sequence[str],
                 num_objects: int | tuple[int, int] = (1, 3), prob: float = 0.5,
                 placement: str = 'placed', choice: str = 'sampled',
                 min_score: float = 0.9,
                 mode: str = 'alpha', feather: float = 1.0, max_overlap: float = 0.3,
                 bbox_occluded_thr: float = 10, mask_occluded_thr: float = 300,
                 channel_order: str = 'bgr') -> None:
        self.num_objects = (
            tuple(num_objects) if isinstance(num_objects, list | tuple)
            else (num_objects, num_objects))
        _check(self.num_objects, dict(prob=prob, max_overlap=max_overlap,
                                      min_score=min_score),
               placement=placement, choice=choice, channel_order=channel_order)
        check_blending(mode, feather)
        self.prob, self.placement, self.choice = prob, placement, choice
        self.mode, self.feather = mode, feather
        self.max_overlap, self.min_score = max_overlap, min_score
        self.channel_order = channel_order
        self.rule = OcclusionRule(bbox_occluded_thr, mask_occluded_thr)
        self.bank = PlacementBank(bank)
        self.labels = _labels(self.bank, class_list(classes))

    def transform(self, results: dict) -> dict:
        rng = np.random.default_rng(np.random.randint(2 ** 31))
        _check_labels(results)
        if rng.random() >= self.prob:
            return results
        places = self.bank.places(results['img_path'])
        if not places.objects:
            return results
        _check_image(results, places)
        chosen = self._choose(places, rng)
        # Boxes first: they do not depend on pixels.
        taken, pasted = boxes_xyxy(results), []
        for thing in chosen:
            box = self._free_box(thing, taken, places.image_wh, rng)
            if box is not None:
                pasted.append((thing.index, box))
                taken = np.concatenate([taken, box[None]])
        return self._paste(dict(results), pasted) if pasted else results

    def _choose(self, places: ImagePlaces, rng: np.random.Generator
                ) -> list[ObjectPlaces]:
        least, most = self.num_objects
        count = min(rng.integers(least, most + 1), len(places.objects))
        order = rng.permutation(len(places.objects))[:count]
        return [places.objects[k] for k in order]

    def _free_box(self, thing: ObjectPlaces, taken: np.ndarray,
                  image_wh: tuple[int, int], rng: np.random.Generator
                  ) -> np.ndarray | None:
        """(4,) box (x1, y1, x2, y2) for an object; None if there is no room."""
        boxes = thing.boxes_xywh.copy()
        # Both are drawn in any case, so that the next object gets the same numbers.
        noise, corners = rng.gumbel(size=len(boxes)), rng.random((len(boxes), 2))
        if self.placement == 'random':
            boxes[:, :2] = corners * np.maximum(np.array(image_wh) - boxes[:, 2:], 0)
        good = thing.scores >= self.min_score * thing.scores.max()
        boxes, scores, noise = boxes[good], thing.scores[good], noise[good]
        if self.choice == 'sampled':
            # In this order, each is drawn by its score among those that are left.
            order = np.argsort(-np.log(np.maximum(scores, 1e-30)) - noise)
            boxes = boxes[order]
        boxes[:, 2:] += boxes[:, :2]
        free = (overlaps(boxes, taken) <= self.max_overlap).all(1)
        return boxes[free.argmax()] if free.any() else None

    def _paste(self, results: dict, pasted: list[tuple[int, np.ndarray]]) -> dict:
        image = results['img']
        reverse = slice(None, None, -1 if self.channel_order == 'bgr' else 1)
        is_float = image.dtype != np.uint8
        rgb = np.clip(np.rint(image), 0, 255).astype(np.uint8) if is_float else image
        rgb = rgb[..., reverse]
        changed, layers, labels = np.zeros(image.shape[:2], bool), [], []
        for index, (left, top, right, bottom) in pasted:
            cutout = read_cutout(self.bank.object_path(index))
            rgb, alpha = paste(rgb, cutout, (left, top, right - left, bottom - top),
                               self.feather, self.mode)
            changed |= alpha > 0
            if (alpha >= _SOLID).any():
                layers.append(alpha >= _SOLID)
                labels.append(self.labels[self.bank.objects[index].category])
        composite = np.ascontiguousarray(rgb[..., reverse])
        # Float images keep their fractions where nothing was pasted.
        results['img'] = np.where(changed[..., None], composite, image).astype(
            image.dtype) if is_float else composite
        add_labels(results, layers, labels, self.rule)
        return results


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N, 4) and (M, 4) boxes -> (N, M) intersections as a share of the smaller box."""
    boxes, others = boxes[:, None], others[None]
    low = np.maximum(boxes[..., :2], others[..., :2])
    high = np.minimum(boxes[..., 2:], others[..., 2:])
    smaller = np.minimum(*((b[..., 2:] - b[..., :2]).prod(-1) for b in (boxes, others)))
    return np.maximum(high - low, 0).prod(-1) / np.maximum(smaller, 1e-9)


def _labels(bank: PlacementBank, classes: Sequence[str]) -> dict[str, int]:
    """Class of an object -> its label in the dataset."""
    labels = {name: label for label, name in enumerate(classes)}
    missing = [name for name in bank.classes if name not in labels]
    if missing:
        shown = [*classes[:9], '...', classes[-1]] if len(classes) > 11 else classes
        raise UserKeyError(
            f'The placement bank {bank.folder} has objects of classes that the dataset '
            f'does not have: {", ".join(missing)}{did_you_mean(missing[0], classes)} '
            f'It has {len(classes)}: {", ".join(shown)}. Correct classes of '
            'PlacedCopyPaste, or make the bank with --classes.')
    return labels


def _check_labels(results: dict) -> None:
    """Without labels, what is pasted would be background to the model."""
    boxes, seg_map = (results.get(key) is not None
                      for key in ('gt_bboxes', 'gt_seg_map'))
    if not boxes and (not seg_map or 'gt_bboxes_labels' in results):
        wanted = 'gt_bboxes' if seg_map else 'gt_bboxes and no gt_seg_map'
        raise UserValueError(
            f'PlacedCopyPaste: {results["img_path"]} has no {wanted}: objects would be '
            'pasted without labels. Put it right after LoadAnnotations.')


def _check_image(results: dict, places: ImagePlaces) -> None:
    """Places are in pixels of the image file, objects are of 8-bit colors."""
    image = results['img']
    if image.shape[2:] != (3,) or image.ndim != 3 or not (
            image.dtype == np.uint8 or np.issubdtype(image.dtype, np.floating)):
        raise UserValueError(
            f'PlacedCopyPaste: {results["img_path"]} must be an (H, W, 3) image of '
            f'uint8 or floats, got {image.dtype} of shape {image.shape}. Read images '
            'as color.')
    size = image.shape[1::-1]
    moved = results.get('flip') or results.get('homography_matrix') is not None
    if size == places.image_wh and not moved:
        return
    found = 'was flipped, resized or cropped before' if moved or (
        size != tuple(results.get('ori_shape', ())[:2][::-1])) else (
        f'has {size[0]} x {size[1]} pixels, and had {places.image_wh[0]} x '
        f'{places.image_wh[1]} when the bank was made')
    raise UserValueError(
        f'PlacedCopyPaste: {results["img_path"]} {found}. Put it right after '
        'LoadAnnotations, and use a bank of the images of this dataset.')


def _check(num_objects: tuple[int, int], shares: Mapping[str, float],
           **choices: str) -> None:
    if (len(num_objects) != 2 or any(type(count) is not int for count in num_objects)
            or not 1 <= num_objects[0] <= num_objects[1]):
        raise UserValueError(
            'PlacedCopyPaste: num_objects must be a whole number or (least, most), at '
            f'least 1, got {num_objects}.')
    for name, value in shares.items():
        if not isinstance(value, Real) or not 0 <= value <= 1:
            raise UserValueError(
                f'PlacedCopyPaste: {name} must be in [0, 1], got {value!r}.')
    for name, value in choices.items():
        if value not in _CHOICES[name]:
            raise UserValueError(
                f'PlacedCopyPaste: {name} must be one of {_CHOICES[name]}, got '
                f'{value!r}{did_you_mean(value, _CHOICES[name])}')
