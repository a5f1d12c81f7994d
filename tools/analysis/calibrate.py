"""Choose the score thresholds of a model on a few labeled images.

    python tools/analysis/calibrate.py CONFIG CHECKPOINT labels.json --images photos \
--out calibration.json
    python tools/infer.py CONFIG CHECKPOINT photo.jpg --phrases 'the left cup' \
--calibration calibration.json
"""
from collections.abc import Sequence

from mmcontrast.apis.analysis.calibrate import calibrate, calibration_text
from mmcontrast.apis.cli import add_cfg_options, error_exit, tool_parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    add = parser.add_argument
    add('config', help='config of a grounding model or a detector')
    add('checkpoint', help='a checkpoint of its training')
    add('data', help='labels: a COCO file of objects, whose classes are the phrases, '
        'or a file of phrases in a format of docs/grounding_data.md')
    add('--images', required=True, metavar='FOLDER',
        help='folder of its images, 20 or more')
    add('--out', default='calibration.json', metavar='JSON', help='file to write')
    add('--plot', metavar='PNG', help='reliability diagram, precision and recall; '
        'default: the name of --out with .png')
    add('--recall', type=float, default=0.95, metavar='SHARE',
        help='smallest share of the phrases that are there to keep a box')
    add('--split', help='of a file of phrases with several')
    add('--instances', metavar='FILE',
        help='COCO file of the annotations that a list of refs names')
    add('--device', help='cpu, cuda, cuda:1; default: a GPU, if any')
    add('--batch-size', type=int, default=4, metavar='N',
        help='images to pass together')
    add('--workers', type=int, default=2, metavar='N',
        help='processes that read images')
    add_cfg_options(parser, 'model.test_cfg.rcnn.score_thr=0.01')
    arguments = vars(parser.parse_args(argv))
    with error_exit(parser):
        report = calibrate(**arguments)
    print(calibration_text(report))


if __name__ == '__main__':
    main()
