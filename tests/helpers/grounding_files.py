"""Two small images with objects and phrases, in every layout of grounding data."""
import json
import pickle
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

SIZE_WH = 40, 30
NAME = 'COCO_train2014_{:012d}.jpg'


def rectangle(x, y, w, h) -> list[list[float]]:
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def rle(x, y, w, h) -> dict:
    mask = np.zeros(SIZE_WH[::-1], np.uint8, order='F')
    mask[y:y + h, x:x + w] = 1
    code = coco_mask.encode(mask)
    return dict(size=code['size'], counts=code['counts'].decode())


def annotation(number, image_id, box, **fields) -> dict:
    return dict(dict(
        id=number, image_id=image_id, category_id=1, bbox=list(box),
        area=box[2] * box[3], iscrowd=0, segmentation=rectangle(*box)), **fields)


def coco() -> dict:
    """Image 7 with three objects, the third too small; image 8 with one, as RLE."""
    return dict(
        images=[dict(id=i, file_name=NAME.format(i), width=40, height=30)
                for i in (7, 8)],
        annotations=[annotation(11, 7, (2, 3, 20, 10)),
                     annotation(12, 7, (22, 14, 16, 14)),
                     annotation(13, 7, (30, 2, 4, 4)),
                     annotation(21, 8, (4, 4, 20, 20), segmentation=rle(4, 4, 20, 20))],
        categories=[dict(id=1, name='cup')])


def refs() -> list[dict]:
    """The layout of RefCOCO's refs(unc).p, with what gRefCOCO and Ref-ZOM add."""
    return [
        dict(ref_id=1, image_id=7, ann_id=11, split='train', category_id=1,
             file_name='COCO_train2014_000000000007_11.jpg', sent_ids=[1, 2],
             sentences=[dict(sent_id=1, raw='Red cup', sent='red cup'),
                        dict(sent_id=2, raw='the left one', sent='the left one')]),
        dict(ref_id=2, image_id=7, ann_id=[12, 13], split='train',
             sentences=[dict(sent_id=3, raw='both on the right')]),
        dict(ref_id=3, image_id=8, ann_id=[-1], no_target=True, split='val',
             sentences=[dict(sent_id=4, raw='a dog')]),
        dict(ref_id=4, image_id=8, ann_id=21, split='val',
             sentences=[dict(sent_id=5, sent='the plate')])]


def write_images(folder: Path, ids=(7, 8)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in ids:
        Image.new('RGB', SIZE_WH, (10 * i, 0, 200)).save(folder / NAME.format(i))


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_official(root: Path, protocol: int = 2) -> None:
    """``refs(unc).p`` and ``instances.json``, images in ``train2014``."""
    write_images(root / 'train2014')
    (root / 'refs(unc).p').write_bytes(pickle.dumps(refs(), protocol))
    write_json(root / 'instances.json', coco())


def write_converted(root: Path) -> None:
    """The same in PropVG's files: ``instances.json`` and ``allobj.json``."""
    write_images(root / 'train2014')
    objects = {thing['id']: thing for thing in coco()['annotations']}
    splits = {'train': [], 'val': []}
    for ref in refs():
        ids = ref['ann_id'] if isinstance(ref['ann_id'], list) else [ref['ann_id']]
        none = dict(id=None, bbox=None, segmentation=None)
        splits[ref['split']].append(dict(
            image_id=ref['image_id'], width=40, height=30,
            expressions=dict(raw=[s.get('raw', s.get('sent'))
                                  for s in ref['sentences']]),
            annotations=[{key: objects[i][key] for key in none} if i in objects
                         else none for i in ids]))
    write_json(root / 'instances.json', splits)
    write_json(root / 'allobj.json', foreground())


def foreground() -> dict:
    content = {str(i): dict(bbox=[], segmentation=[], id=[], area=[]) for i in (7, 8)}
    for thing in coco()['annotations']:
        entry = content[str(thing['image_id'])]
        for key in entry:
            entry[key].append(thing[key])
    return content
