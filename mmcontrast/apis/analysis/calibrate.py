"""Choose the thresholds of a model on a few labeled images."""
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ...datasets.labeled_phrases import LabeledImage, read_labeled_phrases
from ...errors import UserValueError
from ...evaluation.calibration import (
    ScoredPhrase,
    ScoredPhrases,
    check_recall,
    choose_thresholds,
    expected_recall,
    join_phrases,
    reliability,
    wilson_interval,
)
from ...evaluation.calibration_file import Calibration, write_calibration
from ...io.folders import save_output_image
from ...visualization.calibration import draw_calibration
from ..inferencers.model_inferencer import ModelInferencer, open_inferencer
from ..inferencers.results import refuse_overwriting
from ..inferencers.text_scores import ScoresTexts

#: Smallest number of images that thresholds are chosen on.
MIN_IMAGES = 20


@dataclass(frozen=True)
class CalibrationReport:
    """Result of :func:`calibrate`.

    Attributes:
        calibration: What the file holds.
        scored: The phrases that it was chosen on.
        num_images: Images with phrases.
        target: The recall that was asked for.
        expected_recall: That to be expected of new phrases of the same kind.
        recall_interval, false_positive_interval: 95 % intervals of the two rates.
        error: Expected calibration error of the best scores.
        file, plot: What was written.
    """

    calibration: Calibration
    scored: ScoredPhrases
    num_images: int
    target: float
    expected_recall: float
    recall_interval: tuple[float, float]
    false_positive_interval: tuple[float, float]
    error: float
    file: Path
    plot: Path


def calibrate(config: str, checkpoint: str, data: str | Path, images: str | Path,
              out: str | Path = 'calibration.json', plot: str | Path | None = None,
              recall: float = 0.95, split: str | None = None,
              instances: str | None = None, device: str | None = None,
              batch_size: int = 4, workers: int = 2,
              cfg_options: Mapping | None = None, progress: bool = True
              ) -> CalibrationReport:
    """Choose score and existence thresholds on labeled phrases, and write them.

    Of the thresholds that let ``recall`` of the phrases that are there keep a box, also
    of new ones, those are chosen that let the fewest others keep one; see
    :func:`~mmcontrast.evaluation.calibration.choose_thresholds`.

    Args:
        config, checkpoint: A model that an inferencer serves which scores texts:
            grounding models and detectors.
        data: Labels, see
            :func:`~mmcontrast.datasets.labeled_phrases.read_labeled_phrases`.
        images: Folder of its images, 20 or more of them.
        out: File to write.
        plot: PNG file to draw; None for the name of ``out`` with ``.png``.
        recall: Smallest share of the phrases that are there to keep a box.
        split, instances: Of files of phrases.
        device, batch_size, workers, cfg_options, progress: As of the inferencer.

    Raises:
        FileNotFoundError: If a file is missing.
        UserValueError: If there are fewer than 20 images, no phrase is there, the model
            scores no texts, or a result would overwrite what is read.
        DataError: If an image cannot be read.
    """
    out = Path(out).expanduser()
    plot = out.with_suffix('.png') if plot is None else Path(plot).expanduser()
    _check_output(out, plot)
    check_recall(recall)
    refuse_overwriting([out, plot], str(data), str(images), config, checkpoint)
    labeled = read_labeled_phrases(data, images, split, instances)
    if len(labeled) < MIN_IMAGES:
        raise UserValueError(
            f'{data} has {len(labeled)} images with phrases; thresholds that are '
            f'chosen on fewer than {MIN_IMAGES} mean nothing. Label more images.')
    if not any(phrase.present for image in labeled for phrase in image.phrases):
        raise UserValueError(
            f'{data}: no phrase is about something that its image shows, and a '
            'calibration needs such phrases. Check the labels.')
    inferencer = open_inferencer(config, checkpoint, device, cfg_options)
    scored = score_labeled(inferencer, labeled, batch_size, workers, progress)
    report = _report(scored, len(labeled), recall, out, plot,
                     f'{Path(config).name}, {Path(checkpoint).name}', Path(data).name)
    write_calibration(report.calibration, out)
    plot.parent.mkdir(parents=True, exist_ok=True)
    drawn = draw_calibration(scored, report.calibration, _title(report))
    save_output_image(drawn, plot)
    return report


