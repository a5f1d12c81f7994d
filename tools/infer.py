"""Segment images, detect, ground or place objects in them, with a trained model.

    python tools/infer.py CONFIG CHECKPOINT photo.jpg --out result.png
    python tools/infer.py CONFIG CHECKPOINT my/photos --classes "sky;tree;a red car"
    python tools/infer.py CONFIG CHECKPOINT my/photos --phrases "the left cup;a dog"
    python tools/infer.py CONFIG CHECKPOINT my/scenes --objects cup.png lamp.png

CONFIG is that of a segmentor or detector, of mmcontrast, mmseg or mmdet, or of a method
that registers an inferencer, such as PropVG or TopNet; CHECKPOINT its weights. A folder
given as --out gets each image with its result and a legend (NAME.jpg); of segmentors a
label map (labels/NAME.png, a class index per pixel), of detectors boxes and masks in
COCO's format (annotations.json); and classes.txt, the classes in the order of the
labels.

--classes is for models that read class texts (DenseCLIP, DITO). Texts that differ from
those of the training need no new training. A segmentor then decides by the score map
alone, so also name the rest, such as "background"; a DenseCLIP detector finds the
objects that it was trained to find, and labels each box with the text that fits best.

--phrases is for models that ground phrases (PropVG): what each phrase describes, and
whether it is there at all. A folder given as --out gets drawn images (NAME.jpg) and
annotations.json in COCO's format: boxes with scores and masks, the phrases as its
categories, and "phrases", which says of every phrase whether it exists. A file given as
--phrases holds a phrase a line, or lists phrases for each image (CSV, TSV, JSON).

--objects is for models that place objects (TopNet): cut-outs with an alpha channel, or
images with --masks. Several objects do not overlap. A folder given as --out
gets composites (NAME.jpg), sheets with heat maps and ranked boxes (sheets/NAME.jpg) and
placements.json. "This position: which size?" is --at, "this size: where?" --size or
--scale; --avoid and --allow restrict where objects may lie. A value that starts with a
minus sign needs an equals sign: --avoid='-10,0,50,50'.
"""
from argparse import ArgumentParser
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
                        help='leave out boxes below (default: 0.3 for detectors; 0.05 '
                        'with an open vocabulary; for phrases that of the config)')
    parser.add_argument('--calibration', metavar='FILE', help='thresholds of '
                        'tools/analysis/calibrate.py, in place of --score-thr')
    add_grounding_arguments(parser)
    add_placement_arguments(parser)
    arguments = vars(parser.parse_args(argv))
    with error_exit(parser):
        found = infer(**arguments)
    print(found.summary())


def add_grounding_arguments(parser: ArgumentParser) -> None:
    """What only models take that ground phrases."""
    add = parser.add_argument_group('models that ground phrases').add_argument
    add('--phrases', metavar="'the left cup;a dog'",
        help='what to find; or a text file, a phrase a line, or a CSV, TSV or JSON '
        'file with phrases for each image')
    add('--top-k', type=int, metavar='K',
        help='boxes per phrase at most (default: all)')
    add('--proposals', action='store_true', default=None,
        help='also draw all proposals with their scores (proposals/NAME.jpg)')


def add_placement_arguments(parser: ArgumentParser) -> None:
    """What only models take that place objects."""
    add = parser.add_argument_group(
        'models that place objects', 'lengths are pixels of the image').add_argument
    add('--objects', nargs='+', metavar='CUTOUT',
        help='RGBA images of objects, or folders of them')
    add('--masks', nargs='+', metavar='MASK',
        help='for objects without alpha: a mask each, or a folder with the same names')
    add('--k', type=int, metavar='K', help='ranked boxes per object (default: 5)')
    add('--at', metavar='X,Y', help='center of the object: only its size is sought')
    add('--size', metavar='W,H',
        help='size that the object is to fill: only its position is sought')
    add('--scale', type=float, metavar='R',
        help='likewise, as a share of the image: max(w / W, h / H)')
    add('--avoid', metavar="'X,Y,W,H;...'",
        help='boxes to keep out of, or a mask image, white where nothing may lie; '
        "--avoid='-10,0,50,50' if it starts with a minus sign")
    add('--allow', metavar='MASK',
        help='mask image, white where the center of an object may lie')
    add('--nms-iou', type=float, metavar='IOU',
        help='leave out boxes that overlap a better one by more (default: that of the '
        'config)')
    add('--overlap', action='store_true', default=None,
        help='rank the boxes of each object as if it were alone')
    add('--feather', type=float, metavar='PX',
        help='width over which the edge of an object fades (default: 2)')
    add('--blend', choices=['alpha', 'poisson'],
        help='poisson adapts the colors of an object to what is around it (default: '
        'alpha)')
    add('--maps', action='store_true', default=None,
        help='also write the heat map of every size (maps/NAME.jpg); --out is a folder')


if __name__ == '__main__':
    main()
