"""Placement pairs of images with masks: what is cut out, filled, skipped, resumed."""
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from mmcontrast.apis.data import parallel
from mmcontrast.apis.data.cutting import OCCLUDED, Instances, Rules
from mmcontrast.apis.data.inpainting import (
    DiffusersInpainter,
    TeleaInpainter,
    dilated,
    remove_object,
)
from mmcontrast.apis.data.make_placement_pairs import make_placement_pairs
from mmcontrast.apis.data.make_shapes import make_shapes
from mmcontrast.apis.data.pair_maker import NOT_CHOSEN, cut_out
from mmcontrast.apis.data.plausibility import SimOPAScorer
from mmcontrast.datasets.coco_masks import decode_mask
from mmcontrast.datasets.placement_bank import unique_stem
from mmcontrast.errors import DataError, UserValueError
from mmcontrast.registry import DATASETS, MODELS
from mmcontrast.testing.processes import warm_context

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / 'shared/data'
RULES = Rules(min_side=8)
NUM_IMAGES = 20


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """The toy world in COCO's layout, masks included."""
    out = tmp_path_factory.mktemp('world') / 'shapes'
    return make_shapes(out, train=NUM_IMAGES, val=0, size=96, progress=False)


def make(world, out, **options):
    return make_placement_pairs(
        world / 'annotations/instances_train.json', world / 'images/train', out,
        **{'rules': RULES, 'progress': False, **options})


def pairs_of(made):
    return json.loads(made.path.read_text())['pairs']


def disc(radius=10, center=(48, 40), size=(80, 96)):
    y, x = np.mgrid[:size[0], :size[1]]
    return (x - center[0]) ** 2 + (y - center[1]) ** 2 <= radius ** 2


NOTHING = np.zeros((80, 96), bool)


def rng():
    return np.random.default_rng(0)


# Inpainting.

def test_an_object_is_filled_with_its_surroundings():
    image = np.full((80, 96, 3), 90, np.uint8)
    image[disc()] = 255
    filled, holes = remove_object(image, disc(), NOTHING, TeleaInpainter(), rng())
    assert np.abs(filled.astype(int) - 90).max() <= 4
    assert holes[disc(11)].all()


def test_pixels_outside_the_holes_stay_whatever_the_inpainter_does():
    image = np.random.default_rng(1).integers(256, size=(80, 96, 3)).astype(np.uint8)
    filled, holes = remove_object(image, disc(), NOTHING,
                                  lambda image, mask: np.zeros_like(image), rng())
    assert (filled[holes] == 0).all()
    np.testing.assert_array_equal(filled[~holes], image[~holes])


def test_extra_regions_are_apart_and_keep_clear_of_other_objects():
    others = np.zeros((80, 96), bool)
    others[:, :30] = True
    mask = disc(6)
    _, holes = remove_object(np.zeros((80, 96, 3), np.uint8), mask, others,
                             lambda image, mask: image, rng(), num_extra=3)
    assert not (holes & others).any() and holes[mask].all()
    assert holes.sum() > 2.5 * disc(8).sum()
    _, alone = remove_object(np.zeros((80, 96, 3), np.uint8), mask, others,
                             lambda image, mask: image, rng(), num_extra=0)
    assert cv2.connectedComponents(alone.astype(np.uint8))[0] == 2


def test_an_object_without_room_for_extra_regions_is_still_removed():
    _, holes = remove_object(np.zeros((80, 96, 3), np.uint8), disc(), ~disc(20),
                             TeleaInpainter(), rng())
    assert not holes[~disc(20)].any()


def test_at_most_half_of_an_image_is_filled():
    image, mask = np.zeros((80, 96, 3), np.uint8), disc(27)
    _, holes = remove_object(image, mask, np.zeros_like(mask), TeleaInpainter(),
                             np.random.default_rng(0), num_extra=100)
    assert mask.mean() > 0.25 and holes.mean() <= 0.5
    _, holes = remove_object(image, disc(12), np.zeros_like(mask), TeleaInpainter(),
                             np.random.default_rng(0), num_extra=100)
    assert 0.3 < holes.mean() <= 0.5


