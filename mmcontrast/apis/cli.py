"""Define what the command lines of our tools share: parser, options, error exit."""
import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError
from .options import OptionsAction

#: Built-in errors that the functions behind our tools raise for wrong arguments.
INPUT_ERRORS = (FileExistsError, ImportError, ValueError)


def tool_parser(script: str, description: str) -> argparse.ArgumentParser:
    """A parser that shows the examples of ``description`` as they are, and defaults.

    Args:
        script: ``__file__`` of the tool. It is named in messages, or, where the
            installed command runs it, ``mmcontrast GROUP TOOL``.
        description: The tool's docstring; its ``python tools/...`` become
            ``mmcontrast ...`` there.
    """
    # Names of files need not be text.
    if reconfigure := getattr(sys.stdout, 'reconfigure', None):
        reconfigure(errors='backslashreplace')
    prog = Path(script).name
    if sys.argv[0].startswith('mmcontrast '):
        prog = sys.argv[0]
        description = re.sub(r'python tools/([\w/]+)\.py', _command_name, description)
    return argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=ToolHelpFormatter)


class ToolHelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keep the lines of the description, and append defaults worth showing."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or '', action.default
        if (not action.option_strings or action.nargs == 0 or 'default' in text
                or default in (None, '', [], argparse.SUPPRESS)):
            return text
        if isinstance(default, list | tuple):
            default = ' '.join(map(str, default))
        default = str(default).replace('%', '%%')
        return f'{text} (default: {default})'


def _command_name(match: re.Match) -> str:
    return f'mmcontrast {match[1].replace("/", " ").replace("_", "-")}'


@contextmanager
def error_exit(parser: argparse.ArgumentParser,
               input_errors: tuple[type[Exception], ...] = INPUT_ERRORS):
    """End a tool with the sentence of an error that its user can correct.

    The sentence goes to stderr as ``prog: message``, with status 1: a missing file, a
    type that nobody registered, an option or a checkpoint that does not fit, a full
    disk, lost data, a loss that is NaN. Any other error keeps its traceback.

    Args:
        parser: Names the tool.
        input_errors: Further types that stand for wrong input. A training passes none:
            a ``ValueError`` from inside a model needs its traceback.
    """
    try:
        yield
    except (UserError, FileNotFoundError, *input_errors) as error:
        sys.exit(f'{parser.prog}: {error}')


def run(function: Callable, parser: argparse.ArgumentParser,
        argv: Sequence[str] | None = None) -> None:
    """Call ``function`` with the command line of ``tools/train.py`` or ``test.py``."""
    arguments = vars(parser.parse_args(argv))
    local_rank = str(arguments.pop('local_rank'))
    if arguments['launcher'] != 'none':
        os.environ.setdefault('LOCAL_RANK', local_rank)
    with error_exit(parser, input_errors=()):
        function(**arguments)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that mmdet and mmseg users know, common to train and test."""
    parser.add_argument('--work-dir', help='where logs, scores and checkpoints go; '
                        'default: work_dirs/<name of the config>')
    add_cfg_options(parser, 'train_dataloader.batch_size=8 randomness.seed=1')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'],
                        default='none', help='job launcher')
    # torchrun sets LOCAL_RANK itself; older launchers pass the flag.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help=argparse.SUPPRESS)


def add_cfg_options(parser: argparse.ArgumentParser, example: str) -> None:
    """``--cfg-options``, which overrides settings of the config."""
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionsAction, metavar='KEY=V',
        help=f'override settings, e.g. {example}; lists as key="[a,b]"; text with '
        'commas, or that looks like a number, in quotes: "key=\'a,b\'"')


def add_baseline_option(parser: argparse.ArgumentParser, what: str) -> None:
    """``--baseline random``, formerly ``--beside-random``."""
    parser.add_argument('--baseline', choices=['random'],
                        help=f'add {what} with random weights')
    parser.add_argument('--beside-random', dest='baseline', action='store_const',
                        const='random', help=argparse.SUPPRESS)


def add_former_option(parser: argparse.ArgumentParser, former: str, dest: str,
                      kind: type = int) -> None:
    """Accept a former spelling of an option without showing it."""
    parser.add_argument(former, dest=dest, type=kind, default=argparse.SUPPRESS,
                        help=argparse.SUPPRESS)


def add_ask_arguments(parser: argparse.ArgumentParser) -> None:
    """What the tools take that run a model on images."""
    add = parser.add_argument
    add('config', help='config of the model')
    add('checkpoint', help='a checkpoint of its training')
    add('images', nargs='+', help='image files or folders')
    add('--classes', metavar="'sky;tree;a red car'",
        help='class texts; or a text file with one a line, or the name of a data set '
        '(default: those of the training)')
    add('--device', help='cpu, cuda, cuda:1; default: a GPU, if any')
    add('--batch-size', type=int, default=4, metavar='N',
        help='images of one size to pass together')
    add('--workers', type=int, default=2, metavar='N',
        help='processes that read images')
    add_cfg_options(parser, 'model.test_cfg.mode=whole')
