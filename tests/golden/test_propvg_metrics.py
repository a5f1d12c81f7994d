"""Metrics of phrases against the numbers of PropVG's evaluation code."""
import numpy as np

from tests.helpers.grounding_samples import evaluated, stored_samples
from tests.helpers.propvg_case import Case

THRESHOLDS = [0.5, 0.7, 0.9]


def listed(scores: dict, prefix: str, names, ending: str = '') -> np.ndarray:
    return np.array([scores[f'{prefix}/{name}{ending}'] for name in names])


def test_grec():
    case = Case('metric_grec')
    names, samples = ('F1score', 'N_acc', 'T_acc'), stored_samples(case)
    scores = evaluated('GRECMetric', samples, score_thr=THRESHOLDS)
    case.check({f'thr{thr}': listed(scores, 'GREC', names, f'_{thr}')
                for thr in THRESHOLDS})
    case.check({'thr0.7_F1thr0.5': listed(
        evaluated('GRECMetric', samples, f1_thr=0.5), 'GREC', names)})


def test_grec_of_each_sample():
    case = Case('metric_grec')
    right = [evaluated('GRECMetric', [sample])['GREC/F1score'] / 100
             for sample in stored_samples(case)]
    case.check(dict(per_sample_correct=np.array(right)))


def test_plain_iou_lies_as_far_off_as_the_case_says():
    """The mutation of the case: a sample whose GIoU alone is below 0.5."""
    case = Case('metric_grec')
    last = stored_samples(case)[-1:]
    assert evaluated('GRECMetric', last)['GREC/F1score'] == 0
    assert evaluated('GRECMetric', last, match='iou')['GREC/F1score'] == 100


def test_gres():
    case = Case('metric_gres')
    names = ('gIoU', 'cIoU', 'T_acc', 'N_acc', 'Pr@0.7', 'Pr@0.8', 'Pr@0.9')
    scores = evaluated('GRESMetric', stored_samples(case), score_thr=THRESHOLDS)
    case.check({f'thr{thr}': listed(scores, 'GRES', names, f'_{thr}')
                for thr in THRESHOLDS})
    targeted = stored_samples(case, ~case.arrays['in_empty'])
    case.check({'targeted_only_thr0.7': listed(
        evaluated('GRESMetric', targeted), 'GRES', names)})


def test_rec_and_res():
    case = Case('metric_rec_res')
    samples, levels = stored_samples(case), (0.5, 0.6, 0.7, 0.8, 0.9)
    scores = evaluated('RECMetric', samples) | evaluated('RESMetric', samples)
    case.check(dict(
        DetACC=scores['REC/DetACC'], mIoU=scores['RES/mIoU'], oIoU=scores['RES/oIoU'],
        DetACC_at=listed(scores, 'REC', [f'DetACC@{level}' for level in levels]),
        MaskACC=listed(scores, 'RES', [f'MaskACC@{level}' for level in levels])))


def test_ref_zom():
    case = Case('metric_refzom')
    scores = evaluated('RefZOMMetric', stored_samples(case))
    levels = [f'Pr@{level}' for level in (0.5, 0.6, 0.7, 0.8, 0.9)]
    case.check(dict(Pr=listed(scores, 'RefZOM', levels), **{
        name: scores[f'RefZOM/{name}'] for name in ('mIoU', 'oIoU', 'Acc')}))


def test_r_refcoco():
    case = Case('metric_rrefcoco')
    scores = evaluated('RRefCOCOMetric', stored_samples(case))
    case.check(dict(result=listed(scores, 'RRefCOCO', (
        'mIoU', 'oIoU', 'mRR', 'rIoU'))))
