"""Compare initializations: pretrain, fine-tune and test for every row and column.

    python tools/benchmark/transfer.py camvid --reduced            # a small form first
    python tools/benchmark/transfer.py camvid --jobs 2 --minutes 110
    python tools/benchmark/transfer.py my_suite.py --out my_tables

Completed runs are skipped, so the same command continues after an interruption, and
--minutes divides a long comparison into several calls. Runs whose settings have changed
are repeated; their former results are moved aside. Tables, plots and a JSON file with
every run are written at the end of each call, even if runs are missing.
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
        sys.exit(f'{parser.prog}: suites name configs and data relative to the '
                 f'repository; run it there: cd {ROOT}')
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
    print(f'Wrote {page} from {len(outcome.done)} of {len(runs)} runs.')
    return report_rest(outcome)


def report_rest(outcome: Outcome) -> int:
    """Print which runs failed and how many are missing; returns the exit status."""
    if outcome.failed:
        named = '\n'.join(f'{run.title}: {why}' for run, why in outcome.failed.items())
        print(f'{named}\n{len(outcome.failed)} run(s) failed, {len(outcome.left)} '
              'were not started; the same command retries.', file=sys.stderr)
        return 1
    if outcome.left:
        print(f'{len(outcome.left)} runs are left; the same command continues.')
    return 0


def suite_file(name: str) -> str:
    """The file of a suite, which is given by its path or by the name of one of ours."""
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
    add('suite', help='name of a file in projects/downstream/suites, or path of one')
    add('--reduced', action='store_true', help="the suite's smaller form")
    add('--jobs', type=int, default=1, metavar='N',
        help='parallel runs, which share the cores')
    add('--minutes', type=float, metavar='M', help='start no run later than this')
    add('--work-dir', default='work_dirs/transfer', metavar='DIR',
        help='folder of the runs')
    add('--out', default='docs/benchmarks', metavar='DIR',
        help='folder of page, JSON file and plots')
    add('--keep-weights', action='store_true',
        help='keep the checkpoints of fine-tuning after their tests')
    add('--dry-run', action='store_true',
        help='list the runs and whether they are done')
    return parser


if __name__ == '__main__':
    sys.exit(main())
