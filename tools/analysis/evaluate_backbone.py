"""Evaluate a frozen backbone by the protocols that papers report.

    python tools/data/make_shapes.py data/shapes --layout mmseg classes davis
    python tools/analysis/evaluate_backbone.py knn backbone.pth \\
        --data data/shapes/by_shape --size 128 --baseline random
    python tools/analysis/evaluate_backbone.py dense-linear backbone.pth \\
        --data data/shapes --size 256
    python tools/analysis/evaluate_backbone.py propagate timm:vit_small_patch16_224 \\
        --weights dino.pth --data data/DAVIS --size 480

protocols:
    knn           weighted nearest neighbors on image labels (ImageNet's folders)
    linear        a linear classifier on image labels, best of several penalties
    dense-knn     nearest feature cells against masks (mmseg's folders)
    dense-linear  a linear classifier of feature cells against masks
    cluster       k-means of feature cells, matched with classes (Hungarian mIoU)
    propagate     masks of the first frame propagated through a clip: J&F (DAVIS)
"""
import argparse
from collections.abc import Sequence
from functools import partial

from mmcontrast.apis.analysis.evaluate_backbone import (
    BackboneChoice,
    evaluate_clusters,
    evaluate_images,
    evaluate_masks,
    evaluate_videos,
    result_table,
)
from mmcontrast.apis.cli import (
    ToolHelpFormatter,
    add_baseline_option,
    add_former_option,
    error_exit,
    tool_parser,
)

CHOICE = ('network', 'weights', 'layer', 'branch', 'prefix', 'seed', 'device',
          'batch_size')


def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser()
    arguments = vars(parser.parse_args(argv))
    function = arguments.pop('function')
    del arguments['protocol']
    choice = BackboneChoice(**{name: arguments.pop(name) for name in CHOICE})
    with error_exit(parser):
        result = function(choice, **arguments)
    print(result_table(result))
    for name in ('out', 'masks_out', 'sheet'):
        if arguments.get(name):
            print(f'Wrote {arguments[name]}')


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(__file__, __doc__)
    commands = parser.add_subparsers(dest='protocol', required=True, metavar='PROTOCOL')
    for name in ('knn', 'linear'):
        add_image_arguments(_command(
            commands, name, partial(evaluate_images, protocol=name)), name)
    for name in ('dense-knn', 'dense-linear'):
        add_mask_arguments(_command(
            commands, name, partial(evaluate_masks, protocol=name)), name)
    add_cluster_arguments(_command(commands, 'cluster', evaluate_clusters))
    add_video_arguments(_command(commands, 'propagate', evaluate_videos))
    return parser


def add_backbone_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('backbone')
    add = group.add_argument
    add('network', metavar='BACKBONE', help='a checkpoint of training, or exported to '
        'mmpretrain, mmdet or mmseg (both carry their config); a config file; or '
        'timm:NAME, torchvision:NAME, mmpretrain:NAME')
    add('--weights', metavar='FILE', help="weights of a config or a NAME: a file, or "
        "'random'")
    add('--layer', type=int, metavar='N', help='stage (ResNet, Swin) or block (ViT) '
        'whose features are used, from 0; timm counts the stem of a ResNet as 0 '
        '(default: the last output)')
    add('--branch', choices=['online', 'momentum'], help='of a two-view method; '
        'default: the one that it exports')
    add('--prefix', help="prefix of the backbone's keys in the file; default: detected")
    add_baseline_option(group, 'a row')
    add('--seed', type=int, default=0, help='seed of everything random')
    add('--device', help='cpu, cuda, cuda:1 (default: a GPU, if any)')
    add('--batch-size', type=int, default=16, metavar='N',
        help='images per forward pass')


def add_image_arguments(parser: argparse.ArgumentParser, protocol: str) -> None:
    add = parser.add_argument
    add('--data', required=True, metavar='FOLDER',
        help='with train/CLASS/*.jpg and val/CLASS/*.jpg')
    _add_splits(add)
    add('--size', type=int, default=224, metavar='PIXELS',
        help='side of the center crop')
    add('--resize', type=int, metavar='PIXELS', help='short side before the crop '
        '(default: size * 256 / 224)')
    if protocol == 'knn':
        add('--k', type=int, nargs='+', dest='ks', default=[10, 20, 100, 200],
            help='numbers of neighbors')
        add('--temperature', type=float, default=0.07, metavar='T',
            help='of the votes of the neighbors')


