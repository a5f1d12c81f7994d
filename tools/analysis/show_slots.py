"""Draw what each slot stands for, and which slot takes which pixel.

    python tools/analysis/show_slots.py CONFIG CHECKPOINT my/photos --overlay 12
"""
from collections.abc import Sequence

from mmcontrast.apis.analysis.show_slots import show_slots
from mmcontrast.apis.cli import error_exit, tool_parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('config', help='config of a method with slots')
    parser.add_argument('checkpoint', help='a checkpoint of its training')
    parser.add_argument('images', nargs='+', help='image files or folders')
    parser.add_argument('--out', default='work_dirs/slots', metavar='DIR')
    parser.add_argument('--top', type=int, default=5, metavar='N',
                        help='nearest images of a slot (default: 5)')
    parser.add_argument('--max-slots', type=int, default=48, metavar='N',
                        help='most slots to draw, by usage (default: 48)')
    parser.add_argument('--overlay', type=int, default=8, metavar='N',
                        help='images to draw with all of their slots (default: 8)')
    parser.add_argument('--max-images', type=int, metavar='N',
                        help='use so many images, evenly spread')
    parser.add_argument('--resize', type=int, default=256, metavar='PIXELS',
                        help='short side of the images (default: 256)')
    parser.add_argument('--crop', type=int, default=224, metavar='PIXELS',
                        help='side of the middle that is cut out (default: 224)')
    parser.add_argument('--branch', choices=['momentum', 'online'], default='momentum')
    parser.add_argument('--batch-size', type=int, default=32)
    parser.add_argument('--workers', type=int, default=2,
                        help='processes that read images')
    parser.add_argument('--device', default='cpu')
    arguments = vars(parser.parse_args(argv))
    with error_exit(parser):
        found = show_slots(**arguments)
    survey = found.survey
    print('\n'.join([
        *found.notes,
        f'{len(survey.alive)} of {len(survey.cells)} slots in use, entropy of their '
        f'usage {survey.entropy:.2f} (1: all alike)',
        *(f'Wrote {file}' for file in found.files)]))


if __name__ == '__main__':
    main()
