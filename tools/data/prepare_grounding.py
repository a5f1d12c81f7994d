"""Convert and verify grounding data: RefCOCO, gRefCOCO, Ref-ZOM, R-RefCOCO, your own.

    python tools/data/prepare_grounding.py 'data/refcoco/refs(unc).p' \
--benchmark refcoco --out data/seqtr_type/annotations/refcoco-unc
    python tools/data/prepare_grounding.py 'data/refcoco/refs(unc).p' \
'data/refcoco+/refs(unc).p' 'data/refcocog/refs(umd).p' --benchmark mixed \
--out data/seqtr_type/annotations/mixed-seg
    python tools/data/prepare_grounding.py 'data/grefcoco/grefs(unc).json' \
--benchmark grefcoco --out data/seqtr_type/annotations/grefs \
--foreground data/coco/annotations/instances_train2014.json
    python tools/data/prepare_grounding.py my_refs.json --check --images my_images

Annotations are read from the instances.json beside each file. A list of refs can also
be used as it is, without conversion; --check looks at files of any format. The status
is 1 if there are problems.
"""
import argparse
import sys
from collections.abc import Sequence

from mmcontrast.apis.cli import INPUT_ERRORS, error_exit, tool_parser
from mmcontrast.apis.data.check_grounding import GroundingReport, check_grounding
from mmcontrast.apis.data.prepare_grounding import (
    BENCHMARKS,
    INDEX,
    PreparedGrounding,
    prepare_grounding,
)
from mmcontrast.datasets.grounding import FORMATS
from mmcontrast.datasets.grounding.foreground import CROWDS


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = vars(parser.parse_args(argv))
    only_check = args.pop('check')
    files, images = args.pop('files'), args.pop('images')
    format, index = args.pop('format'), args.pop('index')
    with error_exit(parser, (*INPUT_ERRORS, OSError)):
        if only_check:
            if args['benchmark'] or args['out'] or args['sources']:
                parser.error('--check only reads; leave --benchmark, --out and '
                             '--sources out')
            instances = args['instances'] or [None] * len(files)
            if len(instances) != len(files):
                parser.error('--instances must name a file for each of FILES')
            reports = [check_grounding(path, format, coco, index, args['foreground'],
                                       images)
                       for path, coco in zip(files, instances, strict=True)]
        else:
            if not (args['benchmark'] and args['out']):
                parser.error('give --benchmark and --out to convert, or --check')
            made = prepare_grounding(files, images=images, **args)
            print('\n'.join(written(made)))
            reports = [made.report]
    for report in reports:
        print('\n'.join(lines(report)))
    return int(any(report.problems for report in reports))


def written(made: PreparedGrounding) -> list[str]:
    """Lines on the files that were written."""
    paths = [made.phrases, made.objects, *([made.index] if made.index else [])]
    left_out = ([f'{made.left_out} records left out of the joined training split: '
                 'their images are in a split for evaluation.']
                if made.left_out else [])
    return ['Written: ' + ', '.join(map(str, paths)), *left_out]


def lines(report: GroundingReport) -> list[str]:
    """A table of the splits, then problems and notes."""
    width = max(5, *(len(split.name) for split in report.splits))
    heads = 'records', 'sentences', 'no target', 'several', 'objects', 'images'
    table = [f'{"split":{width}}' + ''.join(f'{head:>11}' for head in heads)]
    table += [f'{split.name:{width}}' + ''.join(f'{number:>11}' for number in (
        split.records, split.sentences, split.without_target, split.several_targets,
        split.objects, split.images)) for split in report.splits]
    return [f'{report.path} ({report.format})', *table,
            *(f'PROBLEM  {problem}.' for problem in report.problems),
            *(f'note     {note}.' for note in report.notes),
            *([] if report.problems else ['No problems found.'])]


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser(__file__, __doc__)
    add = parser.add_argument
    add('files', nargs='+', metavar='FILES',
        help='files of phrases; several are joined by mixed and rrefcoco')
    add('--benchmark', choices=list(BENCHMARKS), help='what to convert to')
    add('--out', metavar='DIR', help='folder of the new files')
    add('--check', action='store_true', help='write nothing, check FILES')
    add('--instances', nargs='+', default=[], metavar='JSON',
        help='COCO file of each of FILES; default to convert: the instances.json '
        'beside it')
    add('--sources', nargs='+', default=[], metavar='NAME',
        help='name of each of FILES, which its splits for evaluation get; default: '
        'refcoco_unc refcocoplus_unc refcocog_umd for mixed, rrefcoco rrefcoco+ '
        'rrefcocog for rrefcoco')
    add('--foreground', metavar='JSON',
        help='COCO file of all objects, instances_train2014.json; with --check also a '
        'foreground file. Default to convert: the objects of --instances')
    add('--crowds', choices=list(CROWDS), default='drop',
        help='what to do with objects that stand for several')
    add('--index', metavar='JSON', help=f'of R-RefCOCO, {INDEX}; for --check')
    add('--format', choices=['auto', *FORMATS], default='auto',
        help='of FILES, for --check')
    add('--images', metavar='DIR', help='check that all images are in this folder')
    add('--overwrite', action='store_true', help='replace files of an earlier call')
    return parser


if __name__ == '__main__':
    sys.exit(main())
