"""The toy world is deterministic, and its annotations agree with each other."""
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np
import pytest

from mmcontrast.datasets.shapes import (
    CLASSES,
    COLORS,
    HELD_OUT_COMBINATIONS,
    SHAPES,
    SPLITS,
    TEXTURES,
    ShapesDataset,
    draw_clip,
    draw_placement,
    draw_scene,
    scene_seed,
)
from mmcontrast.datasets.shapes.outlines import extent, outline
from mmcontrast.registry import DATASETS

SEEDS = range(40)


@pytest.fixture(scope='module')
def scenes():
    return [draw_scene(seed) for seed in SEEDS]


def pairs(scene):
    return {(thing.color, thing.shape) for thing in scene.objects}


# Determinism and splits.

def test_a_seed_gives_the_same_scene_in_another_process(capsys):
    code = ('import zlib; from mmcontrast.datasets.shapes import draw_scene\n'
            'for seed in (9, 4):\n'
            '    scene = draw_scene(seed, 64)\n'
            '    print(zlib.crc32(scene.image), zlib.crc32(scene.panoptic_map),'
            ' scene.captions, scene.referring)')
    exec(code, {})
    here = capsys.readouterr().out
    # Sets have another order there.
    salt = '2' if os.environ.get('PYTHONHASHSEED') == '1' else '1'
    there = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True, env={
            'PYTHONHASHSEED': salt, 'PATH': '', 'PYTHONPATH': ':'.join(sys.path)})
    assert there.stdout == here and 'shapes on' in here


def test_scenes_do_not_depend_on_what_was_drawn_before(scenes):
    draw_scene(123)
    np.testing.assert_array_equal(draw_scene(7).image, scenes[7].image)
    assert any((scenes[7].image != scenes[8].image).ravel())


def test_a_seed_shows_the_same_scene_at_every_size(scenes):
    large = draw_scene(3, 256)
    assert [thing.shape for thing in large.objects] == [
        thing.shape for thing in scenes[3].objects]
    # A box edge moves by a pixel at most when the image doubles.
    np.testing.assert_allclose(large.boxes_xyxy / 2, scenes[3].boxes_xyxy, atol=1.5)


def test_splits_never_share_a_seed():
    seeds = [{scene_seed(split, i) for i in range(500)} for split in SPLITS]
    assert len(set.union(*seeds)) == 3 * 500


def test_held_out_combinations_take_every_shape_and_every_color_once():
    assert {color for color, _ in HELD_OUT_COMBINATIONS} == set(COLORS)
    assert {shape for _, shape in HELD_OUT_COMBINATIONS} == set(SHAPES)
    assert len(HELD_OUT_COMBINATIONS) == len(SHAPES)


def test_seen_scenes_neither_show_nor_name_a_held_out_combination():
    for seed in range(150):
        scene = draw_scene(seed, 64, combinations='seen')
        assert not pairs(scene) & HELD_OUT_COMBINATIONS
        texts = [*scene.captions, *(found.text for found in scene.referring)]
        for color, shape in HELD_OUT_COMBINATIONS:
            assert not any(re.search(f'{color} {shape}', text) for text in texts)


def test_held_out_scenes_show_held_out_combinations_only():
    drawn = set.union(*(pairs(draw_scene(seed, 64, combinations='held_out'))
                        for seed in range(60)))
    assert drawn == HELD_OUT_COMBINATIONS


def test_color_does_not_tell_the_class():
    seen = {pair for seed in range(300) for pair in pairs(draw_scene(seed, 32))}
    assert len(seen) == len(COLORS) * len(SHAPES)


# Annotations.

def test_boxes_are_tight_around_masks(scenes):
    for scene in scenes:
        for mask, box in zip(scene.masks, scene.boxes_xyxy, strict=True):
            rows, cols = np.nonzero(mask)
            assert box.tolist() == [
                cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]


def test_every_object_can_be_seen(scenes):
    for scene in scenes:
        assert 1 <= len(scene.objects) <= 6
        for thing, mask, whole in zip(
                scene.objects, scene.masks, scene.amodal_masks, strict=True):
            assert thing.area == mask.sum() and thing.amodal_area == whole.sum()
            assert not (mask & ~whole).any()
            assert mask.sum() > 0.25 * whole.sum() and mask.sum() >= 20


def test_nearer_objects_hide_farther_ones(scenes):
    hidden = 0
    for scene in scenes:
        feet = [thing.foot_y for thing in scene.plan.objects]
        for near in range(len(feet)):
            for far in range(near):
                both = scene.amodal_masks[near] & scene.amodal_masks[far]
                assert feet[far] <= feet[near]
                assert not (scene.masks[far] & both).any()
                hidden += both.any()
    assert hidden > 5  # Otherwise this test would have seen no occlusion.


