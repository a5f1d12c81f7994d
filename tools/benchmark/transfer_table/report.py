"""Write the page, the JSON file and the plots of a transfer suite."""
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from mmcontrast.apis.machine import describe_machine, git_commit
from transfer_table.plots import draw_plots
from transfer_table.runs import Run
from transfer_table.suite import Start, Task, TransferSuite

# Values by (name of the start, name of the task), by seed.
Values = dict[tuple[str, str], dict[int, float]]


def write_transfer_report(suite: TransferSuite, runs: Sequence[Run], folder: Path,
                          command: str) -> Path:
    """Write ``<suite>.md``, ``<suite>.json`` and ``<suite>_*.png``.

    Args:
        suite: What was compared.
        runs: All runs; those without a result leave gaps and are counted.
        folder: Folder of the files.
        command: The command line that repeats the comparison.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = [result for run in runs if (result := run.result()) is not None]
    values: Values = {}
    for result in results:
        if result['task'] is not None:
            key = result['start'], result['task']
            values.setdefault(key, {})[result['seed']] = result['value']
    (folder / f'{suite.name}.json').write_text(json.dumps(dict(
        title=suite.title, command=command, commit=git_commit(),
        machine=describe_machine(), missing=len(runs) - len(results),
        published=[vars(figure) for figure in suite.published],
        runs=results), indent=1) + '\n')
    plots = draw_plots(suite, values, results, folder)
    page = folder / f'{suite.name}.md'
    page.write_text(markdown(suite, values, results, len(runs), plots, command))
    return page


def markdown(
    suite: TransferSuite,
    values: Values,
    results: Sequence[dict],
    num_runs: int,
    plots: Sequence[tuple[str, str]],
    command: str,
) -> str:
    """The page as text.

    Args:
        num_runs: Number of runs of the complete suite.
        plots: (title, file name) of each plot in the same folder.
    """
    lines = [f'# {suite.title}', '', f'`{command}`', '', _circumstances(results), '']
    if len(results) < num_runs:
        lines += [f'**Not complete**: {len(results)} of {num_runs} runs are done. The '
                  'command continues.', '']
    if suite.about:
        lines += [suite.about.strip(), '']
    for group in dict.fromkeys(task.group for task in suite.tasks):
        tasks = [task for task in suite.tasks if task.group == group]
        lines += [f'## {group}', ''] if group else []
        lines += [*_table(suite, tasks, values), '']
    lines += [
        'Mean over the seeds and, where there are several, ± their standard deviation '
        f'(seeds {", ".join(map(str, suite.seeds))}; another number of runs is in '
        f'brackets). **Bold**: better than {suite.starts[0].name} with every seed. '
        f'Every run is in [{suite.name}.json]({suite.name}.json).', '']
    for title, name in plots:
        lines += [f'![{title}]({name})', '']
    if suite.notes:
        lines += [suite.notes.strip(), '']
    if suite.published:
        lines += _published(suite)
    return '\n'.join(lines).rstrip() + '\n'


def cell(suite: TransferSuite, start: Start, task: Task, values: Values) -> str:
    """Mean and std of one cell; bold if better than the first row with every seed."""
    found = values.get((start.name, task.name), {})
    if not found:
        return ''
    text = f'{statistics.mean(found.values()):.1f}'
    if len(found) > 1:
        text += f' ± {statistics.stdev(found.values()):.1f}'
    if len(found) != len(suite.seeds):
        text += f' ({len(found)})'
    base = values.get((suite.starts[0].name, task.name), {})
    shared = base.keys() & found.keys()
    if shared and all(found[seed] > base[seed] for seed in shared):
        text = f'**{text}**'
    return text


def _table(suite: TransferSuite, tasks: Sequence[Task], values: Values) -> list[str]:
    rows = [['start', *(task.name for task in tasks)], ['---'] * (1 + len(tasks))]
    rows += [[start.name, *(cell(suite, start, task, values) for task in tasks)]
             for start in suite.starts
             if start.tasks is None or {task.name for task in tasks} & {*start.tasks}]
    return [f'| {" | ".join(row)} |' for row in rows]


def _circumstances(results: Sequence[dict]) -> str:
    if not results:
        return 'Nothing was measured yet.'
    machine = results[-1]['machine']
    days = sorted(result['finished'][:10] for result in results)
    commits = list(dict.fromkeys(result['commit'] for result in results))
    hours = math.fsum(result['minutes'] for result in results) / 60
    versions = ', '.join(f'{k} {v}' for k, v in machine['packages'].items())
    period = days[0] if days[0] == days[-1] else f'{days[0]} to {days[-1]}'
    threads = sorted({result['threads'] for result in results})
    return (f'{period}, commit {"; ".join(commits)}. {machine["cpu"]}, '
            f'{machine["cores"]} cores, {"/".join(map(str, threads))} thread(s) a run, '
            f'{machine["gpu"] or "no GPU"}; {len(results)} runs, {hours:.1f} hours of '
            f'run time in all. Python {machine["python"]}, {versions}.')


def _published(suite: TransferSuite) -> list[str]:
    rows = [['start', 'what', 'published', 'source'], ['---'] * 4]
    rows += [[p.row, p.column, f'{p.value:g}', p.source] for p in suite.published]
    return ['## Published', '', 'Not measured here, and not comparable with the tables '
            'above: other data, sizes and schedules.', '',
            *(f'| {" | ".join(row)} |' for row in rows)]