def add_mask_arguments(parser: argparse.ArgumentParser, protocol: str) -> None:
    add = parser.add_argument
    _add_mask_data(add)
    _add_splits(add)
    add('--fraction', type=float, default=1.0, metavar='F',
        help='share of the training images whose labels are used')
    add('--resolution', choices=['input', 'feature'], default='input',
        help='score pixels of the masks, or cells of the feature map')
    if protocol == 'dense-knn':
        add('--k', type=int, default=20, help='number of neighbors')
        add('--temperature', type=float, default=0.07, metavar='T',
            help='of the votes of the neighbors')


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    _add_mask_data(add)
    add('--split', default='val', help='split that is clustered and scored')
    add('--max-images', type=int, metavar='N',
        help='maximum number of images; default: all')
    add('--clusters', type=int, metavar='K', help='default: as many as classes')
    add('--restarts', type=int, default=5, metavar='N',
        help='starts of k-means, of which the best is kept')


def add_video_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add('--data', required=True, metavar='FOLDER', help='layout of DAVIS 2017')
    add('--split', default='val', help='list in ImageSets/2017')
    add('--size', type=int, metavar='PIXELS',
        help='short side of the frames (default: as they are)')
    add('--context', type=int, default=7, metavar='N',
        help='previous frames that are used besides the first')
    add('--radius', type=int, default=12, metavar='CELLS',
        help='how far an object may move between frames')
    add('--topk', type=int, default=5, metavar='K',
        help='cells whose labels are averaged')
    add('--temperature', type=float, default=0.1, metavar='T',
        help='of the softmax over cells')
    add('--max-clips', type=int, metavar='N',
        help='maximum number of clips; default: all')
    add('--masks-out', metavar='FOLDER',
        help="write the predicted masks as DAVIS' own evaluation reads them")
    add('--sheet', metavar='FILE.png',
        help='write a sheet of some clips')
    add_former_option(parser, '--pictures', 'sheet', str)


def _command(commands, name: str, function) -> argparse.ArgumentParser:
    summary = next(line.split(None, 1)[1] for line in __doc__.splitlines()
                   if line.split(None, 1)[:1] == [name])
    parser = commands.add_parser(name, help=summary, description=summary,
                                 formatter_class=ToolHelpFormatter)
    add_backbone_arguments(parser)
    parser.add_argument('--workers', type=int, default=2, metavar='N',
                        help='data loading workers')
    parser.add_argument('--out', metavar='JSON', help='also write the result here')
    parser.set_defaults(function=function)
    return parser


def _add_splits(add) -> None:
    add('--train-split', default='train', help='split that is learned from')
    add('--val-split', default='val', help='split that is scored')
    add('--max-images', type=int, metavar='N',
        help='maximum number of images of each split; default: all')


def _add_mask_data(add) -> None:
    add('--data', required=True, metavar='FOLDER', help='with img_dir/SPLIT and '
        'ann_dir/SPLIT (mmseg), or in the layout of COCO panoptic')
    add('--size', type=int, metavar='PIXELS',
        help='short side of the images (default: as they are)')
    add('--max-cells', type=int, default=20_000, metavar='N',
        help='maximum number of feature cells to learn from')
    add('--ann-dir', default='ann_dir', help='folder of masks, e.g. ann_dir_things')
    add('--num-classes', type=int, help='where there is no classes.json')
    add('--ignore-index', type=int, default=255,
        help='label of pixels that do not count')
    add('--reduce-zero-label', action='store_true',
        help='label 0 does not count, 1 is the first class')
    add('--img-suffix', default='.jpg', help='ending of image files')
    add('--seg-map-suffix', default='.png', help='ending of mask files')


if __name__ == '__main__':
    main()