def test_panoptic_segments_partition_the_image(scenes):
    for scene in scenes:
        assert sum(segment.area for segment in scene.segments) == 128 * 128
        assert {segment.id for segment in scene.segments} == set(
            np.unique(scene.panoptic_map).tolist())
        for segment in scene.segments:
            inside = scene.panoptic_map == segment.id
            assert inside.sum() == segment.area
            assert (scene.semantic_map[inside] == segment.label).all()
            if segment.is_thing:
                np.testing.assert_array_equal(inside, scene.masks[segment.id - 1])
                assert CLASSES[segment.label] == scene.objects[segment.id - 1].shape
        stuff = [CLASSES[segment.label] for segment in scene.segments
                 if not segment.is_thing]
        assert stuff == ['sky', 'ground']


def test_objects_are_drawn_in_their_color_where_their_mask_says():
    """The rim of a mask aside, its pixels must resemble its color's hue."""
    right = total = 0
    names = list(COLORS)
    base = np.array([COLORS[name] for name in names], float)
    base = base / np.linalg.norm(base, axis=1, keepdims=True)
    for seed in range(100):
        scene = draw_scene(seed)
        for thing, mask in zip(scene.objects, scene.masks, strict=True):
            mean = scene.image[mask].mean(axis=0)
            nearest = names[int(np.argmax(base @ mean))]
            right, total = right + (nearest == thing.color), total + 1
    # Colored light and dark textures turn a few; chance would be 12 %.
    assert right / total > 0.7


def test_outlines_stand_centered_on_their_foot():
    for shape in SHAPES:
        for tilt in (-20, 0, 13):
            points = outline(shape, tilt)[0]
            width, height = extent(shape, tilt)
            np.testing.assert_allclose(points[:, 1].max(), 0, atol=1e-12)
            np.testing.assert_allclose(points[:, 0].max(), width / 2)
            np.testing.assert_allclose(points[:, 0].min(), -width / 2)
            assert 0.7 < height < 1.3
    # The upright square has sides of 0.9.
    assert extent('square', 0) == pytest.approx((0.9, 0.9))


