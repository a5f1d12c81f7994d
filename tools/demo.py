"""Pretrain, export and fine-tune on the toy world, and write a page about it.

    python tools/demo.py                     # as `make demo`
    python tools/demo.py --data my/photos    # pretrain on your own pictures
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
    add('--data', metavar='FOLDER', help='pictures to pretrain on; the labels stay '
        'those of the toy world')
    add('--work-dir', default='work_dirs/demo', help='default: work_dirs/demo')
    add('--seeds', type=int, nargs='+', default=[0, 1, 2], metavar='N',
        help='fine-tuning runs of each kind (default: 0 1 2)')
    add('--pretrain-iters', type=int, metavar='N', help="other than the config's 600")
    add('--finetune-iters', type=int, metavar='N', help="other than the config's 60")
    args = vars(parser.parse_args(argv))
    try:
        with error_exit(parser):
            run_demo(str(Path(__file__).resolve().parents[1]), **args)
    except ToolError as error:
        return error.returncode
    return 0


if __name__ == '__main__':
    sys.exit(main())
