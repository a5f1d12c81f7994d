"""Pack images, or image-text pairs, into tar shards or an lmdb.

    python tools/data/make_shards.py data/photos data/photos_shards
    python tools/data/make_shards.py data/imagenet/train data/in1k_shards --labels
    python tools/data/make_shards.py data/photos data/photos.lmdb --to lmdb
    python tools/data/make_shards.py data/pairs data/shards --captions --ann-file a.csv
"""
import argparse
from collections.abc import Sequence

from mmcontrast.apis.cli import INPUT_ERRORS, error_exit, tool_parser
from mmcontrast.apis.data.make_shards import make_shards
from mmcontrast.datasets.image_text_pairs import FORMATS


def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser()
    args = vars(parser.parse_args(argv))
    with error_exit(parser, (*INPUT_ERRORS, OSError)):
        packed = make_shards(**args)
    for bad in packed.skipped[:20]:
        print(f'Left out: {bad}')
    if packed.skipped:
        noun = 'pairs or images' if packed.with_captions else 'images'
        print(f'{len(packed.skipped)} {noun} could not be read and were left out.')
    shards = f' in {packed.num_shards} shards' if packed.num_shards else ''
    print(f'{packed.num_images} images{shards}: {packed.out}. In a config of yours, '
          f'below the _base_ that it inherits:\n\n{packed.config}')


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(__file__, __doc__)
    add = parser.add_argument
    add('source', help='folder, .zip or .lmdb of images')
    add('out', help='new folder for the shards, or a new name in .lmdb')
    add('--to', choices=['tar', 'lmdb'], default='tar', help='format to write')
    add('--ann-file', default='', metavar='LIST',
        help='text list or COCO file of the images, relative to SOURCE')
    add('--captions', dest='with_captions', action='store_true',
        help='LIST holds captions (CSV, TSV, COCO captions, Karpathy split or JSON '
        'list): write image-text pairs')
    add('--prefix', default='', metavar='DIR', help='folder of the images below SOURCE')
    add('--labels', dest='with_label', action='store_true',
        help='write class folders (or the numbers of the list) as .cls')
    add('--shard-mb', type=float, default=256, metavar='MB',
        help='size of a shard in megabytes')
    add('--no-shuffle', dest='shuffle', action='store_false',
        help='keep the order of the source; default: shuffle, so that every shard is a '
        'sample of the whole')
    add('--seed', type=int, default=0, help='seed of the shuffling')
    add_caption_options(parser.add_argument_group('with --captions'))
    return parser


def add_caption_options(group: argparse._ArgumentGroup) -> None:
    """Options of ImageTextPairs; those that are not given keep its defaults."""
    def add(name: str, **options) -> None:
        group.add_argument(name, default=argparse.SUPPRESS, **options)

    add('--split', nargs='+', metavar='NAME',
        help='parts of a Karpathy split to pack, e.g. train restval')
    add('--format', choices=FORMATS, help='layout of LIST; default: recognized')
    add('--image-column', type=column, metavar='COLUMN',
        help='column of the images in a table: a name, or a number from 0 without '
        'header')
    add('--caption-column', type=column, metavar='COLUMN',
        help='column of the captions')
    add('--local-files', metavar='FILE',
        help='lines of URL<TAB>PATH beside LIST, for downloaded images')
    add('--encoding', help='text encoding of LIST; default: UTF-8')
    add('--max-bad-share', type=float, metavar='SHARE',
        help='largest share of bad pairs in LIST; default: 0.1')


def column(text: str) -> int | str:
    """A number or a name."""
    return int(text) if text.isdigit() else text


if __name__ == '__main__':
    main()
