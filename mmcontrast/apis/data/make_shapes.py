"""Write the toy world to disk in one or several annotation formats."""
import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

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
# Layouts that write the same images, or the same list of objects (meta_SPLIT.json).
_SHARING = (('coco', 'combinations', 'panoptic', 'refcoco', 'csv'), ('video', 'davis'))


def make_shapes(out: str | Path, layouts: Sequence[str] = ('coco',), train: int = 200,
                val: int = 50, test: int = 0, size: int = 128, seed_offset: int = 0,
                train_combinations: str = 'all', eval_combinations: str = 'all',
                num_frames: int = 8, overwrite: bool = False, progress: bool = True
                ) -> Path:
    """Write scenes (and clips, for 'video' and 'davis') in one or several layouts.

    A second call adds its layouts to those of the folder, and scenes to a layout that
    holds fewer. What is there already is not written again, and nothing is removed.

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
        overwrite: Replace all that earlier calls wrote there. Nothing else is removed:
            a folder that this function did not write raises an error.
        progress: Show a progress bar.

    Returns:
        The folder.

    Raises:
        ValueError: If an argument is out of range.
        FileExistsError: If the folder is not empty and was not written by this
            function, or holds other scenes under the same names: of another size,
            say.
    """
    out, counts = Path(out), dict(zip(SPLITS, (train, val, test), strict=True))
    _check(layouts, counts, seed_offset)
    # Raises for a bad size, name or frame count before anything is removed.
    for combinations in (train_combinations, eval_combinations):
        draw_clip(0, num_frames, size, combinations=combinations)
    _check_folder(out)
    if overwrite:
        _clear(out)
    asked = {split: dict(
        count=count, size=size, seed_offset=seed_offset, num_frames=num_frames,
        combinations=train_combinations if split == 'train' else eval_combinations)
        for split, count in counts.items() if count}
    there = {} if overwrite else _read_manifest(out)
    wanted = {name: _merged(out, name, asked, there) for name in layouts}
    if all(there.get(name) == wanted[name] for name in layouts):
        return out
    out.mkdir(parents=True, exist_ok=True)
    begun = {name: {split: {**scenes, 'complete': False} for split, scenes in
                    splits.items()} for name, splits in wanted.items()}
    write_json(out / MANIFEST, dict(layouts={**there, **begun}))
    with progress_bar(progress) as bar:
        for split, scenes in asked.items():
            numbers = {
                name: splits[split]['count'] for name, splits in wanted.items()
                if splits[split] != there.get(name, {}).get(split)}
            _write_split(out, split, numbers, scenes, bar)
    write_json(out / MANIFEST, dict(layouts={**there, **wanted}))
    return out


def _write_split(out: Path, split: str, numbers: dict[str, int], scenes: dict[str, Any],
                 bar: Progress) -> None:
    """Write a split of the layouts, each with its number of scenes or clips."""
    look = dict(size=scenes['size'], combinations=scenes['combinations'])
    for kinds, what, draw in (
            (SCENE_LAYOUTS, 'scenes', partial(draw_scene, **look)),
            (CLIP_LAYOUTS, 'clips', partial(
                draw_clip, frames=scenes['num_frames'], **look))):
        writers = [(kinds[name](out, split), number)
                   for name, number in numbers.items() if name in kinds]
        if not writers:
            continue
        total = max(number for _, number in writers)
        for i in bar.track(range(total), description=f'{split} {what}'):
            drawn = draw(scene_seed(split, i + scenes['seed_offset']))
            for writer, number in writers:
                if i < number:
                    writer.add(f'{i:06d}', drawn)
        for writer, _ in writers:
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


def _check_folder(out: Path) -> None:
    if out.is_file():
        raise FileExistsError(f'{out} is a file; give the name of a folder.')
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise FileExistsError(
            f'{out} is not empty and was not written by make_shapes (it has no '
            f'{MANIFEST}); give another folder.')


def _clear(out: Path) -> None:
    """Remove what earlier calls wrote, and nothing that somebody else put there."""
    for name in (*_OUTPUTS, MANIFEST):
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        else:
            (out / name).unlink(missing_ok=True)


def _read_manifest(out: Path) -> dict[str, dict]:
    """The scenes of a folder: {layout: {split: count, size, ..., complete}}."""
    if not (out / MANIFEST).is_file():
        return {}
    try:
        found = json.loads((out / MANIFEST).read_text())
        layouts = found['layouts']
    except (KeyError, TypeError, ValueError) as error:
        raise FileExistsError(
            f'{out / MANIFEST} is damaged, or was not written by make_shapes. Give '
            'another folder, or --overwrite (overwrite=True) to replace what '
            'make_shapes wrote there.') from error
    if isinstance(layouts, dict):
        return layouts
    # Formerly one call a folder, its arguments side by side.
    scenes = {split: dict(
        count=found[split], size=found['size'], seed_offset=found['seed_offset'],
        num_frames=found['num_frames'], complete=found['complete'],
        combinations=found[f'{"train" if split == "train" else "eval"}_combinations'])
        for split in SPLITS if found[split]}
    return dict.fromkeys(found['layouts'], scenes)


def _merged(out: Path, name: str, asked: dict[str, dict], there: dict[str, dict]
            ) -> dict[str, dict]:
    """What the layout will hold: its scenes and those asked for, which must fit."""
    merged = dict(there.get(name, {}))
    sharing = {name, *(other for group in _SHARING if name in group for other in group)}
    for split, scenes in asked.items():
        counts = [scenes['count']]
        for other in sharing & there.keys():
            held = there[other].get(split, scenes)
            _check_same(out, f'{split} scenes of layout {other!r}', scenes, held, name)
            # The list of objects must hold the clips of both layouts.
            if other == name or name in CLIP_LAYOUTS:
                counts.append(held['count'])
        merged[split] = {**scenes, 'count': max(counts), 'complete': True}
    return merged


def _check_same(out: Path, what: str, asked: dict, held: dict, name: str) -> None:
    keys = ['size', 'seed_offset', 'combinations']
    if name in CLIP_LAYOUTS:
        keys.append('num_frames')
    for key in keys:
        if asked[key] != held[key]:
            raise FileExistsError(
                f'{out} holds {what} with {key}={held[key]}, and {key}={asked[key]} is '
                'asked for, under the same file names. Give another folder, or '
                '--overwrite (overwrite=True) to replace everything that make_shapes '
                'wrote there.')
