"""Run DenseCLIP: segment and detect by class texts."""
from collections.abc import Sequence

from torch import nn

from ...registry import INFERENCERS
from ...structures.protocols import MatchesText, OpenVocabulary, RelabelsBoxes
from .base import Classes, Result
from .detector import DetectorInferencer
from .images import InputImage
from .segmentor import SegmentorInferencer


@INFERENCERS.register_module()
class DenseCLIPInferencer(SegmentorInferencer, DetectorInferencer):
    """Segment images, or detect objects in them, by class texts.

    ::

        infer = DenseCLIPInferencer('CONFIG.py', 'CHECKPOINT.pth')
        result = infer('photo.jpg', classes='sky;tree;a red car', out='result.png')

    With other classes than those of the training the score map of the texts decides:
    of a segmentor at each pixel, of a detector in each box that the trained classes
    found.

    Args:
        config, checkpoint, device, cfg_options: As of
            :class:`~mmcontrast.apis.inferencers.Inferencer`, of a DenseCLIP segmentor
            or detector.
    """

    wanted = ('name the config of a DenseCLIP segmentor or detector, such as '
              'denseclip-*.py of configs/denseclip.')
    lacks = 'reads no class texts'

    @classmethod
    def serves(cls, model: nn.Module) -> bool:
        return isinstance(model, MatchesText) and not isinstance(model, OpenVocabulary)

    def set_classes(self, classes: Classes) -> None:
        if isinstance(self.model, RelabelsBoxes):
            self.model.label_boxes_by(classes)
        else:
            super().set_classes(classes)

    @property
    def scope(self) -> str:
        return self._kind.scope

    def predict(self, batch: Sequence[InputImage], score_thr: float) -> list[Result]:
        return self._kind.predict(self, batch, score_thr)

    @property
    def _kind(self) -> type[SegmentorInferencer] | type[DetectorInferencer]:
        return (DetectorInferencer if DetectorInferencer.serves(self.model)
                else SegmentorInferencer)
