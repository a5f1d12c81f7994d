"""Pretrain, export and fine-tune on the toy world, and write a report.

    python tools/demo.py                     # as `make demo`
    python tools/demo.py --data my/photos    # pretrain on your own images
"""
import sys
from collections.abc import Sequence
from pathlib import Path

from mmcontrast.apis.cli import error_exit, tool_parser
from mmcontrast.apis.demo import run_demo
from mmcontrast.apis.tool_process import ToolError


def main(argv: Sequence[str] | None = None) -> int:
    parser = tool_parser(__file__, __doc__)
    add = parser.add_argument
    add('--data', metavar='FOLDER',
        help='images to pretrain on; fine-tuning stays on the toy world')
    add('--work-dir', default='work_dirs/demo', metavar='DIR',
        help='folder for everything that is written')
    add('--seeds', type=int, nargs='+', default=[0, 1, 2], metavar='N',
        help='seeds of the fine-tuning runs, with and without pretraining')
    add('--pretrain-iters', type=int, metavar='N',
        help='iterations of the pretraining; default: those of the config, 600')
    add('--finetune-iters', type=int, metavar='N',
        help='iterations of a fine-tuning; default: those of the config, 60')
    args = vars(parser.parse_args(argv))
    try:
        with error_exit(parser):
            run_demo(str(Path(__file__).resolve().parents[1]), **args)
    except ToolError as error:
        return error.returncode
    return 0


if __name__ == '__main__':
    sys.exit(main())
