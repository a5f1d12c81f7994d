"""Plot a transfer suite: gains, curves over the label fraction, probes over time."""
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transfer_table.suite import Task, TransferSuite

Values = Mapping[tuple[str, str], Mapping[int, float]]


def draw_plots(
    suite: TransferSuite, values: Values, results: Sequence[dict], folder: Path
) -> list[tuple[str, str]]:
    """Draw all plots for which there are results.

    Args:
        values: Score by (start, task) and seed.
        results: All results; those of a pretraining may hold probe curves.
        folder: Folder of ``<suite>_<what>.png``.

    Returns:
        (title, file name) of each plot.
    """
    figures = {}
    if values:
        figures['bars'] = (
            'Every task: bars and dots (seeds) show the distance from the mean of the '
            'uppermost row, numbers the mean itself', gain_bars(suite, values))
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


def gain_bars(suite: TransferSuite, values: Values) -> Figure:
    """Bars that start at the mean of the first row; one line of panels per group.

    Differences are small compared with the scores: bars of the scores themselves would
    look alike, or would have to be truncated.

    Args:
        values: Score by (start, task) and seed.
    """
    groups = {}
    for task in suite.tasks:
        if any(key[1] == task.name for key in values):
            groups.setdefault(task.group, []).append(task)
    rows = {group: [start.name for start in suite.starts
                    if any((start.name, task.name) in values for task in tasks)]
            for group, tasks in groups.items()}
    lines = [len(names) for names in rows.values()]
    columns = max(map(len, groups.values()))
    figure = Figure(figsize=(1.6 + 2.3 * columns, 0.25 * sum(lines) + len(lines)),
                    layout='constrained')
    for lot, (group, tasks) in zip(
            figure.subfigures(len(groups), height_ratios=[n + 3 for n in lines],
                              squeeze=False).flat, groups.items(), strict=True):
        lot.suptitle(group, fontsize=10)
        panels = lot.subplots(1, columns, sharex=True, squeeze=False)[0]
        for panel, task in zip(panels, tasks, strict=False):
            _bar_panel(panel, suite, task, rows[group], values)
            panel.set_yticks(range(len(rows[group])),
                             rows[group] if panel is panels[0] else [])
        low, high = panels[0].get_xlim()
        panels[0].set_xlim(low, high + 0.25 * (high - low))  # Room for the means.
        for panel in panels[len(tasks):]:
            panel.set_axis_off()
    return figure


def _bar_panel(axes: Axes, suite: TransferSuite, task: Task, rows: Sequence[str],
               values: Values) -> None:
    scores = {name: list(values[name, task.name].values())
              for name in rows if (name, task.name) in values}
    reference = statistics.mean(next(iter(scores.values())))
    for height, name in enumerate(rows):
        if name in scores:
            mean = statistics.mean(scores[name])
            gains = [score - reference for score in scores[name]]
            axes.barh(height, mean - reference, color=_color(suite, name), height=0.7)
            axes.plot(gains, [height] * len(gains), 'k.', markersize=4)
            axes.text(0.98, height, f'{mean:.1f}', va='center', ha='right', fontsize=8,
                      transform=axes.get_yaxis_transform())
    axes.axvline(0, color='black', linewidth=0.8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.margins(x=0.1)
    axes.set_title(task.name, fontsize=9)
    axes.tick_params(labelsize=8)


def _fractions(suite: TransferSuite, tasks: Sequence[Task], values: Values) -> Figure:
    groups = list(dict.fromkeys(task.group for task in tasks))
    figure = Figure(figsize=(4.6 * len(groups), 3.4))
    for column, group in enumerate(groups, 1):
        axes = figure.add_subplot(1, len(groups), column)
        mine = sorted((task for task in tasks if task.group == group),
                      key=lambda task: task.fraction)
        for start in suite.starts:
            points = [(task.fraction, list(values[start.name, task.name].values()))
                      for task in mine if (start.name, task.name) in values]
            if points:
                share, scores = zip(*points, strict=True)
                axes.plot(share, [statistics.mean(s) for s in scores], 'o-',
                          markersize=4, color=_color(suite, start.name),
                          label=start.name)
                axes.fill_between(share, [min(s) for s in scores],
                                  [max(s) for s in scores], alpha=0.15,
                                  color=_color(suite, start.name), linewidth=0)
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


def _probes(suite: TransferSuite, results: Sequence[dict]) -> Figure:
    names = list(dict.fromkeys(name for r in results for name in r['probe']))
    figure = Figure(figsize=(4.6 * len(names), 3.2))
    for column, name in enumerate(names, 1):
        axes = figure.add_subplot(1, len(names), column)
        for result in results:
            if curve := result['probe'].get(name):
                steps, scores = zip(*curve, strict=True)
                last = steps[-1] or 1
                axes.plot([result['minutes'] * step / last for step in steps], scores,
                          'o-', markersize=3, label=result['start'],
                          color=_color(suite, result['start']))
        axes.set_xlabel('minutes of pretraining')
        axes.set_title(name, fontsize=10)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles, fontsize=8, loc='upper left',
                bbox_to_anchor=(1, 1))
    return figure


def _color(suite: TransferSuite, start: str) -> tuple:
    order = [s.name for s in suite.starts].index(start)
    return matplotlib.colormaps['tab10'](order % 10)
