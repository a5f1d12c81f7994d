"""Pasting by a placement bank: where objects land, and what labels become."""
import json
from dataclasses import asdict
from pathlib import Path

import mmdet.datasets  # noqa: F401
import mmseg.datasets  # noqa: F401
import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import CopyPaste
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image

from mmcontrast.datasets.placement_bank import (
    BankObject,
    PlacementBank,
    places_path,
    record_text,
)
from mmcontrast.errors import UserValueError
from mmcontrast.methods.topnet.copy_paste import overlaps
from mmcontrast.methods.topnet.pasted_labels import (
    OcclusionRule,
    add_labels,
    mask_boxes,
)
from mmcontrast.registry import TRANSFORMS

CLASSES = ['cat', 'car', 'dog']
WIDTH, HEIGHT, GRAY = 60, 40, 100
RED, BLUE = (255, 0, 0, 255), (0, 0, 255, 255)
ALL = OcclusionRule(1000, 0)


def solid(color=RED, size_wh=(8, 6)):
    return np.full((*size_wh[::-1], 4), color, np.uint8)


CAR = (solid(), 'car')


def write_bank(root, places, objects=(CAR,), names=('0.png', '1.png')):
    """Gray images, and a bank whose objects have these places in each of them.

    Args:
        places: (index of the object, boxes, scores) of each.
    """
    bank, images = root / 'bank', root / 'images'
    for folder in (bank / 'objects', bank / 'places', images):
        folder.mkdir(parents=True)
    listed = []
    for k, (rgba, category) in enumerate(objects):
        Image.fromarray(rgba).save(bank / f'objects/{k}.png')
        listed.append(BankObject(f'objects/{k}.png', category, 'elsewhere.png'))
    for name in names:
        Image.new('RGB', (WIDTH, HEIGHT), (GRAY,) * 3).save(images / name)
        places_path(bank, name).write_text(record_text(
            'key', name, (WIDTH, HEIGHT), (images / name).stat().st_size,
            [(k, np.array(boxes, float), np.array(scores, float))
             for k, boxes, scores in places]))
    (bank / 'bank.json').write_text(json.dumps(dict(
        format=1, settings={}, image_folder=str(images), images=list(names),
        objects=[asdict(thing) for thing in listed])))
    return str(bank), images


def paster(bank, **options):
    return TRANSFORMS.build(dict(
        dict(type='PlacedCopyPaste', bank=bank, classes=CLASSES, num_objects=1, prob=1,
             choice='ranked', min_score=0, feather=0), **options))


def results_of(images, name='0.png', **labels):
    return dict(img_path=str(images / name), ori_shape=(HEIGHT, WIDTH),
                img=np.full((HEIGHT, WIDTH, 3), GRAY, np.uint8), **labels)


def instances(boxes=(), masks=None):
    """What mmdet's LoadAnnotations gives for boxes (x1, y1, x2, y2) of cats."""
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    found = dict(gt_bboxes=HorizontalBoxes(boxes),
                 gt_bboxes_labels=np.zeros(len(boxes), np.int64),
                 gt_ignore_flags=np.zeros(len(boxes), bool))
    if masks is not None:
        found['gt_masks'] = BitmapMasks(np.array(masks, np.uint8).reshape(
            -1, HEIGHT, WIDTH), HEIGHT, WIDTH)
    return found


def area(left, top, right, bottom):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def boxes_of(results):
    return results['gt_bboxes'].tensor.tolist()


# Where objects land.

def test_an_object_fills_its_best_place_and_is_labeled_there(tmp_path):
    bank, images = write_bank(
        tmp_path, [(0, [[10, 5, 8, 6], [40, 20, 8, 6]], [.9, .8])])
    results = paster(bank)(results_of(images, **instances([], [])))
    expected = np.full((HEIGHT, WIDTH, 3), GRAY)
    expected[5:11, 10:18] = (0, 0, 255)  # red, with blue first
    np.testing.assert_array_equal(results['img'], expected)
    assert boxes_of(results) == [[10, 5, 18, 11]]
    assert results['gt_bboxes_labels'].tolist() == [CLASSES.index('car')]
    assert results['gt_ignore_flags'].tolist() == [False]
    np.testing.assert_array_equal(results['gt_masks'].masks[0], area(10, 5, 18, 11))
    assert results['img'].dtype == np.uint8
    assert results['gt_bboxes'].tensor.dtype.is_floating_point


