"""Draw the nearest images of each slot, and the slot of each pixel.

    python tools/analysis/show_slots.py CONFIG CHECKPOINT my/photos --overlay 12
"""
from collections.abc import Sequence

from mmcontrast.apis.analysis.show_slots import show_slots
from mmcontrast.apis.cli import add_former_option, error_exit, tool_parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('config', help='config of a method with slots')
    parser.add_argument('checkpoint', help='a checkpoint of its training')
    parser.add_argument('images', nargs='+', help='image files or folders')
    parser.add_argument('--out', default='work_dirs/slots', metavar='DIR',
                        help='folder to write to')
    parser.add_argument('--top', type=int, default=5, metavar='N',
                        help='nearest images of a slot')
    parser.add_argument('--max-slots', type=int, default=48, metavar='N',
                        help='maximum number of slots to draw, by usage')
    parser.add_argument('--overlay', type=int, default=8, metavar='N',
                        help='images to draw with all of their slots')
    parser.add_argument('--max-images', type=int, metavar='N',
                        help='maximum number of images, evenly spread; default: all')
    parser.add_argument('--resize', type=int, default=256, metavar='PIXELS',
                        help='short side of the images before the crop')
    parser.add_argument('--size', dest='crop', type=int, default=224, metavar='PIXELS',
                        help='side of the center crop')
    add_former_option(parser, '--crop', 'crop')
    parser.add_argument('--branch', choices=['momentum', 'online'], default='momentum',
                        help='encoder to use')
    parser.add_argument('--batch-size', type=int, default=32, metavar='N',
                        help='images per forward pass')
    parser.add_argument('--workers', type=int, default=2, metavar='N',
                        help='data loading workers')
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1')
    arguments = vars(parser.parse_args(argv))
    with error_exit(parser):
        found = show_slots(**arguments)
    statistics = found.statistics
    print('\n'.join([
        *found.notes,
        f'{len(statistics.alive)} of {len(statistics.cells)} slots in use, entropy of '
        f'their usage {statistics.entropy:.2f} (1: all alike)',
        *(f'Wrote {file}' for file in found.files)]))


if __name__ == '__main__':
    main()