def test_wide_margins_are_those_of_narrow_ones_and_do_not_take_long():
    mask = disc(10, (150, 150), (300, 300))
    for pixels in (64, 65, 90):
        found = cv2.boundingRect(dilated(mask, pixels).astype(np.uint8))
        assert found == (*[140 - pixels] * 2, *[21 + 2 * pixels] * 2)
        assert dilated(mask, pixels).sum() == pytest.approx(
            np.pi * (pixels + 10) ** 2, rel=0.02)
    assert not dilated(np.zeros_like(mask), 90).any()


def test_an_object_that_leaves_little_of_its_image_is_left_out(world, tmp_path):
    made = make(world, tmp_path / 'pairs', dilate=1)
    assert made.reasons['takes more than half of the image'] > 0 and made.num_pairs > 0
    for pair in pairs_of(made):
        area = (np.array(Image.open(tmp_path / 'pairs' / pair['object']))[..., 3] > 0)
        assert area.mean() <= 0.5 or area.size < 96 * 96 / 2


@pytest.mark.parametrize('result', [np.zeros((3, 3, 3), np.uint8),
                                    np.zeros((80, 96, 3), np.float32)])
def test_an_inpainter_that_returns_something_else_is_named(result):
    with pytest.raises(UserValueError, match=r'must return a uint8 image of shape '
                       r'\(80, 96, 3\)'):
        remove_object(np.zeros((80, 96, 3), np.uint8), disc(), NOTHING,
                      lambda image, mask: result, rng())


def test_a_diffusion_pipeline_sees_a_small_image_and_a_white_hole():
    seen = {}

    def pipeline(**inputs):
        seen.update(inputs)
        return SimpleNamespace(images=[Image.new('RGB', inputs['image'].size,
                                                 (1, 2, 3))])

    inpaint = DiffusersInpainter(pipeline=pipeline, size=64, steps=7, seed=5)
    filled = inpaint(np.full((80, 96, 3), 50, np.uint8), disc(20))
    assert filled.shape == (80, 96, 3) and (filled == (1, 2, 3)).all()
    assert seen['image'].size == seen['mask_image'].size == (64, 56)
    assert (seen['width'], seen['height'], seen['num_inference_steps']) == (64, 56, 7)
    assert seen['mask_image'].getpixel((32, 28)) == 255
    assert seen['mask_image'].getpixel((2, 2)) == 0
    assert seen['generator'].initial_seed() == 5


def test_a_pipeline_is_a_local_folder_and_needs_diffusers(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match='no model_index.json.*--weights'):
        DiffusersInpainter(tmp_path / 'runwayml/inpainting')
    (tmp_path / 'model_index.json').write_text('{}')
    monkeypatch.setitem(sys.modules, 'diffusers', None)
    with pytest.raises(ImportError, match='pip install diffusers '):
        DiffusersInpainter(tmp_path)


# Which objects are good.

def with_hole():
    return disc(12) & ~disc(8)


def fragmented():
    return disc(9, (30, 40)) | disc(9, (60, 40))


def box(left, top, width, height):
    mask = np.zeros((80, 96), bool)
    mask[top:top + height, left:left + width] = True
    return mask


@pytest.mark.parametrize('mask, reason', [
    (disc(12), None), (disc(7), 'tiny'), (box(20, 20, 60, 8), 'tiny'),
    (box(4, 4, 88, 72), 'huge'), (disc(12, (11, 40)), 'touches the border'),
    (disc(12, (48, 68)), 'touches the border'), (with_hole(), 'has holes'),
    (fragmented(), 'fragmented'), (np.zeros((80, 96), bool), 'empty mask'),
    # 1 and 2 pixels of room, at the left, right, top and bottom.
    (box(1, 20, 30, 30), 'touches the border'), (box(2, 20, 30, 30), None),
    (box(65, 20, 30, 30), 'touches the border'), (box(64, 20, 30, 30), None),
    (box(20, 1, 30, 30), 'touches the border'), (box(20, 2, 30, 30), None),
    (box(20, 49, 30, 30), 'touches the border'), (box(20, 48, 30, 30), None)])
def test_objects_are_left_out_for_a_reason(mask, reason):
    assert Rules().reason(mask) == reason


