"""Score how well the pixel-text maps of a toy CLIP localize the named object.

    python tools/analysis/clip_maps.py work_dirs/toy_clip.safetensors
"""
from collections.abc import Sequence

from mmcontrast.apis.analysis.clip_maps import maps_table, score_clip_maps
from mmcontrast.apis.cli import add_former_option, error_exit, tool_parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    add = parser.add_argument
    add('weights', help='file written by tools/convert/export_clip.py')
    add('--split', choices=['train', 'val', 'test'], default='val',
        help='split of the toy world')
    add('--num', dest='num_scenes', type=int, default=200, metavar='N',
        help='number of scenes')
    add('--size', type=int, default=256, metavar='PIXELS',
        help='side of a scene')
    add_former_option(parser, '--num-scenes', 'num_scenes')
    arguments = vars(parser.parse_args(argv))
    with error_exit(parser):
        result = score_clip_maps(**arguments)
    print(maps_table(result))


if __name__ == '__main__':
    main()
