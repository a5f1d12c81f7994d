"""Pointing and naming by pixel-text maps."""
import json

import pytest
import torch
from open_clip.model import CLIP

from mmcontrast.apis.analysis.clip_maps import _judged, maps_table, score_clip_maps
from mmcontrast.datasets.shapes import draw_scene, scene_seed
from mmcontrast.datasets.shapes.vocabulary import COMBINATIONS

PAIRS = COMBINATIONS['all']
TINY = dict(
    embed_dim=16, quick_gelu=True,
    vision_cfg=dict(image_size=64, layers=[1, 1, 1, 1], width=8, head_width=64),
    text_cfg=dict(context_length=12, vocab_size=49408, width=16, heads=2, layers=1))


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    torch.save(CLIP(**TINY).state_dict(), tmp_path / 'tiny.pt')
    (tmp_path / 'tiny.json').write_text(json.dumps(TINY))
    return str(tmp_path / 'tiny.pt')


def perfect_scores(scene):
    """The map of a pair is 1 where an object of it is seen."""
    scores = torch.zeros(len(PAIRS), scene.size, scene.size)
    for thing, mask in zip(scene.objects, scene.masks, strict=True):
        scores[PAIRS.index((thing.color, thing.shape))][torch.from_numpy(mask)] = 1
    return scores


def test_perfect_maps_point_and_name_always():
    rows = [row for i in range(8)
            for scene in [draw_scene(scene_seed('val', i))]
            for _, row in _judged(perfect_scores(scene), scene)]
    assert len(rows) > 20
    assert all(pointed and named for pointed, _, named in rows)
    assert all(0 < share < 0.5 for _, share, _ in rows)


def test_maps_of_the_next_pair_neither_point_nor_name():
    scene = draw_scene(scene_seed('val', 0))
    scores = perfect_scores(scene).roll(1, 0)
    pairs = [(thing.color, thing.shape) for thing in scene.objects]
    rows = [row for _, row in _judged(scores, scene)]
    assert rows and not any(PAIRS[PAIRS.index(pair) - 1] in pairs for pair in pairs)
    assert not any(named for *_, named in rows)


def test_untrained_weights_name_at_chance(weights):
    result = score_clip_maps(weights, num_scenes=30, size=64, progress=False)
    assert set(result) == {f'{name}/{group}' for name in ('attention', 'value')
                           for group in ('seen', 'held_out')}
    row = result['value/seen']
    assert row['objects'] == result['attention/seen']['objects'] > 60
    assert row['naming_chance'] == 100 / 64 and row['naming'] < 12
    assert 2 < row['pointing_chance'] < 20
    assert f'{row["pointing"]:.1f}' in maps_table(result)


def test_weights_without_their_sizes_are_named(weights, tmp_path):
    (tmp_path / 'tiny.json').rename(tmp_path / 'other.json')
    with pytest.raises(FileNotFoundError, match=r'model config .*tiny\.json'):
        score_clip_maps(weights)
