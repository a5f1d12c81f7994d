"""Run detectors of mmdet."""
from collections.abc import Iterator, Sequence

import numpy as np
from mmengine.structures import InstanceData
from torch import nn

from ...datasets.open_vocabulary import plain_name
from ...errors import UserValueError, did_you_mean
from ...registry import INFERENCERS
from ...structures.protocols import RelabelsBoxes, SetsClasses
from .base import Inferencer
from .images import InputImage
from .model_inferencer import derives_from
from .results import Detection
from .text_scores import TextScores, check_all_used


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

    def score_texts(self, images: Sequence[str], texts: Sequence[Sequence[str]],
                    batch_size: int = 4, workers: int = 2, progress: bool = True
                    ) -> Iterator[list[TextScores]]:
        """Boxes of texts, see :class:`~.text_scores.ScoresTexts`.

        A detector of any classes takes all texts together as its classes; another one
        must have been trained with them.
        """
        if not DetectorInferencer.serves(self.model):
            raise UserValueError(
                f'{type(self.model).__name__} is no detector: it gives no boxes with '
                'scores. Name the config of a detector or of a grounding model.')
        vocabulary = list(dict.fromkeys(text for each in texts for text in each))
        free = isinstance(self.model, SetsClasses | RelabelsBoxes)
        labels = dict(zip(vocabulary, range(len(vocabulary)), strict=True)
                      ) if free else _labels(vocabulary, self.classes)
        found = self.stream(images, vocabulary if free else None, score_thr=0.0,
                            batch_size=batch_size, workers=workers, progress=progress)
        # Images that are left out are an error, but only known at the end.
        for result, own in zip(found, texts, strict=False):
            yield [_of_label(result, labels[text]) for text in own]
        check_all_used(self.skipped, len(images))


def _labels(texts: Sequence[str], classes: Sequence[str]) -> dict[str, int]:
    """The label of each text among the classes of the training."""
    known = {plain_name(name).lower(): label for label, name in enumerate(classes)}
    for text in texts:
        if plain_name(text).lower() not in known:
            raise UserValueError(
                f'The detector knows no class {text!r}{did_you_mean(text, classes)} It '
                f'has {len(classes)} classes of its training and reads no others.')
    return {text: known[plain_name(text).lower()] for text in texts}


def _of_label(result: Detection, label: int) -> TextScores:
    chosen = result.labels == label
    return TextScores(result.boxes_xyxy[chosen], result.scores[chosen])


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
