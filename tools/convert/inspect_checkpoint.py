"""List what a checkpoint holds, without executing anything in it.

    python tools/convert/inspect_checkpoint.py epoch_100.pth --keys 'backbone.*'
"""
from collections.abc import Sequence

from mmcontrast.apis.cli import error_exit, tool_parser
from mmcontrast.apis.convert.inspect_checkpoint import describe_checkpoint


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('file', help='.pth, .pt or .safetensors')
    parser.add_argument('--keys', metavar='PATTERN',
                        help="list the keys that match, e.g. 'backbone.*'")
    args = parser.parse_args(argv)
    with error_exit(parser):
        print(describe_checkpoint(args.file, args.keys))


if __name__ == '__main__':
    main()
