"""Run segmentors of mmseg."""
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...models.upsampling import upsampled_argmax
from ...registry import INFERENCERS
from .base import Inferencer
from .images import InputImage
from .model_inferencer import derives_from
from .results import Segmentation


@INFERENCERS.register_module()
class SegmentorInferencer(Inferencer):
    """Segment images by any segmentor of mmseg, those of our methods included.

    See :class:`Inferencer`; results are :class:`Segmentation`.
    """

    wanted = 'name the config of a segmentor of mmseg.'
    lacks = 'is no segmentor of mmseg'
    scope = 'mmseg'

    @classmethod
    def serves(cls, model: nn.Module) -> bool:
        return derives_from(model, 'mmseg', 'BaseSegmentor')

    def predict(self, batch: Sequence[InputImage], score_thr: float
                ) -> list[Segmentation]:
        for item in batch:
            # mmseg's logits at the size of the image may not fit into memory.
            item.sample.set_metainfo(dict(ori_shape=item.inputs.shape[-2:]))
        classes = self.classes
        return [Segmentation(item.name, classes, self._labels(
            sample.seg_logits.data, item.image.shape[:2]))
            for item, sample in zip(batch, self.test_step(batch), strict=True)]

    def _labels(self, logits: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
        """(H, W) labels of (K, h, w) logits, compared at the size of the image."""
        align_corners = self.model.align_corners
        if len(logits) == 1:  # One probability: the foreground of two classes.
            probs = F.interpolate(logits[None].float(), size, mode='bilinear',
                                  align_corners=align_corners)[0, 0]
            labels = probs > self.model.decode_head.threshold
        else:
            labels = upsampled_argmax(logits[None], size, align_corners)[0]
        return labels.cpu().numpy().astype(
            np.uint8 if len(logits) <= 256 else np.uint16)
