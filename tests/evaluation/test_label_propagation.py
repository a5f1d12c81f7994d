"""Video label propagation: carried labels, J, F, and the layout of DAVIS."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mmcontrast.apis.analysis.evaluate_backbone.videos import follow
from mmcontrast.datasets.video_clips import list_clips, read_ids, write_ids
from mmcontrast.evaluation import label_propagation
from mmcontrast.evaluation.label_propagation import propagate_labels
from mmcontrast.evaluation.video_scores import (
    contour_accuracy,
    mask_boundary,
    region_similarity,
    score_clip,
    statistics,
)


def square(top, left, side=10, size=(40, 50), value=True):
    mask = np.zeros(size, type(value))
    mask[top:top + side, left:left + side] = value
    return mask


# ---- J and F by pencil

def test_j_of_a_shifted_square():
    # 10 x 10 moved by 2: 80 pixels in common, 120 in either.
    found, truth = square(5, 7)[None], square(5, 5)[None]
    assert region_similarity(found, truth).tolist() == [80 / 120]


def test_j_of_empty_masks():
    empty, full = np.zeros((1, 4, 4), bool), np.ones((1, 4, 4), bool)
    assert region_similarity(empty, empty).tolist() == [1]
    assert region_similarity(empty, full).tolist() == [0]


def test_an_outline_runs_left_and_above_of_the_change():
    # A mask of one pixel (2, 2) differs from its left, upper and upper left neighbor,
    # and from its own lower and right ones.
    assert np.argwhere(mask_boundary(square(2, 2, 1, (5, 5)))).tolist() == [
        [1, 1], [1, 2], [2, 1], [2, 2]]
    assert not mask_boundary(np.ones((4, 4), bool)).any()


def test_f_of_a_square_moved_within_the_tolerance_is_one_and_beyond_it_is_not():
    # Diagonal of 30 x 40: 50; a tolerance of 0.04 gives a disk of 2 pixels.
    size = (30, 40)
    truth = square(8, 8, size=size)
    for shift, perfect in ((0, True), (2, True), (3, False)):
        found = contour_accuracy(square(8, 8 + shift, size=size), truth, 0.04)
        assert (found == 1) == perfect


def test_f_counts_the_parts_of_the_outline_that_fit():
    """A bar of 20 rows against one of 40 on the same columns, with a disk of 1 pixel.

    Outlines: both long sides and, inside the image, the ends. The short one fits but
    for its lower end; the long one fits where the short one is.
    """
    truth, found = np.zeros((2, 60, 80), bool)
    truth[10:50, 30:40] = True
    found[10:30, 30:40] = True
    # A row of the long sides: 2 pixels (columns 29 and 39). An end: 11 pixels.
    # found: rows 9 to 29 less its ends, 19 x 2, and two ends of 11 = 60 pixels; of its
    # lower end in row 29 the pixels of the long sides and their neighbors fit: 4.
    # truth: rows 10 to 48, 39 x 2, and two ends = 100; rows 10 to 30 fit, 21 x 2 + 11.
    precision, recall = (60 - 7) / 60, (21 * 2 + 11) / 100
    expected = 2 * precision * recall / (precision + recall)
    assert contour_accuracy(found, truth, 0.01) == pytest.approx(expected)


def test_f_without_an_outline():
    empty, one = np.zeros((20, 20), bool), square(3, 3, 5, (20, 20))
    assert contour_accuracy(empty, empty) == 1
    assert contour_accuracy(one, empty) == contour_accuracy(empty, one) == 0


def test_mean_recall_and_decay_of_frames():
    # Quarters of 8 frames meet at the places 0, 2, 4, 5 and 7 (1.75 and 3.5 and 5.25
    # rounded): the first holds 0 to 2, the last 5 to 7.
    values = np.array([1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    found = statistics(values)
    assert found == pytest.approx(dict(mean=0.65, recall=5 / 8, decay=0.9 - 0.4))


def test_ends_of_a_clip_and_void_pixels_do_not_count_and_ids_are_kept_apart():
    truth = np.stack([square(5, 5, value=3) + square(25, 30, value=7)] * 4)
    found = truth.copy()
    found[0], found[-1] = 0, 0
    found[1][found[1] == 7] = 0
    scores = score_clip(found, truth)
    assert set(scores) == {3, 7}
    assert scores[3]['J']['mean'] == scores[3]['F']['mean'] == 1
    assert scores[7]['J']['mean'] == scores[7]['F']['mean'] == 0.5
    spilled = truth.copy()
    spilled[:, 30:] = 3
    voided = np.where((spilled == 3) & (truth != 3), 255, truth)
    assert score_clip(spilled, truth)[3]['J']['mean'] < 0.5
    assert score_clip(spilled, voided)[3]['J']['mean'] == 1
    with pytest.raises(ValueError, match='T of 3 or more'):
        score_clip(truth[:2], truth[:2])


# ---- propagation

def moving_identity(steps, rows=12, cols=14, side=4):
    """Maps in which every spot of an object, and of the ground, has its own channel."""
    own = torch.eye(rows * cols + side * side)
    maps, masks = [], []
    for top, left in steps:
        which = torch.arange(rows * cols).view(rows, cols)
        mask = torch.zeros(rows, cols, dtype=torch.int64)
        which[top:top + side, left:left + side] = rows * cols + torch.arange(
            side * side).view(side, side)
        mask[top:top + side, left:left + side] = 1
        maps.append(own[which].permute(2, 0, 1))
        masks.append(mask)
    return maps, torch.stack(masks).numpy()


def test_features_that_know_each_spot_keep_every_spot_of_a_moving_object():
    maps, masks = moving_identity([(2, 2), (3, 4), (4, 6), (5, 7), (6, 7)])
    found = follow(maps, masks[0], context=2, radius=4, topk=1, temperature=0.1)
    # Ground that the object uncovers was never seen, so only the object is certain.
    assert (found == 1)[masks == 1].all()


def test_perfect_features_follow_a_moving_object_with_j_and_f_of_one():
    """The ground keeps one channel, so uncovered ground is known."""
    maps, masks = moving_identity([(2, 2), (3, 4), (4, 6), (5, 7), (6, 7)])
    plain = []
    for frame, mask in zip(maps, masks, strict=True):
        ground = torch.from_numpy(mask == 0)
        frame = frame * ~ground
        frame[0][ground] = 1
        plain.append(frame)
    found = follow(plain, masks[0], context=2, radius=4, topk=1, temperature=0.1)
    np.testing.assert_array_equal(found, masks)
    scores = score_clip(found, masks)[1]
    assert scores['J']['mean'] == scores['F']['mean'] == 1


def test_an_object_that_jumps_beyond_the_radius_is_lost():
    maps, masks = moving_identity([(1, 1), (1, 9), (1, 9)])
    near = follow(maps, masks[0], 1, radius=3, topk=1, temperature=0.1)
    far = follow(maps, masks[0], 1, radius=8, topk=1, temperature=0.1)
    assert not (near[1] == 1)[masks[1] == 1].any()
    assert (far[1] == 1)[masks[1] == 1].all()


def by_hand(maps, first, context, radius, topk, temperature):
    """The same with loops over frames and cells."""
    maps = [F.normalize(m, dim=0).numpy() for m in maps]
    known = [first.numpy()]
    for t in range(1, len(maps)):
        labels = np.zeros_like(known[0])
        sources = [0, *range(max(1, t - context), t)]
        rows, cols = labels.shape[1:]
        for y in range(rows):
            for x in range(cols):
                seen = [(float(maps[t][:, y, x] @ maps[s][:, v, u]), s, v, u)
                        for s in sources for v in range(rows) for u in range(cols)
                        if abs(v - y) <= radius and abs(u - x) <= radius]
                seen = sorted(seen, reverse=True)[:topk]
                weights = np.exp(np.array([c for c, *_ in seen]) / temperature)
                weights /= weights.sum()
                for w, (_, s, v, u) in zip(weights, seen, strict=True):
                    labels[:, y, x] += w * known[s][:, v, u]
        known.append(labels)
    return np.stack(known)


@pytest.mark.parametrize('chunk', [1, 900, 1 << 24])
@pytest.mark.parametrize('context, radius', [(0, 1), (2, 2), (7, 9)])
def test_labels_are_those_of_plain_loops_whatever_the_blocks(
        monkeypatch, chunk, context, radius):
    monkeypatch.setattr(label_propagation, 'CHUNK', chunk)
    generator = torch.Generator().manual_seed(0)
    maps = list(torch.randn(5, 6, 5, 4, generator=generator))
    first = torch.rand(3, 5, 4, generator=generator)
    found = torch.stack(list(propagate_labels(maps, first, context, radius, 3, 0.2)))
    expected = by_hand(maps, first, context, radius, 3, 0.2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_no_radius_is_a_radius_as_large_as_the_map():
    maps = list(torch.randn(3, 4, 3, 5, generator=torch.Generator().manual_seed(0)))
    first = torch.rand(2, 3, 5)
    whole, wide = (torch.stack(list(propagate_labels(maps, first, 1, radius)))
                   for radius in (None, 5))
    torch.testing.assert_close(whole, wide)


def test_settings_that_make_no_sense_are_rejected():
    maps, first = [torch.randn(4, 3, 3)] * 2, torch.ones(1, 3, 3)
    with pytest.raises(ValueError, match='topk 1 or more'):
        list(propagate_labels(maps, first, topk=0))
    with pytest.raises(ValueError, match='rows and columns must agree'):
        list(propagate_labels(maps, torch.ones(1, 2, 2)))


def test_ids_come_back_as_they_were_and_void_becomes_nothing():
    first = np.zeros((6, 6), np.uint8)
    first[:3, :3], first[3:, 3:], first[0, 5] = 9, 200, 255
    own = torch.eye(36).view(36, 6, 6)
    found = follow([own] * 3, first, 1, 2, 1, 0.1)
    assert found.dtype == np.uint8
    for frame in found:
        np.testing.assert_array_equal(frame, np.where(first == 255, 0, first))


# ---- files

@pytest.fixture
def davis(tmp_path):
    for part, suffix in (('JPEGImages', 'jpg'), ('Annotations', 'png')):
        folder = tmp_path / part / '480p' / 'swan'
        folder.mkdir(parents=True)
        for t in range(3):
            Image.new('L', (8, 6), t).save(folder / f'{t:05d}.{suffix}')
    lists = tmp_path / 'ImageSets' / '2017'
    lists.mkdir(parents=True)
    (lists / 'val.txt').write_text('swan\n')
    return tmp_path


def test_clips_are_found_in_the_folders_of_davis_and_without_them(davis, tmp_path):
    clip, = list_clips(davis)
    assert clip.name == 'swan' and [p.name for p in clip.frames] == [
        f'{t:05d}.jpg' for t in range(3)]
    for part in ('JPEGImages', 'Annotations'):
        (davis / part / '480p' / 'swan').rename(davis / part / 'swan')
        (davis / part / '480p').rmdir()
    (davis / 'ImageSets/2017/val.txt').rename(davis / 'ImageSets/val.txt')
    assert list_clips(davis)[0].masks[2] == davis / 'Annotations/swan/00002.png'


def test_missing_lists_masks_and_frames_are_named(davis):
    with pytest.raises(FileNotFoundError, match='ImageSets/2017/test.txt'):
        list_clips(davis, 'test')
    (davis / 'Annotations/480p/swan/00001.png').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 3 frames of swan .*00001.png'):
        list_clips(davis)
    (davis / 'JPEGImages/480p/swan/00001.jpg').unlink()
    with pytest.raises(ValueError, match='holds 2 .jpg files; a clip needs at least 3'):
        list_clips(davis)


def test_masks_are_written_with_their_palette(tmp_path):
    ids = np.arange(6, dtype=np.uint8).reshape(2, 3)
    palette = [0, 0, 0, 128, 0, 0, 0, 128, 0]
    write_ids(tmp_path / 'swan/00000.png', ids, palette)
    found, colors = read_ids(tmp_path / 'swan/00000.png')
    np.testing.assert_array_equal(found, ids)
    assert colors[:9] == palette
    Image.new('RGB', (3, 2)).save(tmp_path / 'color.png')
    with pytest.raises(ValueError, match='mode RGB'):
        read_ids(tmp_path / 'color.png')
