"""Segment images, or find objects in them, by the texts of your classes.

    python tools/infer.py CONFIG CHECKPOINT photo.jpg --out result.png
    python tools/infer.py CONFIG CHECKPOINT my/photos --classes "sky;tree;a red car"

CONFIG is that of a DenseCLIP segmentor or detector, CHECKPOINT its weights. A folder
given as --out gets a picture of each image with a legend of the texts (NAME.jpg), the
answer itself (labels/NAME.png: one number a pixel; boxes/NAME.json) and classes.txt,
the texts in the order of the numbers.

Without --classes the texts of the training are asked for. Others need no training: of
a segmentor the score map alone decides then, so name what is left over, too, such as
"background"; a detector finds the objects that it was trained to find, and labels each
box with the text that fits best.
"""
from collections.abc import Sequence

from mmcontrast.apis.cli import add_ask_arguments, error_exit, tool_parser
from mmcontrast.apis.infer import infer


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    add_ask_arguments(parser)
    parser.add_argument('--out', default='work_dirs/infer', metavar='DIR',
                        help='folder for pictures and answers, or a picture file for a '
                        'single image (default: work_dirs/infer)')
    parser.add_argument('--score-thr', type=float, default=0.3, metavar='S',
                        help='detectors leave out boxes below (default: 0.3)')
    arguments = vars(parser.parse_args(argv))
    with error_exit(parser):
        found = infer(**arguments)
    print(found.summary())


if __name__ == '__main__':
    main()
