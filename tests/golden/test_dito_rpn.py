"""DITO's region proposals against the numbers of their reference implementation."""
from unittest.mock import patch

import pytest
import torch

from mmcontrast.methods.dito import proposals, rpn_targets
from mmcontrast.registry import MODELS
from tests.helpers.dito_case import Case

pytest.importorskip('mmdet')
from mmengine.structures import InstanceData  # noqa: E402

LEVELS = (2, 3, 4, 5)


def head(**options):
    return MODELS.build(dict(type='CenternessRPNHead', clip_to='batch', **options))


def metas(case: Case, count: int) -> list[dict]:
    return [dict(batch_input_shape=case.config['image_hw'])] * count


def maps(flat: torch.Tensor, image_hw) -> list[torch.Tensor]:
    """(B, A, C) cells of all levels -> a (B, C, h, w) map a level."""
    sizes = [(image_hw[0] >> level, image_hw[1] >> level) for level in LEVELS]
    parts = flat.split([h * w for h, w in sizes], dim=1)
    return [part.transpose(1, 2).unflatten(2, size)
            for part, size in zip(parts, sizes, strict=True)]


@torch.no_grad()
def test_head():
    case = Case('rpn_head')
    model = head()
    model.load_state_dict(case.params('rpn_head.'))
    cls, reg = model([case.input(f'p{level}') for level in LEVELS])
    case.check({f'{name}{level}': value
                for name, values in (('cls', cls), ('reg', reg))
                for level, value in zip(LEVELS, values, strict=True)})


def test_anchors_matches_and_targets():
    case = Case('anchor_targets')
    h, w = case.config['image_hw']
    anchors = torch.cat(head()._anchors(
        [torch.zeros(1, 1, h >> level, w >> level) for level in LEVELS]))
    boxes = case.input('gt')
    iou = rpn_targets.pairwise_iou(boxes[None], anchors)
    out = {f'{name}_match': rpn_targets.match_anchors(
        iou, *case.config[f'{name}_thresholds'])[0].float()
        for name in ('box', 'center')}
    # As many samples as anchors: none is left out.
    targets = rpn_targets.RPNTargetAssigner(
        num_samples=3000, max_positives=2000)(anchors, [boxes])
    case.check(out | dict(anchors=anchors, box_targets=targets.boxes[0],
                          centerness=targets.centerness[0]))
    assert targets.matched[0].equal(out['box_match'] >= 0)


def test_losses_and_gradients():
    case = Case('rpn_losses')
    logits = case.input('cls').requires_grad_()
    distances = case.input('lrtb').requires_grad_()
    keep = case.input('keep') < 0.3
    size, used = case.config['image_hw'], []

    def thinned(match, *_):
        used.append(match)
        return keep & (match != rpn_targets.IGNORED)

    with patch.object(rpn_targets, 'sample_anchors', thinned):
        losses = head().loss_by_feat(
            maps(logits[..., None], size), maps(distances, size),
            [InstanceData(bboxes=case.input(name)) for name in ('gt0', 'gt1')],
            metas(case, 2))
        anchors = torch.cat(head()._anchors(maps(distances, size)))
        targets = rpn_targets.RPNTargetAssigner()(
            anchors, [case.input(name) for name in ('gt0', 'gt1')])
    sum(losses.values()).backward()
    case.check(dict(
        score_loss=losses['loss_rpn_cls'], box_loss=losses['loss_rpn_bbox'],
        grad_cls=logits.grad, grad_lrtb=distances.grad,
        centerness_used=targets.centerness))


@pytest.mark.parametrize('name', ['proposals_train', 'proposals_test'])
def test_proposals(name):
    case = Case(name)
    cls, reg = ([case.input(f'{kind}{level}') for level in LEVELS]
                for kind in ('cls', 'reg'))
    config, count = case.config, len(cls[0])
    model = head(test_cfg=dict(
        nms_pre=config['pre_nms_top_k'], nms_iou=config['nms_threshold'],
        max_per_img=config['post_nms_top_k'], min_bbox_size=-1))
    found = model.padded_proposals(cls, reg, metas(case, count))
    limit = torch.tensor([[159.0, 127.0]]).expand(count, 2)
    decoded = {f'decoded{level}': proposals.decode(
        anchors, x.flatten(2).transpose(1, 2), limit)
        for level, anchors, x in zip(LEVELS, model._anchors(reg), reg, strict=True)}
    case.check(dict(rois=found.boxes, scores=found.scores) | decoded)
    assert found.num.tolist() == [config['post_nms_top_k']] * count


def test_nms():
    case = Case('nms_padded')
    # Despite its name, 'centre' is the first corner.
    corner = case.input('centre')
    boxes = torch.cat([corner, corner + case.input('size')], dim=1)[None]
    # Not an input of the case: its scores fall in equal steps.
    scores = torch.linspace(1, 0.1, 300)[None]
    keep = proposals.nms_mask(boxes, case.config['iou_threshold'])
    found = proposals.best_boxes(boxes, scores, keep, case.config['max_output'])
    case.check(dict(boxes=found.boxes[0], scores=found.scores[0]))