def test_images_with_red_first_get_red_first(tmp_path):
    bank, images = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])])
    results = paster(bank, channel_order='rgb')(results_of(images, **instances()))
    assert results['img'][7, 12].tolist() == [255, 0, 0]


def test_float_images_keep_their_fractions_elsewhere(tmp_path):
    bank, images = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])])
    results = results_of(images, **instances())
    results['img'] = results['img'] + np.float32(0.3)
    pasted = paster(bank)(results)['img']
    assert pasted.dtype == np.float32
    assert pasted[7, 12].tolist() == [0, 0, 255]
    np.testing.assert_array_equal(pasted[20:], np.float32(GRAY + 0.3))


def test_transparent_pixels_show_the_image_and_are_not_labeled(tmp_path):
    rgba = solid()
    rgba[:, 4:6, 3] = 0
    bank, images = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])], [(rgba, 'car')])
    results = paster(bank)(results_of(images, **instances([], [])))
    mask = area(10, 5, 18, 11) & ~area(14, 5, 16, 11)
    near = area(13, 5, 17, 11)  # resizing to the same size changes nothing
    np.testing.assert_array_equal(results['gt_masks'].masks[0].astype(bool), mask)
    assert (results['img'][near & ~mask] == GRAY).all()


def test_a_place_that_is_taken_is_passed_over(tmp_path):
    bank, images = write_bank(
        tmp_path, [(0, [[10, 5, 8, 6], [40, 20, 8, 6]], [.9, .1])])
    # Half of the first place is covered: 4 of its 8 columns.
    there = instances([[0, 0, 14, 40]])
    assert boxes_of(paster(bank, max_overlap=0.5)(
        results_of(images, **there)))[-1] == [10, 5, 18, 11]
    assert boxes_of(paster(bank, max_overlap=0.49)(
        results_of(images, **there)))[-1] == [40, 20, 48, 26]


def test_an_object_without_room_is_left_out(tmp_path):
    bank, images = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])])
    before = results_of(images, **instances([[0, 0, 60, 40]]))
    results = paster(bank, max_overlap=0)(dict(before))
    np.testing.assert_array_equal(results['img'], before['img'])
    assert boxes_of(results) == [[0, 0, 60, 40]]


def test_objects_keep_out_of_each_other(tmp_path):
    same = [[10, 5, 8, 6], [40, 20, 8, 6]], [.9, .1]
    bank, images = write_bank(tmp_path, [(0, *same), (1, *same)],
                              [(solid(), 'car'), (solid(BLUE), 'dog')])
    results = paster(bank, num_objects=2, max_overlap=0)(
        results_of(images, **instances()))
    assert sorted(boxes_of(results)) == [[10, 5, 18, 11], [40, 20, 48, 26]]
    assert sorted(results['gt_bboxes_labels'].tolist()) == [1, 2]


def test_overlap_is_a_share_of_the_smaller_box():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 24, 24.]])
    others = np.array([[5, 0, 15, 10], [0, 0, 100, 100], [24, 24, 30, 30.]])
    np.testing.assert_allclose(overlaps(boxes, others), [[.5, 1, 0], [0, 1, 0]])


def test_places_are_sampled_in_proportion_to_their_scores(tmp_path):
    bank, images = write_bank(
        tmp_path, [(0, [[10, 5, 8, 6], [40, 20, 8, 6]], [.3, .1])])
    step = paster(bank, choice='sampled')
    np.random.seed(0)
    first = [boxes_of(step(results_of(images, **instances())))[0][0] == 10
             for _ in range(300)]
    # 3 of 4; the standard deviation of the mean is 0.025.
    assert abs(np.mean(first) - 0.75) < 0.08


