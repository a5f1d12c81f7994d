"""F1 and balanced accuracy over labeled placements."""
import pytest
import torch

from mmcontrast.errors import DataError, UserKeyError, UserValueError
from mmcontrast.methods.topnet.opa_metric import OPAMetric
from mmcontrast.methods.topnet.sample import PlacementSample
from mmcontrast.registry import METRICS


def labeled(positive_scores, negative_scores) -> dict:
    return PlacementSample(positive_scores=torch.tensor(positive_scores),
                           negative_scores=torch.tensor(negative_scores)).to_dict()


def scores(samples, **options) -> dict:
    metric = METRICS.build(dict(type='OPAMetric', **options))
    metric.process({}, samples)
    return metric.compute_metrics(metric.results)


def test_labels_of_all_images_are_counted_together():
    found = scores([labeled([0.9, 0.2], [0.8]), labeled([0.7], [0.1, 0.3, 0.6])])
    # TP 2 of 3 positives, FP 2 of 4 negatives: f1 = 4 / (4 + 2 + 1).
    balanced = (2 / 3 + 1 / 2) / 2
    assert found == dict(f1=pytest.approx(4 / 7), bAcc=pytest.approx(balanced),
                         TP=2, FP=2, FN=1, TN=2)


def test_labels_that_a_model_marks_as_overwritten_do_not_count():
    sample = labeled([0.9, 0.9], [0.9, 0.2])
    # The second positive is overwritten by a negative.
    sample['positive_counted'] = torch.tensor([True, False])
    sample['negative_counted'] = torch.tensor([True, True])
    found = scores([sample])
    assert [found[key] for key in ('TP', 'FP', 'FN', 'TN')] == [1, 1, 0, 1]


def test_one_half_is_not_reasonable_as_for_an_argmax_of_equal_logits():
    assert scores([labeled([0.5], [0.5])])['TP'] == 0
    assert scores([labeled([0.5], [0.5])], threshold=0.4)['TP'] == 1


def test_undefined_ratios_are_zero():
    assert scores([labeled([], [0.1])]) == dict(f1=0, bAcc=0.5, TP=0, FP=0, FN=0, TN=1)
    assert scores([labeled([0.9], [])])['bAcc'] == 0.5
    assert scores([labeled([0.1], [])]) == dict(f1=0, bAcc=0, TP=0, FP=0, FN=1, TN=0)


def test_without_a_label_there_is_nothing_to_score():
    with pytest.raises(DataError, match='labeled'):
        scores([labeled([], [])])


def test_half_precision_scores_are_counted_alike():
    half = PlacementSample(positive_scores=torch.tensor([0.5005, 0.4]).half(),
                           negative_scores=torch.tensor([]).half()).to_dict()
    assert scores([half])['TP'] == 1


def test_missing_misplaced_and_unsquashed_scores_are_named():
    with pytest.raises(UserKeyError, match='background a.jpg has no negative_scores'):
        scores([dict(positive_scores=torch.tensor([0.1]), background_path='a.jpg')])
    with pytest.raises(UserValueError, match='2 positives'):
        scores([dict(labeled([0.1], []), positives=torch.zeros(2, 4))])
    with pytest.raises(UserValueError, match=r'shape \(1, 2\); expected one score'):
        scores([labeled([[0.1, 0.9]], [])])
    for counted in ([True], [1, 0], 1, [[True, False]]):
        sample = dict(labeled([0.1, 0.9], []), positive_counted=torch.tensor(counted))
        with pytest.raises(UserValueError, match='positive_counted .* expected a bool'):
            scores([sample])
    with pytest.raises(UserValueError, match='sigmoid'):
        scores([labeled([3.0], [])])
    for threshold in (1.5, 'x', None):
        with pytest.raises(UserValueError, match='threshold'):
            OPAMetric(threshold=threshold)