def test_rules_can_be_loosened():
    assert Rules(max_aspect=3).reason(box(4, 20, 70, 16)) == 'long and thin'
    assert Rules(max_aspect=5).reason(box(4, 20, 70, 16)) is None
    assert Rules(min_side=8, min_scale=0.01).reason(disc(7)) is None
    assert Rules(max_holes=0.6).reason(with_hole()) is None
    assert Rules(min_whole=0.4).reason(fragmented()) is None


def annotation(mask, **more):
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    return dict(bbox=[x, y, w, h], segmentation=dict(
        size=code['size'], counts=code['counts'].decode())) | more


def uncompressed(mask):
    flat = np.concatenate([[0], mask.ravel('F').astype(int)])
    edges = np.flatnonzero(np.diff(flat, prepend=0, append=1 - flat[-1]))
    counts = np.diff(edges, prepend=0) - np.eye(1, len(edges), dtype=int)[0]
    return dict(size=list(mask.shape), counts=counts.tolist())


def test_masks_are_read_in_all_forms_of_coco():
    mask = box(20, 30, 25, 18)
    polygon = [[20, 30, 45, 30, 45, 48, 20, 48]]
    found = Instances.of([annotation(mask, segmentation=s) for s in (
        annotation(mask)['segmentation'], uncompressed(mask), polygon)], (80, 96))
    for decoded in found.masks:
        np.testing.assert_array_equal(decoded, mask)
    assert found.problems == (None,) * 3


def test_an_object_that_the_border_cuts_off_is_left_out():
    """Its polygon ends within the last column, and fills up to the one before."""
    polygon = [[50, 20, 95.4, 20, 95.4, 60, 50, 60]]
    mask = decode_mask(polygon, (80, 96))
    assert not mask[:, -1].any() and mask[30, -2]
    assert Rules().reason(mask) == 'touches the border'


def test_run_lengths_are_decoded_as_pycocotools_encodes_them():
    draw = np.random.default_rng(0)
    for share in (0, 0.02, 0.5, 1):
        for size in ((1, 1), (7, 130), (300, 90)):
            mask = draw.random(size) < share
            code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
            for counts in (code['counts'], code['counts'].decode()):
                np.testing.assert_array_equal(
                    decode_mask(dict(size=code['size'], counts=counts), size), mask)


def runs(counts, size=(80, 96)):
    return dict(size=list(size), counts=counts)


def encoded(*differences):
    """Small numbers as COCO compresses them."""
    return ''.join(chr(48 + (number & 31)) for number in differences)


def test_crowds_boxes_and_damaged_masks_cannot_be_cut_out():
    annotations = [annotation(disc(12), iscrowd=1),
                   annotation(disc(12), segmentation=[])]
    found = Instances.of(annotations, (80, 96))
    assert found.reasons(Rules()) == ['crowd', 'no mask']


@pytest.mark.parametrize('box, area', [
    ([1e308, 0, 1e308, 5], 0), ([-1e308, 2, 1e308, 5], 0), ([90, 70, 1e300, 1e300], 60),
    ([-5, -5, 8, 7.5], 9), ([3.5, 3.5, 1, 1], 4)])
def test_boxes_without_a_mask_may_lie_anywhere(box, area):
    assert Instances.of([dict(bbox=box)], (80, 96)).masks.sum() == area


@pytest.mark.parametrize('damaged', [
    annotation(np.ones((9, 9), bool))['segmentation'], [[1, 2]], 'mask', 7,
    # Pixels missing, too many, negative, broken, none; no text of COCO's.
    runs([5, 10]), runs([80 * 96, 1]), runs([100, -100, 80 * 96]),
    runs([5.5, 80 * 96 - 5.5]), runs([]), runs(None), runs([80 * 96, 2 ** 70]),
    runs('zzzzz'), runs(''), runs('o'), runs(encoded(5, 10)),
    runs(encoded(5, 3, -2, 4)), runs('oooooooooo0'), runs('\xe9'), dict(counts=[7680]),
    [[float('nan')] * 6], [[float('inf'), 1, 2, 3, 4, 5]], [[1, 1, 9, 1, 1e9, 9]],
    [[1, 1, 9, 1, 10 ** 400, 9]], [[1, 1, 9, 1, 9, 9, 4]], [['a'] * 6]])
