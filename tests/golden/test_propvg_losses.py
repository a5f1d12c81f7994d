"""Matching and losses of PropVG against numbers of the reference."""
import pytest
import torch
import torch.nn.functional as F

from mmcontrast.methods.propvg.losses import DICE, SetLoss, mask_loss
from mmcontrast.methods.propvg.matching import match, matching_costs, overlaps
from mmcontrast.methods.propvg.targets import GroundingTargets
from mmcontrast.testing import fill
from tests.helpers.propvg_case import Case


def objects(case: Case) -> GroundingTargets:
    """Only the boxes matter."""
    boxes = []
    for i, count in enumerate(case.config['gt_counts']):
        r = fill.rand(f'propvg/crit/gt{i}', (count, 4))
        boxes.append(torch.cat([0.2 + 0.6 * r[:, :2], 0.05 + 0.3 * r[:, 2:]], 1))
    return GroundingTargets(boxes, [], torch.empty(0), torch.empty(0))


@pytest.fixture
def case():
    return Case('matcher_criterion')


def proposals(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    return case.draw('crit/logits'), case.draw('crit/boxes').sigmoid()


def test_costs_and_assignment_of_the_last_layer(case):
    targets, (logits, boxes) = objects(case), proposals(case)
    case.check(dict(cost_last=matching_costs(logits[-1], boxes[-1], targets).T))
    for i, (query, index) in enumerate(match(logits[-1], boxes[-1], targets)):
        case.check({f'match_q_{i}': query, f'match_t_{i}': index})


def test_overlaps(case):
    _, boxes = proposals(case)
    iou, giou = overlaps(boxes[-1].flatten(0, 1)[:, None],
                         torch.cat(objects(case).boxes))
    case.check(dict(iou=iou, giou=giou))


def test_set_loss_and_its_gradients(case):
    targets = objects(case)
    logits, boxes = (x.requires_grad_() for x in proposals(case))
    matches = match(logits[-1], boxes[-1], targets)
    criterion = SetLoss(loss_weight=1.0)
    terms = criterion.terms(logits, boxes, targets, matches)
    for layer, suffix in enumerate(('_0', '_1', '')):
        case.check({f'raw_loss_{name}{suffix}': terms[layer, i]
                    for i, name in enumerate(('class', 'bbox', 'giou'))})
    total = criterion(logits, boxes, targets, matches)
    total.backward()
    case.check(dict(total=total, grad_logits=logits.grad, grad_boxes=boxes.grad))


def test_mask_loss_and_its_gradient():
    case = Case('mask_loss')
    logits = case.draw('loss/logits', scale=2.0).requires_grad_()
    masks = fill.rand('propvg/loss/target', (3, 20, 24)) > 0.7
    total = mask_loss(logits, masks)
    total.backward()
    flat = logits.detach().flatten(1), masks.flatten(1).float()
    case.check(dict(
        total=total[None], grad=logits.grad, dice=DICE(*flat)[None],
        bce=F.binary_cross_entropy_with_logits(*flat)[None]))