def _check_output(out: Path, plot: Path) -> None:
    """Before the model runs, so that nothing it finds is lost."""
    if os.path.abspath(out) == os.path.abspath(plot):
        raise UserValueError(
            f'out and plot are both {out}: the plot would replace the thresholds. Name '
            'a JSON file as out, and a PNG file as plot.')
    if plot.suffix.lower() not in Image.registered_extensions():
        raise UserValueError(f'plot must be an image file such as calibration.png, got '
                             f'{plot}.')


def score_labeled(inferencer: ModelInferencer, labeled: Sequence[LabeledImage],
                  batch_size: int = 4, workers: int = 2, progress: bool = True
                  ) -> ScoredPhrases:
    """Score the phrases of labeled images.

    Raises:
        UserValueError: If the inferencer scores no texts.
    """
    if not isinstance(inferencer, ScoresTexts):
        raise UserValueError(
            f'{type(inferencer).__name__} gives no scores for texts. Name the config '
            'of a grounding model or a detector.')
    texts = [[phrase.text for phrase in image.phrases] for image in labeled]
    found = list(inferencer.score_texts(
        [image.path for image in labeled], texts, batch_size, workers, progress))
    return join_phrases([
        ScoredPhrase(phrase.present, scores.boxes_xyxy, scores.scores, scores.exists,
                     phrase.boxes_xyxy)
        for image, several in zip(labeled, found, strict=True)
        for phrase, scores in zip(image.phrases, several, strict=True)])


def _report(scored: ScoredPhrases, num_images: int, target: float, out: Path,
            plot: Path, model: str, data: str) -> CalibrationReport:
    score_thr, exists_thr = choose_thresholds(scored, target)
    kept, present = scored.kept(score_thr, exists_thr), scored.present
    counts = [(int(kept[group].sum()), int(group.sum()))
              for group in (present, ~present)]
    (found, num_present), (wrong, num_absent) = counts
    calibration = Calibration(
        score_thr=score_thr, exists_thr=exists_thr, recall=found / num_present,
        false_positive_rate=wrong / num_absent if num_absent else None,
        num_present=num_present, num_absent=num_absent, model=model,
        note=f'{num_images} images of {data}; recall of {target:g} was asked for')
    return CalibrationReport(
        calibration, scored, num_images, target,
        expected_recall(found, num_present, 1 + (exists_thr is not None)),
        *(wilson_interval(*count) for count in counts),
        reliability(scored).error, out, plot)


def _title(report: CalibrationReport) -> str:
    chosen = report.calibration
    return (f'{chosen.model}\n{report.num_images} images, {chosen.num_present} phrases '
            f'that are there, {chosen.num_absent} that are not')


def calibration_text(report: CalibrationReport) -> str:
    """What was chosen and how sure it is, for the terminal."""
    chosen = report.calibration
    thresholds = f'score_thr {chosen.score_thr:.4g}'
    if chosen.exists_thr is not None:
        thresholds += f', exists_thr {chosen.exists_thr:.4g}'
    lines = [
        f'{report.num_images} images, {chosen.num_present} phrases that are there and '
        f'{chosen.num_absent} that are not.', f'{thresholds}:',
        f'  {100 * chosen.recall:5.1f} % of the phrases that are there keep a box '
        f'(95 % interval {_shown(report.recall_interval)});']
    if chosen.num_absent:
        lines.append(f'  {100 * chosen.false_positive_rate:5.1f} % of those that are '
                     f'not ({_shown(report.false_positive_interval)}).')
    else:
        lines.append('  no phrase is absent from its image, so that nothing is known '
                     'of false boxes: add such phrases.')
    if chosen.recall < report.target:
        lines.append(
            f'  {100 * report.target:g} % cannot be reached: the other phrases have no '
            'box at any score. Detectors drop low scores, see score_thr in the '
            'test_cfg of the model.')
    elif report.expected_recall < report.target < 1:
        lines.append(
            f'  Of new phrases about {100 * report.expected_recall:.0f} % are to be '
            f'expected to, as {chosen.num_present} are few: label more for '
            f'{100 * report.target:g} %.')
    lines.append(f'Calibration error of the best scores: {report.error:.3f}.')
    return '\n'.join([*lines, f'Wrote {report.file} and {report.plot}.'])


def _shown(interval: tuple[float, float]) -> str:
    return f'{100 * interval[0]:.0f} to {100 * interval[1]:.0f} %'
