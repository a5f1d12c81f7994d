"""Rerun a saved batch on which training stopped at a non-finite value (NaN or Inf).

    python tools/analysis/replay.py work_dirs/NAME/nonfinite/iter_120
    python tools/analysis/replay.py FOLDER --all | less
    python tools/analysis/replay.py FOLDER --fp32              # is it float16?
    python tools/analysis/replay.py FOLDER --config fixed.py   # does the fix help?

FOLDER is the one that the error message of the run named. It holds the batch as the
data pipeline gave it, and weights, buffers, optimizer and RNG state from before the
step. The model is built from the saved config, which is parsed, not executed.

What is printed:
  losses      in training and now; equal bits mean that the step is reproduced
  First ...   the first module, parameter or image with a non-finite value while
              everything before it was finite
  Forward     modules around it in the order of their calls: shape, minimum, maximum and
              mean of the finite values, counts of NaN and Inf; '!' marks non-finite
              tensors, '-->' the first one
  Gradients   the same for the backward pass, if the loss is finite

Exit status: 0 if a non-finite value was found again, 3 if everything is finite now, as
after a fix.
"""
import sys
from collections.abc import Sequence

from mmcontrast.apis.analysis.replay import replay
from mmcontrast.apis.cli import error_exit, tool_parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = tool_parser(__file__, __doc__)
    add = parser.add_argument
    add('folder', help='WORK_DIR/nonfinite/iter_N')
    add('--config', help='build the model from this config file instead of the saved '
        'one; its custom_imports are followed')
    add('--device', help='cpu, cuda, cuda:1; default: a GPU, if any. Equal bits need '
        'the kind of device of the training')
    add('--fp32', action='store_true', help='without the mixed precision of the run')
    add('--no-grad', dest='grad', action='store_false',
        help='only the forward pass')
    add('--import', dest='imports', action='append', default=[], metavar='MODULE',
        help='your module that registers what the config names; may be repeated')
    add('--rows', type=int, default=6, metavar='N',
        help='modules to show before and after the first one')
    add('--all', dest='rows', action='store_const', const=0, help='show all modules')
    arguments = vars(parser.parse_args(argv))
    rows = arguments.pop('rows')
    with error_exit(parser):
        found = replay(**arguments)
    print(found.text(rows))
    return 0 if found.origin else 3


if __name__ == '__main__':
    sys.exit(main())
