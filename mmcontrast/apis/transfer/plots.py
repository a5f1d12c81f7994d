"""Pictures of a transfer suite: bars, label-fraction curves, probes over time."""
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from .suite import Suite, Task

Values = Mapping[tuple[str, str], Mapping[int, float]]


def draw_plots(suite: Suite, values: Values, results: Sequence[dict], folder: Path
               ) -> list[tuple[str, str]]:
    """Draw what there is something to draw of.

    Args:
        values: Score by (start, task) and seed.
        results: All results; those of a pretraining may hold curves of probes.
        folder: Where ``<suite>_<what>.png`` go.

    Returns:
        (title, file name) of each picture.
    """
    figures = {}
    if values:
        figures['bars'] = (
            'Every task, mean and seeds; axes do not start at 0', _bars(suite, values))
    curves = [task for task in suite.tasks if task.fraction is not None
              and any(key[1] == task.name for key in values)]
    if len({task.fraction for task in curves}) > 1:
        figures['labels'] = 'Score over the share of labels', _fractions(
            suite, curves, values)
    probes = [result for result in results if result.get('probe')]
    if probes:
        figures['probe'] = 'Probe while pretraining', _probes(suite, probes)
    written = []
    for what, (title, figure) in figures.items():
        name = f'{suite.name}_{what}.png'
        figure.savefig(folder / name, dpi=110, bbox_inches='tight')
        written.append((title, name))
    return written


def _bars(suite: Suite, values: Values) -> Figure:
    tasks = [task for task in suite.tasks if any(key[1] == task.name for key in values)]
    figure = Figure(figsize=(2.2 + 2.1 * len(tasks), 3.2))
    for place, task in enumerate(tasks):
        axes = figure.add_subplot(1, len(tasks), place + 1)
        found = {start.name: list(values[start.name, task.name].values())
                 for start in suite.starts if (start.name, task.name) in values}
        for height, (name, scores) in enumerate(found.items()):
            mean = statistics.mean(scores)
            axes.barh(height, mean, color=_colour(suite, name), height=0.7)
            axes.plot(scores, [height] * len(scores), 'k.', markersize=4)
        everything = [score for scores in found.values() for score in scores]
        # Differences are small beside the scores: do not start at nought.
        margin = max(0.3 * (max(everything) - min(everything)), 0.5)
        axes.set_xlim(min(everything) - margin, max(everything) + margin)
        axes.set_yticks(range(len(found)), found if place == 0 else [''] * len(found))
        axes.invert_yaxis()
        axes.set_title(f'{task.group}\n{task.name}', fontsize=9)
        axes.tick_params(labelsize=8)
    return figure


def _fractions(suite: Suite, tasks: Sequence[Task], values: Values) -> Figure:
    groups = list(dict.fromkeys(task.group for task in tasks))
    figure = Figure(figsize=(4.6 * len(groups), 3.4))
    for place, group in enumerate(groups):
        axes = figure.add_subplot(1, len(groups), place + 1)
        mine = sorted((task for task in tasks if task.group == group),
                      key=lambda task: task.fraction)
        for start in suite.starts:
            points = [(task.fraction, list(values[start.name, task.name].values()))
                      for task in mine if (start.name, task.name) in values]
            if points:
                share, scores = zip(*points, strict=True)
                axes.plot(share, [statistics.mean(s) for s in scores], 'o-',
                          markersize=4, color=_colour(suite, start.name),
                          label=start.name)
                axes.fill_between(share, [min(s) for s in scores],
                                  [max(s) for s in scores], alpha=0.15,
                                  color=_colour(suite, start.name), linewidth=0)
        axes.set_xscale('log')
        ticks = [task.fraction for task in mine]
        axes.set_xticks(ticks, [f'{tick:g} %' for tick in ticks])
        axes.minorticks_off()
        axes.set_title(group, fontsize=10)
        axes.set_xlabel('labels')
        axes.set_ylabel(mine[0].metric)
    axes.legend(fontsize=8, loc='upper left', bbox_to_anchor=(1, 1))
    figure.subplots_adjust(wspace=0.3)
    return figure


def _probes(suite: Suite, results: Sequence[dict]) -> Figure:
    names = list(dict.fromkeys(name for r in results for name in r['probe']))
    figure = Figure(figsize=(4.6 * len(names), 3.2))
    for place, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), place + 1)
        for result in results:
            if curve := result['probe'].get(name):
                steps, scores = zip(*curve, strict=True)
                last = steps[-1] or 1
                axes.plot([result['minutes'] * step / last for step in steps], scores,
                          'o-', markersize=3, label=result['start'],
                          color=_colour(suite, result['start']))
        axes.set_xlabel('minutes of pretraining')
        axes.set_title(name, fontsize=10)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles, fontsize=8, loc='upper left',
                bbox_to_anchor=(1, 1))
    return figure


def _colour(suite: Suite, start: str) -> tuple:
    order = [s.name for s in suite.starts].index(start)
    return matplotlib.colormaps['tab10'](order % 10)
