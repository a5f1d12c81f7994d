"""Run detectors of mmdet."""
from collections.abc import Sequence

import numpy as np
from mmengine.structures import InstanceData
from torch import nn

from ...registry import INFERENCERS
from .base import Inferencer
from .images import InputImage
from .model_inferencer import derives_from
from .results import Detection


@INFERENCERS.register_module()
class DetectorInferencer(Inferencer):
    """Detect objects by any detector of mmdet, with masks where it has them.

    See :class:`Inferencer`; results are :class:`Detection`.
    """

    wanted = 'name the config of a detector of mmdet.'
    lacks = 'is no detector of mmdet'
    scope = 'mmdet'

    @classmethod
    def serves(cls, model: nn.Module) -> bool:
        return derives_from(model, 'mmdet', 'BaseDetector')

    def predict(self, batch: Sequence[InputImage], score_thr: float
                ) -> list[Detection]:
        classes = self.classes
        return [detection(item.name, classes, item.image.shape[:2],
                          sample.pred_instances, score_thr)
                for item, sample in zip(batch, self.test_step(batch), strict=True)]


def detection(name: str, classes: list[str], image_size: tuple[int, int],
              found: InstanceData, score_thr: float) -> Detection:
    """mmdet's instances as a result, those of low scores left out."""
    found = found[found.scores >= score_thr]
    found = found[found.scores.argsort(descending=True, stable=True)].cpu()
    masks = found.get('masks')
    return Detection(
        name, classes, tuple(image_size), found.bboxes.numpy().astype(np.float32),
        found.scores.numpy().astype(np.float32), found.labels.numpy(),
        None if masks is None else np.asarray(masks).astype(bool))
