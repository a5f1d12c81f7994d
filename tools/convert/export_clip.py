"""Write a CLIP trained here for open_clip and for our text and image towers."""
import argparse

from mmcontrast.apis.convert.export_clip import export_clip
from mmcontrast.converters import sentences


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the training')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('dst', help='the file to write: .safetensors, .pt or .pth; a '
                        '.json with the sizes goes beside it')
    args = parser.parse_args()
    with sentences(parser):
        report = export_clip(args.config, args.checkpoint, args.dst)
    print(report)
    print(f'Wrote {args.dst}')


if __name__ == '__main__':
    main()
