"""Test a checkpoint with the metrics of a config.

    python tools/test.py CONFIG.py CHECKPOINT.pth
    python tools/test.py CONFIG.py CHECKPOINT.pth --kept 'cat;dog' --before BASE.pth
    bash tools/dist_test.sh CONFIG.py CHECKPOINT.pth NUM_GPUS
"""
from collections.abc import Sequence

from mmcontrast.apis.cli import add_run_arguments, run, tool_parser
from mmcontrast.apis.test import test


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('config', help='config file, or mmcontrast::pixpro/...')
    parser.add_argument('checkpoint', help='weights to test')
    parser.add_argument('--out', metavar='FILE.pkl', help='write all predictions')
    parser.add_argument('--show', action='store_true',
                        help='show images with predictions')
    parser.add_argument('--show-dir', metavar='DIR',
                        help='write images with predictions to this folder')
    parser.add_argument('--wait-time', type=float, default=2,
                        metavar='SECONDS',
                        help='time for which --show keeps a window')
    parser.add_argument('--tta', action='store_true',
                        help="test-time augmentation, by the config's tta_model")
    parser.add_argument('--classes', metavar="'sky;tree;a red car'",
                        help='class texts to use instead of those of the training, '
                        'one per label of the test set; or a text file with them')
    parser.add_argument('--kept', metavar="'cat;dog'",
                        help='classes of the test set to score in addition to '
                        'the trained ones, to see what was forgotten')
    parser.add_argument('--before', metavar='CKPT',
                        help='with --kept: also test this earlier checkpoint')
    add_run_arguments(parser)
    run(test, parser, argv)


if __name__ == '__main__':
    main()
