"""An image beside what was found in it, with the class texts as a legend."""
import uuid
from collections import Counter
from functools import cache

import numpy as np
from mmengine.visualization import Visualizer
from PIL import Image

from ...visualization.label_maps import SheetRow, draw_overlays, fitted, image_sheet
from .results import Detection, Segmentation

# Longest side of a picture in pixels; smaller images are enlarged to be legible.
_SMALLEST, _LARGEST = 640, 800
# Lines of a legend.
_NAMED = 20


def draw_result(image: np.ndarray, result: Segmentation | Detection,
                colors: np.ndarray) -> Image.Image:
    """The image, the same with the answer drawn in, and which color is which.

    Args:
        image: (H, W, 3) uint8 RGB.
        result: What was found in it.
        colors: (K, 3) uint8, one a class text.
    """
    width = min(max(*image.shape[:2], _SMALLEST), _LARGEST)
    if isinstance(result, Detection):
        return _draw_boxes(image, result, colors, width)
    return draw_overlays(
        [image], [result.labels], [result.name], colors, width, max_named=_NAMED,
        called=result.classes.__getitem__, mark=result.classes.__getitem__)


def _draw_boxes(image: np.ndarray, result: Detection, colors: np.ndarray, width: int
                ) -> Image.Image:
    size = fitted(image.shape, width)
    shown = np.asarray(Image.fromarray(image).resize(size, Image.BICUBIC))
    drawn = shown
    if len(result.scores):
        drawn = _with_instances(shown, result, colors, size[0] / image.shape[1])
    counts = Counter(result.labels.tolist()).most_common()
    legend = [(colors[label].tolist(), f'{result.classes[label]}  {count}')
              for label, count in counts[:_NAMED]]
    rest = sum(count for _, count in counts[_NAMED:])
    legend += [(None, f'{rest} of other classes')] if rest else []
    return image_sheet([SheetRow([shown, drawn], result.name, legend or [
        (None, 'nothing found')])], width)


def _with_instances(image: np.ndarray, result: Detection, colors: np.ndarray,
                    scale: float) -> np.ndarray:
    """Boxes, texts, scores and masks; the best last, on top of the others."""
    order = result.scores.argsort(kind='stable')
    boxes = result.boxes_xyxy[order] * scale
    shades = [tuple(color) for color in colors[result.labels[order]].tolist()]
    pen = _visualizer()
    pen.set_image(image)
    if result.masks is not None:
        pen.draw_binary_masks(np.stack([
            np.asarray(Image.fromarray(mask).resize(image.shape[1::-1]))
            for mask in result.masks[order]]), colors=shades, alphas=0.4)
    pen.draw_bboxes(boxes, edge_colors=shades, line_widths=2)
    # mmdet's own visualizer has two sizes of letters, one of them too small to read.
    pen.draw_texts(
        [f'{result.classes[label]} {score:.2f}' for label, score in zip(
            result.labels[order].tolist(), result.scores[order].tolist(), strict=True)],
        boxes[:, :2] + 3, font_sizes=11, colors=[_ink(shade) for shade in shades],
        bboxes=[dict(facecolor=tuple(value / 255 for value in shade), alpha=0.9,
                     pad=1.5, edgecolor='none') for shade in shades])
    return pen.get_image()


def _ink(shade: tuple[int, int, int]) -> str:
    """Letters that can be read on a color."""
    bright = 0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2] > 140
    return 'black' if bright else 'white'


@cache
def _visualizer() -> Visualizer:
    # mmengine keeps its visualizers by name.
    return Visualizer(name=f'inferencer-{uuid.uuid4()}')
