"""Draw what each slot stands for, and which slot takes which pixel."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ...datasets.center_crops import CenterCroppedImages
from ...io.folders import save_output_image
from ...progress import track
from ...registry import FUNCTIONS
from ...structures.protocols import SlotModel
from ...visualization.label_maps import draw_label_maps, label_colors
from ...visualization.sheet import truncate_left
from .evaluation import slot_labels
from .retrieval import SlotStatistics

_GAP, _LINE, _TEXT = 10, 20, 15
_INK, _PALE = (33, 37, 41), (110, 110, 110)
_SLOTS_A_SHEET = 12


@dataclass(frozen=True)
class SlotRow:
    """What :func:`draw_nearest` shows of one slot.

    Attributes:
        slot: Its number.
        lines: Lines of text under the number.
        images: (S, S, 3) uint8 images, best first.
        captions: One an image.
    """

    slot: int
    lines: Sequence[str]
    images: Sequence[np.ndarray]
    captions: Sequence[str]


@FUNCTIONS.register_module()
def write_slot_sheets(model: SlotModel, crops: CenterCroppedImages,
                      statistics: SlotStatistics, max_slots: int, branch: str,
                      out: Path, progress: bool = True) -> list[Path]:
    """Write ``nearest_*.png``: the nearest images of the slots in use, by usage.

    Args:
        crops: The images that the statistics are of, in their order.
        max_slots: Most slots to draw.
        out: Folder; sheets of an earlier call are removed.
    """
    shown = statistics.alive[:max_slots].tolist()
    sheets = [shown[i:i + _SLOTS_A_SHEET] for i in range(0, len(shown), _SLOTS_A_SHEET)]
    for old in out.glob('nearest_*.png'):
        old.unlink()
    files, rank = [], 0
    for number, slots in enumerate(track(sheets, 'sheets', progress), 1):
        title = _title(statistics, rank + 1, rank + len(slots))
        rank += len(slots)
        images = _marked(model, crops, statistics, slots, branch)
        rows = [_row(statistics, slot, images) for slot in slots]
        files.append(out / f'nearest_{number:02}.png')
        save_output_image(draw_nearest(rows, title), files[-1])
    return files


@FUNCTIONS.register_module()
def draw_slot_overlays(model: SlotModel, images: Sequence[Tensor], names: Sequence[str],
                       branch: str, title: str) -> Image.Image:
    """A sheet of images beside their slots, the most used ones in the clearest colors.

    Args:
        images: (3, H, W) uint8 each.
        names: Written below the images.
        title: Its first words.
    """
    maps = [slot_labels(model, image, branch) for image in images]
    used = np.bincount(np.concatenate([slots.ravel() for slots in maps]))
    order = np.argsort(-used, kind='stable')[:np.count_nonzero(used)].tolist()
    colors = label_colors({slot: rank for rank, slot in enumerate(order)}, len(used))
    return draw_label_maps(
        [image.permute(1, 2, 0).numpy() for image in images], maps, names, colors,
        title=f'{title}: {len(order)} slots in these images, a color each',
        called='slot {}'.format)


def mark_region(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An image whose masked pixels keep their colors while the rest turns pale.

    SlotCon's published images tint the region red instead, which hardly shows on some
    colors and hides those of the region.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool.
    """
    pale = (0.45 * image.mean(2, keepdims=True) + 0.5 * 255).astype(np.uint8)
    return np.where(mask[..., None], image, pale)


def draw_nearest(rows: Sequence[SlotRow], title: str, side: int = 160) -> Image.Image:
    """A sheet with a row a slot: the images that show it best.

    Args:
        title: Lines above the rows.
        side: Of an image, in pixels.
    """
    font = ImageFont.load_default(_TEXT)
    large = ImageFont.load_default(_TEXT + 5)
    columns = max(len(row.images) for row in rows)
    label = 30 + max(round(font.getlength(text)) for row in rows
                     for text in (f'slot {row.slot}xx', *row.lines))
    step, lines = side + _LINE + _GAP, title.split('\n')
    head = _LINE * len(lines) + _GAP
    width = max(label + columns * (side + _GAP) + _GAP,
                2 * _GAP + max(round(font.getlength(line)) for line in lines))
    sheet = Image.new('RGB', (width, head + _GAP + step * len(rows)), 'white')
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(lines):
        draw.text((_GAP, _GAP // 2 + i * _LINE), line, _INK, font)
    for number, row in enumerate(rows):
        top = head + _GAP + number * step
        draw.text((_GAP, top), f'slot {row.slot}', _INK, large)
        for i, line in enumerate(row.lines):
            draw.text((_GAP, top + 30 + i * _LINE), line, _PALE, font)
        for column, (image, caption) in enumerate(
                zip(row.images, row.captions, strict=True)):
            left = label + column * (side + _GAP)
            shown = Image.fromarray(image).resize((side, side), Image.BICUBIC)
            sheet.paste(shown, (left, top))
            draw.text((left, top + side + 1), truncate_left(caption, font, side), _PALE,
                      font)
    return sheet


def _title(statistics: SlotStatistics, first: int, last: int) -> str:
    alive, count = len(statistics.alive), len(statistics.cells)
    return (f'Slots by usage, {first} to {last} of {alive} in use ({count - alive} of '
            f'{count} never win)\nnearest of {statistics.num_images} images; in '
            'color: where the slot wins; below: mean similarity there')


def _row(statistics: SlotStatistics, slot: int, images: dict) -> SlotRow:
    share = 100 * statistics.cells[slot].item() / statistics.cells.sum().item()
    shown = 100 * statistics.images[slot].item() / statistics.num_images
    return SlotRow(
        slot, [f'{share:.1f} % of all cells' if share >= 0.1 else '<0.1 % of cells',
               f'in {shown:.0f} % of images'],
        [images[slot, number] for number in statistics.nearest[slot].tolist()],
        [f'{score:.2f}' for score in statistics.scores[slot].tolist()])


def _marked(model: SlotModel, crops: CenterCroppedImages, statistics: SlotStatistics,
            slots: Sequence[int], branch: str) -> dict[tuple[int, int], np.ndarray]:
    """Nearest images of some slots with its pixels marked, by (slot, image)."""
    wanted: dict[int, list[int]] = {}
    for slot in slots:
        for number in statistics.nearest[slot].tolist():
            wanted.setdefault(number, []).append(slot)
    marked = {}
    for number, its_slots in wanted.items():
        pixels = crops[number]
        won = slot_labels(model, pixels, branch)
        image = pixels.permute(1, 2, 0).numpy()
        for slot in its_slots:
            marked[slot, number] = mark_region(image, won == slot)
    return marked
