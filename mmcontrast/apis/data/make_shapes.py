"""Write the toy world to disk in one or several annotation formats."""
import shutil
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from ...datasets.shapes import SPLITS, draw_clip, draw_scene, scene_seed
from ...datasets.shapes.layout_files import write_json
from ...datasets.shapes.layouts import CLIP_LAYOUTS, LAYOUTS, SCENE_LAYOUTS
from ...progress import progress_bar

MANIFEST = 'shapes.json'
_OUTPUTS = (
    'images', 'annotations', 'img_dir', 'ann_dir', 'ann_dir_things', 'ann_dir_pairs',
    'by_shape', 'JPEGImages', 'Annotations', 'ImageSets', 'classes.json',
    'pair_classes.txt', 'combination_classes.txt', 'base_classes.txt',
    'novel_classes.txt', 'shards', *(f'meta_{split}.json' for split in SPLITS),
    *(f'captions_{split}.csv' for split in SPLITS))


def make_shapes(out: str | Path, layouts: Sequence[str] = ('coco',), train: int = 200,
                val: int = 50, test: int = 0, size: int = 128, seed_offset: int = 0,
                train_combinations: str = 'all', eval_combinations: str = 'all',
                num_frames: int = 8, overwrite: bool = False, progress: bool = True
                ) -> Path:
    """Write scenes (and clips, for 'video' and 'davis') in one or several layouts.

    Args:
        out: Folder, created if missing. All layouts share it; 'coco', 'combinations',
            'panoptic', 'refcoco' and 'csv' also share their images.
        layouts: Some of 'coco', 'combinations', 'panoptic', 'mmseg', 'refcoco',
            'classes', 'csv', 'shards', 'video', 'davis'.
        train, val, test: Number of scenes (and of clips) of each split.
        size: Side of the images in pixels.
        seed_offset: Skip this many scenes of each split.
        train_combinations: Color-shape pairs of the training split: 'all', 'seen' or
            'held_out'.
        eval_combinations: The same for val and test.
        num_frames: Frames per clip.
        overwrite: Replace what an earlier call wrote there. Nothing else is removed: a
            folder that this function did not write raises an error.
        progress: Show a progress bar.

    Returns:
        The folder.

    Raises:
        ValueError: If an argument is out of range.
        FileExistsError: If the folder is not empty and may not be replaced.
    """
    out, counts = Path(out), dict(zip(SPLITS, (train, val, test), strict=True))
    _check(layouts, counts, seed_offset)
    # Raises for a bad size, name or frame count before anything is removed.
    for combinations in (train_combinations, eval_combinations):
        draw_clip(0, num_frames, size, combinations=combinations)
    _clear(out, overwrite)
    manifest = dict(
        layouts=list(layouts), **counts, size=size, seed_offset=seed_offset,
        train_combinations=train_combinations, eval_combinations=eval_combinations,
        num_frames=num_frames)
    write_json(out / MANIFEST, {**manifest, 'complete': False})
    with progress_bar(progress) as bar:
        for split, count in counts.items():
            combinations = (
                train_combinations if split == 'train' else eval_combinations)
            seeds = {f'{i:06d}': scene_seed(split, i + seed_offset)
                     for i in range(count)}
            _write_scenes(out, split, layouts, seeds, bar, size, combinations)
            _write_clips(
                out, split, layouts, seeds, bar, size, combinations, num_frames)
    write_json(out / MANIFEST, {**manifest, 'complete': True})
    return out


def _write_scenes(out: Path, split: str, layouts: Sequence[str], seeds: dict[str, int],
                  bar: Progress, size: int, combinations: str) -> None:
    writers = [SCENE_LAYOUTS[name](out, split)
               for name in layouts if name in SCENE_LAYOUTS]
    if not writers or not seeds:
        return
    for name, seed in bar.track(seeds.items(), description=f'{split} scenes'):
        scene = draw_scene(seed, size, combinations=combinations)
        for writer in writers:
            writer.add(name, scene)
    for writer in writers:
        writer.finish()


def _write_clips(out: Path, split: str, layouts: Sequence[str], seeds: dict[str, int],
                 bar: Progress, size: int, combinations: str, num_frames: int) -> None:
    writers = [CLIP_LAYOUTS[name](out, split)
               for name in layouts if name in CLIP_LAYOUTS]
    if not writers or not seeds:
        return
    for name, seed in bar.track(seeds.items(), description=f'{split} clips'):
        clip = draw_clip(seed, num_frames, size, combinations=combinations)
        for writer in writers:
            writer.add(name, clip)
    for writer in writers:
        writer.finish()


def _check(layouts: Sequence[str], counts: dict[str, int], seed_offset: int) -> None:
    unknown = sorted(set(layouts) - set(LAYOUTS))
    if unknown or not layouts:
        raise ValueError(
            f'layouts must be some of {list(LAYOUTS)}, got {unknown or "none"}.')
    if min(counts.values()) < 0 or not any(counts.values()):
        raise ValueError(
            f'train, val and test must be 0 or more and not all 0, got {counts}.')
    if seed_offset < 0:
        raise ValueError(f'seed_offset must be 0 or more, got {seed_offset}.')


def _clear(out: Path, overwrite: bool) -> None:
    """Make the folder ready, and remove nothing that somebody else put there."""
    if out.is_file():
        raise FileExistsError(f'{out} is a file; give the name of a folder.')
    if out.is_dir() and any(out.iterdir()):
        if not (out / MANIFEST).is_file():
            raise FileExistsError(
                f'{out} is not empty and was not written by make_shapes (it has no '
                f'{MANIFEST}); give another folder.')
        if not overwrite:
            raise FileExistsError(
                f'{out} holds scenes already; give another folder, or --overwrite '
                f'(overwrite=True) to replace them.')
        for name in _OUTPUTS:
            if (out / name).is_dir():
                shutil.rmtree(out / name)
            else:
                (out / name).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
