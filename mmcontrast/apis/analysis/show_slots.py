"""Pictures of slots: the images that show each one best, and who wins which pixel."""
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as tvf

from ...datasets.bad_images import BadImage
from ...datasets.transforms.loading import read_image
from ...datasets.workers import seed_worker
from ...evaluation.features import network_input
from ...methods.slotcon.drawing import SlotRow, draw_nearest, mark_region
from ...methods.slotcon.retrieval import SlotSurvey
from ...methods.slotcon.score_maps import slot_scores
from ...models.upsampling import upsampled_argmax
from ...visualization.label_maps import draw_label_maps, label_colors
from .feature_maps import find_images
from .slots import load_slot_model

_SLOTS_A_SHEET = 12


@dataclass(frozen=True)
class SlotImages:
    """What :func:`show_slots` found and wrote.

    Attributes:
        files: The pictures and ``slots.json``.
        survey: Usage and nearest images of all slots.
        notes: Sentences on what was left out.
    """

    files: list[Path]
    survey: SlotSurvey
    notes: list[str]


def show_slots(config: str, checkpoint: str, images: Sequence[str],
               out: str = 'work_dirs/slots', top: int = 5, max_slots: int = 48,
               overlay: int = 8, max_images: int | None = None, resize: int = 256,
               crop: int = 224, branch: str = 'momentum', batch_size: int = 32,
               workers: int = 2, device: str = 'cpu', progress: bool = True
               ) -> SlotImages:
    """Draw the nearest images of each slot, and the slots of some images.

    Every image passes the network once; only figures are kept of it, and those that
    are drawn pass again.

    Args:
        config: Config of a method with slots.
        checkpoint: A checkpoint of its training.
        images: Image files and folders of them.
        out: Folder for ``nearest_*.png`` (slots by usage), ``overlays.png`` and
            ``slots.json``.
        top: Images to show of each slot.
        max_slots: Most slots to show; those that win no cell are never shown.
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
    for name, value in dict(top=top, max_slots=max_slots, crop=crop).items():
        if value < 1:
            raise ValueError(f'{name} must be 1 or more, got {value}.')
    if resize < crop:
        raise ValueError(f'resize ({resize}) must not be smaller than crop ({crop}).')
    paths = find_images(images, max_images)
    model, note = load_slot_model(config, checkpoint, branch, device=device)
    crops = CenterCroppedImages(paths, resize, crop)
    survey, bad = _survey(model, crops, top, branch, batch_size, workers, progress)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    files = _draw_nearest(model, crops, survey, max_slots, branch, out, progress)
    if overlay > 0:
        good = [path for path in paths if path not in bad]
        files += [_draw_label_maps(model, find_images(good, overlay), resize, branch,
                                 out / 'overlays.png', Path(checkpoint).name)]
    files += [_write_summary(survey, paths, out / 'slots.json')]
    notes = [note] if note else []
    if bad:
        notes.append(f'{len(bad)} of {len(paths)} images could not be read and were '
                     f'left out, first {bad[0]}.')
    return SlotImages(files, survey, notes)


class CenterCroppedImages(Dataset):
    """Images for retrieval: short side ``resize``, then the middle ``crop`` x ``crop``.

    An item is a (3, crop, crop) uint8 RGB tensor, or None if the file is no image.
    """

    def __init__(self, paths: Sequence[str], resize: int, crop: int) -> None:
        self.paths, self.resize, self.crop = list(paths), resize, crop

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor | None:
        try:
            picture = read_image(self.paths[index])
        except BadImage:
            return None
        picture = tvf.center_crop(tvf.resize(picture, self.resize), self.crop)
        return tvf.pil_to_tensor(picture)


def _survey(model: nn.Module, crops: CenterCroppedImages, top: int, branch: str,
            batch_size: int, workers: int, progress: bool
            ) -> tuple[SlotSurvey, list[str]]:
    """Pass all images once.

    Returns:
        The figures, in which images count as in ``crops.paths``, and the paths of
        images that could not be read.
    """
    loader = DataLoader(crops, batch_size, num_workers=workers, collate_fn=list,
                        worker_init_fn=seed_worker if workers else None)
    survey, bad, first = None, [], 0
    for batch in track(loader, 'images', disable=not progress):
        numbers = [first + i for i, image in enumerate(batch) if image is not None]
        bad += [crops.paths[first + i] for i, x in enumerate(batch) if x is None]
        first += len(batch)
        if not numbers:
            continue
        found = slot_scores(model, torch.stack([x for x in batch if x is not None]),
                            branch)
        survey = survey or SlotSurvey(found.shape[1], top)
        survey.add(found, torch.tensor(numbers))
    if survey is None:
        raise ValueError(f'none of {len(crops)} images could be read, first {bad[0]}.')
    return survey, bad


def _draw_nearest(model: nn.Module, crops: CenterCroppedImages, survey: SlotSurvey,
                  max_slots: int, branch: str, out: Path, progress: bool) -> list[Path]:
    shown = survey.alive[:max_slots].tolist()
    sheets = [shown[i:i + _SLOTS_A_SHEET] for i in range(0, len(shown), _SLOTS_A_SHEET)]
    for old in out.glob('nearest_*.png'):
        old.unlink()  # an earlier call may have written more
    files, rank = [], 0
    for number, slots in enumerate(track(sheets, 'sheets', disable=not progress), 1):
        title = _title(survey, rank + 1, rank + len(slots))
        rank += len(slots)
        pictures = _marked(model, crops, survey, slots, branch)
        rows = [_row(survey, slot, pictures) for slot in slots]
        files.append(out / f'nearest_{number:02}.png')
        draw_nearest(rows, title).save(files[-1])
    return files


def _title(survey: SlotSurvey, first: int, last: int) -> str:
    alive, count = len(survey.alive), len(survey.cells)
    return (f'Slots by usage, {first} to {last} of {alive} in use ({count - alive} of '
            f'{count} never win)\nnearest of {survey.num_images} images; in '
            'color: where the slot wins; below: mean similarity there')


def _row(survey: SlotSurvey, slot: int, pictures: dict) -> SlotRow:
    share = 100 * survey.cells[slot].item() / survey.cells.sum().item()
    shown = 100 * survey.images[slot].item() / survey.num_images
    return SlotRow(
        slot, [f'{share:.1f} % of all cells' if share >= 0.1 else '<0.1 % of cells',
               f'in {shown:.0f} % of images'],
        [pictures[slot, image] for image in survey.nearest[slot].tolist()],
        [f'{score:.2f}' for score in survey.scores[slot].tolist()])


def _marked(model: nn.Module, crops: CenterCroppedImages, survey: SlotSurvey,
            slots: Sequence[int], branch: str) -> dict[tuple[int, int], np.ndarray]:
    """Nearest images of some slots with its pixels marked, by (slot, image)."""
    wanted: dict[int, list[int]] = {}
    for slot in slots:
        for image in survey.nearest[slot].tolist():
            wanted.setdefault(image, []).append(slot)
    pictures = {}
    for image, its_slots in wanted.items():
        pixels = crops[image]
        won = _winners(model, pixels, branch)
        picture = pixels.permute(1, 2, 0).numpy()
        for slot in its_slots:
            pictures[slot, image] = mark_region(picture, won == slot)
    return pictures


def _winners(model: nn.Module, pixels: Tensor, branch: str) -> np.ndarray:
    """(H, W) slots of one (3, H, W) image."""
    scores = slot_scores(model, pixels[None], branch)
    return upsampled_argmax(scores, pixels.shape[-2:])[0].cpu().numpy()


def _draw_label_maps(model: nn.Module, paths: Sequence[str], size: int, branch: str,
                   file: Path, title: str) -> Path:
    pixels = [network_input(read_image(path), size) for path in paths]
    maps = [_winners(model, image, branch) for image in pixels]
    used = np.bincount(np.concatenate([slots.ravel() for slots in maps]))
    order = np.argsort(-used, kind='stable')[:np.count_nonzero(used)].tolist()
    colors = label_colors({slot: rank for rank, slot in enumerate(order)}, len(used))
    draw_label_maps(
        [image.permute(1, 2, 0).numpy() for image in pixels], maps,
        [Path(path).name for path in paths], colors,
        title=f'{title}: {len(order)} slots in these images, a color each',
        called='slot {}'.format).save(file)
    return file


def _write_summary(survey: SlotSurvey, paths: Sequence[str], file: Path) -> Path:
    total = survey.cells.sum().item()
    slots = [dict(
        slot=slot, share_of_cells=survey.cells[slot].item() / total,
        images=survey.images[slot].item(),
        nearest=[paths[i] for i in survey.nearest[slot].tolist()],
        scores=survey.scores[slot].tolist()) for slot in survey.alive.tolist()]
    file.write_text(json.dumps(dict(
        num_slots=len(survey.cells), alive=len(slots), entropy=survey.entropy,
        num_images=survey.num_images, slots=slots), indent=1), encoding='utf-8')
    return file
