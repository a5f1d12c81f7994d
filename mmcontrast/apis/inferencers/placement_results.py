"""Store where objects were placed in an image, draw it and write it to files."""
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ...errors import UserValueError
from ...io.atomic import write_text
from ...io.folders import save_output_image
from ...registry import FUNCTIONS
from .images import ImageSource, InputImage
from .results import apart, is_image_file, output_stems, refuse_overwriting

# Folders in the folder of results.
_FOLDERS = 'sheets', 'maps'


@dataclass(frozen=True)
class ObjectPlaces:
    """Ranked boxes of one object, the best first; none if no place is left.

    Attributes:
        name: Of the object: its file, below the folder that was named.
        path: The file, with its folder; '' for an array.
        size_wh: Width and height of its tight crop in pixels.
        boxes_xywh: (K, 4) float64 boxes (x, y, w, h) in pixels of the background.
        scores: (K,) float32 in [0, 1].
        scales: (K,) float64, max(w / W, h / H) of the boxes.
        cells: (K, 3) int64, scale bin, row and column of the heat map.
        heat: (S, h, w) float32 scores of all sizes and positions, on the CPU; None in
            the lists that a call over several images returns.
        cutout: The object itself.
    """

    name: str
    path: str
    size_wh: tuple[int, int]
    boxes_xywh: np.ndarray
    scores: np.ndarray
    scales: np.ndarray
    cells: np.ndarray
    heat: Tensor | None = field(repr=False)
    cutout: Any = field(repr=False)

    def to_dict(self) -> dict:
        """Plain data: ``file``, ``width`` and ``height`` of the object, and ``boxes``,
        each with ``bbox`` (x, y, w, h), ``score`` and ``scale``."""
        rows = zip(self.boxes_xywh.tolist(), self.scores.tolist(), self.scales.tolist(),
                   strict=True)
        return dict(file=self.path or self.name, width=self.size_wh[0],
                    height=self.size_wh[1], boxes=[dict(
                        bbox=[round(side, 2) for side in box], score=round(score, 5),
                        scale=round(scale, 5)) for box, score, scale in rows])