def test_a_damaged_mask_is_never_drawn(damaged):
    own = annotation(disc(12), segmentation=damaged)
    found = Instances.of([own], (80, 96))
    assert found.problems == ('damaged mask',)
    # Its box may still hide others.
    x, y, width, height = own['bbox']
    np.testing.assert_array_equal(found.masks[0], box(x, y, width, height))


@pytest.mark.parametrize('other, hidden', [
    (annotation(disc(12, (76, 40))), False),  # 3 pixels are between them
    (annotation(disc(12, (75, 40))), True),
    (annotation(disc(12, (72, 58))), False),
    # Of an object without a mask, the box may hide it.
    (annotation(disc(12, (72, 58)), segmentation=[]), True),
    (annotation(disc(5), iscrowd=1), True)])
def test_an_object_that_another_one_touches_may_be_hidden(other, hidden):
    first = annotation(disc(12, (48, 40)))
    reasons = Instances.of([first, other], (80, 96)).reasons(Rules())
    assert reasons[0] == (OCCLUDED if hidden else None)


# The whole tool.

def test_pairs_of_the_toy_world_are_read_by_the_dataset(world, tmp_path):
    made = make(world, tmp_path / 'pairs')
    dataset = DATASETS.build(dict(
        type='PlacementPairs', ann_file=str(made.path), pipeline=[]))
    assert len(dataset) == made.num_pairs >= NUM_IMAGES // 4
    assert made.num_images == NUM_IMAGES and made.num_resumed == 0
    for item, pair in zip(dataset, pairs_of(made), strict=True):
        (x, y, w, h), = item['positives'].astype(int)
        assert item['object_wh'] == (w, h) and item['inpainted']
        original = np.asarray(Image.open(world / 'images/train' / pair['file_name']))
        inside = item['cutout'].alpha == 255
        # The cut-out is the object of the image; the background has lost it.
        window = original[y:y + h, x:x + w][inside]
        np.testing.assert_array_equal(item['cutout'].rgb[inside], window)
        left = item['background'][y:y + h, x:x + w][inside]
        assert np.abs(left.astype(int) - window).mean() > 10
        assert item['background_wh'] == (96, 96)


def test_every_object_is_a_pair_or_has_a_reason(world, tmp_path):
    made = make(world, tmp_path / 'pairs')
    data = json.loads((world / 'annotations/instances_train.json').read_text())
    assert made.num_pairs + made.reasons.total() == len(data['annotations'])
    assert made.reasons[NOT_CHOSEN] > 0
    lines = made.skipped.read_text().splitlines()
    listed = [line.split('\t') for line in lines if not line.startswith('#')]
    assert len(listed) == made.reasons.total()
    assert f'# {made.reasons[NOT_CHOSEN]} x {NOT_CHOSEN}' in lines
    assert {line[2] for line in listed} == set(made.reasons)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes()
            for path in folder.rglob('*') if path.is_file()}


@pytest.fixture
def quick_workers(monkeypatch):
    """Processes that need not import torch anew."""
    monkeypatch.setattr(parallel, 'get_context', lambda method: warm_context())


def test_workers_and_a_second_call_write_the_same_bytes(world, tmp_path, quick_workers):
    make(world, tmp_path / 'a')
    make(world, tmp_path / 'b', workers=2)
    assert files_of(tmp_path / 'a') == files_of(tmp_path / 'b')
    make(world, tmp_path / 'c', seed=1)
    assert files_of(tmp_path / 'a') != files_of(tmp_path / 'c')


class Counting(TeleaInpainter):
    """Counts its calls, and fails at one of them."""

    def __init__(self, fail_at=0):
        super().__init__()
        self.calls, self.fail_at = [], [fail_at]

    def __call__(self, image, mask):
        self.calls.append(1)
        if len(self.calls) == self.fail_at[0]:
            raise RuntimeError('out of memory')
        return super().__call__(image, mask)


def test_an_interrupted_run_is_resumed_and_nothing_is_done_twice(world, tmp_path):
    whole = make(world, tmp_path / 'whole', inpainter=Counting())
    first = Counting(fail_at=4)
    with pytest.raises(RuntimeError, match='out of memory'):
        make(world, tmp_path / 'pairs', inpainter=first)
    journal = tmp_path / 'pairs/unfinished.jsonl'
    # Killed in the middle of a line.
    journal.write_text(journal.read_text() + '{"image_id": "7", "pai')
    second = Counting()
    made = make(world, tmp_path / 'pairs', inpainter=second)
    assert len(second.calls) == whole.num_pairs - 3 and made.num_resumed >= 3
    assert files_of(tmp_path / 'whole') == files_of(tmp_path / 'pairs')


