"""Score the boxes and masks of phrases that mean one object, several or none."""
from ...registry import METRICS

METRICS.announce(f'{__name__}.single_target', 'RECMetric', 'RESMetric')
METRICS.announce(f'{__name__}.generalized', 'GRECMetric', 'GRESMetric')
METRICS.announce(f'{__name__}.robust', 'RefZOMMetric', 'RRefCOCOMetric')
METRICS.announce(f'{__name__}.by_targets', 'MetricsByTargets')
METRICS.announce(f'{__name__}.dump', 'DumpGrounding')

#: Benchmarks by the name of their metric, which ends in ``Metric``.
BENCHMARKS = ('REC', 'RES', 'GREC', 'GRES', 'RefZOM', 'RRefCOCO')
