"""Run a trained model on images and write the results: ``tools/infer.py``."""
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .inferencers import open_inferencer
from .inferencers.images import skipped_sentence

# Notes to print.
_SHOWN = 5


@dataclass(frozen=True)
class InferenceSummary:
    """What :func:`infer` found and wrote.

    Attributes:
        out: Image file, or folder of drawn images and results.
        totals: Pixels or boxes of each class that was found, most first; boxes of each
            phrase, 0 for those that were not found; of models that place objects, in
            how many images each object has a place.
        unit: 'pixels', 'boxes' or 'placements'.
        count: Images with a result.
        skipped: A sentence for each image that could not be used.
        score_thr: Boxes with a lower score were left out.
        notes: Sentences about results that lack something.
    """

    out: Path
    totals: dict[str, int]
    unit: str
    count: int
    skipped: list[str]
    score_thr: float
    notes: Sequence[str] = ()

    def summary(self) -> str:
        """For the terminal."""
        whole = sum(self.totals.values())
        lines = [f'{100 * amount / whole:5.1f} %  {text}' if self.unit == 'pixels'
                 else f'{amount:5}  {text}' for text, amount in self.totals.items()]
        images = f'{self.count} image{"s" * (self.count != 1)}'
        # Every pixel has a class, so only boxes can be missing.
        head = [f'{self.unit} of {images}:' if lines else
                f'no box in {images} has a score of {self.score_thr:g} or more; '
                '--score-thr sets another limit']
        tail = [skipped_sentence(self.skipped, len(self.skipped) + self.count)
                ] if self.skipped else []
        more = len(self.notes) - _SHOWN
        tail += [*self.notes[:_SHOWN], *[f'... and {more} more'] * (more > 0)]
        return '\n'.join([*head, *lines, *tail, f'Wrote {self.out}'])


def infer(config: str, checkpoint: str, images: Sequence[str],
          out: str = 'work_dirs/infer', classes: str | None = None,
          device: str | None = None, score_thr: float | None = None,
          batch_size: int = 4, workers: int = 2, cfg_options: dict | None = None,
          progress: bool = True, **options: Any) -> InferenceSummary:
    """Segment images, detect, ground or place objects; write what is found.

    Args:
        config: Config of a segmentor or detector, of ours, mmseg or mmdet, or of any
            method that registers an inferencer.
        checkpoint: Its weights.
        images: Image files and folders of them.
        out: A folder, or an image file for a single image; see ``stream`` of the
            inferencer, such as
            :meth:`~mmcontrast.apis.inferencers.Inferencer.stream`.
        classes: For models that read class texts: ``'sky;tree;a red car'``, a text file
            or a dataset's name; those of the training if None.
        device: 'cpu', 'cuda:1', ...; a GPU if there is one if None.
        score_thr: Detectors leave out boxes with a lower score; None for the default
            of the inferencer.
        batch_size: Maximum number of images to pass at a time.
        workers: Processes that read images, where there are many.
        cfg_options: Overrides of the config, dotted keys.
        progress: Show a bar where there are several images.
        options: What only models of some kind take, such as ``phrases`` of
            :meth:`~mmcontrast.apis.inferencers.GroundingInferencer.stream` or
            ``objects`` of
            :meth:`~mmcontrast.apis.inferencers.PlacementInferencer.stream`; None counts
            as not given.

    Raises:
        FileNotFoundError, KeyError, ValueError: See
            :func:`~mmcontrast.apis.inferencers.open_inferencer`; also if the model
            takes no such option.
    """
    inferencer = open_inferencer(config, checkpoint, device, cfg_options)
    options = inferencer.accept(dict(classes=classes, score_thr=score_thr, **options))
    totals, count, unit = Counter(), 0, 'pixels'
    # Results are not kept: a folder may hold more than memory does.
    for result in inferencer.stream(
            list(images), out=out, batch_size=batch_size, workers=workers,
            progress=progress, **options):
        totals.update(result.tally())
        unit = result.unit
        count += 1
    return InferenceSummary(
        Path(out), dict(totals.most_common()), unit, count, inferencer.skipped,
        options.get('score_thr', inferencer.score_thr), inferencer.notes)