def test_an_object_whose_file_was_removed_is_cut_out_again(world, tmp_path):
    whole = make(world, tmp_path / 'whole', inpainter=Counting())
    with pytest.raises(RuntimeError):
        make(world, tmp_path / 'pairs', inpainter=Counting(fail_at=4))
    removed = sorted((tmp_path / 'pairs/objects').iterdir())[0]
    removed.unlink()
    second = Counting()
    make(world, tmp_path / 'pairs', inpainter=second)
    assert len(second.calls) == whole.num_pairs - 2 and removed.exists()
    assert files_of(tmp_path / 'whole') == files_of(tmp_path / 'pairs')


@pytest.mark.parametrize('line', [
    '17', '[]', '{}', '{"image_id": [], "file_name": "", "pair": null, "skipped": []}',
    '{"image_id": 1, "file_name": "a", "pair": {"background": "b"}, "skipped": []}',
    '{"image_id": 1, "file_name": "a", "pair": null, "skipped": [3]}'])
@pytest.mark.parametrize('overwrite', [False, True])
def test_a_journal_with_foreign_lines_is_used_up_to_them(world, tmp_path, line,
                                                         overwrite):
    make(world, tmp_path / 'whole', limit=9, inpainter=Counting())
    with pytest.raises(RuntimeError):
        make(world, tmp_path / 'pairs', limit=9, inpainter=Counting(fail_at=2))
    journal = tmp_path / 'pairs/unfinished.jsonl'
    journal.write_text(f'{journal.read_text()}{line}\n')
    make(world, tmp_path / 'pairs', limit=9, inpainter=Counting(), overwrite=overwrite)
    assert files_of(tmp_path / 'whole') == files_of(tmp_path / 'pairs')


def test_a_folder_belongs_to_one_process(world, tmp_path):
    def meddle(image, mask):
        with pytest.raises(FileExistsError, match='Another process .*pairs; wait'):
            make(world, tmp_path / 'pairs', limit=3, overwrite=True)
        meddled.append(1)
        return image

    meddled = []
    assert make(world, tmp_path / 'pairs', limit=3, inpainter=meddle).num_pairs
    assert meddled
    make(world, tmp_path / 'pairs', limit=3, overwrite=True)


def test_a_run_with_other_settings_is_not_resumed(world, tmp_path):
    with pytest.raises(RuntimeError):
        make(world, tmp_path / 'pairs', inpainter=Counting(fail_at=2))
    with pytest.raises(FileExistsError, match='unfinished run with other settings: '
                       'seed was 0 and is 3.*--overwrite'):
        make(world, tmp_path / 'pairs', inpainter=Counting(), seed=3)
    made = make(world, tmp_path / 'pairs', seed=3, overwrite=True)
    assert made.num_resumed == 0


def test_finished_pairs_and_foreign_folders_are_not_touched(world, tmp_path):
    make(world, tmp_path / 'pairs', limit=3)
    with pytest.raises(FileExistsError, match=r'pairs\.json exists.*--overwrite'):
        make(world, tmp_path / 'pairs')
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/photo.jpg').write_text('')
    with pytest.raises(FileExistsError, match=r'mine holds photo\.jpg, which make_'):
        make(world, tmp_path / 'mine', overwrite=True)
    assert (tmp_path / 'mine/photo.jpg').exists()


def hand_made(folder):
    (folder / 'pairs.json').write_text('{"pairs": []}')


def other_tool(folder):
    (folder / 'bank.json').write_text('{"format": 1}')


def without_list(folder):
    for path in folder.glob('*.*'):
        path.unlink()


def with_notes(folder):
    (folder / 'objects/notes.txt').write_text('')


@pytest.mark.parametrize('change, foreign', [
    (hand_made, r'pairs\.json'), (other_tool, r'bank\.json'),
    (without_list, 'backgrounds/'), (with_notes, r'objects/notes\.txt')])
