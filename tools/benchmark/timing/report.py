"""Write the result of a timing suite as a JSON file and a Markdown table."""
import datetime
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mmcontrast.apis.machine import describe_machine, git_commit
from timing.frame import Measure, Suite


def write_report(suite: Suite, measures: Sequence[Measure], folder: str | Path,
                 command: str) -> tuple[Path, Path]:
    """Write ``<suite>.json`` and ``<suite>.md`` into a folder.

    Args:
        command: The command line that repeats the measurement.

    Returns:
        The two paths, JSON first.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    report = dict(
        suite=suite.name, title=suite.title, command=command,
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='minutes'),
        commit=git_commit(), machine=describe_machine(),
        rows=[asdict(measure) for measure in measures])
    paths = folder / f'{suite.name}.json', folder / f'{suite.name}.md'
    paths[0].write_text(json.dumps(report, indent=1) + '\n')
    paths[1].write_text(markdown(report))
    return paths


def markdown(report: dict) -> str:
    """The report as a page: title, command, machine and table."""
    machine = report['machine']
    lines = [
        f'# {report["title"]}', '',
        f'`{report["command"]}`', '',
        f'{report["date"][:10]}, commit {report["commit"]}. {machine["cpu"]}, '
        f'{machine["cores"]} cores, {machine["torch_threads"]} torch threads, '
        f'{machine["gpu"] or "no GPU"}, load {machine["load_average"]} when written. '
        f'Python {machine["python"]}, '
        + ', '.join(f'{name} {v}' for name, v in machine['packages'].items()) + '.',
        '', *_table(report['rows'])]
    if any(row['reference'] for row in report['rows']):
        lines += ['', 'Figures under "reference" were not measured here: they are '
                  'quoted from the source named, taken on another machine.']
    return '\n'.join(lines) + '\n'


def _table(rows: Sequence[dict]) -> list[str]:
    targets = any(row['target'] for row in rows)
    references = any(row['reference'] for row in rows)
    head = ['measured', 'unit', 'median', 'least to greatest', 'runs']
    head += ['target'] * targets + ['reference'] * references
    lines = [head, ['---'] * len(head)]
    for row in rows:
        spread = row['spread']
        lines.append(
            [row['name'], row['unit'], _digits(spread['median']),
             f'{_digits(spread["least"])} to {_digits(spread["greatest"])}',
             str(len(spread['values']))]
            + [row['target']] * targets + [row['reference']] * references)
    return [f'| {" | ".join(line)} |' for line in lines]


def _digits(value: float) -> str:
    """Three significant digits, whole numbers from a hundred on."""
    return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}'
