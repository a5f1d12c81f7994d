"""Evaluate features by video label propagation on DAVIS."""
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ....datasets.image_files import read_image, read_turned
from ....datasets.label_maps import check_turn
from ....datasets.labeled_images import evenly_spaced
from ....datasets.video_clips import ClipFiles, list_clips, read_ids, write_ids
from ....datasets.workers import seed_worker
from ....evaluation.features import FrozenBackbone, network_input
from ....evaluation.label_propagation import propagate_labels
from ....evaluation.video_scores import score_clip
from ....io.folders import mark_output, save_output_image
from ....progress import run_bars
from ....visualization.video_sheet import video_sheet
from .backbones import BackboneChoice
from .results import evaluate

VOID = 255
_SHOWN = 4


def evaluate_videos(choice: BackboneChoice, data: str, split: str = 'val',
                    size: int | None = None, context: int = 7, radius: int | None = 12,
                    topk: int = 5, temperature: float = 0.1,
                    max_clips: int | None = None, masks_out: str | None = None,
                    sheet: str | None = None, workers: int = 2,
                    baseline: str | None = None, out: str | None = None,
                    progress: bool = True) -> dict:
    """Carry the masks of first frames through clips, and score them as DAVIS does.

    Args:
        choice: The backbone.
        data, split: See :func:`~mmcontrast.datasets.video_clips.list_clips`.
        size: Short side of the frames in pixels; their own if None.
        context, radius, topk, temperature: See
            :func:`~mmcontrast.evaluation.label_propagation.propagate_labels`.
        max_clips: Maximum number of clips, evenly spread.
        masks_out: Folder for the masks found, ``CLIP/*.png``, as DAVIS' own evaluation
            reads them (those of the baseline are not written).
        sheet: File for a sheet of some clips.
        workers, baseline, out: See :func:`~.images.evaluate_images`.

    Returns:
        See :func:`~.results.evaluate`; scores are means over all objects of all
        clips.
    """
    clips = list_clips(data, split)
    clips = [clips[i] for i in evenly_spaced(len(clips), max_clips)]
    shown = {clips[i].name for i in evenly_spaced(len(clips), min(_SHOWN, len(clips)))}
    keep = dict(masks_out=masks_out, sheet=sheet)

    def measure(backbone: FrozenBackbone) -> dict:
        # The first backbone is the one that was asked for.
        files, keep_now = dict(keep), shown if keep['sheet'] else ()
        keep.update(masks_out=None, sheet=None)
        objects, rows = {}, []
        frames = iter(DataLoader(
            _Frames(clips, size, backbone.multiple), batch_size=None,
            num_workers=workers, worker_init_fn=seed_worker if workers else None))
        with run_bars(progress) as bar:
            for clip in bar.track(clips, description='clips'):
                maps = _maps(backbone, islice(frames, len(clip.frames)))
                truth, palette = _masks(clip)
                found = follow(maps, truth[0], context, radius, topk, temperature)
                scores = score_clip(found, truth, VOID)
                objects |= {f'{clip.name}/{i}': score for i, score in scores.items()}
                if files['masks_out']:
                    _write(Path(files['masks_out'], clip.name), clip, found, palette)
                if clip.name in keep_now:
                    rows.append((clip, truth, found))
        if rows:
            save_output_image(video_sheet(rows), files['sheet'])
        return dict(scores=_means(objects), objects=objects)

    settings = dict(
        data=str(data), splits={split: len(clips)}, size=size, context=context,
        radius=radius, topk=topk, temperature=temperature, masks_out=masks_out)
    return evaluate('propagate', choice, settings, measure, baseline, out)


def follow(maps: Iterable[Tensor], first: np.ndarray, context: int, radius: int | None,
           topk: int, temperature: float) -> np.ndarray:
    """Ids of every frame from those of the first.

    The labels of a cell are the shares of its pixels; found labels are upsampled
    bilinearly to the frame, and each pixel takes the greatest.

    Args:
        maps: (C, h, w) of each frame.
        first: (H, W) ids, 0 for none; 255 counts as none.

    Returns:
        (T, H, W) uint8.
    """
    ids = np.unique(np.where(first == VOID, 0, first))
    ids = np.union1d([0], ids).astype(np.uint8)
    maps = iter(maps)
    start = next(maps)
    pixels = torch.from_numpy(np.where(first == VOID, 0, first).astype(np.int64))
    one_hot = (pixels.to(start.device) == torch.from_numpy(ids).to(
        start.device, torch.int64)[:, None, None]).float()
    cells = F.adaptive_avg_pool2d(one_hot, start.shape[-2:])
    carried = propagate_labels(
        (m for part in ([start], maps) for m in part), cells, context, radius, topk,
        temperature)
    found = [F.interpolate(labels[None], first.shape, mode='bilinear')[0].argmax(0)
             .to(torch.uint8).cpu().numpy() for labels in carried]
    # The first frame is given.
    return np.stack([ids[one_hot.argmax(0).cpu().numpy()],
                     *(ids[labels] for labels in found[1:])])


class _Frames(Dataset):
    """Frames of all clips in turn, as the network takes them."""

    def __init__(self, clips: Sequence[ClipFiles], size: int | None, multiple: int
                 ) -> None:
        self.paths = [path for clip in clips for path in clip.frames]
        self.size, self.multiple = size, multiple

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return network_input(
            read_image(str(self.paths[index])), self.size, self.multiple)


def _maps(backbone: FrozenBackbone, frames: Iterable[Tensor]) -> Iterator[Tensor]:
    """The map of each frame, computed in batches."""
    frames = iter(frames)
    while batch := list(islice(frames, backbone.batch_size)):
        yield from backbone(torch.stack(batch))


def _masks(clip: ClipFiles) -> tuple[np.ndarray, list[int] | None]:
    """(T, H, W) ids of a clip, and the palette of its first mask."""
    read = [read_ids(path) for path in clip.masks]
    ids = [mask for mask, _ in read]
    image, turn = read_turned(str(clip.frames[0]))
    check_turn(clip.frames[0], turn, image.size, clip.masks[0], ids[0].shape[::-1])
    if len({mask.shape for mask in ids}) > 1:
        raise ValueError(f'{clip.masks[0].parent}: the masks of a clip must be of one '
                         f'size, found {sorted({mask.shape for mask in ids})}.')
    return np.stack(ids), read[0][1]


def _write(folder: Path, clip: ClipFiles, found: np.ndarray,
           palette: Sequence[int] | None) -> None:
    for path, ids in zip(clip.masks, found, strict=True):
        write_ids(folder / path.name, ids, palette)
        mark_output(folder / path.name)


def _means(objects: dict[str, dict]) -> dict[str, float]:
    """J&F and its parts, averaged over objects."""
    if not objects:
        raise ValueError('no clip has an object in its first frame.')
    means = {f'{measure} {kind}': float(np.mean(
        [score[measure][kind] for score in objects.values()]))
        for measure in ('J', 'F') for kind in ('mean', 'recall', 'decay')}
    return {'J&F': (means['J mean'] + means['F mean']) / 2} | means
