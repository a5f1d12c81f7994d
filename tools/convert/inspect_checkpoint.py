"""Say what a checkpoint holds, without executing anything in it."""
import argparse

from mmcontrast.apis.convert.inspect_checkpoint import describe_checkpoint
from mmcontrast.converters import sentences


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('file', help='.pth, .pt or .safetensors')
    parser.add_argument('--keys', metavar='PATTERN',
                        help="list the keys that match, e.g. 'backbone.*'")
    args = parser.parse_args()
    with sentences(parser):
        print(describe_checkpoint(args.file, args.keys))


if __name__ == '__main__':
    main()
