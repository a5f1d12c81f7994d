"""Score phrases for one object, for several and for none apart."""
from collections.abc import Mapping, Sequence

from ...registry import METRICS
from .base import GroundingMetric
from .samples import labeled_boxes


@METRICS.register_module()
class MetricsByTargets(GroundingMetric):
    """Other metrics of this package, each on the phrases of one kind.

    A benchmark such as gRefCOCO joins all kinds in one number. This says which of them
    a model gets wrong, and takes ``RECMetric`` and ``RESMetric``, which are about
    exactly one object, to a set that holds other phrases as well. Scores are named
    ``one_DetACC``, ``several_F1score``, ``none_N_acc``; of a kind that does not occur
    there are none.

    Args:
        one, several, none: Configs of metrics for phrases with that many targets.
        collect_device, prefix: See mmengine's ``BaseMetric``.
    """

    default_prefix = 'targets'

    def __init__(self, one: Sequence[dict] = (), several: Sequence[dict] = (),
                 none: Sequence[dict] = (), collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.metrics: dict[str, list[GroundingMetric]] = {
            kind: [METRICS.build(metric) for metric in metrics]
            for kind, metrics in dict(none=none, one=one, several=several).items()}

    def measure(self, samples: Sequence[Mapping]) -> list[tuple[str, list]]:
        kinds = tuple(self.metrics)
        measured = []
        for sample in samples:
            kind = kinds[min(len(labeled_boxes(sample)), 2)]
            measured.append((kind, [
                metric.measure([sample])[0] for metric in self.metrics[kind]]))
        return measured

    def compute_metrics(self, results: list) -> dict[str, float]:
        self.columns([(kind,) for kind, _ in results])
        scores = {}
        for kind, metrics in self.metrics.items():
            kept = [values for found, values in results if found == kind]
            for metric, values in zip(metrics, zip(*kept, strict=True), strict=False):
                scores |= {f'{kind}_{name}': score for name, score in
                           metric.compute_metrics(list(values)).items()}
        return scores