def test_what_others_wrote_is_never_overwritten(world, tmp_path, change, foreign):
    make(world, tmp_path / 'pairs', limit=5)
    change(tmp_path / 'pairs')
    before = files_of(tmp_path / 'pairs')
    with pytest.raises(FileExistsError, match=f'holds {foreign}.*, which make_'):
        make(world, tmp_path / 'pairs', overwrite=True)
    assert files_of(tmp_path / 'pairs') == before


def test_overwriting_removes_what_the_run_lists(world, tmp_path):
    out = tmp_path / 'pairs'
    many = set(files_of(make(world, out).path.parent))
    unlisted = out / f'objects/{unique_stem("other")}.png'
    unlisted.write_text('')
    make(world, out, limit=3, overwrite=True)
    left = set(files_of(out))
    make(world, tmp_path / 'few', limit=3)
    assert left == {*files_of(tmp_path / 'few'), unlisted.relative_to(out)} < {
        *many, unlisted.relative_to(out)}


def test_a_damaged_pair_file_of_the_tool_is_overwritten(world, tmp_path):
    made = make(world, tmp_path / 'pairs', limit=5)
    content = json.loads(made.path.read_text())
    del content['pairs'][0]['background']
    made.path.write_text(json.dumps(content))
    assert make(world, tmp_path / 'pairs', limit=5, overwrite=True).num_pairs


def test_sources_in_the_output_folder_are_refused(world, tmp_path):
    make(world, tmp_path / 'pairs', limit=3)
    with pytest.raises(UserValueError, match='images: .* lies in the output folder'):
        make_placement_pairs(
            world / 'annotations/instances_train.json', tmp_path / 'pairs/backgrounds',
            tmp_path / 'pairs', overwrite=True, progress=False)
    assert list((tmp_path / 'pairs/backgrounds').iterdir())


def test_an_edited_annotation_file_is_not_resumed(world, tmp_path):
    arguments = edited(world, tmp_path, lambda data: None)
    with pytest.raises(RuntimeError):
        make_placement_pairs(*arguments, rules=RULES, progress=False,
                             inpainter=Counting(fail_at=2))
    edited(world, tmp_path, lambda data: data['annotations'].pop())
    with pytest.raises(FileExistsError, match='the content of annotations changed'):
        make_placement_pairs(*arguments, rules=RULES, progress=False,
                             inpainter=Counting())


def dies(job):
    os._exit(1)


def test_a_worker_that_dies_ends_the_run(quick_workers):
    with pytest.raises(DataError, match='worker process died.*fewer --workers'):
        list(parallel.in_parallel(dies, range(3), 1))


def test_jobs_are_read_only_as_fast_as_they_are_done(quick_workers):
    read = []
    results = parallel.in_parallel(abs, (read.append(k) or -k for k in range(50)), 1)
    first = next(results)
    assert len(read) < 20
    assert sorted([first, *results]) == list(range(50))


def test_classes_are_chosen_by_name(world, tmp_path):
    made = make(world, tmp_path / 'pairs', classes='circle;star;square;heart')
    assert {pair['category'] for pair in pairs_of(made)} <= {
        'circle', 'star', 'square', 'heart'}
    assert made.reasons['other class'] > 0
    with pytest.raises(UserValueError, match="no class 'circel': did you mean 'cir"):
        make(world, tmp_path / 'other', classes='circel;')


def test_implausible_objects_are_left_out_by_a_scorer(world, tmp_path):
    seen = []

    def score(image, mask):
        seen.append((image.shape, mask.sum()))
        return 0.2 + 0.6 * (len(seen) % 2)

    made = make(world, tmp_path / 'pairs', scorer=score)
    assert seen[0][0] == (96, 96, 3) and seen[0][1] > 0
    assert made.reasons['implausible by its score'] == len(seen) // 2
    with pytest.raises(UserValueError, match='No object of .* can be used: .*implausib'
                       r'le by its score \(\d+\).*skipped.txt lists them. Loosen'):
        make(world, tmp_path / 'none', scorer=lambda image, mask: 0)
    assert (tmp_path / 'none/skipped.txt').is_file()


