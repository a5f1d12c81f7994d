"""Run a batch again on which training stopped because a value was not finite.

    python tools/analysis/replay.py work_dirs/NAME/nonfinite/iter_120
    python tools/analysis/replay.py FOLDER --all | less
    python tools/analysis/replay.py FOLDER --fp32              # is it float16?
    python tools/analysis/replay.py FOLDER --config fixed.py   # does the repair help?

FOLDER is what the message of the run named: the batch as the data pipeline gave it,
with weights, buffers, optimizer and random states from before the step. The model is
built from the config in it, nothing of which is executed.

What is printed:
  losses      as in training and as they are now; with the same bits, the run is
              reproduced
  First in    the first module, parameter or image with a value that is not finite while
              everything before it was finite
  Forward     modules in the order of their calls around that place: shape, smallest,
              largest and mean of the finite values, counts of nan and inf; '!' marks
              what is not finite, '-->' the first place
  Gradients   the same for the backward pass, if the loss is finite

Exit status: 0 if something is not finite (what was to be seen, was), 3 if all is finite
now, as after a repair.
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
        'text; its own custom_imports are followed')
    add('--device', help='cpu, cuda, cuda:1; default: a GPU, if any. Only the kind of '
        'device of the training gives its bits')
    add('--fp32', action='store_true', help='without the mixed precision of the run')
    add('--no-grad', dest='grad', action='store_false',
        help='only the forward pass')
    add('--import', dest='imports', action='append', default=[], metavar='MODULE',
        help='a module of yours that registers what the config names; repeat for more')
    add('--rows', type=int, default=6, metavar='N',
        help='modules to show before and after the first place (default: 6)')
    add('--all', dest='rows', action='store_const', const=0, help='show all modules')
    arguments = vars(parser.parse_args(argv))
    rows = arguments.pop('rows')
    with error_exit(parser):
        found = replay(**arguments)
    print(found.text(rows))
    return 0 if found.place else 3


if __name__ == '__main__':
    sys.exit(main())
