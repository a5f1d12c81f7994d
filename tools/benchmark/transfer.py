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
from collections.abc import Sequence
from pathlib import Path

from transfer_table.execute import Outcome, execute
from transfer_table.report import write_transfer_report
from transfer_table.runs import list_runs
from transfer_table.suite import read_suite

from mmcontrast.apis.cli import error_exit, tool_parser

ROOT = Path(__file__).resolve().parents[2]
SUITES = ROOT / 'projects' / 'downstream' / 'suites'


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    argv = sys.argv[1:] if argv is None else list(argv)
    args = parser.parse_args(argv)
    if Path.cwd() != ROOT:
        sys.exit(f'{parser.prog}: the configs of suites and their data are named from '
                 f'the checkout; call it there: cd {ROOT}')
    with error_exit(parser, input_errors=()):
        suite = read_suite(suite_file(args.suite), args.reduced)
    runs = list_runs(suite, Path(args.work_dir).resolve() / suite.name)
    if args.dry_run:
        for run in runs:
            print('done' if run.result() else 'todo', run.title)
        return 0
    outcome = execute(runs, ROOT, args.jobs, args.minutes, args.keep_weights,
                      sys.stderr.isatty())
    command = shlex.join(['python', 'tools/benchmark/transfer.py', *argv])
    page = write_transfer_report(suite, runs, Path(args.out), command)
    print(f'{page} is written from {len(outcome.done)} of {len(runs)} runs.')
    return report_rest(outcome)


def report_rest(outcome: Outcome) -> int:
    """Say which runs failed and how many remain; returns the exit status."""
    if outcome.failed:
        named = '\n'.join(f'{run.title}: {why}' for run, why in outcome.failed.items())
        print(f'{named}\n{len(outcome.failed)} run(s) failed, {len(outcome.left)} '
              'wait; the same command tries again.', file=sys.stderr)
        return 1
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


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(__file__, __doc__)
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
    return parser


if __name__ == '__main__':
    sys.exit(main())
