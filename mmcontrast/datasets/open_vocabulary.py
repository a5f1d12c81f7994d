"""Name the classes of OV-COCO, and compare the classes of datasets and files."""
from collections.abc import Sequence

from ..errors import UserValueError, did_you_mean

#: The 65 classes of OV-COCO, in the order of COCO's annotation files.
OV_COCO = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck',
    'boat', 'bench', 'bird', 'cat', 'dog', 'horse', 'sheep', 'cow', 'elephant', 'bear',
    'zebra', 'giraffe', 'backpack', 'umbrella', 'handbag', 'tie', 'suitcase', 'frisbee',
    'skis', 'snowboard', 'kite', 'skateboard', 'surfboard', 'bottle', 'cup', 'fork',
    'knife', 'spoon', 'bowl', 'banana', 'apple', 'sandwich', 'orange', 'broccoli',
    'carrot', 'pizza', 'donut', 'cake', 'chair', 'couch', 'bed', 'toilet', 'tv',
    'laptop', 'mouse', 'remote', 'keyboard', 'microwave', 'oven', 'toaster', 'sink',
    'refrigerator', 'book', 'clock', 'vase', 'scissors', 'toothbrush')
OV_COCO_NOVEL = (
    'airplane', 'bus', 'cat', 'dog', 'cow', 'elephant', 'umbrella', 'tie', 'snowboard',
    'skateboard', 'cup', 'knife', 'cake', 'couch', 'keyboard', 'sink', 'scissors')
OV_COCO_BASE = tuple(name for name in OV_COCO if name not in OV_COCO_NOVEL)


def check_split(base: Sequence[str], novel: Sequence[str]) -> None:
    """Check that no class is base and novel at once.

    Raises:
        UserValueError: Naming the classes that are in both lists.
    """
    both = [name for name in base if name in set(novel)]
    if both:
        raise UserValueError(
            f'{len(both)} class(es) are in the base and in the novel list: '
            f'{", ".join(both)}. A novel class must not be trained on; remove each '
            'from one of the lists.')


def plain_name(name: str) -> str:
    """A class name without the underscores that some files have for spaces."""
    return ' '.join(name.replace('_', ' ').split())


def class_ids(classes: Sequence[str], categories: Sequence[dict], place: str
              ) -> list[int]:
    """Category ids of a dataset's classes.

    mmdet's ``CocoDataset`` and ``CocoMetric`` number labels in the order of the file,
    whatever the order of ``metainfo.classes``. Where the two differ, every text would
    silently stand for another class. Underscores in names count as spaces.

    Args:
        classes: ``metainfo.classes``.
        categories: Those of the file, in its order; there may be more.
        place: The file, for the message.

    Raises:
        UserValueError: If a class is missing in the file, the order differs, or two
            categories have one name but for underscores.
    """
    ids: dict[str, int] = {}
    for category in categories:
        name = plain_name(category['name'])
        if name in ids:
            raise UserValueError(
                f'{place} has two categories that are called {name!r} (ids {ids[name]} '
                f'and {category["id"]}): underscores count as spaces. Rename or join '
                'them.')
        ids[name] = category['id']
    classes = [plain_name(name) for name in classes]
    for name in classes:
        if name not in ids:
            raise UserValueError(
                f'{place} has no category {name!r}, which the dataset lists in its '
                f'classes{did_you_mean(name, ids)}')
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise UserValueError(f'{place}: the classes of the dataset have {twice!r} '
                             'twice.')
    order = [name for name in ids if name in set(classes)]
    for label, (in_file, in_classes) in enumerate(zip(order, classes, strict=True)):
        if in_file != in_classes:
            raise UserValueError(
                f'{place}: labels are numbered in the order of its categories, which '
                f'differs from that of the classes: label {label} is {in_file!r} in '
                f'the file, but {in_classes!r} in the classes. List the classes in the '
                'order of the file.')
    return [ids[name] for name in classes]
