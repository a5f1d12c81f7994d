"""Score the boxes and masks of phrases that mean one object, several or none."""
from ...registry import METRICS

METRICS.announce(f'{__name__}.single_target', 'RECMetric', 'RESMetric')
METRICS.announce(f'{__name__}.generalized', 'GRECMetric', 'GRESMetric')
METRICS.announce(f'{__name__}.robust', 'RefZOMMetric', 'RRefCOCOMetric')
