"""Export a CLIP trained here to open_clip, DenseCLIP and our CLIP backbones.

    python tools/convert/export_clip.py CONFIG CHECKPOINT clip.safetensors
"""
from collections.abc import Sequence

from mmcontrast.apis.cli import error_exit, tool_parser
from mmcontrast.apis.convert.export_clip import export_clip


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('config', help='config of the training')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('dst', help='file to write: .safetensors, .pt or .pth; a .json '
                        'with the sizes goes next to it')
    args = parser.parse_args(argv)
    with error_exit(parser):
        report = export_clip(args.config, args.checkpoint, args.dst)
    print(report)
    print(f'Wrote {args.dst}')


if __name__ == '__main__':
    main()
