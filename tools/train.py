"""Train a model from a config.

    python tools/train.py configs/pixpro/CONFIG.py
    bash tools/dist_train.sh configs/pixpro/CONFIG.py NUM_GPUS
"""
from collections.abc import Sequence

from mmcontrast.apis.cli import add_run_arguments, run, tool_parser
from mmcontrast.apis.train import train


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('config', help='config file, or mmcontrast::pixpro/...')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='resume from a checkpoint; without a path, from the '
                        'newest undamaged one in the work dir')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate to the batch size of this run')
    add_run_arguments(parser)
    run(train, parser, argv)


if __name__ == '__main__':
    main()