def test_places_far_below_the_best_one_are_not_used(tmp_path):
    boxes = [[10, 5, 8, 6], [25, 5, 8, 6], [40, 20, 8, 6]]
    bank, images = write_bank(tmp_path, [(0, boxes, [.4, .38, .35])])
    step = paster(bank, choice='sampled', min_score=.9)
    np.random.seed(0)
    assert {boxes_of(step(results_of(images, **instances())))[0][0]
            for _ in range(60)} == {10, 25}
    # If all others collide, the object is left out.
    taken = instances([[10, 5, 18, 11], [25, 5, 33, 11]])
    assert len(boxes_of(step(results_of(images, **taken)))) == 2


def test_as_many_objects_are_pasted_as_asked_for_each_number_alike(tmp_path):
    places = [(k, [[10 * k, 5, 8, 6]], [.5]) for k in range(5)]
    bank, images = write_bank(tmp_path, places, [CAR] * 5)
    step = paster(bank, num_objects=(1, 3))
    np.random.seed(0)
    counts = np.bincount([len(boxes_of(step(results_of(images, **instances()))))
                          for _ in range(240)], minlength=5)
    assert counts[0] == counts[4] == 0
    assert (np.abs(counts[1:4] - 80) < 30).all()
    assert len(boxes_of(paster(bank, num_objects=9)(
        results_of(images, **instances())))) == 5


def test_images_are_left_alone_with_the_rest_of_the_probability(tmp_path):
    bank, images = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])])
    step = paster(bank, prob=0.25)
    np.random.seed(0)
    changed = [(step(results_of(images, **instances()))['img'] != GRAY).any()
               for _ in range(200)]
    assert abs(np.mean(changed) - 0.25) < 0.1


# The control.

def two_runs(tmp_path, num_objects):
    # Wide and tall ones: none hides another as a whole.
    places = [(k, [[3 * k, 5, *size]], [.5])
              for k, size in enumerate([(30, 3), (3, 30), (20, 4), (4, 20)])]
    bank, images = write_bank(tmp_path, places, [CAR, (solid(), 'dog')] * 2)
    found = []
    for placement in ('placed', 'random'):
        step = paster(bank, placement=placement, num_objects=num_objects,
                      max_overlap=1, bbox_occluded_thr=1000)
        np.random.seed(3)
        runs = [step(results_of(images, **instances())) for _ in range(30)]
        found.append((runs, np.random.random()))
    return found


def test_random_pasting_takes_the_same_objects(tmp_path):
    (placed, after), (at_random, same) = two_runs(tmp_path, (1, 3))
    assert after == same  # and leaves the generator in the same state
    labels = [[run['gt_bboxes_labels'].tolist() for run in runs]
              for runs in (placed, at_random)]
    assert labels[0] == labels[1]
    assert set(map(len, labels[0])) == {1, 2, 3}


def test_random_pasting_takes_the_same_sizes(tmp_path):
    (placed, _), (at_random, _) = two_runs(tmp_path, 1)
    sizes = [[(x2 - x1, y2 - y1) for run in runs for x1, y1, x2, y2 in boxes_of(run)]
             for runs in (placed, at_random)]
    assert sizes[0] == sizes[1] and len(set(sizes[0])) == 4


def test_random_places_are_spread_over_the_whole_image(tmp_path):
    _, (at_random, _) = two_runs(tmp_path, (1, 3))
    boxes = np.array([box for run in at_random for box in boxes_of(run)])
    assert boxes.min() >= 0 and (boxes[:, 2:] <= (WIDTH, HEIGHT)).all()
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    counts = np.histogram2d(*centers.T, (2, 2), [(0, WIDTH), (0, HEIGHT)])[0]
    assert counts.min() > 0.1 * len(boxes)


# What becomes of the labels of what lies below.

def labels_after(covered, rule=ALL, **labels):
    results = dict(labels)
    add_labels(results, [covered], [1], rule)
    return results


def test_a_covered_half_is_taken_from_mask_and_box():
    results = labels_after(area(10, 0, 60, 20), **instances(
        [[0.25, 0, 19.5, 20], [30, 30, 40, 38]],
        [area(0, 0, 20, 20), area(30, 30, 40, 38)]))
    # The left edge keeps its fraction, the right one is where the mask now ends.
    assert boxes_of(results)[:2] == [[0.25, 0, 10, 20], [30, 30, 40, 38]]
    assert results['gt_masks'].masks.sum((1, 2)).tolist() == [200, 80, 1000]
    assert results['gt_bboxes_labels'].tolist() == [0, 0, 1]


