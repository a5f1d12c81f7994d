"""Draw boxes, masks, class names and scores over an image."""
import uuid
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
from mmengine.visualization import Visualizer
from PIL import Image

from .sheet import SheetRow, fitted_size, image_sheet, text_color

# Lines of a legend.
_NAMED = 20


def draw_detections(image: np.ndarray, boxes_xyxy: np.ndarray, scores: np.ndarray,
                    labels: np.ndarray, masks: np.ndarray | None,
                    classes: Sequence[str], colors: np.ndarray, title: str,
                    width: int) -> Image.Image:
    """The image, the same with its detections, and a legend with their numbers.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes_xyxy: (N, 4) in pixels of the image.
        scores, labels: (N,).
        masks: (N, H, W) bool, or None.
        classes: Names of the K classes.
        colors: (K, 3) uint8, one per class.
        title: Written below the image.
        width: Longest side of the image on the sheet, in pixels.
    """
    size = fitted_size(image.shape, width)
    shown = np.asarray(Image.fromarray(image).resize(size, Image.BICUBIC))
    drawn = shown
    if len(scores):
        # The best last, on top of the others.
        order = scores.argsort(kind='stable')
        drawn = _with_instances(
            shown, boxes_xyxy[order] * (size[0] / image.shape[1]), labels[order],
            None if masks is None else masks[order], colors,
            [f'{classes[label]} {score:.2f}' for label, score in zip(
                labels[order].tolist(), scores[order].tolist(), strict=True)])
    counts = Counter(labels.tolist()).most_common()
    legend = [(colors[label].tolist(), f'{classes[label]}  {count}')
              for label, count in counts[:_NAMED]]
    rest = sum(count for _, count in counts[_NAMED:])
    legend += [(None, f'{rest} of other classes')] if rest else []
    return image_sheet([SheetRow([shown, drawn], title, legend or [
        (None, 'nothing found')])], width)


def _with_instances(image: np.ndarray, boxes: np.ndarray, labels: np.ndarray,
                    masks: np.ndarray | None, colors: np.ndarray, texts: list[str]
                    ) -> np.ndarray:
    shades = [tuple(color) for color in colors[labels].tolist()]
    pen = _visualizer()
    pen.set_image(image)
    if masks is not None:
        pen.draw_binary_masks(np.stack([
            np.asarray(Image.fromarray(mask).resize(image.shape[1::-1]))
            for mask in masks]), colors=shades, alphas=0.4)
    pen.draw_bboxes(boxes, edge_colors=shades, line_widths=2)
    # mmdet's own visualizer has two sizes of letters, one of them too small to read.
    # Names at the right edge would be cut: they end with their box, or the image.
    ends = boxes[:, 0] > 0.6 * image.shape[1]
    corners = np.column_stack([
        np.where(ends, boxes[:, 2].clip(max=image.shape[1]) - 3, boxes[:, 0] + 3),
        boxes[:, 1] + 3])
    pen.draw_texts(
        texts, corners, font_sizes=11,
        horizontal_alignments=['right' if end else 'left' for end in ends.tolist()],
        colors=[text_color(shade) for shade in shades],
        bboxes=[dict(facecolor=tuple(value / 255 for value in shade), alpha=0.9,
                     pad=1.5, edgecolor='none') for shade in shades])
    return pen.get_image()


@cache
def _visualizer() -> Visualizer:
    # mmengine keeps its visualizers by name.
    return Visualizer(name=f'inferencer-{uuid.uuid4()}')
