"""What a benchmark leaves behind: a JSON file and a Markdown table."""
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from mmcontrast.apis.benchmark import Measure, Suite

_PACKAGES = ('torch', 'torchvision', 'onedl-mmengine', 'mmengine', 'onedl-mmcv', 'mmcv',
             'numpy', 'pillow', 'opencv-python', 'opencv-python-headless')


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
    """The report as a page: what, where, how, and the table."""
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


def describe_machine() -> dict:
    """Names and numbers that a reader needs to judge a timing."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    load = os.getloadavg()[0] if hasattr(os, 'getloadavg') else float('nan')
    return dict(
        cpu=_cpu_name(), cores=_usable_cores(),
        torch_threads=torch.get_num_threads(), load_average=round(load, 1),
        omp_wait_policy=os.environ.get('OMP_WAIT_POLICY', ''), gpu=gpu,
        system=platform.platform(), python=platform.python_version(),
        packages=_versions())


def git_commit() -> str:
    """Short hash of the checkout, with a mark if files differ from it."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ['git', 'describe', '--always', '--dirty=, with changed files',
             '--exclude=*'],
            cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 'unknown (not a git checkout)'
    return found.stdout.strip()


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


def _cpu_name() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(':', 1)[1].strip() for line in lines if 'model name' in line]
    return names[0] if names else platform.processor() or platform.machine()


def _usable_cores() -> int:
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
