"""Write a CLIP trained here for open_clip and for our text and image towers."""
from collections.abc import Sequence

from mmcontrast.apis.cli import error_exit, tool_parser
from mmcontrast.apis.convert.export_clip import export_clip


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('config', help='config of the training')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('dst', help='the file to write: .safetensors, .pt or .pth; a '
                        '.json with the sizes goes beside it')
    args = parser.parse_args(argv)
    with error_exit(parser):
        report = export_clip(args.config, args.checkpoint, args.dst)
    print(report)
    print(f'Wrote {args.dst}')


if __name__ == '__main__':
    main()
