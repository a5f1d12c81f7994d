"""Detect objects of any classes that are named by text."""
from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from ...datasets.open_vocabulary import plain_name
from ...registry import INFERENCERS
from ...structures.protocols import OpenVocabulary
from .detector import DetectorInferencer
from .images import InputImage
from .results import Detection


@INFERENCERS.register_module()
class OpenVocabularyInferencer(DetectorInferencer):
    """Detect any classes with a detector of an open vocabulary, such as DITO.

    ::

        infer = open_inferencer('CONFIG.py', 'CHECKPOINT.pth')
        result = infer('photo.jpg', classes='cat;a red car', out='result.png')

    Drawn images mark the classes that the detector was not trained with. Scores are
    products of class and localization and lower than those of other detectors, and so
    is the default of ``score_thr``.

    Args:
        config, checkpoint, device, cfg_options: As of
            :class:`~mmcontrast.apis.inferencers.Inferencer`.
    """

    wanted = 'name the config of a detector of configs/dito.'
    lacks = 'has no open vocabulary'
    score_thr = 0.05

    @classmethod
    def serves(cls, model: nn.Module) -> bool:
        return isinstance(model, OpenVocabulary) and DetectorInferencer.serves(model)

    def predict(self, batch: Sequence[InputImage], score_thr: float
                ) -> list[Detection]:
        trained = {plain_name(name).lower() for name in self.model.trained_class_names}
        novel = tuple(label for label, name in enumerate(self.classes)
                      if plain_name(name).lower() not in trained)
        return [replace(result, novel=novel)
                for result in super().predict(batch, score_thr)]
