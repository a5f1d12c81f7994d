"""Score phrases of the toy world by their form: what has a model learned to read?

    python projects/grounding/score_forms.py predictions.jsonl --score-thr 0.4

tools/test.py writes the file if the test_evaluator of the config is a list that has
dict(type='DumpGrounding', out_file='predictions.jsonl') in it. Prints a Markdown table.
"""
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from mmcontrast.apis.cli import error_exit, tool_parser
from mmcontrast.datasets.shapes.objects import RELATIONS, SUPERLATIVES
from mmcontrast.datasets.shapes.vocabulary import ATTRIBUTES
from mmcontrast.evaluation.grounding.dump import read_dump
from mmcontrast.evaluation.grounding.overlaps import pairwise_iou
from mmcontrast.evaluation.grounding.samples import labeled_boxes, predicted_boxes


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('dump', help='file of the metric DumpGrounding')
    parser.add_argument('--score-thr', type=float, default=0.7,
                        help='a higher score is a box (default: 0.7)')
    options = parser.parse_args(argv)
    forms = defaultdict(list)
    with error_exit(parser):
        for sample in read_dump(options.dump):
            if not str(sample.get('text') or '').strip():
                raise ValueError(
                    f'{options.dump}: a phrase of {sample.get("img_path", "an image")} '
                    'has no text. Write the file again with DumpGrounding and a test '
                    'pipeline that ends with PackGrounding.')
            forms[form(sample['text'])].append(scored(sample, options.score_thr))
    print('| form | one object: phrases | best box is right | there: kept '
          '| not there: phrases | kept |')
    print('|---|---|---|---|---|---|')
    for name, rows in sorted(forms.items(), key=lambda item: -len(item[1])):
        targets, right, kept = np.array(rows).T
        one, there, absent = targets == 1, targets > 0, targets == 0
        print(f'| {name} | {one.sum()} | {_share(right[one])} | {_share(kept[there])} '
              f'| {absent.sum()} | {_share(kept[absent])} |')


def form(text: str) -> str:
    """For example 'color, shape', or 'relation', whatever it relates."""
    words = text.split()
    if any(f' {relation} ' in f' {text} ' for relation in RELATIONS):
        return 'relation'
    if any(word in words for word in SUPERLATIVES):
        return 'superlative'
    kinds = [kind for kind, names in ATTRIBUTES.items()
             if any(word in names or word.removesuffix('s') in names
                    or word.removesuffix('es') in names for word in words)]
    return ('all: ' if words[0] == 'all' else '') + (', '.join(kinds) or 'any shape')


def scored(sample: Mapping, score_thr: float) -> tuple[int, bool, bool]:
    """Number of targets; whether the best box is one (IoU 0.5); whether any is kept.
    """
    boxes, scores = predicted_boxes(sample)
    true = labeled_boxes(sample)
    if not len(boxes):
        return len(true), False, False
    best = boxes[scores.argmax()][None]
    right = bool((pairwise_iou(best, true) >= 0.5).any())
    return len(true), right, bool(scores.max() > score_thr)


def _share(values: np.ndarray) -> str:
    return f'{100 * values.mean():.0f}' if len(values) else ''


if __name__ == '__main__':
    main()
