"""Score answers that do not depend on the phrase: what a trained model has to beat.

    python projects/grounding/score_baselines.py CONFIG

Takes the test data and metrics of a grounding config, and no model. Prints a Markdown
table.
"""
from collections.abc import Iterator, Sequence

from mmengine.structures import BaseDataElement

from mmcontrast.apis.cli import add_cfg_options, error_exit, tool_parser
from mmcontrast.apis.config import load_config
from mmcontrast.evaluation.grounding.baselines import BASELINES, score_baselines
from mmcontrast.progress import track
from mmcontrast.registry import DATASETS


def main(argv: Sequence[str] | None = None) -> None:
    parser = tool_parser(__file__, __doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--baselines', nargs='+', choices=list(BASELINES),
                        default=list(BASELINES), help='which')
    parser.add_argument('--seed', type=int, default=0, help='of the random ones')
    add_cfg_options(parser, 'test_dataloader.dataset.split=val')
    options = parser.parse_args(argv)
    with error_exit(parser):
        config = load_config(options.config, options.cfg_options)
        if config.get('test_dataloader') is None:
            raise ValueError(
                f'{options.config} has no test_dataloader: give a config that is '
                'tested on phrases.')
        metrics = config.test_evaluator
        scores = score_baselines(
            _samples(config.test_dataloader.dataset),
            metrics if isinstance(metrics, list) else [metrics], options.baselines,
            options.seed)
    names = list(next(iter(scores.values())))
    print('| answer |', ' | '.join(names), '|')
    print('|---|', ' | '.join(['---'] * len(names)), '|')
    for baseline, values in scores.items():
        row = ' | '.join(f'{values[name]:.1f}' for name in names)
        print(f'| {BASELINES[baseline]} | {row} |')


def _samples(dataset_config: dict) -> Iterator[BaseDataElement]:
    dataset = DATASETS.build(dataset_config)
    for i in track(range(len(dataset)), 'Scoring'):
        yield dataset[i]['data_samples']


if __name__ == '__main__':
    main()
