"""Draw where each class text matches an image: the score maps of a DenseCLIP.

    python tools/analysis/score_maps.py CONFIG CHECKPOINT photo.jpg
    python tools/analysis/score_maps.py CONFIG CHECKPOINT photos --classes "car;a tree"

Writes a sheet an image: the photograph, then for each text the cosine of every place
with it as a color, bright where it is high, on one scale for all texts. A ring marks
the peak, its cosine stands after the text.
"""
from collections.abc import Sequence

from mmcontrast.apis.analysis.score_maps import score_maps
from mmcontrast.apis.cli import add_ask_arguments, error_exit, tool_parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    add_ask_arguments(parser)
    parser.add_argument('--out', default='work_dirs/score_maps', metavar='DIR')
    parser.add_argument('--limits', type=float, nargs=2, metavar=('LOW', 'HIGH'),
                        help='cosines of the darkest and the brightest color, to '
                        'compare sheets; default: the range of each sheet')
    arguments = vars(parser.parse_args(argv))
    with error_exit(parser):
        found = score_maps(**arguments)
    print(found.summary())


if __name__ == '__main__':
    main()