def test_a_hole_in_the_middle_leaves_the_box():
    results = labels_after(area(5, 5, 10, 10), **instances(
        [[0, 0, 20, 20]], [area(0, 0, 20, 20)]))
    assert boxes_of(results)[0] == [0, 0, 20, 20]
    assert results['gt_masks'].masks[0].sum() == 375


def test_boxes_alone_shrink_where_a_whole_side_is_covered():
    results = labels_after(area(10, 0, 60, 20), **instances(
        [[0.25, 0, 19.5, 20], [5, 10, 20, 30]]))
    assert boxes_of(results)[:2] == [[0.25, 0, 10, 20], [5, 10, 20, 30]]
    assert 'gt_masks' not in results


@pytest.mark.parametrize('with_masks', [True, False])
def test_an_object_without_a_visible_pixel_goes(with_masks):
    # In the corner, where mmdet keeps what is empty.
    hidden, left = area(0, 0, 6, 6), area(20, 0, 30, 10)
    results = labels_after(area(0, 0, 8, 8), OcclusionRule(10, 300), **instances(
        mask_boxes(np.stack([hidden, left])), [hidden, left] if with_masks else None))
    assert boxes_of(results) == [[20, 0, 30, 10], [0, 0, 8, 8]]
    assert len(results['gt_ignore_flags']) == 2


def test_what_is_left_must_be_large_or_little_moved():
    masks = [area(0, 0, 30, 20), area(0, 20, 30, 30)]
    for rule, kept in ((OcclusionRule(15, 299), [True, True]),
                       (OcclusionRule(14, 299), [True, False]),
                       (OcclusionRule(14, 300), [False, False])):
        # The right half of both: edges move by 15, 300 and 150 pixels are left.
        results = labels_after(area(15, 0, 30, 30), rule, **instances(
            mask_boxes(np.stack(masks)), masks))
        assert len(boxes_of(results)) == 1 + sum(kept)


