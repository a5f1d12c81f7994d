"""Score segmentations by pixel accuracy."""
from mmengine.evaluator import BaseMetric

from mmcontrast.registry import METRICS


@METRICS.register_module()
class PixelAccuracy(BaseMetric):
    """Share of pixels with the right class, ``accuracy`` in [0, 1]."""

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        for sample in data_samples:
            right = sample['pred_labels'] == sample['gt_labels']
            self.results.append((int(right.sum()), right.numel()))

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, float]:
        right, total = map(sum, zip(*results, strict=True))
        return dict(accuracy=right / total)
