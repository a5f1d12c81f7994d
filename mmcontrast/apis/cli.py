"""What the command lines of several tools share."""
import argparse
import os
import sys
from collections.abc import Callable

from mmengine.config import DictAction

from ..registry import UnknownTypeError
from .config import UsageError


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that mmdet and mmseg users know, common to train and test."""
    parser.add_argument('--work-dir', help='where logs, scores and checkpoints go; '
                        'default: work_dirs/<name of the config>')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=V',
                        help='override settings, e.g. train_dataloader.batch_size=8 '
                        'randomness.seed=1; lists as key="[a,b]"')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'],
                        default='none', help='job launcher')
    # torchrun sets LOCAL_RANK itself; older launchers pass the flag.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help=argparse.SUPPRESS)


def add_ask_arguments(parser: argparse.ArgumentParser) -> None:
    """What the tools take that ask a DenseCLIP about images."""
    add = parser.add_argument
    add('config', help='config of a DenseCLIP segmentor or detector')
    add('checkpoint', help='a checkpoint of its training')
    add('images', nargs='+', help='image files or folders')
    add('--classes', metavar="'sky;tree;a red car'",
        help='class texts; or a text file with one a line, or the name of a data set '
        '(default: those of the training)')
    add('--device', help='cpu, cuda, cuda:1; default: a GPU, if any')
    add('--batch-size', type=int, default=4, metavar='N',
        help='images of one size to pass together (default: 4)')
    add('--workers', type=int, default=2, metavar='N',
        help='processes that read images (default: 2)')
    add('--cfg-options', nargs='+', action=DictAction, metavar='KEY=V',
        help='override settings, e.g. model.test_cfg.mode=whole')


def run(function: Callable, parser: argparse.ArgumentParser) -> None:
    """Parse the command line and call ``function`` with it.

    What a user can put right from one sentence (a file that is not there, a type that
    nobody registered, an option that does not fit, a checkpoint of another network,
    a full disk, lost data, a loss that is NaN) ends the tool with that sentence and
    status 1; anything else keeps its traceback.
    """
    from ..engine.distributed.consistency import RankMismatchError
    from ..engine.nonfinite import NonFiniteError
    from ..engine.runner.run_errors import DataError
    from ..errors import UserError
    from ..io.disk import DiskError
    arguments = vars(parser.parse_args())
    os.environ.setdefault('LOCAL_RANK', str(arguments.pop('local_rank')))
    try:
        function(**arguments)
    except (DataError, DiskError, FileNotFoundError, NonFiniteError, RankMismatchError,
            UnknownTypeError, UsageError, UserError) as error:
        sys.exit(f'{parser.prog}: {error}')