def test_simopa_scores_the_object_where_it_stands(tmp_path):
    torch.manual_seed(0)
    model = MODELS.build(dict(type='SimOPA')).eval()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'simopa.pth')
    image = np.random.default_rng(0).integers(256, size=(80, 96, 3)).astype(np.uint8)
    images = torch.from_numpy(image).permute(2, 0, 1)[None]
    masks = torch.from_numpy(disc().astype(np.uint8) * 255)[None, None]
    with torch.no_grad():
        expected = model.scores(images, masks).item()
    assert SimOPAScorer(tmp_path / 'simopa.pth')(image, disc()) == pytest.approx(
        expected, abs=1e-6)
    weights = model.state_dict()
    del weights['head.weight']
    torch.save(weights, tmp_path / 'trunk.pth')
    with pytest.raises(KeyError, match='head.*tools/convert/official.py topnet'):
        SimOPAScorer(tmp_path / 'trunk.pth')


def edited(world, tmp_path, change):
    """The toy world with another annotation file."""
    data = json.loads((world / 'annotations/instances_train.json').read_text())
    change(data)
    (tmp_path / 'edited.json').write_text(json.dumps(data))
    return tmp_path / 'edited.json', world / 'images/train', tmp_path / 'pairs'


def test_a_file_of_boxes_only_says_that_masks_are_missing(world, tmp_path):
    def without_masks(data):
        for entry in data['annotations']:
            del entry['segmentation']

    with pytest.raises(UserValueError, match=r'edited\.json has no masks: none of '
                       r"its \d+ annotations has a 'segmentation'.*instance segmentat"):
        make_placement_pairs(*edited(world, tmp_path, without_masks))
    assert not (tmp_path / 'pairs').exists()


def test_images_that_cannot_be_used_are_listed_and_the_rest_goes_on(world, tmp_path):
    def damage(data):
        data['images'][0]['file_name'] = 'gone.jpg'
        data['images'][1]['width'] += 1
        data['images'].append(dict(data['images'][2], id=99))
        data['images'].append(dict(data['images'][2], id='\ud800',
                                   file_name='\ud800.jpg'))

    made = make_placement_pairs(*edited(world, tmp_path, damage), rules=RULES,
                                progress=False)
    assert made.reasons['image: file not found'] == 1
    assert made.reasons['image: its size differs from that in the annotation file'] == 1
    assert made.reasons['image without an object'] == 2
    assert '\\ud800.jpg\timage\t' in made.skipped.read_text()
    assert 'gone.jpg\timage\timage: file not found' in made.skipped.read_text()
    assert made.num_pairs > 0 and made.num_images == NUM_IMAGES + 2


@pytest.mark.parametrize('options, error, message', [
    (dict(dilate=-1), ValueError, r'dilate must be in \[0, 1\], got -1'),
    (dict(dilate='x'), ValueError, "dilate must be .*got 'x'"),
    (dict(workers='2'), ValueError, "workers must be .*got '2'"),
    (dict(dilate=8), ValueError, r'dilate must be in \[0, 1\], got 8'),
    (dict(limit=0), ValueError, 'limit must be 1 or more, got 0'),
    (dict(seed=-1), ValueError, 'seed must be 0 or more, got -1'),
    (dict(workers=-1), ValueError, 'workers must be 0 or more'),
    (dict(dilate=float('nan')), ValueError, 'dilate must be in .*, got nan'),
    (dict(min_score=2), ValueError, r'min_score must be in \[0, 1\]')])
