"""Score dumped predictions of phrases again, by other metrics and thresholds."""
import inspect
import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric

from ...errors import UserValueError, did_you_mean
from ...evaluation.grounding import BENCHMARKS
from ...evaluation.grounding.dump import count_lines, read_dump
from ...io.atomic import write_text
from ...progress import track
from ...registry import METRICS
from ..inferencers.results import refuse_overwriting

# Lines that are decoded together.
_BATCH = 64


def score_grounding(dump: str | Path, metrics: Sequence[str],
                    score_thr: float | Sequence[float] | None = None,
                    match: str | None = None, resolution: str | None = None,
                    calibration: str | None = None, out: str | None = None,
                    progress: bool = True) -> dict[str, float]:
    """Score a file of predictions as the metrics of a run would.

    Args:
        dump: File of the metric ``DumpGrounding``.
        metrics: Of ``REC``, ``RES``, ``GREC``, ``GRES``, ``RefZOM``, ``RRefCOCO``.
        score_thr: Score threshold, or several.
        match: ``giou`` or ``iou``, for GREC.
        resolution: ``input`` or ``original``, for masks.
        calibration: File whose thresholds are used.
        out: JSON file for the scores.
        progress: Show a bar.

    Returns:
        Scores by name, such as ``GREC/F1score``; of several thresholds
        ``GREC/F1score_0.7``.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a metric is unknown or takes none of the options, the file is
            not what is expected, or ``out`` would overwrite what is read.
    """
    if out:
        refuse_overwriting([Path(out)], str(dump), calibration)
    options = dict(score_thr=score_thr, match=match, resolution=resolution,
                   calibration=calibration)
    built = build_metrics(metrics, {
        name: value for name, value in options.items() if value is not None})
    resolutions = {metric.resolution for metric in built
                   if hasattr(metric, 'resolution')}
    total = count_lines(dump)
    samples = read_dump(dump, sorted(resolutions))
    for _ in track(range(0, total, _BATCH), 'Scoring', progress):
        batch = list(islice(samples, _BATCH))
        for metric in built:
            metric.process({}, batch)
    scores: dict[str, float] = {}
    for metric in built:
        scores |= metric.evaluate(total)
    if out:
        write_text(out, json.dumps(scores, indent=1) + '\n')
    return scores


def build_metrics(names: Sequence[str], options: Mapping[str, Any]) -> list[BaseMetric]:
    """The metrics of the names, each with those options that it takes.

    Raises:
        UserValueError: If a name is unknown or none of them takes an option.
    """
    if not names:
        raise UserValueError(f'Name at least one metric: {", ".join(BENCHMARKS)}.')
    for name in names:
        if name not in BENCHMARKS:
            raise UserValueError(f'No metric is called {name!r}'
                                 f'{did_you_mean(name, BENCHMARKS)} There are '
                                 f'{", ".join(BENCHMARKS)}.')
    taken = {name: inspect.signature(METRICS.get(f'{name}Metric')).parameters
             for name in dict.fromkeys(names)}
    for option, value in options.items():
        if not any(option in parameters for parameters in taken.values()):
            raise UserValueError(
                f'{option}={value!r}: none of {", ".join(taken)} takes this option. '
                'Leave it out, or add another metric.')
    return [METRICS.build(dict(type=f'{name}Metric') | {
        option: value for option, value in options.items() if option in parameters})
        for name, parameters in taken.items()]


def score_table(scores: Mapping[str, float], thresholds: Sequence[float] = ()) -> str:
    """Scores as text: a line a name, a column a threshold where there are several."""
    endings = [f'_{threshold:g}' for threshold in thresholds]
    names = list(dict.fromkeys(_without(name, endings) for name in scores))
    width = max(map(len, names))
    lines = []
    if endings:
        lines.append(f'{"score above":{width}}' + ''.join(
            f'{ending[1:]:>9}' for ending in endings))
    for name in names:
        values = [scores[name]] if name in scores else [
            scores[name + ending] for ending in endings]
        lines.append(f'{name:{width}}' + ''.join(f'{value:9.2f}' for value in values))
    return '\n'.join(lines)


def _without(name: str, endings: Sequence[str]) -> str:
    ending = next((ending for ending in endings if name.endswith(ending)), '')
    return name.removesuffix(ending)
