"""PropVG's head, both flavors, against the reference: outputs, losses, gradients."""
import pytest
import torch
from mmdet.structures.bbox import bbox_xyxy_to_cxcywh

from mmcontrast.methods.propvg.head import PropVGHead
from mmcontrast.methods.propvg.matching import match, referred_queries
from mmcontrast.methods.propvg.names import our_key, our_weights
from mmcontrast.methods.propvg.targets import GroundingTargets
from tests.helpers.propvg_case import Case, padding_mask

pytestmark = pytest.mark.usefixtures('nan_weights')

COUNTS, REFERRED, SIDE = (4, 2, 3), ([1, 3], [], [0]), 64


def targets(case: Case) -> GroundingTargets:
    boxes = bbox_xyxy_to_cxcywh(torch.from_numpy(case.arrays['in_gt_boxes'])).float()
    referred = [torch.isin(torch.arange(count), torch.tensor(meant))
                for count, meant in zip(COUNTS, REFERRED, strict=True)]
    return GroundingTargets(
        boxes=list((boxes / SIDE).split(COUNTS)), referred=referred,
        masks=torch.from_numpy(case.arrays['in_gt_masks']),
        exists=torch.tensor([bool(meant) for meant in REFERRED]))


@pytest.mark.parametrize('name', [
    'head_gtm_train', 'head_gtm_eval', 'head_ref_train', 'head_ref_eval'])
def test_head(name):
    case = Case(name)
    with_existence = case.config['type'] == 'GTMHead'
    head = PropVGHead(case.config['input_channels'], dropout=0,
                      with_existence=with_existence,
                      existence_top_k=case.config['MTD_K'])
    weights = {f'head.{key}': value for key, value in case.params().items()}
    head.load_state_dict({key.removeprefix('head.'): value for key, value in
                          our_weights(weights, with_existence).items()})
    head.train(case.config['bn'] == 'batch')
    outputs = head(case.draw('head/x', (3, 96, 4, 4)),
                   case.draw('head/lan', (3, 12, 96)), padding_mask([5, 12, 9], 12))
    wanted = targets(case)
    losses = head.loss(outputs, wanted)
    total = sum(losses.values())
    total.backward()
    logits, boxes = outputs.proposals.logits[-1], outputs.proposals.boxes[-1]
    found = dict(
        {key: value[None] for key, value in losses.items()}, total=total[None],
        pred_global_mask=outputs.mask_logits, pred_class_allobj=logits,
        pred_bbox_allobj=boxes, refer_label=head.scores(outputs)[..., None],
        refer_target=referred_queries(match(logits, boxes, wanted), wanted, 20))
    if with_existence:
        found |= dict(exist_score=outputs.exists[:, None],
                      exist_target=wanted.exists.long())
    case.check(found | gradient_norms(head, case))


def gradient_norms(head: PropVGHead, case: Case) -> dict:
    """Those that the case has, and that of all gradients; none is missing."""
    gradients = {f'head.{key}': parameter.grad
                 for key, parameter in head.named_parameters()}
    norms = {key: gradients[our_key(key.replace('gradnorm/', 'head.'))].norm()[None]
             for key in case.outputs
             if key.startswith('gradnorm/') and key != 'gradnorm/ALL'}
    everything = torch.stack([x.norm() for x in gradients.values()]).norm()
    return norms | {'gradnorm/ALL': everything[None]}
