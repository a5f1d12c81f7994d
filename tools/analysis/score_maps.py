"""Draw where in an image each class text matches: score maps of DenseCLIP and DITO.

    python tools/analysis/score_maps.py CONFIG CHECKPOINT photo.jpg
    python tools/analysis/score_maps.py CONFIG CHECKPOINT photos --classes "car;a tree"

Writes one sheet per image: the image, then for each text a heat map of the cosine
similarity between its embedding and every pixel, on one color scale for all texts. A
ring marks the maximum, whose cosine is printed after the text. With --regions 3, the
three regions that a detector such as DITO matches best with each text.
"""
from collections.abc import Sequence

from mmcontrast.apis.analysis.score_maps import score_maps
from mmcontrast.apis.cli import add_ask_arguments, error_exit, tool_parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    add_ask_arguments(parser)
    parser.add_argument('--out', default='work_dirs/score_maps', metavar='DIR',
                        help='folder to write to')
    parser.add_argument('--limits', type=float, nargs=2, metavar=('LOW', 'HIGH'),
                        help='cosines of the darkest and the brightest color, for '
                        'comparable sheets; default: the range of each sheet')
    parser.add_argument('--regions', type=int, default=0, metavar='N',
                        help='also draw the N regions that match each text best')
    arguments = vars(parser.parse_args(argv))
    with error_exit(parser):
        found = score_maps(**arguments)
    print(found.summary())


if __name__ == '__main__':
    main()
