"""Export a pretrained backbone to mmdet, mmseg, mmpretrain or another library.

    python tools/convert/export_backbone.py CONFIG CHECKPOINT backbone.pth --to mmdet

Prints where every key went, and verifies with a forward pass that the exported backbone
gives the same outputs. In a downstream config:
backbone.init_cfg = dict(type='Pretrained', checkpoint='backbone.pth')
"""
from collections.abc import Sequence

from mmcontrast.apis.cli import error_exit, tool_parser
from mmcontrast.apis.convert.export_backbone import export_backbone
from mmcontrast.converters.targets import LIBRARIES


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('config', help='config of the pretraining')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument(
        'dst', help='the file to write: .pkl for detectron2, else .pth; '
        'for torchvision and timm also .safetensors')
    parser.add_argument('--to', required=True, choices=LIBRARIES,
                        help='library that is to load the file')
    parser.add_argument('--branch', choices=['online', 'momentum'],
                        help="of a two-view method; default: the method's own choice")
    parser.add_argument('--with-neck', action='store_true',
                        help='write backbone.* and neck.* for an mmdet detector')
    parser.add_argument('--drop', nargs='+', default=[], metavar='PATTERN',
                        help="keys that may be dropped, e.g. 'norm0.*'")
    args = parser.parse_args(argv)
    with error_exit(parser):
        report = export_backbone(args.config, args.checkpoint, args.dst, args.to,
                                 args.branch, args.with_neck, args.drop)
    print(report)
    print(f'Wrote {args.dst}')


if __name__ == '__main__':
    main()
