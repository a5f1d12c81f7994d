"""Draw what a two-view config trains on: crops, views and matched pixels.

    python tools/analysis/browse_views.py configs/pixpro/CONFIG.py --num 16
"""
from collections.abc import Sequence

from mmcontrast.apis.analysis.browse_views import browse_views
from mmcontrast.apis.cli import add_cfg_options, error_exit, tool_parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('config', help='config file, or mmcontrast::pixpro/...')
    parser.add_argument('--num', type=int, default=8, metavar='N',
                        help='number of images to draw')
    parser.add_argument('--out', metavar='DIR', help='folder to write to; '
                        'default: work_dirs/<name of the config>/views')
    parser.add_argument('--seed', type=int, default=0,
                        help='seed of the choice of images and views')
    parser.add_argument('--map-size', type=int, nargs=2, metavar=('ROWS', 'COLS'),
                        help='feature grid whose cells are matched; default: '
                        "the backbone's last map")
    add_cfg_options(parser, 'train_dataloader.dataset.data_root=my_photos')
    arguments = vars(parser.parse_args(argv))
    with error_exit(parser):
        files = browse_views(**arguments)
    print(f'{len(files)} images written to {files[0].parent}.')


if __name__ == '__main__':
    main()
