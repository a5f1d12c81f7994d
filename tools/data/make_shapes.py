"""Write the toy world to disk in one or several annotation formats.

    python tools/data/make_shapes.py data/shapes --layout mmseg --train 200 --val 100
    python tools/data/make_shapes.py --sheet shapes.png
"""
import argparse
from collections.abc import Sequence

from mmcontrast.apis.cli import error_exit, tool_parser
from mmcontrast.apis.data.make_shapes import make_shapes
from mmcontrast.datasets.shapes import SPLITS
from mmcontrast.datasets.shapes.layouts import LAYOUTS
from mmcontrast.datasets.shapes.vocabulary import COMBINATIONS


def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser()
    args = vars(parser.parse_args(argv))
    sheet = args.pop('sheet')
    if sheet is None and args['out'] is None:
        parser.error('name a folder OUT, or --sheet FILE.png')
    with error_exit(parser):
        if sheet is not None:
            from mmcontrast.visualization.shapes_sheet import save_sheet
            print(f'Written to {save_sheet(sheet, args["seed_offset"])}.')
        if args['out'] is not None:
            print(f'The scenes are in {make_shapes(**args)}.')


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(__file__, __doc__)
    add = parser.add_argument
    add('out', nargs='?', help='folder to write to')
    add('--layout', dest='layouts', nargs='+', choices=LAYOUTS, default=['coco'],
        help='one or several; later calls may add more to the same folder')
    for split, count in zip(SPLITS, (200, 50, 0), strict=True):
        add(f'--{split}', type=int, default=count, metavar='N',
            help='number of scenes, and of clips')
    add('--size', type=int, default=128, metavar='PIXELS', help='side of a scene')
    add('--seed-offset', type=int, default=0, metavar='N',
        help='skip the first N scenes of each split')
    add('--train-combinations', choices=COMBINATIONS, default='all',
        help='color-shape pairs in train')
    add('--eval-combinations', choices=COMBINATIONS, default='all',
        help='color-shape pairs in val and test')
    add('--num-frames', type=int, default=8, metavar='N', help='frames per clip')
    add('--overwrite', action='store_true',
        help='replace everything that earlier runs wrote to OUT')
    add('--sheet', metavar='FILE.png',
        help='write a sheet of samples; without OUT, nothing else')
    return parser


if __name__ == '__main__':
    main()
