"""Convert a released checkpoint into one of mmcontrast."""
import argparse

from mmcontrast.apis.convert import convert_official, converter_names
from mmcontrast.converters import sentences


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('method', help=f'one of: {", ".join(converter_names())}')
    parser.add_argument('src', help='the released checkpoint')
    parser.add_argument('dst', help='the file to write')
    parser.add_argument('--config', help='config whose model the weights must fill '
                        '(by default it is read off the weights)')
    parser.add_argument('--drop', nargs='+', default=[], metavar='PATTERN',
                        help="keys that may be lost, e.g. 'encoder_k.*'")
    args = parser.parse_args()
    with sentences(parser):
        report = convert_official(args.method, args.src, args.dst, args.config,
                                  args.drop)
    print(report)
    print(f'Wrote {args.dst}')


if __name__ == '__main__':
    main()
