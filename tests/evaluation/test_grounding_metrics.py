"""Metrics of phrases, by hand."""
import math

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator

from mmcontrast.errors import DataError, UserKeyError, UserValueError
from mmcontrast.evaluation.calibration_file import Calibration, write_calibration
from mmcontrast.evaluation.grounding.overlaps import (
    greedy_matches,
    pairwise_giou,
    pairwise_iou,
)
from mmcontrast.testing.ranks import on_ranks
from tests.helpers.grounding_samples import evaluated, phrase, random_phrases

BOX, FAR = (0, 0, 10, 10), (50, 50, 60, 60)
KINDS = ('RESMetric', 'GRECMetric', 'GRESMetric', 'RefZOMMetric', 'RRefCOCOMetric')
ALL, NONE, LEFT, TOP = [[1, 1], [1, 1]], [[0, 0], [0, 0]], [[1, 0], [1, 0]], [
    [1, 1], [0, 0]]


def box(width, height=10):
    return (0, 0, width, height)


def test_overlaps_by_hand():
    # 10 x 10 and 10 x 5, then 10 x 10 twenty to the right: hull 30 x 10.
    boxes, others = np.array([BOX], float), np.array(
        [(0, 0, 10, 5), (20, 0, 30, 10), BOX], float)
    assert pairwise_iou(boxes, others).tolist() == [[0.5, 0, 1]]
    np.testing.assert_allclose(pairwise_giou(boxes, others), [[0.5, -1 / 3, 1]])


def test_boxes_without_area_overlap_nothing():
    flat = np.array([(3, 3, 3, 3)], float)
    assert pairwise_iou(flat, flat).tolist() == [[0]]
    assert pairwise_giou(flat, flat).tolist() == [[0]]


def test_the_greedy_matching_takes_the_largest_overlap_first():
    # The best assignment would find two pairs, 0.6 and 0.6; the greedy one takes 0.9.
    overlaps = np.array([[[0.9, 0.6], [0.6, 0.1]], [[0.9, 0.2], [0.3, 0.5]]])
    assert greedy_matches(overlaps, 0.5).tolist() == [1, 2]


@pytest.mark.parametrize('shape', [(3, 0, 2), (3, 2, 0), (0, 2, 2)])
def test_nothing_matches_nothing(shape):
    assert greedy_matches(np.zeros(shape), 0.5).tolist() == [0] * shape[0]


def test_rec_takes_the_best_box_and_of_equals_the_larger_coordinates():
    hit = phrase([FAR, BOX], [0.2, 0.9], [BOX])
    tie_hits = phrase([BOX, FAR], [0.5, 0.5], [FAR])
    tie_misses = phrase([FAR, BOX], [0.5, 0.5], [BOX])
    none = phrase(true=[BOX])
    scores = evaluated('RECMetric', [hit, tie_hits, tie_misses, none])
    assert scores['REC/DetACC'] == 50


def test_rec_thresholds_are_reached_by_equality():
    # IoU 0.5 and 0.8.
    scores = evaluated('RECMetric', [phrase([box(5)], [1], [BOX]),
                                     phrase([box(8)], [1], [BOX])])
    shares = [scores[f'REC/DetACC@{level}'] for level in (0.5, 0.6, 0.8, 0.9)]
    assert shares == [100, 50, 50, 0]


def test_boxes_of_the_input_are_compared_in_pixels_of_the_image():
    # An image of 20 x 10 that was resized to 10 x 40.
    sample = phrase([(0, 0, 10, 5)], [1], [(0, 0, 5, 20)], scale_factor=(0.5, 4.0))
    assert evaluated('RECMetric', [sample])['REC/DetACC@0.9'] == 100


def test_rec_refuses_phrases_of_several_objects():
    with pytest.raises(UserValueError, match="'a dog' means 2 objects.*GRECMetric"):
        evaluated('RECMetric', [phrase([BOX], [1], [BOX, FAR])])


def test_res_averages_over_phrases_and_over_pixels():
    scores = evaluated('RESMetric', [
        phrase(mask=LEFT, true_mask=ALL), phrase(mask=LEFT, true_mask=TOP),
        phrase(mask=NONE, true_mask=NONE)])
    # 2 of 4, 1 of 3, nothing of nothing: 0.
    assert scores['RES/mIoU'] == pytest.approx(100 * (2 / 4 + 1 / 3) / 3)
    assert scores['RES/oIoU'] == pytest.approx(100 * 3 / 7)
    assert scores['RES/MaskACC@0.5'] == pytest.approx(100 / 3)


