"""Draw a calibration: reliability of the scores, precision and recall."""
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ..evaluation.calibration import (
    MIN_IOU,
    ScoredPhrases,
    precision_recall,
    reliability,
)
from ..evaluation.calibration_file import Calibration

_PHRASES, _BOXES, _GRAY = '#1f6fb2', '#d9791a', '#777777'


def draw_calibration(scored: ScoredPhrases, chosen: Calibration, title: str
                     ) -> Image.Image:
    """Reliability diagram beside precision and recall, as one image.

    Args:
        scored: The phrases that the thresholds were chosen on.
        chosen: The thresholds.
        title: Above both.
    """
    figure = Figure(figsize=(11, 5), dpi=110, layout='constrained')
    figure.suptitle(title, fontsize=11)
    left, right = figure.subplots(1, 2)
    _draw_reliability(left, scored, chosen)
    _draw_curves(right, scored, chosen)
    for axis in (left, right):
        axis.set_ylim(0, 1.02)
        axis.grid(color='#e4e4e4', linewidth=0.7)
        axis.legend(fontsize=8, loc='best', framealpha=0.9)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _draw_reliability(axis: Axes, scored: ScoredPhrases, chosen: Calibration) -> None:
    found = reliability(scored)
    axis.plot([0, 1], [0, 1], ':', color=_GRAY, label='score = probability')
    low, high = found.intervals.T
    # Rounding may put a share outside of its interval.
    reach = np.maximum([found.shares - low, high - found.shares], 0)
    axis.errorbar(found.scores, found.shares, reach, fmt='o', color=_PHRASES,
                  markersize=5, elinewidth=1, capsize=2,
                  label=f'bins of about {found.counts.mean():.0f} phrases, '
                  '95 % interval')
    axis.step(*found.curve, where='mid', color=_BOXES, linewidth=1.3,
              label='isotonic fit')
    axis.axvline(chosen.score_thr, color=_GRAY, linestyle='--', linewidth=1,
                 label=f'threshold {chosen.score_thr:.3g}')
    # Scores of some detectors stay far below 1.
    highest = max(scored.best.max(), chosen.score_thr, 0.01)
    axis.set(xlabel='best score of a phrase', ylabel='share of phrases that are there',
             xlim=(0, min(1.0, 1.1 * highest)))
    axis.set_title(f'Reliability (calibration error {found.error:.3f})', fontsize=10)


def _draw_curves(axis: Axes, scored: ScoredPhrases, chosen: Calibration) -> None:
    kept = scored.kept(chosen.score_thr, chosen.exists_thr)
    boxes = (scored.box_scores > chosen.score_thr) & kept[scored.box_phrase]
    targets = (scored.target_scores > chosen.score_thr) & kept[scored.target_phrase]
    for label, color, curve, right, found in (
            ('phrases that keep a box', _PHRASES, (
                scored.best, scored.present, scored.best[scored.present]),
             scored.present[kept], kept[scored.present]),
            (f'boxes with IoU {MIN_IOU} or more', _BOXES, (
                scored.box_scores, scored.box_right, scored.target_scores),
             scored.box_right[boxes], targets)):
        if not len(found) or not len(curve[0]):
            continue
        precision, recall = precision_recall(*curve)
        axis.plot(recall, precision, color=color, linewidth=1.5, label=label)
        if len(right):
            axis.plot(found.mean(), right.mean(), 's', color=color, markersize=7,
                      label=f'at the thresholds: {100 * right.mean():.0f} % right, '
                      f'{100 * found.mean():.0f} % found')
    axis.set(xlabel='recall', ylabel='precision', xlim=(0, 1.01))
    axis.set_title('Precision and recall over the score threshold', fontsize=10)