def test_wrong_arguments_are_named(world, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        make(world, tmp_path / 'pairs', **options)


def test_a_missing_folder_of_images_is_named(world, tmp_path):
    with pytest.raises(FileNotFoundError, match='No folder of images at .*gone'):
        make_placement_pairs(world / 'annotations/instances_train.json',
                             tmp_path / 'gone', tmp_path / 'pairs')


def test_ids_of_any_kind_become_file_names_of_their_own():
    names = ['17', '017', '000000000017', 'a/b', 'a_b', 'a b', 'A_b', '../x', 'ä' * 200]
    stems = [unique_stem(name) for name in names]
    assert stems[0].startswith('17-') and len(set(map(str.lower, stems))) == len(names)
    assert not any('/' in stem or '.' in stem or len(stem) > 80 for stem in stems)


def test_images_with_ids_that_look_alike_are_pairs_of_their_own(world, tmp_path):
    good = pairs_of(make(world, tmp_path / 'all'))[0]['file_name']

    def copy(data):
        entry, = (e for e in data['images'] if e['file_name'] == good)
        objects = [a for a in data['annotations'] if a['image_id'] == entry['id']]
        ids = [17, '17', '017', '000000000017']
        data['images'] = [entry | dict(id=number) for number in ids]
        data['annotations'] = [a | dict(image_id=number, id=f'{number!r}/{a["id"]}')
                               for number in ids for a in objects]

    pairs = pairs_of(make_placement_pairs(*edited(world, tmp_path, copy), rules=RULES,
                                          progress=False))
    for key in ('background', 'object'):
        assert len({pair[key] for pair in pairs}) == len(pairs) == 4
    assert pairs[0]['object'] == 'objects/000000000017.png'


def test_a_cut_out_holds_nothing_of_its_surroundings():
    image = np.random.default_rng(0).integers(1, 256, size=(80, 96, 3)).astype(np.uint8)
    mask = disc()
    rgba = cut_out(image, mask, cv2.boundingRect(mask.astype(np.uint8)))
    inside = rgba[..., 3] == 255
    np.testing.assert_array_equal(inside, mask[30:51, 38:59])
    np.testing.assert_array_equal(rgba[inside][:, :3], image[30:51, 38:59][inside])
    assert (rgba[~inside] == 0).all()


def tool():
    spec = importlib.util.spec_from_file_location(
        'make_placement_pairs_tool', ROOT / 'tools/data/make_placement_pairs.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_reports_counts_and_a_config(world, tmp_path, capsys):
    out = tmp_path / 'pairs'
    tool().main([str(world / 'annotations/instances_train.json'),
                 str(world / 'images/train'), str(out), '--workers', '0',
                 '--min-side', '8', '--limit', '5'])
    said = capsys.readouterr().out
    assert f'{out}/pairs.json: ' in said and 'pairs of 5 images' in said
    assert f'{NOT_CHOSEN}' in said and "type='mmcontrast.PlacementPairs'" in said


def test_the_command_explains_wrong_arguments(world, tmp_path, capsys):
    arguments = [str(world / 'annotations/instances_train.json'),
                 str(world / 'images/train'), str(tmp_path / 'pairs')]
    with pytest.raises(SystemExit):
        tool().main([*arguments, '--inpainter', 'diffusers'])
    assert '--inpainter diffusers and --weights FOLDER' in capsys.readouterr().err
    with pytest.raises(SystemExit, match='no pipeline of diffusers'):
        tool().main([*arguments, '--inpainter', 'diffusers', '--weights', 'gone'])


# Real images.

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason='../shared/data is missing; '
                                'the toy world stands for it')


@needs_data
def test_boxes_of_blood_cells_are_not_enough(tmp_path):
    with pytest.raises(UserValueError, match='has no masks'):
        make_placement_pairs(DATA / 'bccd/annotations/val.json', DATA / 'bccd/images',
                             tmp_path / 'pairs')


@needs_data
def test_cars_of_camvid_are_cut_out(tmp_path):
    """Connected components of the class Car stand for instances."""
    images, annotations = [], []
    for path in sorted((DATA / 'camvid/ann_dir/val').glob('*.png'))[::10]:
        labels = np.asarray(Image.open(path))
        images.append(dict(id=path.stem, file_name=f'{path.stem}.jpg',
                           height=labels.shape[0], width=labels.shape[1]))
        count, parts = cv2.connectedComponents((labels == 8).astype(np.uint8))
        annotations += [annotation(
            parts == k, id=len(annotations) + k, image_id=path.stem, category_id=1)
            for k in range(1, count)]
    (tmp_path / 'cars.json').write_text(json.dumps(dict(
        images=images, annotations=annotations, categories=[dict(id=1, name='car')])))
    made = make_placement_pairs(tmp_path / 'cars.json', DATA / 'camvid/img_dir/val',
                                tmp_path / 'pairs', progress=False)
    assert made.num_pairs >= 3 and made.num_images == len(images)
    dataset = DATASETS.build(dict(type='PlacementPairs', ann_file=str(made.path),
                                  pipeline=[dict(type='PrepareTopNet'),
                                            dict(type='PackPlacement')]))
    assert dataset[0]['data_samples'].background_wh == (480, 360)