def test_original_masks_are_scored_if_asked():
    sample = phrase(mask=LEFT, true_mask=ALL, pred_mask_original=torch.ones(3, 5),
                    gt_mask_original=torch.ones(3, 5).bool())
    assert evaluated('RESMetric', [sample])['RES/mIoU'] == 50
    scores = evaluated('RESMetric', [sample], resolution='original')
    assert scores['RES/mIoU'] == 100


def test_grec_counts_by_hand():
    right = phrase([BOX, FAR], [0.9, 0.8], [FAR, BOX])
    one_missing = phrase([BOX], [0.9], [FAR, BOX])
    one_too_many = phrase([BOX, FAR], [0.9, 0.8], [BOX])
    nothing, wrong = phrase([BOX], [0.5]), phrase([BOX], [0.9])
    samples = [right, one_missing, one_too_many, nothing, wrong]
    scores = evaluated('GRECMetric', samples)
    assert scores == {'GREC/F1score': 40, 'GREC/N_acc': 50, 'GREC/T_acc': 100}
    # F1 of the two half right ones is 2 / (2 + 1).
    scores = evaluated('GRECMetric', samples, f1_thr=0.66)
    assert scores['GREC/F1score'] == 80


def test_a_list_of_thresholds_scores_each():
    samples = [phrase([BOX], [0.6], [BOX]), phrase([BOX], [0.8])]
    scores = evaluated('GRECMetric', samples, score_thr=[0.5, 0.7, 0.9])
    assert [scores[f'GREC/F1score_{thr}'] for thr in (0.5, 0.7, 0.9)] == [50, 0, 50]
    # One threshold has the same numbers without its name.
    alone = evaluated('GRECMetric', samples, score_thr=0.9)
    assert alone == {name.removesuffix('_0.9'): value
                     for name, value in scores.items() if name.endswith('_0.9')}


def test_a_score_at_the_threshold_is_above_it_as_a_double_only():
    """float32(0.8) is larger than 0.8: GREC keeps it, GRES does not."""
    sample = phrase([BOX], [0.8], [BOX], ALL, ALL)
    assert evaluated('GRECMetric', [sample], score_thr=0.8)['GREC/F1score'] == 100
    assert evaluated('GRESMetric', [sample], score_thr=0.8)['GRES/gIoU'] == 0


def test_gres_by_hand():
    hit = phrase([BOX], [0.9], [BOX], LEFT, ALL)
    lost = phrase([BOX], [0.1], [BOX], LEFT, TOP)
    rejected = phrase([BOX], [0.1], [], ALL, NONE)
    fooled = phrase([BOX], [0.9], [], LEFT, NONE)
    scores = evaluated('GRESMetric', [hit, lost, rejected, fooled])
    assert scores['GRES/gIoU'] == pytest.approx(100 * (0.5 + 0 + 1 + 0) / 4)
    # Unions: 4 + 3 of the lost one + 0 + 2.
    assert scores['GRES/cIoU'] == pytest.approx(100 * 2 / 9)
    assert scores['GRES/N_acc'] == scores['GRES/T_acc'] == 50
    assert scores['GRES/Pr@0.7'] == 0


def test_a_set_without_absent_phrases_has_no_rejection_scores():
    scores = evaluated('GRESMetric', [phrase([BOX], [0.9], [BOX], ALL, ALL)])
    assert scores['GRES/N_acc'] == scores['GRES/T_acc'] == 0
    assert scores['GRES/gIoU'] == scores['GRES/Pr@0.9'] == 100


def test_ref_zom_scores_masks_without_rejection():
    scores = evaluated('RefZOMMetric', [
        phrase([BOX], [0.1], [BOX], LEFT, ALL), phrase([BOX], [0.1], [], ALL, NONE)])
    assert scores['RefZOM/mIoU'] == scores['RefZOM/oIoU'] == 50
    assert scores['RefZOM/Acc'] == 100


