"""List images with phrases that are known to be true or false of them."""
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserValueError
from ..io.text_files import display_name
from .coco_annotations import add_file_names, check_annotations, read_json
from .grounding.files import read_grounding
from .open_vocabulary import plain_name


@dataclass(frozen=True)
class LabeledPhrase:
    """A phrase about an image.

    Attributes:
        text: As written; a class name without underscores.
        present: Whether the image shows what it means.
        boxes_xyxy: (K, 4) float64, what it means; none of crowds.
    """

    text: str
    present: bool
    boxes_xyxy: np.ndarray


@dataclass(frozen=True)
class LabeledImage:
    """An image file and its phrases, no text twice."""

    path: str
    phrases: tuple[LabeledPhrase, ...]


def read_labeled_phrases(ann_file: str | Path, images: str | Path,
                         split: str | None = None, instances: str | None = None
                         ) -> list[LabeledImage]:
    """Read a COCO file of objects, or any file of phrases.

    Of a COCO file every class is a phrase about every image: present if the image has
    an object of it, else absent. Where images have ``neg_category_ids``, as in LVIS,
    only those are absent, and nothing is known of the other classes.

    Args:
        ann_file: The file; phrases in a format that
            :func:`~mmcontrast.datasets.grounding.read_grounding` reads.
        images: Folder of the images.
        split: Of a file of phrases with several.
        instances: COCO file of the annotations that a list of refs names.

    Raises:
        FileNotFoundError: If a file or an image is missing.
        UserValueError: If the file is not what is expected, or has no phrase.
    """
    path = Path(ann_file).expanduser()
    content = read_json(path) if path.suffix.lower() == '.json' else None
    if isinstance(content, dict) and isinstance(
            content.get('categories'), list) and 'refs' not in content:
        if split or instances:
            raise UserValueError(
                f'{ann_file} is a COCO file of objects, which has no splits and needs '
                'no other file: leave out split and instances.')
        check_annotations(content, path.name)
        found = _of_coco(content)
    else:
        found = _of_phrases(read_grounding(path, instances=instances).select(split))
    labeled = [LabeledImage(os.path.join(os.path.expanduser(images), name),
                            tuple(phrases)) for name, phrases in found if phrases]
    if not labeled:
        raise UserValueError(f'{ann_file} has no phrase about any image.')
    _check_exist([image.path for image in labeled], ann_file)
    return labeled


def _of_coco(content: dict) -> Iterable[tuple[str, list[LabeledPhrase]]]:
    add_file_names(content['images'])
    texts = {category['id']: plain_name(category['name'])
             for category in content['categories']}
    boxes: dict = defaultdict(lambda: defaultdict(list))
    for annotation in content['annotations']:
        known = boxes[annotation['image_id']][annotation['category_id']]
        if not annotation.get('iscrowd'):
            known.append(annotation['bbox'])
    for image in content['images']:
        own = boxes[image['id']]
        absent = set(image.get('neg_category_ids', texts))
        yield image['file_name'], [
            LabeledPhrase(text, number in own, _corners(own.get(number, ())))
            for number, text in texts.items() if number in own or number in absent]


def _of_phrases(elements: Iterable) -> Iterable[tuple[str, list[LabeledPhrase]]]:
    images: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for record in (record for element in elements for record in element):
        for phrase in record.phrases:
            images[record.file_name][phrase.text] += [
                target.bbox for target in phrase.targets]
    for name, texts in images.items():
        yield name, [LabeledPhrase(text, bool(found), _corners(found))
                     for text, found in texts.items()]


def _corners(boxes_xywh: Iterable) -> np.ndarray:
    boxes = np.array(list(boxes_xywh), np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _check_exist(paths: list[str], ann_file: str | Path) -> None:
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(paths)} images that {ann_file} names are missing, '
            f'the first: {display_name(missing[0])}. Give the folder of the images.')
