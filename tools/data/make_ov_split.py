"""Split COCO-style annotation files into base and novel classes.

    python tools/data/make_ov_split.py train.json --val val.json --base 'cat;dog'
    python tools/data/make_ov_split.py data/coco/annotations/instances_train2017.json \
--val data/coco/annotations/instances_val2017.json --benchmark coco
    python tools/data/make_ov_split.py data/lvis_v1/annotations/lvis_v1_train.json \
--benchmark lvis
"""
import argparse
from collections import Counter
from collections.abc import Sequence

from mmcontrast.apis.cli import INPUT_ERRORS, error_exit, tool_parser
from mmcontrast.apis.data.make_ov_split import SplitFile, make_ov_split


def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser()
    with error_exit(parser, (*INPUT_ERRORS, OSError)):
        split = make_ov_split(**vars(parser.parse_args(argv)))
    for file in split.files:
        print('\n'.join(report(file)))
    classes = split.classes
    print(f'{len(classes.base)} base and {len(classes.novel)} novel classes. In a '
          f'config of yours, below the _base_ that it inherits:\n\n{split.config}')


def report(file: SplitFile) -> list[str]:
    """Lines on a file that was written."""
    lines = [f'{file.path}: {file.num_images} images ({file.images_left_out} without '
             f'boxes left out), {file.num_base} boxes of base and {file.num_novel} of '
             f'novel classes ({file.boxes_left_out} of other classes left out).']
    if file.without_boxes:
        lines.append(f'  No box of: {", ".join(file.without_boxes)}.')
    for what, images in (('reached out of the image and were clipped', file.clipped),
                         ('had no area in the image and were dropped', file.dropped)):
        if images:
            counts = Counter(images).most_common()
            listed = ', '.join(f'{image} ({count})' for image, count in counts[:20])
            more = f' and {len(counts) - 20} more images' if len(counts) > 20 else ''
            lines.append(f'  {len(images)} boxes {what}; by image id: {listed}{more}.')
    return lines


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(__file__, __doc__)
    add = parser.add_argument
    add('train', help='COCO-style file of the training images')
    add('--val', metavar='FILE', help='COCO-style file of the evaluation images')
    add('--benchmark', choices=['coco', 'lvis'],
        help='split of OV-COCO (48 and 17 classes) or of LVIS v1 (without the rare '
        'ones) instead of own classes')
    add('--base', metavar="'cat;dog'",
        help='base classes, or a text file with one per line; default: all but '
        'the novel')
    add('--novel', metavar="'zebra;'",
        help='novel classes, in the same forms; default: all but the base ones')
    add('--out', metavar='DIR', help='folder of the new files; default: that of TRAIN; '
        'with --benchmark coco the folder zero-shot next to it')
    add('--keep-empty', action='store_true',
        help='keep images without boxes. In the training file, objects whose novel '
        'boxes were removed are then trained as background; configs with '
        'filter_empty_gt drop such images again')
    add('--drop-others', action='store_true',
        help='leave out boxes of classes that are neither base nor novel')
    add('--overwrite', action='store_true', help='replace files of an earlier call')
    return parser


if __name__ == '__main__':
    main()
