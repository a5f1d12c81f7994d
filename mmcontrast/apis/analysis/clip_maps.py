"""Score how well the pixel-text maps of a CLIP locate and name objects."""
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...datasets.shapes import HELD_OUT_COMBINATIONS, Scene, draw_scene, scene_seed
from ...datasets.shapes.questions import PAIR_TEXTS, is_clearly_visible
from ...datasets.shapes.vocabulary import COMBINATIONS
from ...models.clip_weights import open_clip
from ...models.functional import l2_normalize
from ...models.text import tokenize
from ...progress import track
from ..loading import load_clip

PAIRS = COMBINATIONS['all']


def score_clip_maps(weights: str, split: str = 'val', num_scenes: int = 200,
                    size: int = 256, progress: bool = True) -> dict[str, dict]:
    """Point at objects of the toy world by text, and name them by their pixels.

    For every plainly visible object that no other of its scene shares color and shape
    with, the map of its text ('a red star') is made by cosines at every cell, upsampled
    bilinearly to the scene. *Pointing*: the map's peak lies in the object's box.
    *Naming*: of all 64 pairs, the object's own has the highest mean over its pixels.

    Args:
        weights: What ``tools/convert/export_clip.py`` wrote; the ``.json`` of its
            sizes lies beside it.
        split: Scenes of 'train', 'val' or 'test', with all pairs.
        num_scenes: Number of them.
        size: Side of the images in pixels.

    Returns:
        Map (``attention``: DenseCLIP's, all cells as queries; ``value``: each cell's
        own value, without attention) and group (``seen``, ``held_out``), as
        'attention/seen', to ``objects``, ``pointing``, ``pointing_chance`` (mean share
        of the boxes), ``naming`` and ``naming_chance``, in per cent.

    Raises:
        FileNotFoundError: If the weights or their sizes are missing.
    """
    tower, encoder, sizes = load_clip(weights)
    with torch.no_grad():
        texts = l2_normalize(encoder(tokenize(
            PAIR_TEXTS, sizes['text_cfg']['context_length'])), dim=1)
    found = defaultdict(list)
    for i in track(range(num_scenes), 'scenes', progress):
        scene = draw_scene(scene_seed(split, i), size)
        for name, scores in _score_maps(tower, texts, scene).items():
            for group, row in _judged(scores, scene):
                found[f'{name}/{group}'].append(row)
    return {name: _summary(np.array(rows)) for name, rows in sorted(found.items())}


def maps_table(result: dict[str, dict]) -> str:
    """The rows of :func:`score_clip_maps` as text."""
    lines = [f'{"in %":20}{"objects":>9}{"pointing":>10}{"chance":>8}{"naming":>9}'
             f'{"chance":>8}']
    lines += [
        f'{name:20}{row["objects"]:>9}{row["pointing"]:>10.1f}'
        f'{row["pointing_chance"]:>8.1f}{row["naming"]:>9.1f}'
        f'{row["naming_chance"]:>8.1f}' for name, row in result.items()]
    return '\n'.join(lines)


@torch.no_grad()
def _score_maps(tower: nn.Module, texts: Tensor, scene: Scene) -> dict[str, Tensor]:
    """(64, S, S) cosines of a scene's pixels with all pairs, for both maps."""
    mean, std = (torch.tensor(value) for value in (
        open_clip().OPENAI_DATASET_MEAN, open_clip().OPENAI_DATASET_STD))
    image = ((torch.from_numpy(scene.image) / 255 - mean) / std).permute(2, 0, 1)[None]
    *stages, (_, attended) = tower(image)
    pool = tower.attnpool
    tokens = stages[-1].flatten(2).mT
    height, width = attended.shape[-2:]
    tokens = tokens + pool.positions(height, width)[1:]
    values = pool.c_proj(pool.v_proj(tokens)).mT.unflatten(2, (height, width))
    scores = {}
    for name, features in (('attention', attended), ('value', values)):
        cosines = torch.einsum('chw,kc->khw', F.normalize(features, dim=1)[0], texts)
        scores[name] = F.interpolate(
            cosines[None], size=(scene.size, scene.size), mode='bilinear')[0]
    return scores


def _judged(scores: Tensor, scene: Scene) -> Iterator[tuple[str, tuple]]:
    """Group, and (pointed, chance of it, named), of each object that is asked for."""
    pairs = [(thing.color, thing.shape) for thing in scene.objects]
    for thing, mask, pair in zip(scene.objects, scene.masks, pairs, strict=True):
        if pairs.count(pair) > 1 or not is_clearly_visible(thing, scene.size):
            continue
        label = PAIRS.index(pair)
        row, column = divmod(int(scores[label].argmax()), scene.size)
        left, top, right, bottom = thing.box_xyxy
        share = (right - left) * (bottom - top) / scene.size ** 2
        means = scores[:, torch.from_numpy(mask)].mean(1)
        yield ('held_out' if pair in HELD_OUT_COMBINATIONS else 'seen', (
            left <= column < right and top <= row < bottom, share,
            int(means.argmax()) == label))


def _summary(rows: np.ndarray) -> dict:
    pointing, chance, naming = (100 * rows.astype(float).mean(0)).tolist()
    return dict(objects=len(rows), pointing=pointing, pointing_chance=chance,
                naming=naming, naming_chance=100 / len(PAIRS))
