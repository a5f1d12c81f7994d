"""Score dumped predictions of phrases again, by other metrics and thresholds.

    python tools/analysis/score_grounding.py predictions.jsonl --metrics GREC GRES \
--score-thr 0.5 0.6 0.7 0.8 0.9

tools/test.py writes the file if the test_evaluator of the config is a list that has
dict(type='DumpGrounding', out_file='predictions.jsonl') in it.
"""
from collections.abc import Sequence

from mmcontrast.apis.analysis.score_grounding import score_grounding, score_table
from mmcontrast.apis.cli import error_exit, tool_parser
from mmcontrast.evaluation.grounding import BENCHMARKS


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    add = parser.add_argument
    add('dump', help='file of the metric DumpGrounding')
    add('--metrics', nargs='+', required=True, metavar='NAME',
        help=f'of {", ".join(BENCHMARKS)}')
    add('--score-thr', nargs='+', type=float, metavar='X',
        help='one score threshold or several; default: 0.7, as the benchmarks')
    add('--match', choices=['giou', 'iou'],
        help='overlap of boxes in GREC; default: giou, as the benchmarks')
    add('--resolution', choices=['input', 'original'],
        help='masks of the size of the network input or of the image; default: input, '
        'as the benchmarks')
    add('--calibration', metavar='FILE',
        help='use the thresholds of a file of tools/analysis/calibrate.py')
    add('--out', metavar='JSON', help='also write the scores here')
    arguments = vars(parser.parse_args(argv))
    thresholds = arguments['score_thr'] or []
    if len(thresholds) == 1:
        arguments['score_thr'], thresholds = thresholds[0], []
    with error_exit(parser):
        scores = score_grounding(**arguments)
    print(score_table(scores, thresholds))
    if arguments['out']:
        print(f'Wrote {arguments["out"]}')


if __name__ == '__main__':
    main()
