"""TopNet's sparse contrastive loss, with gradients, against an independent one."""
import pytest
import torch

from mmcontrast.methods.topnet.cell_labels import CellLabels
from mmcontrast.methods.topnet.losses import SparseContrastiveLoss
from tests.helpers.topnet_case import Case

NAMES = dict(lam_range='range_weight', lam_neg='negative_weight',
             margin_neg='negative_margin')


def labels(cells, shape):
    return CellLabels.of([torch.tensor(c).reshape(-1, 3).long() for c in cells], shape)


@pytest.mark.parametrize('number', range(5))
def test_values_and_gradients_are_those_of_the_case(number):
    case = Case('oracle_sparse_contrastive')
    given = case.config['sets'][number]
    loss = SparseContrastiveLoss(**{NAMES.get(key, key): value for key, value in
                                    given.items() if key not in ('pos', 'neg')})
    logits = case.input('logits')[number:number + 1].requires_grad_()
    shape = case.config['shape']
    marks = labels([given['pos']], shape), labels([given['neg']], shape)
    total = sum(loss(logits, *marks).values())
    total.backward()
    values = torch.cat([total.reshape(1), loss.terms(logits, *marks)[0]])
    case.check({f'set{number}': values, f'grad{number}': logits.grad[0]})