def test_r_refcoco_by_hand():
    def sentence(group, number, mask, true_mask, score, true=()):
        return phrase([BOX], [score], true, mask, true_mask, group_id=group,
                      sentence_id=number)
    samples = [
        sentence('a', 0, LEFT, ALL, 0.1, [BOX]), sentence('a', 1, ALL, ALL, 0.9, [BOX]),
        sentence('a', 2, TOP, NONE, 0.9), sentence('a', 3, ALL, NONE, 0.2),
        sentence('b', 0, LEFT, TOP, 0.9, [BOX]), sentence('b', 1, ALL, NONE, 0.2)]
    scores = evaluated('RRefCOCOMetric', samples)
    # Group a: IoUs 1/2 and 1, 6 of 8 pixels and 2 wrong ones more. Group b: 1 of 3.
    assert scores == pytest.approx({
        'RRefCOCO/mIoU': 100 * (3 / 4 + 1 / 3) / 2, 'RRefCOCO/oIoU': 100 * 7 / 11,
        'RRefCOCO/mRR': 75, 'RRefCOCO/rIoU': 100 * (6 / 10 + 1 / 3) / 2})
    # Any order, and sentences that come twice, change nothing.
    assert evaluated('RRefCOCOMetric', samples[::-1] + samples[:2]) == \
        pytest.approx(scores)
    # A group of which a side is missing is left out.
    alone = sentence('c', 0, NONE, ALL, 0.9, [BOX])
    assert evaluated('RRefCOCOMetric', [*samples, alone]) == pytest.approx(scores)
    with pytest.raises(DataError, match='none of 1 groups has a true and a false'):
        evaluated('RRefCOCOMetric', [alone])


def test_a_calibration_decides(tmp_path):
    path = str(tmp_path / 'calibration.json')
    write_calibration(Calibration(score_thr=0.2, exists_thr=0.6), path)
    samples = [phrase([BOX], [0.3], [BOX], ALL, ALL, exists=0.6),
               phrase([BOX], [0.9], [], ALL, NONE, exists=0.5),
               phrase([BOX], [0.9], [BOX], ALL, ALL)]
    scores = evaluated('GRECMetric', samples, calibration=path)
    assert scores['GREC/F1score'] == scores['GREC/N_acc'] == 100
    assert evaluated('GRESMetric', samples, calibration=path)['GRES/gIoU'] == 100
    with pytest.raises(UserValueError, match='both set the threshold'):
        evaluated('GRECMetric', samples, calibration=path, score_thr=0.7)


@pytest.mark.parametrize('value', [[], 1.5, [0.5, -0.1], 'high', True, math.nan])
def test_thresholds_are_checked(value):
    with pytest.raises(UserValueError, match='score_thr must be a number'):
        evaluated('GRESMetric', [], score_thr=value)


def test_what_a_sample_lacks_is_said():
    sample = phrase([BOX], [0.9], [BOX], img_path='a.jpg')
    with pytest.raises(UserKeyError, match="a.jpg, phrase 'a dog': no pred_mask"):
        evaluated('RESMetric', [sample])
    with pytest.raises(UserKeyError, match='keep_original_mask=True'):
        evaluated('RESMetric', [sample], resolution='original')
    with pytest.raises(UserKeyError, match='has no group_id.*index file'):
        evaluated('RRefCOCOMetric', [phrase(mask=ALL, true_mask=ALL)])
    with pytest.raises(UserValueError, match=r'has \(2, 2\) and the labeled one \(1'):
        evaluated('RESMetric', [phrase(mask=ALL, true_mask=[[1, 1]])])
    del sample['gt_instances']['referred']
    with pytest.raises(UserKeyError, match='has no referred'):
        evaluated('GRECMetric', [sample])
    with pytest.raises(UserKeyError, match='has no pred_instances'):
        evaluated('RECMetric', [dict(
            gt_instances=phrase(true=[BOX])['gt_instances'])])
    with pytest.raises(UserValueError, match="resolution must be 'input' or 'orig"):
        evaluated('GRESMetric', [], resolution='full')
    with pytest.raises(UserValueError, match="match must be 'giou' or 'iou'"):
        evaluated('GRECMetric', [], match='l1')
    with pytest.raises(DataError, match='no sample was evaluated'):
        evaluated('GRESMetric', [])


def run_evaluator(rank: int, ranks: int, count: int) -> dict:
    """Scores of all metrics; a rank has every ``ranks``-th sample, padded at the end.
    """
    samples = random_phrases(count)
    padded = samples + samples[:-count % ranks]
    evaluator = Evaluator([dict(type=f'mmcontrast.{kind}') for kind in KINDS])
    evaluator.dataset_meta = {}
    mine = padded[rank::ranks]
    for start in range(0, len(mine), 4):
        evaluator.process(mine[start:start + 4], {})
    return evaluator.evaluate(count)


def test_two_ranks_give_the_scores_of_one():
    """23 samples: the first one also fills the last batch of the second rank."""
    alone = run_evaluator(0, 1, 23)
    assert len(alone) == 7 + 3 + 7 + 8 + 4
    for scores in on_ranks(2, run_evaluator, 2, 23):
        assert scores == pytest.approx(alone)
