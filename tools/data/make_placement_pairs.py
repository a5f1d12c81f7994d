"""Make placement pairs of images with instance masks, by cutting out and inpainting.

One object per image, which nothing hides, is cut out along its mask; its place in the
image is inpainted. A pair is the background without it, the object, and its box: what
TopNet learns from without labels. Train and evaluate on separate annotation files.

    python tools/data/make_placement_pairs.py \
data/coco/annotations/instances_train2017.json data/coco/train2017 data/placement_train
    python tools/data/make_placement_pairs.py train.json images data/cars \
--classes 'car;truck' --workers 8
    python tools/data/make_placement_pairs.py train.json images data/try --limit 100
    python tools/data/make_placement_pairs.py train.json images data/pairs \
--inpainter diffusers --weights weights/sd2-inpainting --device cuda

Objects are left out that touch the border, are tiny, huge, long and thin, fragmented or
full of holes (often covered by something without a label), lie within 3 pixels of
another object, are crowds, or have no mask. OUT/skipped.txt lists them with the reason.
A run that was interrupted is resumed by the same command.
"""
import argparse
from collections.abc import Sequence

from mmcontrast.apis.cli import INPUT_ERRORS, error_exit, tool_parser
from mmcontrast.apis.data.cutting import Rules
from mmcontrast.apis.data.inpainting import DiffusersInpainter, TeleaInpainter
from mmcontrast.apis.data.make_placement_pairs import PairsMade, make_placement_pairs
from mmcontrast.apis.data.plausibility import SimOPAScorer
from mmcontrast.apis.data.rule_options import add_rules, take_rules


def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser()
    args = vars(parser.parse_args(argv))
    rules = take_rules(args)
    name, weights, device, scorer = (
        args.pop(key) for key in ('inpainter', 'weights', 'device', 'scorer'))
    if (name == 'diffusers') != (weights is not None):
        parser.error('--inpainter diffusers and --weights FOLDER belong together')
    if args['workers'] and (name == 'diffusers' or scorer):
        print('One process: the network works in this one.')
        args['workers'] = 0
    with error_exit(parser, (*INPUT_ERRORS, OSError)):
        inpainter = (TeleaInpainter() if weights is None
                     else DiffusersInpainter(weights, device))
        made = make_placement_pairs(
            **args, rules=rules, inpainter=inpainter,
            scorer=None if scorer is None else SimOPAScorer(scorer, device))
        print('\n'.join(report(made)))


def report(made: PairsMade) -> list[str]:
    """Lines on what was written."""
    lines = [f'{made.path}: {made.num_pairs} pairs of {made.num_images} images.']
    if made.num_resumed:
        lines.append(f'{made.num_resumed} images were done by an earlier run.')
    if made.reasons:
        lines.append(f'Not used ({made.skipped}):')
        lines += [f'  {count:7d}  {reason}'
                  for reason, count in made.reasons.most_common()]
    return [*lines, 'For training, in a config of your own. For validation, the same '
            'as val_dataloader,', 'with test_mode=True and the pipeline of '
            '_base_.val_dataloader; test_dataloader = val_dataloader.', '', made.config]


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(__file__, __doc__)
    add = parser.add_argument
    add('annotations', help='COCO-style file with masks (polygons or RLE)')
    add('images', help='folder of the images')
    add('out', help='folder for backgrounds/, objects/, pairs.json and skipped.txt')
    add('--classes', metavar="'car;dog'",
        help='cut out objects of these classes only, or of a text file with one class '
        'per line')
    add('--workers', type=int, default=2, metavar='N',
        help='worker processes; 0 to work in this one')
    add('--seed', type=int, default=0, metavar='N', help='seed of all random choices')
    add('--limit', type=int, metavar='N', help='use only the first N images')
    add('--overwrite', action='store_true', help='replace what an earlier run wrote')
    _add_inpainting(parser.add_argument_group('inpainting'))
    group = parser.add_argument_group('which objects are good')
    add_rules(group, Rules())
    group.add_argument(
        '--scorer', metavar='CHECKPOINT',
        help='converted SimOPA weights: leave out objects that it finds implausible '
        'where they stand')
    group.add_argument('--min-score', type=float, default=0.5, metavar='X',
                       help='least probability of the scorer')
    return parser


def _add_inpainting(group) -> None:
    add = group.add_argument
    add('--inpainter', choices=['telea', 'diffusers'], default='telea',
        help="OpenCV's, or a pipeline of diffusers (pip install diffusers transformers "
        'accelerate)')
    add('--weights', metavar='FOLDER',
        help='local folder of the pipeline, with model_index.json and safetensors')
    add('--device', default='cpu', help='device of the pipeline and of the scorer')
    add('--dilate', type=float, default=0.08, metavar='SHARE',
        help='margin around the object that is inpainted too, as a share of the square '
        'root of its area; at most 1')
    add('--num-extra', type=int, default=3, metavar='N',
        help='further regions of its shape that are inpainted, so that artifacts do '
        'not give its place away')


if __name__ == '__main__':
    main()
