"""Collect objects to paste: cut out of annotated images, or read from RGBA files."""
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from ...datasets.bad_images import BadImage
from ...datasets.image_lists import list_folder
from ...datasets.placement_bank import OBJECTS, BankObject, unique_stem
from ...errors import UserValueError
from ...registry import FUNCTIONS
from .annotated_images import AnnotatedImages, read_entry
from .cutting import OCCLUDED, Instances, Rules
from .pair_maker import cut_out, write_image

BOX_MASKS = ('ellipse', 'rectangle')


@dataclass
class ObjectPool:
    """Objects of a bank, written to its folder as they are found.

    Attributes:
        folder: Of the bank.
        per_class: Number of objects of a class after which no more are taken.
        objects: Those that were taken.
        reasons: Reason -> how many objects, or images of objects, it kept out.
        skipped: A line for each: source, object and reason, with tabs.
    """

    folder: Path
    per_class: int
    objects: list[BankObject] = field(default_factory=list)
    reasons: Counter = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)
    _counts: Counter = field(default_factory=Counter)

    def is_full(self, category: str) -> bool:
        return self._counts[category] >= self.per_class

    def add(self, rgba: np.ndarray, category: str, source: str, name: str) -> None:
        """Write an object.

        Args:
            rgba: (h, w, 4) uint8.
            category: Its class.
            source: File that it is from.
            name: Distinguishes it from all others.
        """
        file = f'{OBJECTS}/{unique_stem(name)}.png'
        write_image(self.folder / file, rgba)
        self.objects.append(BankObject(file, category, source))
        self._counts[category] += 1

    def skip(self, source: str, what: str, reason: str) -> None:
        self.reasons[reason] += 1
        self.skipped.append(f'{source}\t{what}\t{reason}')


def cut_objects(pool: ObjectPool, source: AnnotatedImages, categories: dict,
                rules: Rules, box_mask: str | None, with_occluded: bool, seed: int,
                track: Callable[[Sequence], Iterable]) -> None:
    """Cut objects out of annotated images, in random order, until there are enough.

    Args:
        pool: Takes them.
        source: The images.
        categories: Id -> name of the wanted ones.
        rules: Which objects are good.
        box_mask: 'ellipse' or 'rectangle': cut along these within the boxes, not along
            masks.
        with_occluded: Whether to take objects that touch another one.
        seed: Of the order of the images.
        track: Wraps what is iterated over, for a progress bar.
    """
    order = np.random.default_rng(seed).permutation(len(source.entries))
    for entry in track([source.entries[k] for k in order]):
        annotations = source.objects(entry)
        wanted = {k for k, a in enumerate(annotations)
                  if not pool.is_full(categories.get(a['category_id'], ''))
                  and a['category_id'] in categories}
        if not wanted:
            continue
        path = str(source.folder / entry['file_name'])
        image, problem = read_entry(source.folder, entry)
        if image is None:
            pool.skip(path, 'image', problem)
            continue
        instances = (Instances.of(annotations, image.shape[:2]) if box_mask is None
                     else box_instances(annotations, image.shape[:2], box_mask))
        _cut_image(pool, image, path, annotations, instances, wanted, categories,
                   rules, with_occluded)


def _cut_image(pool: ObjectPool, image: np.ndarray, source: str,
               annotations: list[dict], instances: Instances, wanted: Collection[int],
               categories: dict, rules: Rules, with_occluded: bool) -> None:
    for k, reason in enumerate(instances.reasons(rules)):
        number, category = annotations[k]['id'], categories.get(
            annotations[k]['category_id'])
        if k not in wanted or pool.is_full(category):
            continue
        if reason and not (with_occluded and reason == OCCLUDED):
            pool.skip(source, f'annotation {number}', reason)
            continue
        mask = instances.masks[k]
        pool.add(cut_out(image, mask, cv2.boundingRect(mask.astype(np.uint8))),
                 category, source, f'{category}/{number}')


def box_instances(annotations: Sequence[dict], size_hw: tuple[int, int], shape: str
                  ) -> Instances:
    """Masks of objects that are only known by their boxes.

    Args:
        annotations: Of one image.
        size_hw: Its height and width.
        shape: 'ellipse', that touches the four sides of the box, for round things such
            as cells, or 'rectangle', with whatever else is in the box.
    """
    boxes = np.array([a['bbox'] for a in annotations], np.float64).reshape(-1, 4)
    centers, radii = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:] / 2
    # Distance of pixel centers from that of the box, in half sides.
    y, x = (np.abs(np.arange(length) + 0.5 - centers[:, axis, None])
            / np.maximum(radii[:, axis, None], 1e-9)
            for axis, length in ((1, size_hw[0]), (0, size_hw[1])))
    if shape == 'ellipse':
        masks = y[:, :, None] ** 2 + x[:, None] ** 2 <= 1
    else:
        masks = (y <= 1)[:, :, None] & (x <= 1)[:, None]
    return Instances(masks, tuple('crowd' if a.get('iscrowd') else None
                                  for a in annotations))


def list_objects(folder: Path) -> list[Path]:
    """RGBA files of a folder with one folder per class, as in ``objects/car/17.png``.

    Raises:
        FileNotFoundError: If there is no image.
        UserValueError: If one lies in no folder of a class.
    """
    paths = [Path(info['img_path']) for info in list_folder(str(folder))[0]]
    for path in paths:
        if path.parent == folder:
            raise UserValueError(
                f'{path} lies in no folder of a class. Give a folder of cut-outs '
                f'(--objects) with one folder per class, such as '
                f'{folder / "car" / path.name}.')
    return paths


def read_objects(pool: ObjectPool, folder: Path, paths: Sequence[Path],
                 wanted: Collection[str], seed: int,
                 track: Callable[[Sequence], Iterable]) -> None:
    """Read RGBA files; the folder right above a file is its class.

    Args:
        pool: Takes them.
        folder, paths: See :func:`list_objects`.
        wanted: Classes to take.
        seed: Of the order of the files.
        track: Wraps what is iterated over, for a progress bar.
    """
    order = np.random.default_rng(seed).permutation(len(paths))
    for path in track([paths[k] for k in order]):
        category = path.parent.name
        if pool.is_full(category) or category not in wanted:
            continue
        try:
            cutout = FUNCTIONS.get('open_cutout')(str(path))
        except BadImage as bad:
            pool.skip(str(path), 'file', bad.reason.sentence)
        except UserValueError as error:
            pool.skip(str(path), 'file', getattr(error, 'reason', str(error)))
        else:
            pool.add(cutout.rgba, category, str(path), str(path.relative_to(folder)))
