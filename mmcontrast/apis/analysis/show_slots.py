"""Draw the images that show each slot best, and the slots of some images."""
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...datasets.center_crops import CenterCroppedImages
from ...datasets.image_files import read_image
from ...evaluation.features import network_input
from ...io.folders import save_output_image
from ...registry import FUNCTIONS
from .feature_maps import find_images
from .slots import load_slot_model


@dataclass(frozen=True)
class SlotImages:
    """What :func:`show_slots` found and wrote.

    Attributes:
        files: The sheets and ``slots.json``.
        statistics: Usage and nearest images of all slots.
        notes: Sentences on what was left out.
    """

    files: list[Path]
    statistics: Any
    notes: list[str]


def show_slots(config: str, checkpoint: str, images: Sequence[str],
               out: str = 'work_dirs/slots', top: int = 5, max_slots: int = 48,
               overlay: int = 8, max_images: int | None = None, resize: int = 256,
               crop: int = 224, branch: str = 'momentum', batch_size: int = 32,
               workers: int = 2, device: str = 'cpu', progress: bool = True
               ) -> SlotImages:
    """Draw the nearest images of each slot, and the slots of some images.

    Every image passes the network once; only statistics are kept of it, and those
    that are drawn pass again.

    Args:
        config: Config of a method with slots.
        checkpoint: A checkpoint of its training.
        images: Image files and folders of them.
        out: Folder for ``nearest_*.png`` (slots by usage), ``overlays.png`` and
            ``slots.json``.
        top: Images to show of each slot.
        max_slots: Maximum number of slots to show; those that win no cell are never
            shown.
        overlay: Images to show with all of their slots, evenly spread.
        max_images: Use so many images, evenly spread; all if None.
        resize, crop: Short side of an image, and side of the square cut out of its
            middle, in pixels, for the nearest images. Larger ones give finer maps.
            Overlays show whole images with the short side ``resize``.
        branch: ``momentum`` (the teacher) or ``online``.
        workers: Processes that read images.

    Raises:
        FileNotFoundError: If a file or all images are missing.
        ValueError: If config or checkpoint have no slots, or a number is out of range.
    """
    side = 'the side of the crop'  # --size of the tool
    for name, value in {'top': top, 'max_slots': max_slots, side: crop}.items():
        if value < 1:
            raise ValueError(f'{name} must be 1 or more, got {value}.')
    if resize < crop:
        raise ValueError(
            f'resize ({resize}) must not be smaller than {side} ({crop}).')
    paths = find_images(images, max_images)
    model, note = load_slot_model(config, checkpoint, branch, device=device)
    crops = CenterCroppedImages(paths, resize, crop)
    statistics, bad = FUNCTIONS.get('slot_statistics')(
        model, crops, top, branch, batch_size, workers, progress)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    files = FUNCTIONS.get('write_slot_sheets')(
        model, crops, statistics, max_slots, branch, folder, progress)
    if overlay > 0:
        shown = find_images([path for path in paths if path not in bad], overlay)
        sheet = FUNCTIONS.get('draw_slot_overlays')(
            model, [network_input(read_image(path), resize) for path in shown],
            [Path(path).name for path in shown], branch, Path(checkpoint).name)
        files.append(folder / 'overlays.png')
        save_output_image(sheet, files[-1])
    files.append(folder / 'slots.json')
    files[-1].write_text(json.dumps(statistics.summary(paths), indent=1),
                         encoding='utf-8')
    notes = [note] if note else []
    if bad:
        notes.append(f'{len(bad)} of {len(paths)} images could not be read and were '
                     f'left out, first {bad[0]}.')
    return SlotImages(files, statistics, notes)
