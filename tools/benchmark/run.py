"""Time one suite of benchmarks and write the result as a page and a JSON file.

    python tools/benchmark/run.py --help
    python tools/benchmark/run.py views --runs 5 --data my/photos --out docs/benchmarks
"""
import argparse
import importlib
import os
import pkgutil
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
from timing.frame import SUITES, Suite, run_suite
from timing.report import write_report

from mmcontrast.apis.cli import ToolHelpFormatter, error_exit, tool_parser


def main(argv: Sequence[str] | None = None) -> None:
    load_suites()
    parser = build_parser()
    argv = sys.argv[1:] if argv is None else list(argv)
    args = vars(parser.parse_args(argv))
    suite = SUITES[args.pop('suite')]
    runs, out = args.pop('runs'), args.pop('out')
    threads = args.pop('threads') or os.cpu_count()
    restart_with_passive_waiting(threads, argv)
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    with error_exit(parser):
        measures = run_suite(suite.name, runs, progress=sys.stderr.isatty(), **args)
    command = shlex.join(['python', 'tools/benchmark/run.py', *argv])
    json_path, page = write_report(suite, measures, out, command)
    print(page.read_text())
    print(f'Written to {page} and {json_path}.')


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(__file__, __doc__)
    commands = parser.add_subparsers(dest='suite', required=True, metavar='SUITE')
    for suite in SUITES.values():
        add_command(commands, suite)
    return parser


def add_command(commands, suite: Suite) -> None:
    """Add a subcommand whose options are the suite's keyword arguments."""
    command = commands.add_parser(
        suite.name, help=suite.title, description=suite.prepare.__doc__,
        formatter_class=ToolHelpFormatter)
    add = command.add_argument
    add('--runs', type=int, default=5, metavar='N',
        help='measured runs; one more before them warms up')
    add('--out', default='work_dirs/benchmark', metavar='DIR',
        help='folder for SUITE.md and SUITE.json')
    add('--threads', type=int, default=suite.threads, metavar='N',
        help='threads of torch and OpenCV, 0 for all cores')
    for name, parameter in suite.options().items():
        kind = str if parameter.default is None else type(parameter.default)
        add(f'--{name.replace("_", "-")}', dest=name, type=kind,
            default=parameter.default, help=f'(default: {parameter.default!r})')


def load_suites() -> None:
    """Import every file in the folder ``suites``; each registers itself."""
    folder = Path(__file__).parent / 'suites'
    for module in pkgutil.iter_modules([str(folder)]):
        importlib.import_module(f'suites.{module.name}')


def restart_with_passive_waiting(threads: int, argv: Sequence[str]) -> None:
    """Restart this process with ``OMP_WAIT_POLICY=passive`` for several threads.

    By default idle threads spin, which made the same step three to ten times slower on
    a machine with other work. OpenMP reads the variable when it is loaded, so setting
    it in this process would be too late.
    """
    if threads > 1 and 'OMP_WAIT_POLICY' not in os.environ:
        environment = dict(
            os.environ, OMP_WAIT_POLICY='passive', OMP_NUM_THREADS=str(threads))
        os.execve(sys.executable, [sys.executable, __file__, *argv], environment)


if __name__ == '__main__':
    main()
