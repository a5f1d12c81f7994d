"""Segment images or detect objects in them with a trained model.

    python tools/infer.py CONFIG CHECKPOINT photo.jpg --out result.png
    python tools/infer.py CONFIG CHECKPOINT my/photos --classes "sky;tree;a red car"

CONFIG is that of a segmentor or detector, of mmcontrast, mmseg or mmdet, or of a method
that registers an inferencer; CHECKPOINT its weights. A folder given as --out gets each
image with its result and a legend (NAME.jpg); of segmentors a label map
(labels/NAME.png, a class index per pixel), of detectors boxes and masks in COCO's
format (annotations.json); and classes.txt, the classes in the order of the labels.

--classes is for models that read class texts (DenseCLIP); others than those of the
training need no training. A segmentor then decides by the score map alone, so name
what is left over, too, such as "background"; a detector finds the objects that it was
trained to find, and labels each box with the text that fits best.
"""
from collections.abc import Sequence

from mmcontrast.apis.cli import add_ask_arguments, error_exit, tool_parser
from mmcontrast.apis.infer import infer


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    add_ask_arguments(parser)
    parser.add_argument('--out', default='work_dirs/infer', metavar='DIR',
                        help='folder for drawn images and results, or an image file '
                        'for a single image')
    parser.add_argument('--score-thr', type=float, metavar='S',
                        help='detectors leave out boxes below (default: 0.3; those of '
                        'an open vocabulary 0.05)')
    arguments = vars(parser.parse_args(argv))
    with error_exit(parser):
        found = infer(**arguments)
    print(found.summary())


if __name__ == '__main__':
    main()
