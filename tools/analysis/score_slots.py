"""Score slots as a segmentation of labeled images, against random prototypes.

    python tools/data/make_shapes.py data/shapes --layout panoptic --test 200
    python tools/analysis/score_slots.py CONFIG CHECKPOINT --data data/shapes
"""
from collections.abc import Sequence

from mmcontrast.apis.analysis.score_slots import score_slots, slot_table
from mmcontrast.apis.cli import add_baseline_option, error_exit, tool_parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('config', help='config of a method with slots')
    parser.add_argument('checkpoint', help='a checkpoint of its training')
    parser.add_argument('--data', required=True, metavar='FOLDER', help='labeled '
                        'images in the layout of COCO panoptic or of mmseg')
    parser.add_argument('--split', default='test', help='split of the data')
    parser.add_argument('--out', metavar='JSON', help='also write the scores here')
    parser.add_argument('--size', type=int, metavar='PIXELS',
                        help='short side of the images; default: as they are')
    parser.add_argument('--max-images', type=int, metavar='N',
                        help='maximum number of images to use; default: all')
    parser.add_argument('--random-prototypes', type=int, default=3, metavar='N',
                        help='sets of random prototypes to score on the same '
                        'features; their mean is shown')
    parser.add_argument('--kmeans', action='store_true',
                        help='add as many k-means centers of the same features')
    add_baseline_option(parser, 'a network')
    parser.add_argument('--branch', choices=['momentum', 'online'], default='momentum',
                        help='encoder to use')
    parser.add_argument('--num-classes', type=int,
                        help="for mmseg's layout without a classes.json")
    parser.add_argument('--ignore-index', type=int, default=255,
                        help="label for nothing, in mmseg's layout")
    parser.add_argument('--seed', type=int, default=0, help='seed of everything random')
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1')
    arguments = vars(parser.parse_args(argv))
    with error_exit(parser):
        result = score_slots(**arguments)
    print(slot_table(result))
    if arguments['out']:
        print(f'Wrote {arguments["out"]}')


if __name__ == '__main__':
    main()
