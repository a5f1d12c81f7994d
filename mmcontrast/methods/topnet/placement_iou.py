"""Score predicted boxes by their IoU with the boxes where an object is plausible."""
from collections.abc import Mapping, Sequence
from numbers import Real

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor
from torchvision.ops import box_convert, box_iou

from ...errors import DataError, UserKeyError, UserValueError
from ...registry import METRICS
from .sample import boxes_tensor, sample_name


@METRICS.register_module()
class PlacementIoU(BaseMetric):
    """Mean IoU of the first k predictions, share above a threshold, and diversity.

    For each image the largest IoU between its first k predictions and its positives;
    with ``per_truth``, for each positive the largest IoU with the first k predictions.
    Only images with a positive count; without a prediction the IoU is 0. All scores are
    in [0, 1]:

    - ``top1_iou``, ``top5_iou``: mean over images, or over positives.
    - ``top1_iou50``, ``top5_iou50``: share of them whose IoU is above 0.5, not equal to
      it.
    - ``top5_scale_std``, ``top5_x_std``, ``top5_y_std``: diversity, the standard
      deviation over the first predictions of one image (divided by their number, so
      that one prediction gives 0), then the mean over images with a prediction. Scale
      is max(w / W, h / H), x and y the center as a share of W and H. BOOTPLACE takes it
      over five trials of a random model and does not give its units; a ranked list has
      no trials. Only for the largest k, if that is above 1.

    The search for a scale at a given center is scored with ``topk=1,
    thresholds=0.95``, which gives ``top1_iou95``, where the model makes that search:
    ``TopNet`` with ``test_cfg=dict(fix='center')``.

    Source: BOOTPLACE (CVPR 2025), section 4, for IOU@k and IOU50@k, which are given in
    percent there. Its 3,566 test items of OPA are about as many as
    OPA has positive test rows (3,588), so that every positive counts once: with
    ``OPAComposites``, whose items hold all positives of a pair, its figures are those
    of ``per_truth=True``.

    Args:
        topk: k, or several.
        thresholds: An IoU, or several.
        per_truth: Count every positive by itself, not every image once by the positive
            that was met best.
        collect_device, prefix: See mmengine's ``BaseMetric``.

    Raises:
        UserValueError: If k is no whole number above 0, or a threshold outside [0, 1).
    """

    default_prefix = 'placement'

    def __init__(self, topk: int | Sequence[int] = (1, 5),
                 thresholds: float | Sequence[float] = 0.5, per_truth: bool = False,
                 collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.per_truth = per_truth
        counts, self.thresholds = _listed(topk), _listed(thresholds)
        if not counts or not all(type(k) is int and k > 0 for k in counts):
            raise UserValueError(
                'PlacementIoU: topk must be a whole number, 1 or more, or several, got '
                f'{topk!r}.')
        self.topk = sorted(counts)
        if not all(isinstance(threshold, Real) and 0 <= threshold < 1
                   for threshold in self.thresholds):
            raise UserValueError('PlacementIoU: thresholds are IoUs in [0, 1), got '
                                 f'{thresholds!r}.')

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        # One entry a sample: mmengine truncates the results to the number of samples.
        self.results += [self._entry(sample) for sample in data_samples]

    def _entry(self, sample: Mapping) -> tuple | None:
        """(Rows of an IoU for each k, standard deviations of the predictions).

        A row for each positive, or one for all; None without a positive.
        """
        predictions, positives = (_boxes(sample, name)
                                  for name in ('boxes_xywh', 'positives'))
        if not len(positives):
            return None
        ious = best_ious(predictions, positives, self.topk)
        rows = (ious if self.per_truth else ious.amax(0, keepdim=True)).tolist()
        if self.topk[-1] == 1 or not len(predictions):
            return rows, None
        if 'background_wh' not in sample:
            raise UserKeyError(
                f'PlacementIoU: {sample_name(sample)} has no background_wh, only '
                f'{sorted(sample)}. Diversity is in shares of the background.')
        shown = predictions[:self.topk[-1]]
        return rows, placement_std(shown, sample['background_wh']).tolist()

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores by name.

        Raises:
            DataError: If no image has a positive.
        """
        counted = [entry for entry in results if entry is not None]
        if not counted:
            raise DataError(f'PlacementIoU: none of {len(results)} images has a '
                            'positive. Test on data with boxes of plausible places.')
        ious = torch.tensor([row for rows, _ in counted for row in rows],
                            dtype=torch.float64)
        scores = {}
        for k, column in zip(self.topk, ious.unbind(1), strict=True):
            scores[f'top{k}_iou'] = column.mean().item()
            for threshold in self.thresholds:
                share = (column > threshold).double().mean()
                scores[f'top{k}_iou{100 * threshold:g}'] = share.item()
        deviations = [found for _, found in counted if found is not None]
        if deviations:
            means = torch.tensor(deviations, dtype=torch.float64).mean(0)
            for name, value in zip(('scale', 'x', 'y'), means.tolist(), strict=True):
                scores[f'top{self.topk[-1]}_{name}_std'] = value
        return scores


def best_ious(predictions: Tensor, truths: Tensor, topk: Sequence[int]) -> Tensor:
    """Largest IoU of each true box with the first k predictions.

    Args:
        predictions: (K, 4) float64 boxes (x, y, w, h), the best first.
        truths: (G, 4), G at least 1.
        topk: Any numbers k; more than K is all there are.

    Returns:
        (G, len(topk)) float64; zeros without predictions.
    """
    if not len(predictions):
        return truths.new_zeros(len(truths), len(topk))
    ious = box_iou(*(box_convert(boxes, 'xywh', 'xyxy')
                     for boxes in (truths, predictions)))
    # Two boxes without area have no IoU (0 / 0).
    best = ious.nan_to_num(0.0).cummax(1).values
    return best[:, torch.tensor(topk).clamp(max=best.shape[1]) - 1]


def placement_std(boxes_xywh: Tensor, background_wh: Sequence[float]) -> Tensor:
    """Standard deviation of scale, x and y of the centers of boxes, as shares.

    Args:
        boxes_xywh: (K, 4) in pixels, K at least 1.
        background_wh: Width and height of the background.

    Returns:
        (3,) float64.
    """
    shares = boxes_xywh.double() / boxes_xywh.new_tensor([*background_wh] * 2)
    centers = shares[:, :2] + shares[:, 2:] / 2
    scales = shares[:, 2:].amax(1, keepdim=True)
    return torch.cat([scales, centers], 1).std(0, correction=0)


def _listed(value: object) -> list:
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return list(value) if several else [value]


def _boxes(sample: Mapping, name: str) -> Tensor:
    if name not in sample:
        raise UserKeyError(
            f'PlacementIoU: {sample_name(sample)} has no {name}, only '
            f'{sorted(sample)}. boxes_xywh come from the model, positives from the '
            'dataset.')
    boxes = boxes_tensor(sample[name], name).cpu()
    if not boxes.isfinite().all():
        raise UserValueError(
            f'PlacementIoU: {name} of {sample_name(sample)} are not finite: '
            f'{boxes[~boxes.isfinite().all(1)][0].tolist()}.')
    return boxes
