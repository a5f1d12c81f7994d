"""Draw the features of a backbone as colors, beside the images.

    python tools/analysis/feature_maps.py CONFIG CHECKPOINT my/photos --beside-random
"""
from collections.abc import Sequence

from mmcontrast.apis.analysis.feature_maps import feature_map_sheet
from mmcontrast.apis.cli import error_exit, tool_parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('config', help='config whose model.backbone is built')
    parser.add_argument('checkpoint', help='checkpoint, or an exported backbone')
    parser.add_argument('images', nargs='+', help='image files or folders')
    parser.add_argument('--out', default='work_dirs/feature_maps.png')
    parser.add_argument('--out-index', type=int, default=-1, help='map of the backbone')
    parser.add_argument('--size', type=int, default=448,
                        help='short side of the images; larger gives finer maps')
    parser.add_argument('--max-images', type=int, default=8)
    parser.add_argument('--beside-random', action='store_true',
                        help='add a column with random weights')
    parser.add_argument('--beside', metavar='CHECKPOINT',
                        help='add a column with another checkpoint')
    parser.add_argument('--prefix', help="prefix of the backbone's keys, e.g. "
                        'momentum.backbone.; found by itself')
    parser.add_argument('--seed', type=int, default=0, help='of the random weights')
    parser.add_argument('--device', default='cpu')
    arguments = vars(parser.parse_args(argv))
    with error_exit(parser):
        path, notes = feature_map_sheet(**arguments)
    print('\n'.join([*notes, f'Wrote {path}']))


if __name__ == '__main__':
    main()
