"""Answer phrases without reading them: what a trained model has to beat."""
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

from ...registry import METRICS

#: Name to what it answers; the last three see the annotated objects.
BASELINES = dict(
    never='nothing is meant', image='the whole image', random_box='a random box',
    random_object='one of the objects', largest_object='the largest object',
    all_objects='every object')


def score_baselines(samples: Iterable[BaseDataElement], metrics: Sequence[Mapping],
                    baselines: Sequence[str] = tuple(BASELINES), seed: int = 0
                    ) -> dict[str, dict[str, float]]:
    """Scores of each baseline.

    Args:
        samples: Of a test pipeline, with labels; read once.
        metrics: Configs of grounding metrics.
        baselines: Names in :data:`BASELINES`.
        seed: Of the random ones.

    Returns:
        Baseline -> name of a score -> percent.
    """
    evaluators = {name: Evaluator([METRICS.build(metric) for metric in metrics])
                  for name in baselines}
    rngs = {name: np.random.default_rng(seed) for name in baselines}
    count = 0
    for sample in samples:
        count += 1
        for name, evaluator in evaluators.items():
            evaluator.process([answered(sample, name, rngs[name])])
    return {name: evaluator.evaluate(count) for name, evaluator in evaluators.items()}


def answered(sample: BaseDataElement, baseline: str, rng: np.random.Generator
             ) -> BaseDataElement:
    """A copy of a sample with what a baseline predicts, whatever the phrase.

    Its boxes have the score 1; its mask is their pixels.
    """
    height, width = sample.ori_shape
    scale = torch.tensor(sample.get('scale_factor', (1, 1)), dtype=torch.float64)
    objects = sample.gt_instances.bboxes.double() / scale.repeat(2)
    boxes = guess(baseline, objects, width, height, rng)
    sample = sample.clone()
    sample.pred_instances = InstanceData(
        bboxes=boxes, scores=torch.ones(len(boxes)),
        labels=torch.zeros(len(boxes), dtype=torch.int64))
    for ending in ('', '_original'):
        if f'gt_mask{ending}' in sample:
            shape = getattr(sample, f'gt_mask{ending}').shape
            factor = boxes.new_tensor([shape[1] / width, shape[0] / height])
            sample.set_field(_filled(boxes * factor.repeat(2), *shape),
                             f'pred_mask{ending}')
    return sample


def guess(baseline: str, objects: Tensor, width: int, height: int,
          rng: np.random.Generator) -> Tensor:
    """Boxes (K, 4) that a baseline answers with.

    Args:
        baseline: A name in :data:`BASELINES`.
        objects: (N, 4) boxes of all objects of the image, xyxy.
        width, height: Of the image.
        rng: Draws the random ones.

    Raises:
        ValueError: If there is no such baseline.
    """
    if baseline not in BASELINES:
        raise ValueError(f'baseline must be one of {list(BASELINES)}, got '
                         f'{baseline!r}.')
    if baseline == 'image':
        return objects.new_tensor([[0, 0, width, height]])
    if baseline == 'random_box':
        corners = np.sort(rng.random((2, 2)), 0) * (width, height)
        return objects.new_tensor(corners.reshape(1, 4))
    if baseline == 'never' or not len(objects):
        return objects[:0]
    if baseline == 'random_object':
        return objects[int(rng.integers(len(objects)))][None]
    if baseline == 'largest_object':
        sides = objects[:, 2:] - objects[:, :2]
        return objects[sides.prod(1).argmax()][None]
    return objects


def _filled(boxes: Tensor, height: int, width: int) -> Tensor:
    """(height, width) bool, the pixels whose center is in one of K boxes."""
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    left, top, right, bottom = boxes.T[..., None]
    columns, rows = (left < x) & (x < right), (top < y) & (y < bottom)
    return (rows[:, :, None] & columns[:, None]).any(0)