def test_the_ring_has_a_hole():
    for seed in range(200):
        scene = draw_scene(seed, num_objects=(1, 1))
        thing = scene.objects[0]
        left, top, right, bottom = thing.box_xyxy
        if thing.shape == 'ring' and 0 < left and right < 128:
            center = scene.instance_map[(top + bottom) // 2, (left + right) // 2]
            # 1 - (0.27 / 0.5)^2 = 0.71 of the disc, pi / 4 of the box.
            share = thing.area / ((right - left) * (bottom - top))
            assert center == 0 and share == pytest.approx(0.71 * np.pi / 4, abs=0.08)
            return
    raise AssertionError('no whole ring among 200 scenes')


# Texts. This reading of the expressions shares nothing with the code that wrote them.

WORDS = (f'(?:({"|".join(TEXTURES)}) )?(?:({"|".join(COLORS)}) )?'
         f'({"|".join(SHAPES)}|shape)(?:e?s)?')
EXPRESSION = re.compile(
    f'(the|all) (?:(leftmost|rightmost|topmost|largest|smallest) )?{WORDS}'
    f'(?: (left of|right of|above|below) the {WORDS})?')


def fitting(scene, texture, color, shape):
    return [i for i, thing in enumerate(scene.objects)
            if texture in (None, thing.texture) and color in (None, thing.color)
            and shape in ('shape', thing.shape)]


def meant(scene, text):
    match = EXPRESSION.fullmatch(text)
    assert match, text
    superlative, words, relation, anchor = (
        match[2], match.groups()[2:5], match[6], match.groups()[6:9])
    group = fitting(scene, *words)
    x, y = (scene.boxes_xyxy[:, [0, 1]] + scene.boxes_xyxy[:, [2, 3]]).T / 2
    area = scene.masks.sum(axis=(1, 2))
    if superlative and group:
        value = {'leftmost': -x, 'rightmost': x, 'topmost': -y, 'largest': area,
                 'smallest': -area}[superlative]
        group = [max(group, key=lambda i: value[i])]
    if relation:
        others = fitting(scene, *anchor)
        if not others:
            return []
        other, = others
        keep = {'left of': x < x[other], 'right of': x > x[other],
                'above': y < y[other], 'below': y > y[other]}[relation]
        group = [i for i in group if keep[i]]
    return group


def test_referring_expressions_are_true():
    kinds, relations = set(), 0
    for seed in range(150):
        scene = draw_scene(seed)
        for found in scene.referring:
            assert list(found.targets) == meant(scene, found.text), (seed, found)
            assert found.kind == {0: 'none', 1: 'one'}.get(len(found.targets), 'many')
            kinds.add(found.kind)
            relations += ' the ' in found.text
    assert kinds == {'one', 'many', 'none'} and relations > 50


def test_the_form_of_a_phrase_does_not_tell_whether_it_is_true():
    """The share of absent ones among phrases of one form, over 500 scenes."""
    counts = defaultdict(Counter)
    for seed in range(500):
        for found in draw_scene(seed, 32).referring:
            match = EXPRESSION.fullmatch(found.text)
            words = [match[group] not in (None, 'shape') for group in (3, 4, 5)]
            form = (match[1], 'superlative' if match[2] else match[6] and 'relation',
                    *(words if not match[6] and not match[2] else [any(words)]))
            counts[form][found.kind == 'none'] += 1
    # There is always a shape, and a leftmost one.
    always = {form for form in counts if not any(form[2:]) and form[1] != 'relation'}
    assert all(counts.pop(form)[True] == 0 for form in always) and len(always) == 2
    shares = {form: count[True] / count.total() for form, count in counts.items()
              if count.total() >= 100}
    assert len(shares) >= 12 and 0.2 < min(shares.values()), shares
    assert max(shares.values()) < 0.4, shares


def test_scenes_of_two_objects_or_more_have_all_kinds_of_expressions(scenes):
    for scene in scenes:
        kinds = {found.kind for found in scene.referring}
        assert {'many', 'none'} <= kinds or len(scene.objects) == 1


def test_captions_name_all_objects_and_their_number(scenes):
    numbers = ('no', 'one', 'two', 'three', 'four', 'five', 'six')
    for scene in scenes:
        listed = re.findall(rf'\b(an?|{"|".join(numbers)}) {WORDS}', scene.captions[0])
        named = [words for count, *words in listed
                 for _ in range(numbers.index(count) if count in numbers else 1)]
        assert sorted(map(tuple, named)) == sorted(
            (thing.texture, thing.color, thing.shape) for thing in scene.objects)
        assert scene.captions[1].startswith(numbers[len(scene.objects)] + ' shape')


def test_caption_relations_are_true(scenes):
    checked = 0
    for scene in scenes:
        for text in scene.captions[2:]:
            relation = re.search('left of|right of|above|below', text)[0]
            first, second = (re.search(WORDS, part).groups()
                             for part in text.split(relation))
            axis = int(relation in ('above', 'below'))
            sign = 1 if relation in ('left of', 'above') else -1
            assert any(sign * (scene.objects[j].center_xy[axis]
                               - scene.objects[i].center_xy[axis]) > 0
                       for i in fitting(scene, *first)
                       for j in fitting(scene, *second))
            checked += 1
    assert checked > 20


# Clips.

def test_a_clip_starts_with_the_scene_of_its_seed(scenes):
    first = draw_clip(5, 3).frames[0]
    np.testing.assert_array_equal(first.image, scenes[5].image)
    np.testing.assert_array_equal(first.instance_map, scenes[5].instance_map)


def test_clip_objects_keep_their_ids_and_move_smoothly():
    moved = 0
    for seed in range(12):
        frames = draw_clip(seed, 6, 64).frames
        for before, after in zip(frames, frames[1:], strict=False):
            assert [(a.shape, a.color, a.texture) for a in before.objects] == [
                (b.shape, b.color, b.texture) for b in after.objects]
            for a, b in zip(before.plan.objects, after.plan.objects, strict=True):
                assert abs(a.foot_x - b.foot_x) <= 0.04 + 1e-9
                assert abs(a.foot_y - b.foot_y) <= 0.025 + 1e-9
                moved += abs(a.foot_x - b.foot_x) > 0.001
            for i, thing in enumerate(after.objects):
                assert (after.instance_map == i + 1).sum() == thing.area
                assert thing.area or thing.box_xyxy == (0, 0, 0, 0)
    assert moved > 100


# Placement.

def test_placement_background_differs_from_the_scene_only_around_the_object():
    for seed in range(20):
        placement = draw_placement(seed)
        differs = (placement.scene.image != placement.background.image).any(axis=-1)
        left, top, right, bottom = placement.box_xyxy
        size = right - left
        outside = np.ones_like(differs)
        # The shadow and its soft edge lie around the foot.
        outside[max(int(top) - 3, 0):int(bottom + size / 2) + 5,
                max(int(left) - 6, 0):int(right) + 7] = False
        assert differs.any() and not (differs & outside).any()
        assert len(placement.background.objects) == len(placement.scene.objects) - 1


def test_placement_cutout_is_the_object_at_its_true_place():
    for seed in range(20):
        placement = draw_placement(seed)
        whole = placement.scene.amodal_masks[placement.target]
        rows, cols = np.nonzero(whole)
        solid = placement.cutout[..., 3] > 127
        assert abs(int(solid.sum()) - int(whole.sum())) == 0
        np.testing.assert_allclose(
            placement.box_xyxy,
            (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1), atol=1.5)


def test_placement_boxes_are_what_they_are_called():
    for seed in range(30):
        placement = draw_placement(seed)
        plan, thing = placement.background.plan, placement.scene.plan.objects[
            placement.target]
        assert placement.positives[0] == placement.box_xyxy
        assert all(map(placement.is_plausible, placement.positives))
        assert not any(map(placement.is_plausible, placement.negatives))
        assert len(placement.negatives) == 8
        for left, top, right, bottom in placement.positives:
            foot = min(int(bottom), 127), int((left + right) / 2)
            ground = placement.background._canvas.is_ground
            assert ground[foot] and 0 <= left and right <= 128
            # Twice as far below the horizon is nearer, hence larger.
            height = (bottom - top) / 128 / extent(thing.shape, thing.tilt)[1]
            expected = thing.world_size * plan.depth_scale(bottom / 128)
            assert height == pytest.approx(expected, rel=0.25)


def test_a_floating_and_a_doubled_object_are_implausible():
    placement = draw_placement(2)
    left, top, right, bottom = placement.box_xyxy
    height = bottom - top
    assert placement.is_plausible((left, top, right, bottom))
    assert not placement.is_plausible((left, 0, right, height * 0.9))
    assert not placement.is_plausible((left, bottom - 2 * height, right, bottom))


def test_compose_at_the_true_place_gives_the_scene():
    for seed in range(10):
        placement = draw_placement(seed)
        composed = placement.compose(placement.box_xyxy).astype(int)
        assert np.abs(composed - placement.scene.image).max() <= 1


# The dataset.

def test_dataset_is_built_by_name_and_numbers_its_scenes():
    dataset = DATASETS.build(dict(type='ShapesDataset', num_images=5, split='val'))
    item = dataset[3]
    assert len(dataset) == 5 and dataset.metainfo['classes'] == CLASSES
    assert item['img_path'] == 'shapes://val/3' and item['sample_idx'] == 3
    assert item['ori_shape'] == (128, 128) and 'gt_seg_map' not in item
    np.testing.assert_array_equal(item['img'], draw_scene(scene_seed('val', 3)).image)


def test_dataset_gives_annotations_under_the_names_of_mmseg_and_mmdet():
    item = ShapesDataset(4, size=64, with_annotations=True)[2]
    scene = draw_scene(scene_seed('train', 2), 64)
    np.testing.assert_array_equal(item['gt_seg_map'], scene.semantic_map)
    np.testing.assert_array_equal(item['gt_bboxes'], scene.boxes_xyxy)
    np.testing.assert_array_equal(item['gt_bboxes_labels'], scene.labels)
    assert item['seg_fields'] == ['gt_seg_map']


def test_cached_items_survive_a_pipeline_that_writes_to_them():
    def blacken(item):
        item['img'][:] = 0
        item['seg_fields'].clear()
        return item

    dataset = ShapesDataset(2, size=32, cache=True, with_annotations=True)
    dataset.pipeline.transforms.append(blacken)
    assert not dataset[1]['img'].any()
    dataset.pipeline.transforms.clear()
    assert dataset[1]['img'].any() and dataset[1]['seg_fields'] == ['gt_seg_map']


def test_subset_by_indices_shows_the_chosen_scenes():
    dataset = ShapesDataset(6, size=32, indices=[4, 1])
    assert [dataset[i]['img_path'] for i in range(2)] == [
        'shapes://train/4', 'shapes://train/1']
    np.testing.assert_array_equal(
        dataset[0]['img'], draw_scene(scene_seed('train', 4), 32).image)


@pytest.mark.parametrize('arguments, message', [
    (dict(num_images=0), 'num_images'), (dict(split='training'), 'split must be one'),
    (dict(size=16), 'at least 32'), (dict(combinations='unseen'), 'combinations must')])
def test_bad_dataset_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ShapesDataset(**{'num_images': 3, **arguments})


@pytest.mark.parametrize('draw, message', [
    (lambda: draw_scene(-1), 'seed'), (lambda: draw_scene(0, 8), 'at least 32'),
    (lambda: draw_scene(0, num_objects=(4, 2)), 'num_objects'),
    (lambda: draw_clip(0, 0), 'frames=0'), (lambda: scene_seed('train', -1), 'index'),
    (lambda: draw_placement(0, num_boxes=0), 'num_boxes')])
def test_bad_scene_arguments_are_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
