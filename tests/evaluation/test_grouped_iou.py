"""Scores of groups of classes, by hand."""
import pytest
import torch

pytest.importorskip('mmseg')
from mmcontrast.registry import METRICS

CLASSES = ('sky', 'car', 'cat', 'dog')


def scores(predicted, labels, **groups):
    metric = METRICS.build(dict(type='GroupedIoUMetric', groups=groups))
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, [dict(
        pred_sem_seg=dict(data=torch.tensor([p])),
        gt_sem_seg=dict(data=torch.tensor([g])))
        for p, g in zip(predicted, labels, strict=True)])
    return metric.evaluate(len(metric.results))


def test_a_group_is_scored_over_all_images_and_against_all_classes():
    found = scores(
        predicted=[[0, 0, 1, 1], [1, 2, 2, 2]], labels=[[0, 0, 0, 1], [1, 1, 2, 255]],
        old=('sky', 'car'), new=('cat', 'dog'))
    # sky 2 of 3 and car 2 of 4 (two are missed or wrong); cat 1 of 2; no dog anywhere.
    assert found['old/mIoU'] == pytest.approx(100 * (2 / 3 + 2 / 4) / 2, abs=.01)
    assert found['old/mAcc'] == pytest.approx(100 * (2 / 3 + 2 / 3) / 2, abs=.01)
    assert found['old/aAcc'] == pytest.approx(100 * 4 / 6, abs=.01)
    assert (found['new/mIoU'], found['new/mAcc'], found['new/aAcc']) == (50, 100, 100)
    # mmseg's own numbers stay.
    assert found['aAcc'] == pytest.approx(100 * 5 / 7, abs=.01)


def test_a_class_that_nothing_shows_but_is_predicted_counts_as_missed():
    found = scores([[2, 3]], [[2, 2]], new=('cat', 'dog'))
    assert found['new/mIoU'] == 25 and found['new/mAcc'] == 50


def test_a_group_without_pixels_has_no_score():
    found = scores([[0, 1]], [[0, 1]], new=('cat', 'dog'))
    assert found['new/mIoU'] != found['new/mIoU']


def test_a_class_that_the_dataset_lacks_is_named():
    with pytest.raises(ValueError, match="no class 'bird'.*sky, car"):
        scores([[0, 1]], [[0, 1]], new=('bird',))
