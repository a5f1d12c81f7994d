"""Write the weights of a checkpoint as safetensors, with unchanged names.

    python tools/convert/to_safetensors.py epoch_100.pth epoch_100.safetensors
"""
from collections.abc import Sequence

from mmcontrast.apis.cli import error_exit, tool_parser
from mmcontrast.apis.convert.to_safetensors import to_safetensors


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('checkpoint', help='.pth, .pt or whatever torch.save wrote')
    parser.add_argument('dst', help='file to write: .safetensors')
    args = parser.parse_args(argv)
    with error_exit(parser):
        print(to_safetensors(args.checkpoint, args.dst))


if __name__ == '__main__':
    main()
