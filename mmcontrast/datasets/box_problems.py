"""Count the boxes of an annotation file that training drops or misreads, by kind."""
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from .coco_annotations import OVER_THE_EDGE

#: What is wrong with boxes that mmdet drops in silence.
DROPPED = dict(
    unknown_image='of an image that the file does not list',
    unknown_category='of a category that the file does not list',
    no_box='without four numbers as bbox',
    not_finite='NaN or infinite',
    negative='of negative width or height',
    empty='of no width or height',
    outside='outside of the image by its written width and height',
    tiny='narrower or lower than one pixel',
    no_area='with an area of 0 or less',
    ignored="marked 'ignore'",
    not_asked='of categories that metainfo.classes does not name')
#: What is wrong with others: cut at the edge of the image later, or an error later.
KEPT = dict(infinite='of infinite width or height',
            reaching_out='reaching out of the image by its written width and height',
            no_mask='without a mask',
            bad_mask='with a mask that is no polygon of three points and no RLE of the '
                     'size of the image')


@dataclass
class BoxProblems:
    """Result of :func:`find_box_problems`.

    Attributes:
        total: Number of annotations.
        counts: Kind to number of boxes; a box has the first kind that fits.
        examples: Kind to the first such box, in words.
        kept: Boxes that mmdet loads, by id of the image.
        labeled: Ids of the categories of these.
        hints: Guesses at the cause.
    """

    total: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    kept: dict[object, int] = field(default_factory=dict)
    labeled: set = field(default_factory=set)
    hints: list[str] = field(default_factory=list)

    @property
    def dropped(self) -> dict[str, int]:
        """The kinds that are dropped, without what metainfo.classes leaves out."""
        return {kind: count for kind, count in self.counts.items()
                if kind in DROPPED and kind != 'not_asked'}

    def lines(self, kinds: Iterable[str]) -> list[str]:
        """A line a kind: how many boxes, and an example."""
        words = DROPPED | KEPT
        return [f'{self.counts[kind]} {words[kind]}, the first: {self.examples[kind]}'
                for kind in kinds if kind in self.counts]


def find_box_problems(data: Mapping, category_ids: Collection | None = None,
                      with_masks: bool = False) -> BoxProblems:
    """Judge every box of a COCO-style file as mmdet's ``CocoDataset`` does.

    Args:
        data: Content of the file; entries may be damaged.
        category_ids: Categories that are trained; all of the file if None.
        with_masks: Whether the masks are read too.
    """
    images = {image.get('id'): image for image in data['images']}
    known = {category.get('id') for category in data['categories']}
    asked = known if category_ids is None else set(category_ids)
    found = BoxProblems(total=len(data['annotations']))
    corners = units = 0
    for annotation in data['annotations']:
        image = images.get(annotation.get('image_id'))
        kind = _kind_of(annotation, image, known, asked, with_masks)
        if kind is not None:
            if kind not in found.counts:
                found.examples[kind] = _describe(annotation, image)
            found.counts[kind] = found.counts.get(kind, 0) + 1
            if kind in ('outside', 'reaching_out'):
                corners += _fits_as_corners(annotation['bbox'], image)
            if kind == 'tiny':
                units += max(annotation['bbox']) <= 1
        if kind is None or kind in KEPT:
            found.kept[annotation['image_id']] = found.kept.get(
                annotation['image_id'], 0) + 1
            found.labeled.add(annotation['category_id'])
    beyond = found.counts.get('outside', 0) + found.counts.get('reaching_out', 0)
    if beyond > 2 and corners == beyond:
        found.hints.append('All of those beyond the edge fit as x1, y1, x2, y2; bbox '
                           'must be x, y, width, height.')
    if units > 2:
        found.hints.append(f'{units} boxes lie within 0 and 1; bbox must be in pixels, '
                           'not in shares of the image.')
    return found


def _kind_of(annotation: Mapping, image: Mapping | None, known: Collection,
             asked: Collection, with_masks: bool) -> str | None:
    if image is None:
        return 'unknown_image'
    category = annotation.get('category_id')
    if category not in known:
        return 'unknown_category'
    box = annotation.get('bbox')
    if not _is_box(box):
        return 'no_box'
    x, y, width, height = box
    if any(map(math.isnan, box)) or math.isinf(x) or math.isinf(y):
        return 'not_finite'
    if width < 0 or height < 0:
        return 'negative'
    if width == 0 or height == 0:
        return 'empty'
    limits = image.get('width'), image.get('height')
    sized = all(isinstance(limit, int | float) for limit in limits)
    if sized and (min(x + width, limits[0]) <= max(x, 0)
                  or min(y + height, limits[1]) <= max(y, 0)):
        return 'outside'
    if width < 1 or height < 1:
        return 'tiny'
    area = annotation.get('area')
    if isinstance(area, int | float) and not area > 0:
        return 'no_area'
    if annotation.get('ignore'):
        return 'ignored'
    if category not in asked:
        return 'not_asked'
    if with_masks and not annotation.get('segmentation'):
        return 'no_mask'
    if with_masks and not _is_mask(annotation['segmentation'], limits):
        return 'bad_mask'
    if math.isinf(width) or math.isinf(height):
        return 'infinite'
    beyond = max(-x, -y, x + width - limits[0], y + height - limits[1]) if sized else 0
    return 'reaching_out' if beyond > OVER_THE_EDGE else None


def _is_box(box: object) -> bool:
    return (isinstance(box, list | tuple) and len(box) == 4
            and all(isinstance(value, int | float) for value in box))


def _is_mask(value: object, size: tuple) -> bool:
    """Whether mmdet reads it; it ignores the boxes of others in silence."""
    if isinstance(value, Mapping):
        return (isinstance(value.get('counts'), list | str)
                and value.get('size') == [size[1], size[0]])
    return isinstance(value, list) and any(
        isinstance(points, list) and len(points) > 5 and len(points) % 2 == 0
        for points in value)


def _fits_as_corners(box: list, image: Mapping) -> bool:
    x1, y1, x2, y2 = box
    return (0 <= x1 < x2 <= image['width'] + OVER_THE_EDGE
            and 0 <= y1 < y2 <= image['height'] + OVER_THE_EDGE)


def _describe(annotation: Mapping, image: Mapping | None) -> str:
    where = f'image {annotation.get("image_id")!r}' if image is None else str(
        image.get('file_name') or image.get('coco_url') or f'image {image.get("id")!r}')
    return (f'annotation {annotation.get("id")!r} of {where}, category '
            f'{annotation.get("category_id")!r}, bbox {annotation.get("bbox")}')
