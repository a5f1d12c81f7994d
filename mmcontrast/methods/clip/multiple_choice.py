"""Measure how often a model chooses the right text for an image."""
from collections import defaultdict
from collections.abc import Sequence

from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ...registry import METRICS


@METRICS.register_module()
class MultipleChoiceAccuracy(BaseMetric):
    """Accuracy of each kind of question, with the chance level.

    A data sample holds ``questions``, name to a pair of choices (texts) and the index
    of the right one, and ``answers``, name to the index that the model chose.

    ``compute_metrics`` gives the accuracies in percent under the names of the
    questions; the log also shows the number of questions and the chance level.
    """

    default_prefix = 'zero_shot'

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        # One entry a sample: mmengine truncates the results to the number of samples.
        self.results += [{
            name: (sample['answers'][name] == answer, 1 / len(choices))
            for name, (choices, answer) in sample['questions'].items()}
            for sample in data_samples]

    def compute_metrics(self, results: list[dict[str, tuple[bool, float]]]
                        ) -> dict[str, float]:
        found = defaultdict(list)
        for answered in results:
            for name, pair in answered.items():
                found[name].append(pair)
        accuracies, lines = {}, [f'{"question":24}{"asked":>8}{"right %":>10}'
                                 f'{"chance %":>10}']
        for name, pairs in sorted(found.items()):
            rights, chances = zip(*pairs, strict=True)
            accuracies[name] = 100 * sum(rights) / len(pairs)
            lines.append(f'{name:24}{len(pairs):>8}{accuracies[name]:>10.1f}'
                         f'{100 * sum(chances) / len(pairs):>10.1f}')
        MMLogger.get_current_instance().info('\n'.join(lines))
        return accuracies
