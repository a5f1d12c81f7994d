"""Metrics of phrases behind a real model, data set and Evaluator."""
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator

pytest.importorskip('mmdet')
from mmcontrast.apis.analysis.score_grounding import score_grounding
from mmcontrast.evaluation.grounding.samples import labeled_boxes
from mmcontrast.registry import DATASETS
from tests.helpers import tiny_propvg

METRICS = [dict(type=f'mmcontrast.{kind}', score_thr=[0.1, 0.5])
           for kind in ('GRECMetric', 'GRESMetric')]
AT_ORIGINAL = dict(type='mmcontrast.RESMetric', resolution='original', prefix='image')


@pytest.fixture(scope='module')
def dataset():
    return DATASETS.build(dict(
        type='ShapesGrounding', num_images=3, split='test', size=96, test_mode=True,
        pipeline=[
            dict(type='mmcontrast.LoadGroundingImage'),
            dict(type='mmcontrast.LoadGroundingAnnotations', with_mask=True),
            dict(type='mmcontrast.ResizeGrounding', scale=tiny_propvg.SIZE),
            dict(type='mmcontrast.PackGrounding', keep_original_mask=True)]))


@pytest.fixture(scope='module')
def run(dataset, tmp_path_factory):
    """Scores, predicted samples and the file of a dump."""
    path = tmp_path_factory.mktemp('run') / 'predictions.jsonl'
    model, samples = tiny_propvg.build().eval(), []
    evaluator = Evaluator([
        *METRICS, dict(type='mmcontrast.RESMetric'), AT_ORIGINAL,
        dict(type='mmcontrast.DumpGrounding', out_file=str(path))])
    evaluator.dataset_meta = {}
    for start in range(0, len(dataset), 8):
        batch = pseudo_collate([dataset[i] for i in range(
            start, min(start + 8, len(dataset)))])
        with torch.no_grad():
            predicted = model.test_step(batch)
        evaluator.process(predicted, batch)
        samples += predicted
    return evaluator.evaluate(len(dataset)), samples, path


def test_labels_come_back_in_pixels_of_the_image(dataset, run):
    _, samples, _ = run
    for index, sample in enumerate(samples):
        item = dataset.get_data_info(index)
        assert sample.img_shape == (64, 64) and sample.ori_shape == (96, 96)
        _, expression = item['phrases'][0]
        assert len(labeled_boxes(sample.to_dict())) == len(expression.targets)
    boxes = np.concatenate([labeled_boxes(sample.to_dict()) for sample in samples])
    # Objects of the toy world lie at whole pixels.
    np.testing.assert_allclose(boxes, boxes.round(), atol=1e-4)
    assert boxes.max() > 64


def test_masks_are_scored_at_both_resolutions(run):
    scores, samples, _ = run
    for prefix, ending, side in (('RES', '', 64), ('image', '_original', 96)):
        shared = union = 0
        for sample in samples:
            found, true = (sample.get(f'{kind}_mask{ending}').numpy()
                           for kind in ('pred', 'gt'))
            assert found.shape == true.shape == (side, side)
            shared += np.logical_and(found, true).sum()
            union += np.logical_or(found, true).sum()
        assert scores[f'{prefix}/oIoU'] == pytest.approx(100 * shared / union)


def test_the_dump_of_a_run_gives_its_scores(run):
    scores, _, path = run
    again = score_grounding(path, ['GREC', 'GRES'], [0.1, 0.5], progress=False)
    again |= score_grounding(path, ['RES'], progress=False)
    assert again == {name: value for name, value in scores.items()
                     if not name.startswith('image/')}
