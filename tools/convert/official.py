"""Convert a checkpoint released by the authors of a method to mmcontrast.

    python tools/convert/official.py pixpro pixpro_base_r50_100ep.pth pixpro.pth

Prints where every key went. A key that fits nowhere is an error, not a silent loss.
"""
from collections.abc import Sequence

from mmcontrast.apis.cli import error_exit, tool_parser
from mmcontrast.apis.convert import convert_official, converter_names


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('method', help=f'one of: {", ".join(converter_names())}')
    parser.add_argument('src', help='released checkpoint')
    parser.add_argument('dst', help='file to write')
    parser.add_argument('--config', help='config whose model the weights must fill '
                        '(default: inferred from the weights)')
    parser.add_argument('--drop', nargs='+', default=[], metavar='PATTERN',
                        help="keys that may be dropped, e.g. 'encoder_k.*'")
    parser.add_argument('--back', action='store_true', help='the other '
                        'direction: write a checkpoint of ours in the released layout '
                        '(dito: a .msgpack file, topnet: .pth)')
    args = parser.parse_args(argv)
    with error_exit(parser):
        report = convert_official(args.method, args.src, args.dst, args.config,
                                  args.drop, args.back)
    print(report)
    print(f'Wrote {args.dst}')


if __name__ == '__main__':
    main()
