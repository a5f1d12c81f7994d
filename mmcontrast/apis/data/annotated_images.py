"""Read images with their annotated objects from COCO-style files, to cut these out."""
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from ...datasets.bad_images import BadImage
from ...datasets.coco_annotations import add_file_names, read_annotations
from ...datasets.image_files import read_turned
from ...datasets.label_maps import check_turn
from ...datasets.open_vocabulary import plain_name
from ...errors import UserValueError, did_you_mean
from ...models.text.vocabulary import class_list


class AnnotatedImages:
    """Images of a COCO-style file, and the objects in each.

    Args:
        file: The file.
        images: Folder of its images.
        remedy: What to do if no object has a mask, the end of a message; None if none
            is needed.

    Attributes:
        entries: COCO's entries of the images.

    Raises:
        FileNotFoundError: If the file or the folder is missing.
        UserValueError: If the file is not valid, or has no masks.
    """

    def __init__(self, file: str | Path, images: str | Path | None,
                 remedy: str | None = None) -> None:
        data = read_annotations(file)
        add_file_names(data['images'])
        self.name, self.entries = Path(file).name, data['images']
        self.folder = image_folder(images, self.name)
        self._categories = data['categories']
        self._objects = defaultdict(list)
        for annotation in data['annotations']:
            self._objects[annotation['image_id']].append(annotation)
        if remedy is not None:
            _check_masks(data['annotations'], self.name, remedy)

    def objects(self, entry: dict) -> list[dict]:
        """Annotations of an image."""
        return self._objects.get(entry['id'], [])

    def categories(self, classes: str | Sequence[str] | None) -> dict:
        """Id -> name of the categories of these classes; of all for None.

        Raises:
            UserValueError: If the file lacks a class.
        """
        names = {c['id']: c['name'] for c in self._categories}
        chosen = chosen_classes(names.values(), classes, self.name)
        return {number: name for number, name in names.items() if name in chosen}


def read_entry(folder: Path, entry: dict) -> tuple[np.ndarray | None, str | None]:
    """(H, W, 3) uint8 RGB image of an entry; None and the reason if it is no use."""
    try:
        image, turn = read_turned(path := str(folder / entry['file_name']))
        size = entry['width'], entry['height']
        check_turn(path, turn, image.size, 'the annotation file', size)
    except BadImage as bad:
        return None, f'image: {bad.reason.sentence}'
    except UserValueError:
        return None, ('image: its EXIF orientation turns it, and its size in the '
                      'annotation file is that before')
    if image.size != size:
        return None, 'image: its size differs from that in the annotation file'
    return np.asarray(image), None


def chosen_classes(known: Collection[str], classes: str | Sequence[str] | None,
                   place: str) -> list[str]:
    """Names of a file or folder that were asked for; all for None.

    Underscores and spaces are the same.

    Raises:
        UserValueError: If a class is not there.
    """
    if classes is None:
        return list(known)
    plain = {plain_name(name) for name in known}
    chosen = {plain_name(name) for name in class_list(classes)}
    for name in sorted(chosen - plain):
        raise UserValueError(
            f'{place} has no class {name!r}{did_you_mean(name, plain)}')
    return [name for name in known if plain_name(name) in chosen]


def image_folder(images: str | Path | None, file: str) -> Path:
    """The folder of the images of an annotation file.

    Raises:
        UserValueError: If none was given.
        FileNotFoundError: If there is none.
    """
    if images is None:
        raise UserValueError(
            f'{file} lists images; name their folder: --images FOLDER '
            "(images='FOLDER').")
    folder = Path(images).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f'No folder of images at {images}.')
    return folder


def _check_masks(annotations: list[dict], place: str, remedy: str) -> None:
    if not annotations:
        raise UserValueError(f'{place} has no annotation; there is nothing to cut out.')
    if not any(annotation.get('segmentation') for annotation in annotations):
        raise UserValueError(
            f'{place} has no masks: none of its {len(annotations)} annotations has a '
            f"'segmentation' to cut out along. {remedy}")
