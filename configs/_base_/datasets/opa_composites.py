# OPA, tested by the composites that a model makes: one sample a pair of object and
# background, of the pairs with a plausible row.
_base_ = ['./opa_placements.py', '../opa_composite_metrics.py']

test_dataloader = dict(dataset=dict(positives_only=True))
test_evaluator = _base_.composite_metrics