@dataclass(frozen=True)
class PlacedObjects:
    """Where objects belong in one background.

    Attributes:
        name: Of the background: its file, below the folder that was named.
        path: The file, with its folder; '' for an array.
        image_size: (H, W) of the background in pixels.
        objects: All objects, in the order in which they were placed; those without a
            place last.
        ratios: (S,) max(w / W, h / H) of the scale bins.
        feather, blend: How objects are pasted, see
            :meth:`PlacementInferencer.stream`.
    """

    name: str
    path: str
    image_size: tuple[int, int]
    objects: tuple[ObjectPlaces, ...]
    ratios: Tensor = field(repr=False)
    feather: float = 2.0
    blend: str = 'alpha'

    unit = 'placements'

    @property
    def placed(self) -> list[ObjectPlaces]:
        """The objects that have a place."""
        return [placed for placed in self.objects if len(placed.boxes_xywh)]

    def tally(self) -> dict[str, int]:
        """How many objects of each name have a place."""
        return Counter(placed.name for placed in self.placed)

    def composites(self, image: np.ndarray) -> list[np.ndarray]:
        """The background after each object was pasted into its best box.

        Args:
            image: (H, W, 3) uint8 RGB.
        """
        placed = self.placed
        return FUNCTIONS.get('paste_in_order')(
            image, [each.cutout for each in placed],
            [each.boxes_xywh[0] for each in placed], self.feather, self.blend)

    def compose(self, image: np.ndarray) -> Image.Image:
        """The background with all objects that have a place."""
        return Image.fromarray(self.composites(image)[-1])

    def draw(self, image: np.ndarray) -> Image.Image:
        """A sheet: each object, its heat map, its ranked boxes, and the composite."""
        self._check_heat()
        composites = self.composites(image)
        # Objects without a place change nothing.
        composites += [composites[-1]] * (len(self.objects) - len(composites))
        names, cutouts, heats, boxes, scores = zip(*(
            (each.name, each.cutout, each.heat, each.boxes_xywh, each.scores)
            for each in self.objects), strict=True)
        return FUNCTIONS.get('draw_placements')(
            image, cutouts, names, heats, boxes, scores, composites, self.name)

    def draw_maps(self, image: np.ndarray) -> list[Image.Image]:
        """For each object a sheet with the heat map of every size."""
        self._check_heat()
        return [FUNCTIONS.get('draw_placement_maps')(
            image, each.heat, self.ratios, f'{each.name} in {self.name}')
            for each in self.objects]

    def _check_heat(self) -> None:
        if any(each.heat is None for each in self.objects):
            raise UserValueError(
                f'{self.name}: the heat maps were not kept. A call with a single image '
                'and stream() keep them.')

    def to_dict(self) -> dict:
        """Plain data: ``file``, ``width`` and ``height`` of the background, and
        ``objects``, see :meth:`ObjectPlaces.to_dict`."""
        height, width = self.image_size
        return dict(file=self.path or self.name, width=width, height=height,
                    objects=[each.to_dict() for each in self.objects])

    def write(self, folder: Path, stem: str, image: np.ndarray, maps: bool = False
              ) -> None:
        """Write ``STEM.jpg``, ``sheets/STEM.jpg`` and, on request, ``maps/STEM.jpg``.

        Several objects have maps ``STEM_1.jpg``, ``STEM_2.jpg``, in their order.
        """
        drawn = [self.compose(image), self.draw(image)]
        drawn += self.draw_maps(image) if maps else []
        names = file_names(stem, len(self.objects) if maps else 0)
        for name, drawn_image in zip(names, drawn, strict=True):
            save_output_image(drawn_image, folder / name, quality=92)


def file_names(stem: str, maps: int) -> list[str]:
    """The files of a background, with the maps of so many objects."""
    ends = [f'_{number}' for number in range(1, maps + 1)] if maps > 1 else [''] * maps
    return [f'{stem}.jpg', f'sheets/{stem}.jpg',
            *[f'maps/{stem}{end}.jpg' for end in ends]]


@contextmanager
def placement_writer(out: str | Path | None, sources: Sequence[ImageSource],
                     maps: int, *read: Any) -> Iterator:
    """A function that writes the result of a background below a folder, or to a file.

    At the end, also of a call that fails, ``placements.json`` holds what was found.

    Args:
        out: The folder or file; None to write nothing.
        sources: The backgrounds.
        maps: Of how many objects maps are to be written.
        read: What names files that are read, beside the backgrounds.

    Raises:
        ValueError: If ``maps`` are to be written and ``out`` is no folder, or a file
            that is read would be overwritten.
    """
    is_file = out is not None and is_image_file(Path(out), len(sources))
    if maps and (out is None or is_file):
        raise UserValueError(
            'maps are files in a folder (--maps with --out FOLDER), but out is '
            f'{"not given" if out is None else f"the image file {out}"}. '
            'result.draw_maps(image) draws them without a folder.')
    if out is None:
        yield lambda item, result: None
        return
    out, read = Path(out), ([source.image for source in sources], *read)
    if is_file:
        refuse_overwriting([out], *read)
        yield lambda item, result: save_output_image(result.compose(item.image), out)
        return
    stems = output_stems([apart(source.name, _FOLDERS) for source in sources])
    refuse_overwriting((out / name for stem in stems
                        for name in file_names(stem, maps)), *read)
    rows: list[dict] = []

    def write(item: InputImage, result: PlacedObjects) -> None:
        rows.append(result.to_dict())
        result.write(out, stems[item.index], item.image, bool(maps))
    try:
        yield write
    finally:
        if rows:
            write_text(out / 'placements.json', json.dumps(
                dict(backgrounds=rows), ensure_ascii=False))
