"""Draw samples of phrases that a config trains or evaluates on.

    python tools/analysis/browse_grounding.py configs/propvg/CONFIG.py --split val

A sheet has a row for each sample: all foreground objects, numbered, those that the
phrase means in blue; the mask of what is meant; the phrase. (mmdet's browse_dataset.py
shows neither phrases nor which objects are meant.)
"""
from collections.abc import Sequence

from mmcontrast.apis.analysis.browse_grounding import SPLITS, browse_grounding
from mmcontrast.apis.cli import add_cfg_options, error_exit, tool_parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('config', help='config file, or mmcontrast::propvg/...')
    parser.add_argument('--split', choices=SPLITS, default='train',
                        help='data set to draw from')
    parser.add_argument('--num', type=int, default=12, metavar='N',
                        help='number of samples to draw')
    parser.add_argument('--out', metavar='FILE', help='image file to write; default: '
                        'work_dirs/<name of the config>/phrases_<split>.png')
    parser.add_argument('--seed', type=int, default=0,
                        help='seed of the choice of samples')
    add_cfg_options(parser, 'train_dataloader.dataset.data_root=data/mine')
    arguments = vars(parser.parse_args(argv))
    with error_exit(parser):
        path = browse_grounding(**arguments)
    print(f'Wrote {path}')


if __name__ == '__main__':
    main()
