"""Thresholds that are chosen on scored phrases, by hand."""
import numpy as np
import pytest

from mmcontrast.errors import UserValueError
from mmcontrast.evaluation.calibration import (
    ScoredPhrase,
    choose_thresholds,
    expected_recall,
    join_phrases,
    precision_recall,
    reliability,
    wilson_interval,
)

BOX, NEAR, FAR = (0, 0, 10, 10), (0, 0, 10, 6), (50, 50, 60, 60)


def scored(present, absent=(), exists=()):
    """Phrases with one box of a score each, those that are there first."""
    scores, known = [*present, *absent], iter(exists)
    return join_phrases([ScoredPhrase(
        i < len(present), [BOX] if score else [], [score] if score else [],
        next(known, None), [BOX] if i < len(present) else [])
        for i, score in enumerate(scores)])


def test_the_threshold_keeps_what_is_asked_for_and_no_more():
    # 0.8 of 11 is 8.8: 9 of 10 stay, 0.5 and all above; 0.2 is the next lower score.
    phrases = scored([0.1, 0.5, *[0.9] * 8], [0.2, 0.6, 0.05])
    score_thr, exists_thr = choose_thresholds(phrases, 0.8)
    assert exists_thr is None and 0.2 < score_thr < 0.5
    assert score_thr == pytest.approx(0.35)
    kept = phrases.kept(score_thr, exists_thr)
    assert kept[:10].sum() == 9 and kept[10:].tolist() == [False, True, False]


def test_all_of_them_is_a_recall_too():
    score_thr, _ = choose_thresholds(scored([0.1, 0.5], [0.3]), 1.0)
    assert score_thr == pytest.approx(0.05)


def test_a_share_of_a_whole_number_is_not_rounded_up():
    # 0.55 * 40 is 22.000000000000004 in floating point.
    phrases = scored(np.linspace(0.1, 0.86, 39))
    assert phrases.kept(*choose_thresholds(phrases, 0.55)).sum() == 22


def test_what_is_asked_for_holds_for_new_phrases_on_average():
    """400 sets of 50: a plain quantile would keep 0.9 of each set, and less of others.
    """
    rng = np.random.default_rng(0)
    kept, kept_two = [], []
    new, new_exists = rng.uniform(0.1, 1, (2, 5000))
    for _ in range(400):
        own, exists = rng.uniform(0.1, 1, (2, 50))
        thr, _ = choose_thresholds(scored(own), 0.9)
        kept.append((new > thr).mean())
        # Absent phrases that existence alone rejects, so that both have a threshold.
        thr, exists_thr = choose_thresholds(
            scored(own, [0.99] * 5 + [0.05], [*exists, *[0.05] * 5, 0.99]), 0.9)
        kept_two.append(((new > thr) & (new_exists >= exists_thr)).mean())
    assert 0.9 <= np.mean(kept) < 0.92
    assert 0.9 <= np.mean(kept_two) < 0.93
    assert expected_recall(46, 50, 1) == pytest.approx(46 / 51)
    assert expected_recall(20, 20, 2) == pytest.approx(19 / 21)


def test_scores_that_are_neighbors_in_float32_are_told_apart():
    low = np.float32(0.5)
    high = np.nextafter(low, np.float32(1))
    phrases = scored([float(high)], [float(low)])
    score_thr, _ = choose_thresholds(phrases, 1.0)
    assert phrases.kept(score_thr, None).tolist() == [True, False]
    assert high > np.float32(score_thr) and not low > np.float32(score_thr)


def test_existence_is_used_where_it_rejects_more():
    # By scores alone both absent phrases pass; existence rejects one of them.
    phrases = scored([0.5, 0.6], [0.9, 0.8], exists=[0.7, 0.8, 0.2, 0.9])
    score_thr, exists_thr = choose_thresholds(phrases, 1.0)
    assert 0.2 < exists_thr < 0.7
    assert phrases.kept(score_thr, exists_thr).tolist() == [True, True, False, True]


def test_existence_that_adds_nothing_is_left_out():
    phrases = scored([0.5, 0.6], [0.4, 0.3], exists=[0.7, 0.8, 0.1, 0.2])
    assert choose_thresholds(phrases, 1.0)[1] is None


def test_both_thresholds_share_what_may_be_lost():
    """0.7 of 11, and one more, are 9: one of ten may go, by existence or score."""
    present = [0.9] * 9 + [0.3]
    exists = [0.9] * 8 + [0.1, 0.9]
    # Four absent phrases of existence 0.2 lie above all scores, one at 0.35 does not.
    phrases = scored(present, [0.95] * 4 + [0.35], exists + [0.2] * 4 + [0.9])
    score_thr, exists_thr = choose_thresholds(phrases, 0.7)
    kept = phrases.kept(score_thr, exists_thr)
    assert kept[:10].sum() == 9 and kept[10:].sum() == 1
    assert 0.2 < exists_thr < 0.9 and score_thr < 0.3


def test_a_recall_beyond_reach_gives_the_lowest_thresholds():
    phrases = scored([0.5, 0, 0], [0.2])
    assert choose_thresholds(phrases, 0.95) == (0.0, None)
    assert phrases.kept(0.0, None).tolist() == [True, False, False, True]


def test_what_cannot_be_chosen_is_said():
    with pytest.raises(UserValueError, match='No phrase is about something'):
        choose_thresholds(scored([], [0.5]), 0.95)
    for recall in (0, 1.5):
        with pytest.raises(UserValueError, match=r'recall must lie in \(0, 1\]'):
            choose_thresholds(scored([0.5]), recall)


def test_wilson_intervals_of_textbooks():
    # Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for part, whole, low, high in ((81, 263, .2553, .3662), (15, 148, .0624, .1605),
                                   (0, 20, 0, .1611), (1, 29, .0061, .1718)):
        assert wilson_interval(part, whole) == pytest.approx((low, high), abs=1e-4)
    assert wilson_interval(0, 0) == (0, 1)


def test_boxes_lie_on_a_target_from_an_iou_of_one_half():
    phrase = ScoredPhrase(True, [NEAR, FAR, BOX], [0.9, 0.8, 0.7], None,
                          [BOX, (100, 0, 110, 10)])
    joined = join_phrases([phrase, ScoredPhrase(False, [BOX], [0.6], 0.3, [])])
    assert joined.box_right.tolist() == [True, False, True, False]
    # Of the two targets one is found, at 0.9.
    assert joined.target_scores.tolist() == [0.9, 0]
    assert joined.box_phrase.tolist() == [0, 0, 0, 1]
    assert joined.best.tolist() == [0.9, 0.6] and np.isnan(joined.exists[0])


def test_precision_and_recall_of_every_threshold():
    precision, recall = precision_recall(
        np.array([0.9, 0.8, 0.8, 0]), np.array([True, False, True, True]),
        np.array([0.9, 0.8, 0]))
    assert precision.tolist() == [1, 2 / 3]
    assert recall == pytest.approx([1 / 3, 2 / 3])


def test_scores_that_are_probabilities_are_reliable():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.02, 0.98, 4000)
    present = rng.uniform(size=4000) < scores
    true, false = scores[present], scores[~present]
    found = reliability(scored(true, false))
    assert found.counts.tolist() == [400] * 10
    assert found.error < 0.03
    np.testing.assert_allclose(*found.curve, atol=0.1)
    # Half of the scores: off by a quarter on average.
    halved = reliability(scored(true / 2, false / 2))
    assert halved.error == pytest.approx(0.25, abs=0.02)
    assert (np.diff(halved.curve[1]) >= 0).all()
