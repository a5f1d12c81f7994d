"""Run the model in tools/infer.py."""
import numpy as np
from torch import nn

from mmcontrast.apis.inferencers import Inferencer, InputImage, Segmentation
from mmcontrast.registry import INFERENCERS

from .model import ColorSegmentor


@INFERENCERS.register_module()
class ColorSegmentorInferencer(Inferencer):
    """Segment images with a :class:`ColorSegmentor`."""

    bgr = False

    @classmethod
    def serves(cls, model: nn.Module) -> bool:
        return isinstance(model, ColorSegmentor)

    def predict(self, batch: list[InputImage], score_thr: float) -> list[Segmentation]:
        return [Segmentation(item.name, self.classes,
                             sample.pred_labels.cpu().numpy().astype(np.uint8))
                for item, sample in zip(batch, self.test_step(batch), strict=True)]
