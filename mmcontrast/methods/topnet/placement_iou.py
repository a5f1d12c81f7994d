"""Score predicted boxes by their IoU with the boxes where an object is plausible."""
from collections.abc import Mapping, Sequence

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor
from torchvision.ops import box_convert, box_iou

from ...errors import DataError, UserKeyError, UserValueError
from ...registry import METRICS
from .sample import boxes_tensor


@METRICS.register_module()
class PlacementIoU(BaseMetric):
    """Mean IoU of the first k predictions, share above a threshold, and diversity.

    For each image the largest IoU between its first k predictions and its positives.
    Only images with a positive count; an image without a prediction counts 0. All
    scores are in [0, 1]:

    - ``top1_iou``, ``top5_iou``: mean over images. BOOTPLACE's IOU@k, in percent there.
    - ``top1_iou50``, ``top5_iou50``: share of images whose IoU is above 0.5, not equal
      to it. BOOTPLACE's IOU50@k. For a search with a fixed center (``fixed_cell``),
      where only the scale is searched, the paper's threshold is 0.95:
      ``PlacementIoU(topk=1, thresholds=0.95)`` gives ``top1_iou95``.
    - ``top5_scale_std``, ``top5_x_std``, ``top5_y_std``: diversity, the standard
      deviation over the first predictions of one image (divided by their number, so
      that one prediction gives 0), then the mean over images with a prediction. Scale
      is max(w / W, h / H), x and y the center as a share of W and H. BOOTPLACE takes it
      over five trials of a random model and does not give its units; a ranked list has
      no trials. Only for the largest k, if that is above 1.

    Source: BOOTPLACE (CVPR 2025), section 4; spec section 6.3.

    Args:
        topk: k, or several.
        thresholds: An IoU, or several.
        collect_device, prefix: See mmengine's ``BaseMetric``.

    Raises:
        UserValueError: If k is below 1 or a threshold outside [0, 1).
    """

    default_prefix = 'placement'

    def __init__(self, topk: int | Sequence[int] = (1, 5),
                 thresholds: float | Sequence[float] = 0.5,
                 collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.topk = [topk] if isinstance(topk, int) else sorted(topk)
        self.thresholds = ([thresholds] if isinstance(thresholds, int | float)
                           else list(thresholds))
        if not self.topk or min(self.topk) < 1:
            raise UserValueError(
                f'PlacementIoU: topk must be 1 or more, or several, got {topk!r}.')
        if not all(0 <= threshold < 1 for threshold in self.thresholds):
            raise UserValueError('PlacementIoU: thresholds are IoUs in [0, 1), got '
                                 f'{thresholds!r}.')

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        # One entry a sample: mmengine truncates the results to the number of samples.
        self.results += [self._entry(sample) for sample in data_samples]

    def _entry(self, sample: Mapping) -> tuple | None:
        """(IoU for each k, spread of the predictions), None without a positive."""
        predictions, positives = (_boxes(sample, name)
                                  for name in ('boxes_xywh', 'positives'))
        if not len(positives):
            return None
        ious = best_ious(predictions, positives, self.topk)
        if self.topk[-1] == 1 or not len(predictions):
            return ious.tolist(), None
        shown = predictions[:self.topk[-1]]
        return ious.tolist(), spread(shown, sample['background_wh']).tolist()

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores by name.

        Raises:
            DataError: If no image has a positive.
        """
        counted = [entry for entry in results if entry is not None]
        if not counted:
            raise DataError(f'PlacementIoU: none of {len(results)} images has a '
                            'positive. Test on data with boxes of plausible places.')
        ious = torch.tensor([ious for ious, _ in counted], dtype=torch.float64)
        scores = {}
        for k, column in zip(self.topk, ious.unbind(1), strict=True):
            scores[f'top{k}_iou'] = column.mean().item()
            for threshold in self.thresholds:
                share = (column > threshold).double().mean()
                scores[f'top{k}_iou{100 * threshold:g}'] = share.item()
        spreads = [found for _, found in counted if found is not None]
        if spreads:
            means = torch.tensor(spreads, dtype=torch.float64).mean(0)
            for name, value in zip(('scale', 'x', 'y'), means.tolist(), strict=True):
                scores[f'top{self.topk[-1]}_{name}_std'] = value
        return scores


def best_ious(predictions: Tensor, truths: Tensor, topk: Sequence[int]) -> Tensor:
    """Largest IoU between the first k predictions and any of the true boxes.

    Args:
        predictions: (K, 4) float64 boxes (x, y, w, h), the best first.
        truths: (G, 4), G at least 1.
        topk: Any numbers k; more than K is all there are.

    Returns:
        (len(topk),) float64; zeros without predictions.
    """
    if not len(predictions):
        return truths.new_zeros(len(topk))
    ious = box_iou(*(box_convert(boxes, 'xywh', 'xyxy')
                     for boxes in (predictions, truths)))
    # Two boxes without area have no IoU (0 / 0).
    best = ious.nan_to_num(0.0).amax(1).cummax(0).values
    return best[torch.tensor(topk).clamp(max=len(best)) - 1]


def spread(boxes_xywh: Tensor, background_wh: Sequence[float]) -> Tensor:
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


def _boxes(sample: Mapping, name: str) -> Tensor:
    if name not in sample:
        raise UserKeyError(
            f'PlacementIoU: a data sample has no {name}, only {sorted(sample)}. '
            'boxes_xywh come from the model, positives from the dataset.')
    return boxes_tensor(sample[name], name).cpu()
