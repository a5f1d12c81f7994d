"""Draw the features of a backbone as colors (PCA) next to the images.

    python tools/analysis/feature_maps.py CONFIG CHECKPOINT my/photos --baseline random
"""
from collections.abc import Sequence

from mmcontrast.apis.analysis.feature_maps import feature_map_sheet
from mmcontrast.apis.cli import add_baseline_option, error_exit, tool_parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('config', help='config whose model.backbone is built')
    parser.add_argument('checkpoint', help='checkpoint, or an exported backbone')
    parser.add_argument('images', nargs='+', help='image files or folders')
    parser.add_argument('--out', default='work_dirs/feature_maps.png', metavar='FILE',
                        help='image to write')
    parser.add_argument('--out-index', type=int, default=-1, metavar='I',
                        help='output of the backbone that is drawn')
    parser.add_argument('--size', type=int, default=448, metavar='PIXELS',
                        help='short side of the images; larger gives finer maps')
    parser.add_argument('--max-images', type=int, default=8, metavar='N',
                        help='maximum number of images to draw')
    add_baseline_option(parser, 'a column')
    parser.add_argument('--beside', metavar='CHECKPOINT',
                        help='add a column with another checkpoint')
    parser.add_argument('--prefix', help="prefix of the backbone's keys, e.g. "
                        'momentum.backbone.; default: detected')
    parser.add_argument('--seed', type=int, default=0, help='seed of random weights')
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1')
    arguments = vars(parser.parse_args(argv))
    with error_exit(parser):
        path, notes = feature_map_sheet(**arguments)
    print('\n'.join([*notes, f'Wrote {path}']))


if __name__ == '__main__':
    main()
