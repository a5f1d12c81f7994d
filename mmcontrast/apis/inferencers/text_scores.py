"""Score texts about images by any inferencer: the protocol that calibration asks."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from ...errors import DataError


@dataclass(frozen=True)
class TextScores:
    """Boxes of one text in one image, before any threshold.

    Attributes:
        boxes_xyxy: (Q, 4) float32 in pixels of the image.
        scores: (Q,) float32 in [0, 1].
        exists: Probability that the image shows what the text means; None for a model
            that predicts none.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    exists: float | None = None


@runtime_checkable
class ScoresTexts(Protocol):
    """An inferencer that gives boxes with scores for any texts, or its classes."""

    def score_texts(self, images: Sequence[str], texts: Sequence[Sequence[str]],
                    batch_size: int = 4, workers: int = 2, progress: bool = True
                    ) -> Iterator[list[TextScores]]:
        """Yield the scores of the texts of each image, in their order.

        Args:
            images: Files.
            texts: Those of each image, one or more, none twice.
            batch_size, workers, progress: As of the inferencer.

        Raises:
            DataError: At the end, if an image could not be used.
            ValueError: If the model cannot take the texts.
        """


def check_all_used(skipped: Sequence[str], total: int) -> None:
    """Check that no image was left out.

    Raises:
        DataError: If one was; scores would belong to other images.
    """
    if skipped:
        raise DataError(f'{len(skipped)} of {total} images cannot be used, the first: '
                        f'{skipped[0]} Remove them from the labels.')
