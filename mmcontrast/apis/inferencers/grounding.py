"""Run models that find what phrases describe: boxes, a mask, and whether it exists."""
from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...errors import UserValueError
from ...evaluation.calibration_file import read_calibration
from ...registry import INFERENCERS
from ...structures import PhrasePrediction
from ...structures.protocols import GroundsPhrases
from ..loading import LoadedModel
from .grounding_phrases import Phrases, asked_phrases
from .grounding_results import GroundedImage, GroundingRule, grounding_writer
from .images import (
    Images,
    InputImage,
    InputImages,
    input_pipeline,
    iterate_batches,
    list_images,
)
from .model_inferencer import ModelInferencer
from .text_scores import TextScores, check_all_used


@INFERENCERS.register_module()
class GroundingInferencer(ModelInferencer):
    """Find what phrases describe, with a model such as PropVG.

    ::

        infer = open_inferencer('CONFIG.py', 'CHECKPOINT.pth')
        result = infer('photo.jpg', phrases=['the left cup', 'a dog'], out='result.png')
        cup, dog = result.phrases
        cup.exists, cup.boxes_xyxy, cup.scores, cup.mask

    An image is read and prepared once for all of its phrases, and what the model
    computes of the image alone is computed once.

    Args:
        config, checkpoint, device, cfg_options: As of :class:`ModelInferencer`.

    Attributes:
        score_thr: The threshold of the config, which a call without one uses.
    """

    wanted = ('name the config of a model that grounds phrases, such as those of '
              'configs/propvg.')
    lacks = 'grounds no phrases'
    options = ('phrases', 'score_thr', 'calibration', 'top_k', 'nms_iou', 'proposals')

    def __init__(self, config: str | LoadedModel, checkpoint: str | None = None,
                 device: str | None = None, cfg_options: dict | None = None) -> None:
        super().__init__(config, checkpoint, device, cfg_options)
        self._pipeline = input_pipeline(self.loaded.config)
        self.score_thr = self.model.test_cfg.get('score_thr', 0.7)

    @classmethod
    def serves(cls, model: nn.Module) -> bool:
        return isinstance(model, GroundsPhrases)

    def __call__(self, images: Images, phrases: Phrases | None = None, **options: Any
                 ) -> GroundedImage | list[GroundedImage]:
        """Find what phrases describe.

        Args:
            images, phrases, options: As of :meth:`stream`.

        Returns:
            The result of a single image, or a list for folders and lists, without the
            images that could not be read: a warning counts them.

        Raises:
            FileNotFoundError, ValueError: See :meth:`stream`.
        """
        return self.collect(images, self.stream(images, phrases, **options))

    def stream(self, images: Images, phrases: Phrases | None = None,
               out: str | Path | None = None, score_thr: float | None = None,
               calibration: str | Path | None = None, top_k: int | None = None,
               nms_iou: float | None = None, proposals: bool = False,
               batch_size: int = 8, workers: int = 2, progress: bool = True
               ) -> Iterator[GroundedImage]:
        """Yield the results one by one, for more images than memory holds.

        Args:
            images: A file, a folder (with all below it), an (H, W, 3) uint8 BGR array,
                a ``PIL.Image``, or a list of these.
            phrases: ``'the left cup;a dog'``, a list of phrases, a list or a mapping
                with phrases for each image, or a file of these, see
                :func:`~.grounding_phrases.asked_phrases`.
            out: An image file for a single image, or a folder: drawn images
                ``NAME.jpg`` and ``annotations.json`` in COCO's format, its categories
                the phrases. Its ``phrases`` say of every phrase whether it exists, with
                the whole mask. What is written there is kept in memory until the end.
                Images in a folder called ``proposals`` get ``in_proposals/NAME.jpg``.
            score_thr: A score above is a box, and a phrase without a box is not there;
                None for the threshold of the config. A model that was trained with
                phrases that always exist is best asked with 0 and ``top_k=1``.
            calibration: File of ``tools/analysis/calibrate.py`` with thresholds of
                scores and existence, in place of ``score_thr``.
            top_k: Largest number of boxes a phrase.
            nms_iou: Leave out boxes that overlap a better one by a higher IoU; None for
                the setting of the config.
            proposals: Also write ``proposals/NAME.jpg``, all proposals with their
                scores; in place of what was found where ``out`` is an image file.
            batch_size: Maximum number of images, and of pairs of an image and a phrase,
                to pass at a time.
            workers: Processes that read images, where there are many.
            progress: Show a bar where there are several images.

        Raises:
            FileNotFoundError: If a file is missing or a folder holds no image.
            ValueError: If there are no phrases, one is empty or too long for the model,
                or they fit no image; if a number is out of range; if ``out`` would
                overwrite what is read; if no image can be read.
        """
        if phrases is None:
            raise UserValueError(
                f'{type(self.model).__name__} grounds phrases: give phrases, such as '
                "'the left cup;a dog' (--phrases), or a file of them.")
        self.skipped, self.notes = [], []
        rule = self._rule(score_thr, calibration, top_k, nms_iou)
        _check_count('batch_size', batch_size)
        sources = list_images(images)
        asked = asked_phrases(phrases, sources, self.notes)
        self.model.check_phrases(list(dict.fromkeys(
            phrase for each in asked for phrase in each)))
        sources, asked = zip(*((source, each) for source, each in zip(
            sources, asked, strict=True) if each), strict=True)
        inputs = InputImages(sources, self._pipeline)
        read = phrases if isinstance(phrases, str | Path) else None
        with grounding_writer(out, sources, proposals, read, calibration) as write:
            for batch in iterate_batches(inputs, batch_size, workers, progress,
                                         self.skipped):
                wanted = [asked[item.index] for item in batch]
                for item, texts, predictions in zip(
                        batch, wanted, self._ground(batch, wanted, batch_size),
                        strict=True):
                    size = item.image.shape[:2]
                    result = GroundedImage(item.name, size, tuple(
                        rule(text, prediction, *size) for text, prediction in zip(
                            texts, predictions, strict=True)))
                    write(item, result)
                    yield result

    def score_texts(self, images: Sequence[str], texts: Sequence[Sequence[str]],
                    batch_size: int = 4, workers: int = 2, progress: bool = True
                    ) -> Iterator[list[TextScores]]:
        """Proposals of phrases, see :class:`~.text_scores.ScoresTexts`."""
        found = self.stream(images, [list(own) for own in texts], score_thr=0.0,
                            batch_size=batch_size, workers=workers, progress=progress)
        for result in found:
            yield [TextScores(each.proposals_xyxy, each.proposal_scores,
                              each.exists_prob) for each in result.phrases]
        check_all_used(self.skipped, len(images))

    def _ground(self, batch: Sequence[InputImage], phrases: Sequence[Sequence[str]],
                max_batch: int) -> list[list[PhrasePrediction]]:
        with torch.no_grad():
            data = self.model.data_preprocessor(dict(
                inputs=[item.inputs for item in batch],
                data_samples=[item.sample for item in batch]))
            return self.model.ground(data['inputs'], phrases, max_batch)

    def _rule(self, score_thr: float | None, calibration: str | Path | None,
              top_k: int | None, nms_iou: float | None) -> GroundingRule:
        """Thresholds of the call; those of the config where it says nothing."""
        if None not in (score_thr, calibration):
            raise UserValueError('calibration holds a score_thr of its own: give one '
                                 'of the two.')
        settings = self.model.test_cfg
        exists_thr = None
        if calibration is not None:
            read = read_calibration(calibration)
            score_thr, exists_thr = read.score_thr, read.exists_thr
        score_thr = self.score_thr if score_thr is None else score_thr
        nms_iou = settings.get('nms_iou') if nms_iou is None else nms_iou
        for name, value in dict(score_thr=score_thr, nms_iou=nms_iou).items():
            if value is not None and not (isinstance(value, Real) and 0 <= value <= 1):
                raise UserValueError(f'{name} must lie in [0, 1], got {value!r}.')
        if top_k is not None:
            _check_count('top_k', top_k)
        return GroundingRule(
            score_thr, exists_thr, top_k, nms_iou, settings.get('mask_thr', 0.5),
            settings.get('mask_resize', 'nearest'))


def _check_count(name: str, value: Any) -> None:
    if not isinstance(value, Integral) or value < 1:
        raise UserValueError(
            f'{name} must be a whole number, 1 or more, got {value!r}.')
