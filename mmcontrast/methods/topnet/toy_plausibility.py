"""Count how many placements obey the rules of the toy world, beside simple baselines.

No network is asked: the scene of a sample is planned again from its seed, and the rule
that makes its positives judges every predicted box.
"""
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor
from torchvision.ops import box_convert

from ...datasets.shapes import IMPLAUSIBILITIES, PlacementPlan, plan_placement
from ...errors import DataError, UserKeyError, UserValueError
from ...registry import METRICS
from .sample import boxes_of_corners, boxes_tensor, sample_name
from .toy_baselines import SINGLE, baseline_boxes, training_prior

NO_PREDICTION = 'no_prediction'
# Pixels by which the true box of a sample may differ from that of its scene.
_SAME = 1e-3


@METRICS.register_module()
class ToyPlausibility(BaseMetric):
    """Share of placements that are plausible in the toy world, and why others are not.

    The object has to stand on the ground, at a size that fits the depth, inside the
    image, and neither hide nor be hidden by another object
    (:func:`mmcontrast.datasets.shapes.placement.implausibility`). All scores are shares
    of the images:

    - ``top1``: the best box is plausible;
    - ``top5_any``, ``top5_mean``: one of the first five is; mean of the share among
      them. An image without a prediction counts 0;
    - ``top1_outside``, ``top1_in_the_air``, ``top1_wrong_size``, ``top1_overlap``,
      ``top1_no_prediction``: the first rule, in this order, that the best box breaks.
      With ``top1`` they add up to 1.

    With ``baselines``, boxes on the same scenes with the aspect ratio of the cut-out:

    - ``random_top1``, ``..._top5_any``, ``..._top5_mean``: any size that fits into the
      image (the ratio max(w / W, h / H) uniform in [0, 1)), then any position inside;
    - ``random_position_...``: the mean ratio of training positives, anywhere inside;
    - ``center_top1``: that ratio, in the middle of the image;
    - ``mean_top1``: that ratio, at the mean center of training positives.

    The log shows a table of all.

    Args:
        topk: How many boxes of an image count, the best first.
        baselines: Also score the baselines.
        train_scenes: Scenes of the training split over whose positives ratio and center
            are averaged.
        seed: Of the random baselines, which depend on it and on the scene alone.
        collect_device, prefix: See mmengine's ``BaseMetric``.

    Raises:
        UserValueError: If ``topk`` or ``train_scenes`` is below 1.
    """

    default_prefix = 'toy'

    def __init__(self, topk: int = 5, baselines: bool = True, train_scenes: int = 500,
                 seed: int = 0, collect_device: str = 'cpu', prefix: str | None = None
                 ) -> None:
        super().__init__(collect_device, prefix)
        if not all(type(x) is int and x > 0 for x in (topk, train_scenes)):
            raise UserValueError(
                'ToyPlausibility: topk and train_scenes must be whole numbers, 1 or '
                f'more, got {topk!r} and {train_scenes!r}.')
        self.topk, self.baselines = topk, baselines
        self.train_scenes, self.seed = train_scenes, seed

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        self.results += [self._entry(sample) for sample in data_samples]

    def _entry(self, sample: Mapping) -> dict[str, list[str | None]]:
        """Source of boxes -> what is wrong with each box of one scene."""
        plan, size, aspect_wh = scene_of(sample)
        if 'boxes_xywh' not in sample:
            raise UserKeyError(
                f'ToyPlausibility: {sample_name(sample)} has no boxes_xywh, only '
                f'{sorted(sample)}. The model predicts them.')
        boxes = boxes_tensor(sample['boxes_xywh']).cpu()[:self.topk] / size
        found = dict(model=judged(plan, boxes))
        if self.baselines:
            options = _options(sample)
            prior = training_prior(self.train_scenes, tuple(sorted(options.items())))
            rng = np.random.default_rng([self.seed, plan.scene.seed])
            for name, made in baseline_boxes(prior, aspect_wh, self.topk, rng).items():
                found[name] = judged(plan, made)
        return found

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Shares by name.

        Raises:
            DataError: If there is no image.
        """
        if not results:
            raise DataError('ToyPlausibility: there is no image to judge. Test on '
                            'ShapesPlacements with one scene or more.')
        names = ['top1', f'top{self.topk}_any', f'top{self.topk}_mean']
        names = names if self.topk > 1 else names[:1]
        scores, lines = {}, [f'{"plausible":16}' + ''.join(f'{n:>12}' for n in names)]
        for source in results[0]:
            # A baseline of one box has nothing but a first one.
            shown = names[:1] if source in SINGLE else names
            found = _shares([entry[source] for entry in results])[:len(shown)]
            lines.append(f'{source:16}' + ''.join(f'{x:>12.3f}' for x in found))
            prefix = '' if source == 'model' else f'{source}_'
            scores |= {prefix + n: x for n, x in zip(shown, found, strict=True)}
        reasons = Counter(
            entry['model'][0] if entry['model'] else NO_PREDICTION for entry in results)
        for reason in (*IMPLAUSIBILITIES, NO_PREDICTION):
            scores[f'top1_{reason}'] = reasons[reason] / len(results)
        MMLogger.get_current_instance().info('\n'.join(lines))
        return scores


def _shares(judgments: list[list[str | None]]) -> list[float]:
    """First box plausible, any of them, and their mean share; means over images."""
    plausible = [[reason is None for reason in reasons] or [False]
                 for reasons in judgments]
    each = [(image[0], any(image), np.mean(image)) for image in plausible]
    return np.mean(np.array(each, np.float64), 0).tolist()


def scene_of(sample: Mapping) -> tuple[PlacementPlan, float, Sequence[float]]:
    """Plan the scene of a sample again.

    Returns:
        The plan, the side of the image in pixels, width and height of the cut-out.

    Raises:
        UserKeyError: If the sample is not one of the toy world.
        DataError: If its true box is not that of the scene.
    """
    missing = [key for key in ('seed', 'background_wh', 'object_wh')
               if key not in sample]
    if missing:
        raise UserKeyError(
            f'ToyPlausibility: {sample_name(sample)} has no {missing[0]}. Only scenes '
            'of the toy world (ShapesPlacements) can be judged; use PlacementIoU for '
            'other data.')
    plan = plan_placement(sample['seed'], **_options(sample))
    size = float(sample['background_wh'][0])
    positives = boxes_tensor(sample.get('positives', []), 'positives')
    if len(positives) and not np.allclose(
            positives[:1].cpu(), boxes_of_corners(plan.positives[:1]) * size,
            atol=_SAME):
        raise DataError(
            f'ToyPlausibility: the first positive of {sample.get("background_path")} '
            f'is not the true box of the scene with seed {sample["seed"]}. Test '
            'without FlipPlacement, and pass on scene_options of the dataset.')
    return plan, size, sample['object_wh']


def judged(plan: PlacementPlan, boxes_xywh: Tensor) -> list[str | None]:
    """What is wrong with boxes, given as shares of the image side; None: nothing."""
    corners = box_convert(boxes_xywh, 'xywh', 'xyxy')
    return [plan.implausibility(tuple(box)) for box in corners.tolist()]


def _options(sample: Mapping) -> dict:
    """How a scene is planned; its size in pixels plays no role."""
    options = dict(sample.get('scene_options', {}))
    options.pop('size', None)
    return options | ({'num_objects': tuple(options['num_objects'])}
                      if 'num_objects' in options else {})
