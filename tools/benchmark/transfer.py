"""Pretrain, export, fine-tune and test for every row, column and seed of a suite.

    python tools/benchmark/transfer.py camvid --reduced            # a small form first
    python tools/benchmark/transfer.py camvid --jobs 2 --minutes 110
    python tools/benchmark/transfer.py my_suite.py --out my_tables

A call does what is missing and skips what is done, so the same command goes on after it
was stopped, and --minutes cuts a long comparison into pieces. Runs whose settings have
changed are done again; what they made before is put aside. Tables, plots and a file
with every run are written at the end of each call, also from part of the runs.
"""
import argparse
import shlex
import sys
from pathlib import Path

from transfer_table.execute import Outcome, execute
from transfer_table.report import write_transfer_report
from transfer_table.runs import list_runs
from transfer_table.suite import read_suite

from mmcontrast.apis.config import UsageError

ROOT = Path(__file__).resolve().parents[2]
SUITES = ROOT / 'projects' / 'downstream' / 'suites'


def main() -> None:
    args = parse_args()
    if Path.cwd() != ROOT:
        raise SystemExit(
            f'transfer.py: the configs of suites and their data are named from the '
            f'checkout; call it there: cd {ROOT}')
    try:
        suite = read_suite(suite_file(args.suite), args.reduced)
    except (UsageError, FileNotFoundError) as error:
        raise SystemExit(f'transfer.py: {error}') from error
    runs = list_runs(suite, Path(args.work_dir).resolve() / suite.name)
    if args.dry_run:
        for run in runs:
            print('done' if run.result() else 'todo', run.title)
        return
    outcome = execute(runs, ROOT, args.jobs, args.minutes, args.keep_weights,
                      sys.stderr.isatty())
    command = shlex.join(['python', *sys.argv])
    page = write_transfer_report(suite, runs, Path(args.out), command)
    print(f'{page} is written from {len(outcome.done)} of {len(runs)} runs.')
    raise SystemExit(verdict(outcome))


def verdict(outcome: Outcome) -> str | int:
    """What the call ends with: 0, or a text for status 1."""
    if outcome.failed:
        named = '\n'.join(f'{run.title}: {why}' for run, why in outcome.failed.items())
        return (f'{named}\n{len(outcome.failed)} run(s) failed, {len(outcome.left)} '
                'wait; the same command tries again.')
    if outcome.left:
        print(f'{len(outcome.left)} runs are left; the same command goes on.')
    return 0


def suite_file(name: str) -> str:
    """A file as it is, or the one of that name among our suites."""
    if name.endswith('.py'):
        return name
    file = SUITES / f'{name}.py'
    if not file.is_file():
        known = ', '.join(sorted(path.stem for path in SUITES.glob('*.py')))
        raise FileNotFoundError(
            f'no suite {name!r}; there are {known}. Or name a .py file.')
    return str(file)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('suite', help='a name in projects/downstream/suites, or a suite file')
    add('--reduced', action='store_true', help="the suite's smaller form")
    add('--jobs', type=int, default=1, metavar='N',
        help='runs at once, which share the cores (default: 1)')
    add('--minutes', type=float, metavar='M', help='begin no run later than this')
    add('--work-dir', default='work_dirs/transfer', metavar='DIR',
        help='where the runs go (default: work_dirs/transfer)')
    add('--out', default='docs/benchmarks', metavar='DIR',
        help='where page, JSON and plots go (default: docs/benchmarks)')
    add('--keep-weights', action='store_true',
        help='keep the checkpoints of the tasks after their tests')
    add('--dry-run', action='store_true',
        help='list the runs and whether they are done')
    return parser.parse_args()


if __name__ == '__main__':
    main()
