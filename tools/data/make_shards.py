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


def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser()
    args = vars(parser.parse_args(argv))
    with error_exit(parser, (*INPUT_ERRORS, OSError)):
        packed = make_shards(**args)
    for bad in packed.skipped[:20]:
        print(f'Left out: {bad}')
    if packed.skipped:
        print(f'{len(packed.skipped)} images could not be read and were left out.')
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
    return parser


if __name__ == '__main__':
    main()
