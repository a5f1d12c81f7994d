"""Metrics of object placement against numbers of OPA and of a numpy implementation."""
import pytest
import torch

from mmcontrast.methods.topnet.frechet import frechet_distance
from mmcontrast.methods.topnet.opa_metric import OPAMetric, f1_and_balanced_accuracy
from mmcontrast.methods.topnet.placement_iou import PlacementIoU
from mmcontrast.methods.topnet.sample import PlacementSample
from tests.helpers.topnet_case import Case

LABELS = {
    'mixed': lambda gt, pred: (gt, pred),
    'all_negative_pred': lambda gt, pred: (gt, torch.zeros_like(gt)),
    'perfect': lambda gt, pred: (gt, gt),
    'inverted': lambda gt, pred: (gt, ~gt),
}


def placement_samples(case: Case) -> list:
    """The case's boxes, with the edits of its text, which counts boxes from 1."""
    predictions, truths = case.input('pred'), case.input('gt')
    samples = []
    for i, (found, true) in enumerate(zip(predictions, truths, strict=True)):
        if i % 3 == 0:
            found[1] = true[0] + torch.tensor([4.0, -3, 0, 0])
        true = true[:1 + i % 2]
        if i == 1:
            found[0] = true[-1]
        samples.append(PlacementSample(
            metainfo=dict(background_wh=(200, 200)), boxes_xywh=found, positives=true))
    return samples


def evaluated(metric, samples: list) -> dict:
    metric.process({}, [sample.to_dict() for sample in samples])
    return metric.compute_metrics(metric.results)


def test_placement_iou():
    case = Case('oracle_placement_metrics')
    scores = evaluated(PlacementIoU(), placement_samples(case))
    case.check({name: scores[name] for name in (
        'top1_iou', 'top1_iou50', 'top5_iou', 'top5_iou50')})


@pytest.mark.parametrize('name', LABELS)
def test_f1_and_balanced_accuracy(name):
    case = Case('ref_opa_metrics')
    labels, predicted = LABELS[name](case.input('gt'), case.input('pred'))
    probs = torch.where(predicted, 0.9, 0.1)
    half = len(labels) // 3
    samples = [PlacementSample(positive_scores=probs[part][labels[part]],
                               negative_scores=probs[part][~labels[part]])
               for part in (slice(half), slice(half, None))]
    scores = evaluated(OPAMetric(), samples)
    found = [scores[key] for key in ('f1', 'bAcc', 'TP', 'FP', 'FN', 'TN')]
    case.check({name: torch.tensor(found, dtype=torch.float64)})
    counts = [int(scores[key]) for key in ('TP', 'FP', 'FN', 'TN')]
    assert f1_and_balanced_accuracy(*counts) == (scores['f1'], scores['bAcc'])


def test_frechet_distance():
    case = Case('oracle_placement_metrics')
    case.check(dict(frechet=torch.tensor(
        frechet_distance(case.input('feat_a'), case.input('feat_b')),
        dtype=torch.float64)))
