"""Make a placement bank: where a TopNet finds objects plausible in images.

The transform PlacedCopyPaste reads the bank in the pipelines of mmdet and mmseg.
Objects are cut out of the training set itself, unless --objects names others.

    python tools/data/place_objects.py CONFIG CHECKPOINT train.json banks/train \
--images data/train
    python tools/data/place_objects.py CONFIG CHECKPOINT train.json banks/cells \
--images data/cells --box-mask ellipse --with-occluded
    python tools/data/place_objects.py CONFIG CHECKPOINT data/street banks/street \
--objects data/cutouts

The last has one folder of RGBA files per class, as data/cutouts/car/17.png. A call that
was interrupted is resumed by the same command; --part 1/2 and --part 2/2 share the
work. OUT/skipped.txt lists objects and images that could not be used.
"""
import argparse
from collections.abc import Sequence

from mmcontrast.apis.cli import (
    INPUT_ERRORS,
    add_cfg_options,
    error_exit,
    tool_parser,
)
from mmcontrast.apis.data.cutting import Rules
from mmcontrast.apis.data.object_pool import BOX_MASKS
from mmcontrast.apis.data.place_objects import BankMade, place_objects
from mmcontrast.apis.data.rule_options import add_rules, take_rules


def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser()
    args = vars(parser.parse_args(argv))
    rules = take_rules(args)
    with error_exit(parser, (*INPUT_ERRORS, OSError)):
        print('\n'.join(report(place_objects(**args, rules=rules))))


def report(made: BankMade) -> list[str]:
    """Lines on what was written."""
    counts = ', '.join(f'{count} {name}' for name, count in made.objects.items())
    lines = [f'{made.path}: {made.num_images} images, '
             f'{sum(made.objects.values())} objects ({counts}).',
             f'{made.num_placed} images placed now, {made.num_found} before, '
             f'{made.num_waiting} left for other parts.']
    if made.without_place:
        lines.append(f'No object has a place in {made.without_place} images.')
    if made.reasons:
        lines.append(f'Not used ({made.path / "skipped.txt"}):')
        lines += [f'  {count:7d}  {reason}'
                  for reason, count in made.reasons.most_common()]
    return [*lines, 'In a training pipeline, right after LoadAnnotations:', '',
            made.config]


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(__file__, __doc__)
    add = parser.add_argument
    add('config', help='config of the model')
    add('checkpoint', help='its weights')
    add('backgrounds', help='COCO-style file of the images, or a folder of images')
    add('out', help='folder of the bank')
    add('--images', metavar='DIR', help='folder of the images of that file')
    add('--objects', metavar='PATH',
        help='COCO-style file to cut objects out of, or a folder of RGBA files with '
        'one folder per class; without it, BACKGROUNDS')
    add('--object-images', metavar='DIR',
        help='folder of the images of that file; without it, that of --images')
    add('--classes', metavar="'car;dog'",
        help='objects of these classes only, or of a text file with one class per '
        'line')
    add('--per-class', type=int, default=100, metavar='N',
        help='most objects of a class')
    add('--objects-per-image', type=int, default=20, metavar='N',
        help='objects that are placed in an image, drawn at random')
    add('--k', type=int, default=10, metavar='N',
        help='most places of an object in an image; if all are taken, it is not pasted')
    add('--nms-iou', type=float, default=0.5, metavar='X',
        help='largest overlap (IoU) of two of them')
    add('--seed', type=int, default=0, metavar='N', help='seed of all random choices')
    add('--limit', type=int, metavar='N', help='use only the first N backgrounds')
    add('--part', type=_part, default=(1, 1), metavar='I/N',
        help='place in every N-th image only, from the I-th; default: in all')
    add('--device', help='cpu, cuda:1, ...; without it, a GPU if there is one')
    add('--batch-size', type=int, default=8, metavar='N',
        help='objects that are placed at a time')
    add('--overwrite', action='store_true',
        help='replace what an earlier run wrote; not with --part')
    add_cfg_options(parser, 'model.test_cfg.window=5')
    group = parser.add_argument_group('which objects are cut out')
    group.add_argument(
        '--box-mask', choices=BOX_MASKS,
        help='cut out along these within the boxes, for files without masks')
    group.add_argument(
        '--with-occluded', action='store_true',
        help='take objects that touch others, too: parts of them may be hidden')
    add_rules(group, Rules(min_scale=0, min_side=8))
    return parser


def _part(text: str) -> tuple[int, int]:
    number, slash, count = text.partition('/')
    if not (slash and number.isdigit() and count.isdigit()):
        raise argparse.ArgumentTypeError(f'expected I/N, such as 1/4, got {text!r}')
    return int(number), int(count)


if __name__ == '__main__':
    main()
