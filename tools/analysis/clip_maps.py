"""Do the pixel-text maps of a toy CLIP point at what a text names?

    python tools/analysis/clip_maps.py work_dirs/toy_clip.safetensors
"""
from collections.abc import Sequence

from mmcontrast.apis.analysis.clip_maps import maps_table, score_clip_maps
from mmcontrast.apis.cli import error_exit, tool_parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('weights', help='what tools/convert/export_clip.py wrote')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='val')
    parser.add_argument('--num-scenes', type=int, default=200, metavar='N')
    parser.add_argument('--size', type=int, default=256, metavar='PIXELS',
                        help='side of the scenes (default: 256)')
    arguments = vars(parser.parse_args(argv))
    with error_exit(parser):
        result = score_clip_maps(**arguments)
    print(maps_table(result))


if __name__ == '__main__':
    main()
