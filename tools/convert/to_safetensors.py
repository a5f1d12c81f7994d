"""Write the weights of a checkpoint as safetensors, under the names they have."""
import argparse

from mmcontrast.apis.convert.to_safetensors import to_safetensors
from mmcontrast.converters import sentences


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='.pth, .pt or whatever torch.save wrote')
    parser.add_argument('dst', help='the file to write: .safetensors')
    args = parser.parse_args()
    with sentences(parser):
        print(to_safetensors(args.checkpoint, args.dst))


if __name__ == '__main__':
    main()
