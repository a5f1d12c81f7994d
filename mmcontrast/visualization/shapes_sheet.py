"""Draw a sheet of toy-world samples with their annotations."""
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from ..datasets.shapes import (
    CLASSES,
    PALETTE,
    Placement,
    Scene,
    draw_clip,
    draw_placement,
    draw_scene,
    scene_seed,
)
from ..io.folders import save_output_image

_COLUMNS = 6
_INSTANCE_COLORS = np.array(
    [(0, 0, 0), (230, 60, 60), (70, 160, 250), (250, 210, 60), (90, 200, 110),
     (200, 110, 230), (250, 150, 60)])
_SMALL = dict(fontsize=7.5, color='#333333', linespacing=1.35)


def save_sheet(path: str | Path, seed_offset: int = 0, num_scenes: int = 3) -> Path:
    """Draw scenes, a clip and a placement pair, and write them as one PNG.

    Args:
        path: File to write; its folder is made if missing.
        seed_offset: Index of the first scene in the validation split.
        num_scenes: Rows of scenes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(9.6, 1.75 * (num_scenes + 2) + 0.5), dpi=100)
    axes = figure.subplots(
        num_scenes + 2, _COLUMNS,
        gridspec_kw=dict(left=.005, right=.995, top=.96, bottom=.035, wspace=.03,
                         hspace=.1))
    for axis in axes.flat:
        axis.set_axis_off()
    seeds = [scene_seed('val', seed_offset + i) for i in range(num_scenes + 2)]
    for row, seed in zip(axes[:-2], seeds[:-2], strict=True):
        _scene_row(row, draw_scene(seed))
    _clip_row(axes[-2], seeds[-2])
    _placement_row(axes[-1], draw_placement(seeds[-1]))
    for axis, title in zip(axes[0], ('image', 'boxes', 'semantic', 'instances', 'texts'
                                     ), strict=False):
        axis.set_title(title, fontsize=9, loc='left')
    _legend(figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    rgb = np.asarray(canvas.buffer_rgba())[..., :3]
    # Noise hardly compresses: a palette shrinks the file to a third.
    save_output_image(Image.fromarray(rgb).quantize(256), path, optimize=True)
    return path


def _scene_row(row: np.ndarray, scene: Scene) -> None:
    row[0].imshow(scene.image)
    row[1].imshow(scene.image)
    for thing in scene.objects:
        style = _label_style(thing.label, pad=.6)
        _box(row[1], thing.box_xyxy, style['bbox']['facecolor'])
        row[1].text(thing.box_xyxy[0] + 1, thing.box_xyxy[1] - 1.5, thing.shape,
                    fontsize=6.5, va='bottom', clip_on=True, **style)
    row[2].imshow(np.array(PALETTE, np.uint8)[scene.semantic_map])
    row[3].imshow(_tinted(scene))
    _numbers(row[3], scene)
    lines = [scene.captions[0], '']
    for expression in scene.referring[-5:]:
        targets = ', '.join(str(i + 1) for i in expression.targets) or 'none'
        lines.append(f'{expression.text} \N{RIGHTWARDS ARROW} {targets}')
    wrapped = [part for line in lines for part in textwrap.wrap(line, 50) or ['']]
    row[4].text(0.03, 0.99, '\n'.join(wrapped), va='top',
                transform=row[4].transAxes, **_SMALL)


def _tinted(scene: Scene) -> np.ndarray:
    """The image in gray, its objects in the colors of their ids."""
    gray = scene.image.mean(axis=2, keepdims=True)
    tint = _INSTANCE_COLORS[scene.instance_map % len(_INSTANCE_COLORS)]
    shown = np.where(scene.instance_map[..., None] > 0, 0.35 * gray + 0.65 * tint, gray)
    return shown.astype(np.uint8)


def _clip_row(row: np.ndarray, seed: int) -> None:
    frames = draw_clip(seed, 2 * _COLUMNS).frames[::2]
    for time, (axis, frame) in enumerate(zip(row, frames, strict=True)):
        axis.imshow(frame.image)
        _numbers(axis, frame)
        axis.set_title(f'clip, frame {2 * time}', fontsize=8, loc='left', pad=2)


def _placement_row(row: np.ndarray, placement: Placement) -> None:
    background = placement.background.image
    row[0].imshow(background)
    row[1].imshow(_on_white(placement.cutout, len(background)))
    row[2].imshow(placement.scene.image)
    _box(row[2], placement.box_xyxy, 'white')
    for axis, boxes, color in ((row[3], placement.positives, '#35d04f'),
                               (row[4], placement.negatives, '#ff4040')):
        axis.imshow(background)
        for box in boxes:
            _box(axis, box, color)
    row[5].imshow(placement.compose(placement.negatives[0]))
    titles = ('placement: background', 'cut-out', 'where it stands', 'plausible',
              'implausible', 'composed implausibly')
    for axis, title in zip(row, titles, strict=True):
        axis.set_title(title, fontsize=8, loc='left', pad=2)


def _on_white(cutout: np.ndarray, size: int) -> np.ndarray:
    shown = np.full((size, size, 3), 255, np.uint8)
    height, width = cutout.shape[:2]
    top, left = (size - height) // 2, (size - width) // 2
    share = cutout[..., 3:] / 255
    shown[top:top + height, left:left + width] = (
        share * cutout[..., :3] + (1 - share) * 255)
    return shown


def _numbers(axis: Axes, scene: Scene) -> None:
    for i, thing in enumerate(scene.objects):
        if thing.area:
            x, y = thing.center_xy
            axis.text(x, y, str(i + 1), fontsize=7, ha='center', va='center',
                      weight='bold', color='white', clip_on=True,
                      bbox=dict(facecolor='#00000099', edgecolor='none', pad=.8))


def _box(axis: Axes, box_xyxy: tuple[float, ...], color) -> None:
    left, top, right, bottom = box_xyxy
    # imshow puts the center of the first pixel at 0.
    axis.add_patch(Rectangle((left - .5, top - .5), right - left, bottom - top,
                             fill=False, edgecolor=color, linewidth=1.3))


def _legend(figure: Figure) -> None:
    step = 1 / len(CLASSES)
    for label, name in enumerate(CLASSES):
        figure.text((label + .5) * step, .014, name, ha='center', va='center',
                    fontsize=8, weight='bold', **_label_style(label, pad=2.5))


def _label_style(label: int, pad: float) -> dict:
    """The class color behind a label, and a text color readable on it."""
    color = np.array(PALETTE[label]) / 255
    return dict(color='black' if color @ (.3, .6, .1) > .6 else 'white',
                bbox=dict(facecolor=color, edgecolor='none', pad=pad))