def random_shapes(rng, count):
    """Masks of ellipses, away from the corner."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    cx, cy, rx, ry = (rng.uniform(low, high, (count, 1, 1))
                      for low, high in ((20, 50), (12, 30), (3, 12), (3, 10)))
    return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1


@pytest.mark.parametrize('seed', range(5))
def test_occlusion_is_that_of_mmdets_copy_paste(seed):
    rng = np.random.default_rng(seed)
    below, above = random_shapes(rng, 6), random_shapes(rng, 1)
    shared = dict(img=np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    source = dict(shared, **instances(mask_boxes(above), above))
    source['gt_bboxes_labels'][:] = 1
    ours = instances(mask_boxes(below), below)
    add_labels(ours, list(above), [1], OcclusionRule(4, 80))
    theirs = CopyPaste(bbox_occluded_thr=4, mask_occluded_thr=80, selected=False)(
        dict(shared, **instances(mask_boxes(below), below), mix_results=[source]))
    assert boxes_of(ours) == boxes_of(theirs)
    np.testing.assert_array_equal(ours['gt_masks'].masks, theirs['gt_masks'].masks)
    for key in ('gt_bboxes_labels', 'gt_ignore_flags'):
        np.testing.assert_array_equal(ours[key], theirs[key])


def test_later_objects_cover_earlier_ones():
    results = instances([], [])
    add_labels(results, [area(0, 0, 20, 10), area(10, 0, 30, 10), area(12, 0, 14, 10)],
               [0, 1, 2], ALL)
    assert boxes_of(results) == [[0, 0, 10, 10], [10, 0, 30, 10], [12, 0, 14, 10]]
    assert results['gt_masks'].masks.sum((1, 2)).tolist() == [100, 180, 20]


def test_label_maps_get_the_class_and_others_keep_theirs():
    seg_map = np.full((HEIGHT, WIDTH), 7, np.uint8)
    results = labels_after(area(2, 3, 6, 9), gt_seg_map=seg_map)
    np.testing.assert_array_equal(
        results['gt_seg_map'], np.where(area(2, 3, 6, 9), 1, 7))
    assert results['gt_seg_map'].dtype == np.uint8 and (seg_map == 7).all()


def test_polygons_become_bitmaps():
    square = [np.array([0, 0, 20, 0, 20, 20, 0, 20.])]
    there = instances([[0, 0, 20, 20]])
    results = labels_after(area(10, 0, 60, 40), **there,
                           gt_masks=PolygonMasks([square], HEIGHT, WIDTH))
    assert isinstance(results['gt_masks'], BitmapMasks)
    assert results['gt_masks'].masks.sum((1, 2)).tolist() == [200, 2000]


def test_plain_arrays_of_boxes_stay_arrays():
    there = instances([[0, 0, 20, 20]]) | dict(
        gt_bboxes=np.array([[0, 0, 20, 20]], np.float32))
    boxes = labels_after(area(10, 0, 60, 40), **there)['gt_bboxes']
    assert isinstance(boxes, np.ndarray) and boxes.dtype == np.float32
    assert boxes.tolist() == [[0, 0, 10, 20], [10, 0, 60, 40]]


# Errors.

def test_a_missing_bank_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='No placement bank at .*nowhere'):
        paster(str(tmp_path / 'nowhere'))


def test_an_unfinished_bank_is_named(tmp_path):
    bank, _ = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])])
    places_path(tmp_path / 'bank', '1.png').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 2 images .* the first: 1.png'):
        paster(bank)


def test_a_bank_of_another_format_is_named(tmp_path):
    bank, _ = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])])
    for text, message in (('{"format": 9}', 'has format 9'), (
            '[', 'is not the list .* Remove the folder or give another one')):
        (tmp_path / 'bank/bank.json').write_text(text)
        with pytest.raises(ValueError, match=message):
            paster(bank)


def test_images_that_the_bank_does_not_know_are_named(tmp_path):
    bank, images = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])])
    with pytest.raises(KeyError, match='7.png is not in the placement bank .* of 2 '):
        paster(bank)(results_of(images, '7.png', **instances()))


def test_another_image_of_the_same_name_is_noticed(tmp_path):
    bank, images = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])])
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3))
    Image.fromarray(noise.astype(np.uint8)).save(images / '0.png')
    with pytest.raises(ValueError, match='0.png has .* bytes, but .* another image'):
        paster(bank)(results_of(images, **instances()))


def test_names_are_matched_with_their_folders(tmp_path):
    bank, images = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])])
    listed = json.loads((tmp_path / 'bank/bank.json').read_text())
    listed['images'] = ['a/0.png', 'b/0.png']
    (tmp_path / 'bank/bank.json').write_text(json.dumps(listed))
    for letter, width in (('a', 11), ('b', 12)):
        places_path(tmp_path / 'bank', f'{letter}/0.png').write_text(
            record_text('key', f'{letter}/0.png', (width, 9), 0, []))
    reader = PlacementBank(bank)
    assert reader.places('s3://data/train/a/0.png').image_wh == (11, 9)
    assert reader.places('/data/b/0.png').image_wh == (12, 9)
    with pytest.raises(KeyError, match='is not in the placement bank'):
        reader.places('/data/c/0.png')


def test_a_class_that_the_dataset_lacks_is_named(tmp_path):
    bank, _ = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])])
    with pytest.raises(KeyError, match="does not have: car: did you mean 'cars'"):
        paster(bank, classes=['cat', 'cars'])


@pytest.mark.parametrize('change', [
    dict(flip=True), dict(homography_matrix=np.eye(3)),
    dict(img=np.zeros((20, 30, 3), np.uint8))])
def test_a_step_too_late_in_the_pipeline_is_named(tmp_path, change):
    bank, images = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])])
    with pytest.raises(ValueError, match='0.png was flipped, .* after LoadAnnotations'):
        paster(bank)(results_of(images, **instances()) | change)


@pytest.mark.parametrize('labels, missing', [
    ({}, 'gt_bboxes and no gt_seg_map'),
    (dict(gt_bboxes_labels=[0]), 'gt_bboxes and no gt_seg_map'),
    (dict(gt_bboxes_labels=[0], gt_seg_map=np.zeros((HEIGHT, WIDTH))), 'gt_bboxes:')])
def test_a_step_too_early_in_the_pipeline_is_named(tmp_path, labels, missing):
    bank, images = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])])
    for prob in (0, 1):
        with pytest.raises(UserValueError, match=f'0.png has no {missing}.*after Load'):
            paster(bank, prob=prob)(results_of(images, **labels))


@pytest.mark.parametrize('image', [
    np.zeros((HEIGHT, WIDTH, 3), np.uint16), np.zeros((HEIGHT, WIDTH, 4), np.uint8),
    np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH, 3), bool)])
def test_images_of_other_kinds_are_named(tmp_path, image):
    bank, images = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])])
    with pytest.raises(UserValueError, match=f'uint8 or floats, got {image.dtype} of '):
        paster(bank)(results_of(images, **instances()) | dict(img=image))


@pytest.mark.parametrize('places', [
    [[0, []]], [[99, [[1, 1, 2, 2, .5]]]], [[-1, [[1, 1, 2, 2, .5]]]],
    [[0.0, [[1, 1, 2, 2, .5]]]], 5, [5], [[0, [[1, 1, 2, .5]]]],
    [[0, [[1, 1, 2, 2, float('nan')]]]], [[0, [[float('nan'), 1, 2, 2, .5]]]],
    [[0, [[1e6, 1, 2, 2, .5]]]], [[0, [[1, 1, 1e6, 2, .5]]]],
    [[0, [[-30, 1, 2, 2, .5]]]], [[0, [[1, 1, 0, 2, .5]]]], [[0, 'ab']],
    [[0, [[10 ** 400, 1, 2, 2, .5]]]], [[0, [[1, 1, 2, 2, -.5]]]]])
def test_damaged_places_are_named(tmp_path, places):
    bank, images = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])])
    path = places_path(tmp_path / 'bank', '0.png')
    path.write_text(json.dumps(dict(json.loads(path.read_text()), places=places)))
    with pytest.raises(UserValueError, match=r'0_png.*json is damaged; remove it'):
        paster(bank)(results_of(images, **instances()))


def test_names_that_are_no_valid_text_have_places_of_their_own():
    paths = {places_path(Path(), name) for name in ('\udcff.png', '\udcfe.png')}
    assert len(paths) == 2


@pytest.mark.parametrize('option, message', [
    (dict(num_objects=0), 'num_objects'), (dict(num_objects=(3, 1)), 'num_objects'),
    (dict(num_objects=1.5), 'num_objects'), (dict(num_objects='3'), 'num_objects'),
    (dict(num_objects=(1, '3')), 'num_objects'), (dict(num_objects=True), 'num_obj'),
    (dict(prob='x'), "prob .* got 'x'"), (dict(max_overlap=None), 'max_overlap'),
    (dict(prob=1.5), 'prob'), (dict(max_overlap=-1), 'max_overlap'),
    (dict(placement='place'), "'placed', 'random'"),
    (dict(min_score=2), 'min_score'), (dict(choice='best'), 'sampled'),
    (dict(channel_order='RGB'), 'bgr'), (dict(mode='copy'), 'poisson'),
    (dict(feather=-1), 'feather')])
def test_arguments_out_of_range_are_named(tmp_path, option, message):
    bank, _ = write_bank(tmp_path, [(0, [[10, 5, 8, 6]], [.9])])
    with pytest.raises(ValueError, match=message):
        paster(bank, **option)


# Pipelines of mmdet and mmseg, in workers.

NAMES = tuple(f'{k}.png' for k in range(6))


def world(tmp_path):
    """Gray images with a cat in each, COCO file and label maps; a bank of red cars."""
    boxes = [[1, 1, 8, 6], [30, 2, 12, 9], [5, 20, 16, 12], [34, 22, 10, 14]]
    bank, images = write_bank(
        tmp_path, [(0, boxes, [.4, .3, .2, .1]), (1, boxes, [.1, .2, .3, .4])],
        [CAR] * 2, NAMES)
    x, y, w, h = 20, 12, 10, 8
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    (tmp_path / 'train.json').write_text(json.dumps(dict(
        images=[dict(id=k, file_name=name, width=WIDTH, height=HEIGHT)
                for k, name in enumerate(NAMES)],
        categories=[dict(id=k, name=name) for k, name in enumerate(CLASSES)],
        annotations=[dict(id=k, image_id=k, category_id=0, bbox=[x, y, w, h],
                          area=w * h, iscrowd=0, segmentation=[polygon])
                     for k in range(len(NAMES))])))
    (tmp_path / 'maps').mkdir()
    for name in NAMES:
        Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(
            tmp_path / 'maps' / name)
    return dict(type='mmcontrast.PlacedCopyPaste', bank=bank, classes=CLASSES,
                num_objects=(1, 2), prob=1, feather=0, max_overlap=0.2)


def batches(dataset, scope, seed=0):
    """All batches of a real loader with two workers."""
    config = dict(
        batch_size=2, num_workers=2, dataset=dataset,
        sampler=dict(type='DefaultSampler', shuffle=False),
        worker_init_fn=dict(type='mmcontrast.seed_worker'))
    with DefaultScope.overwrite_default_scope(scope):
        torch.manual_seed(seed)
        return list(Runner.build_dataloader(config, seed=seed))


def detection(tmp_path, step, with_mask=True):
    return dict(
        type='CocoDataset', data_root=str(tmp_path), ann_file='train.json',
        data_prefix=dict(img='images/'), metainfo=dict(classes=CLASSES), pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=with_mask), step,
            dict(type='Resize', scale=(2 * WIDTH, 2 * HEIGHT), keep_ratio=True),
            dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')])


def red(image):
    """Where a (3, H, W) tensor with blue first is more red than gray."""
    return ((image[2] > 178) & (image[0] < 60)).numpy()


@pytest.mark.parametrize('with_mask', [True, False])
def test_boxes_of_a_mmdet_pipeline_lie_around_what_was_pasted(tmp_path, with_mask):
    loaded = batches(detection(tmp_path, world(tmp_path), with_mask), 'mmdet')
    items = [item for batch in loaded
             for item in zip(batch['inputs'], batch['data_samples'], strict=True)]
    assert len(items) == len(NAMES)
    num_flipped = 0
    for image, sample in items:
        truth, num_flipped = sample.gt_instances, num_flipped + bool(sample.flip)
        assert tuple(image.shape) == (3, 2 * HEIGHT, 2 * WIDTH)
        cars = truth.bboxes.tensor[truth.labels == 1].numpy()
        assert len(cars) in (1, 2) and (truth.labels == 0).sum() == 1
        painted = np.zeros((2 * HEIGHT, 2 * WIDTH), bool)
        for left, top, right, bottom in cars.astype(int):
            painted[top:bottom, left:right] = True
        # The edge is blurred by resizing.
        assert (red(image) & ~painted).sum() == 0
        inner = np.zeros_like(painted)
        for left, top, right, bottom in cars.astype(int):
            inner[top + 1:bottom - 1, left + 1:right - 1] = True
        assert red(image)[inner].all()
        if with_mask:
            masks = truth.masks.masks[truth.labels.numpy() == 1].any(0)
            assert (masks != painted).mean() < 0.02
    assert 0 < num_flipped < len(items)


def test_pasting_follows_the_seed_of_the_workers(tmp_path):
    dataset = detection(tmp_path, world(tmp_path))
    runs = [batches(dataset, 'mmdet', seed) for seed in (0, 0, 1)]
    same, again, other = (
        [image.numpy() for batch in run for image in batch['inputs']] for run in runs)
    assert all(map(np.array_equal, same, again))
    assert not all(map(np.array_equal, same, other))


def test_label_maps_of_a_mmseg_pipeline_mark_what_was_pasted(tmp_path):
    loaded = batches(dict(
        type='BaseSegDataset', data_root=str(tmp_path), img_suffix='.png',
        data_prefix=dict(img_path='images', seg_map_path='maps'),
        metainfo=dict(classes=CLASSES, palette=[[0] * 3] * 3), pipeline=[
            dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
            world(tmp_path), dict(type='RandomFlip', prob=0.5),
            dict(type='PackSegInputs')]), 'mmseg')
    count = 0
    for batch in loaded:
        for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
            labels, count = sample.gt_sem_seg.data[0].numpy(), count + 1
            assert set(np.unique(labels)) == {0, 1}
            np.testing.assert_array_equal(labels == 1, red(image))
    assert count == len(NAMES)
