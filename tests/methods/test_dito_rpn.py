"""DITO's region proposals: targets, selection, the head inside mmdet's detectors."""
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from mmcontrast.errors import UserKeyError, UserValueError
from mmcontrast.methods.dito.proposals import best_boxes, decode, nms_mask
from mmcontrast.methods.dito.rpn_targets import (
    IGNORED,
    NEGATIVE,
    RPNTargetAssigner,
    centerness,
    match_anchors,
    pairwise_iou,
    sample_anchors,
)
from mmcontrast.registry import MODELS

pytest.importorskip('mmdet')
from mmdet.structures import DetDataSample  # noqa: E402
from torchvision.ops import box_iou  # noqa: E402

SIZE = (64, 96)


def head(**options):
    return MODELS.build(dict(
        type='CenternessRPNHead', in_channels=16, feat_channels=16, **options))


def sample(boxes, size=SIZE, padded=SIZE, ignored=()) -> DetDataSample:
    def instances(values):
        return InstanceData(bboxes=torch.tensor(values).reshape(-1, 4).float(),
                            labels=torch.zeros(len(values), dtype=torch.long))
    return DetDataSample(
        gt_instances=instances(boxes), ignored_instances=instances(ignored),
        metainfo=dict(img_shape=size, ori_shape=size, pad_shape=padded,
                      batch_input_shape=padded, scale_factor=(2.0, 2.0)))


def maps(count=1, size=SIZE, seed=0) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(count, 16, size[0] // s, size[1] // s, generator=draw)
            for s in (4, 8, 16, 32)]


def detector(kind: str, **changes):
    """mmdet's RPN or FasterRCNN, with a ResNet and an FPN of a few channels."""
    torch.manual_seed(0)
    norm = dict(type='GN', num_groups=4)
    config = dict(
        type=f'mmdet.{kind}', data_preprocessor=dict(type='mmdet.DetDataPreprocessor'),
        backbone=dict(type='mmdet.ResNet', depth=18, base_channels=8, norm_cfg=norm,
                      frozen_stages=-1),
        neck=dict(type='mmdet.FPN', in_channels=[8, 16, 32, 64], out_channels=16,
                  num_outs=4),
        rpn_head=dict(type='mmcontrast.CenternessRPNHead', in_channels=16,
                      feat_channels=16),
        train_cfg=dict(rpn=dict(), rpn_proposal=dict(nms_iou=0.7, max_per_img=50)),
        test_cfg=dict(rpn=dict(max_per_img=20)))
    # Whatever a Runner of another test left as the default.
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(ConfigDict(config | changes))


# Targets.

def test_a_claimed_anchor_goes_to_the_smaller_index():
    # Both boxes overlap anchor 1 most; box 1 more than box 0.
    iou = torch.tensor([[[0.0, 0.2, 0.1], [0.0, 0.6, 0.5]]])
    assert match_anchors(iou, 0.7, 0.3).tolist() == [[NEGATIVE, 0, IGNORED]]


def test_a_threshold_belongs_to_the_matched():
    iou = torch.tensor([[[0.9, 0.7, 0.5, 0.3, 0.25]]])
    assert match_anchors(iou, 0.7, 0.3).tolist() == [[0, 0, IGNORED, IGNORED, NEGATIVE]]


def test_iou_is_torchvisions():
    draw = torch.Generator().manual_seed(0)
    corners = 50 * torch.rand(2, 5, 2, generator=draw)
    boxes = torch.cat([corners, corners + 30 * torch.rand(2, 5, 2, generator=draw)], 2)
    anchors = boxes.flatten(0, 1).roll(3, 0) + 2
    torch.testing.assert_close(
        pairwise_iou(boxes, anchors), torch.stack([box_iou(b, anchors) for b in boxes]))


def test_centerness_by_hand():
    anchors = torch.tensor([[0.0, 0.0, 8.0, 8.0]])  # center 4, 4
    box = torch.tensor([[3.0, 2.0, 8.0, 6.0]])
    # left 1, right 4, top 2, bottom 2: sqrt(1/4 * 2/2).
    torch.testing.assert_close(centerness(anchors, box), torch.tensor([0.5]))
    outside = torch.tensor([[5.0, 2.0, 8.0, 6.0]])
    assert centerness(anchors, outside).item() == 0


@pytest.mark.parametrize('positives, negatives, want', [
    (400, 500, (255, 1)), (10, 500, (10, 246)), (10, 100, (10, 100)), (0, 300, (0, 256))
])
def test_samples_are_filled_up_with_negatives(positives, negatives, want):
    match = torch.full((2, 1000), IGNORED)
    match[:, :positives] = 3
    match[:, positives:positives + negatives] = NEGATIVE
    first = sample_anchors(match, 256, 255)
    assert [first[:, :positives].sum(1).tolist(),
            first[:, positives:].sum(1).tolist()] == [[n] * 2 for n in want]
    assert not (first & (match == IGNORED)).any()
    if positives > 255:
        assert not sample_anchors(match, 256, 255).equal(first)


def test_images_of_a_batch_do_not_depend_on_each_other():
    anchors = torch.cat(head()._anchors(maps()))
    assigner = RPNTargetAssigner(num_samples=9999, max_positives=9999)
    boxes = [torch.tensor([[5.0, 5.0, 40.0, 50.0]]), torch.zeros(0, 4),
             torch.tensor([[30.0, 8.0, 90.0, 40.0], [0.0, 0.0, 20.0, 20.0]])]
    together = assigner(anchors, boxes)
    for i, some in enumerate(boxes):
        for joint, alone in zip(together, assigner(anchors, [some]), strict=True):
            assert joint[i].equal(alone[0])
    assert not together.matched[1].any() and together.centerness[1].eq(0).all()
    assert together.matched[2].any()


def test_a_box_without_overlap_claims_no_anchor():
    anchors = torch.cat(head()._anchors(maps()))
    far = [torch.tensor([[900.0, 900.0, 950.0, 990.0], [5.0, 5.0, 5.0, 5.0]])]
    targets = RPNTargetAssigner()(anchors, far)
    assert not targets.matched.any() and targets.centerness.max() == 0


def test_crowds_exclude_anchors_if_asked():
    anchors = torch.cat(head()._anchors(maps()))
    boxes, crowd = [torch.zeros(0, 4)], [torch.tensor([[0.0, 0.0, 48.0, 64.0]])]
    options = dict(num_samples=9999, max_positives=9999)
    assert RPNTargetAssigner(**options)(anchors, boxes, crowd).centerness.eq(0).all()
    found = RPNTargetAssigner(ignore_iof_thr=0.5, **options)(anchors, boxes, crowd)
    inside = box_iou(anchors, crowd[0])[:, 0] * 0
    for i, (x1, y1, x2, y2) in enumerate(anchors.tolist()):
        width, height = min(x2, 48) - max(x1, 0), min(y2, 64) - max(y1, 0)
        covered = max(width, 0) * max(height, 0) / ((x2 - x1) * (y2 - y1))
        inside[i] = -1 if covered > 0.5 else 0
    assert found.centerness[0].equal(inside) and inside.min() < inside.max()


# Selection.

def slow_nms(boxes, threshold):
    kept = []
    for i, box in enumerate(boxes):
        if not kept or box_iou(box[None], boxes[kept]).max() < threshold:
            kept.append(i)
    return torch.zeros(len(boxes), dtype=torch.bool).index_fill(
        0, torch.tensor(kept), True)


@pytest.mark.parametrize('threshold', [0.5, 0.7, 1.0])
def test_nms_agrees_with_a_loop(threshold):
    draw = torch.Generator().manual_seed(0)
    # Whole pixels, so that boxes repeat and IoU of exactly 1/2 occur.
    corner = torch.randint(1, 5, (2, 200, 2), generator=draw)
    size = torch.randint(1, 5, (2, 200, 2), generator=draw)
    boxes = torch.cat([corner, corner + size], dim=2).float()
    keep = nms_mask(boxes, threshold)
    for mask, some in zip(keep, boxes, strict=True):
        assert mask.equal(slow_nms(some, threshold))
    assert 0 < keep.sum() < keep.numel()


@pytest.mark.parametrize('threshold, want', [(0.5, [True, False]), (0.51, [True] * 2)])
def test_an_iou_at_the_threshold_suppresses(threshold, want):
    boxes = torch.tensor([[[0.0, 0.0, 3.0, 1.0], [1.0, 0.0, 4.0, 1.0]]])
    assert nms_mask(boxes, threshold).tolist() == [want]


@pytest.mark.parametrize('threshold', [0.7, 1.0])
def test_boxes_without_area_stay_unless_all_zero(threshold):
    flat, zero = [3.0, 3.0, 3.0, 9.0], [0.0] * 4
    assert nms_mask(torch.tensor([[flat, zero, flat]]), threshold).tolist() == [
        [True, False, True]]


def test_best_boxes_fill_up_and_keep_the_order_of_equal_scores():
    boxes = torch.arange(1.0, 17).view(1, 4, 4)
    found = best_boxes(boxes, torch.tensor([[0.5, 0.9, 0.5, 0.7]]),
                       torch.tensor([[True, False, True, True]]), 6)
    assert found.boxes[0, :, 0].tolist() == [13, 1, 9, 0, 0, 0]
    torch.testing.assert_close(
        found.scores, torch.tensor([[0.7, 0.5, 0.5, 0.0, 0.0, 0.0]]))
    assert found.num.tolist() == [3]


def test_distances_are_left_right_top_bottom_in_sides_of_the_anchor():
    anchors = torch.tensor([[0.0, 0.0, 20.0, 10.0]])
    boxes = decode(anchors, torch.tensor([[[0.1, 0.2, 0.3, 4.0]]]),
                   torch.tensor([[30.0, 25.0]]))
    torch.testing.assert_close(boxes, torch.tensor([[[8.0, 2.0, 14.0, 25.0]]]))


@pytest.mark.parametrize('clip_to, want', [('image', (50, 40)), ('batch', (95, 63))])
def test_boxes_end_at_the_image_or_within_the_padding(clip_to, want):
    model = head(clip_to=clip_to)
    cls, reg = model(maps())
    reg = [torch.full_like(x, 50.0) for x in reg]
    found, = model.predict_by_feat(cls, reg, [sample([], size=(40, 50)).metainfo])
    # All boxes of a level are the same.
    assert found.bboxes.tolist() == [[0, 0, *want]] * 4


@pytest.mark.parametrize('least, num', [(-1, 2), (0, 1), (20, 0)])
def test_proposals_exceed_a_size(least, num):
    model = head(test_cfg=dict(min_bbox_size=least), strides=(16,), num_convs=0)
    # Two cells: a box from 4 to 20, and one that ends before it starts.
    reg = torch.tensor([[4, -10], [12, -20], [4, 4], [12, 12]]).view(1, 4, 1, 2) / 128
    found, = model.predict_by_feat(
        [torch.zeros(1, 1, 1, 2)], [reg], [sample([]).metainfo])
    assert found.bboxes.tolist() == [[4, 4, 20, 20], [34, 4, 4, 20]][:num]


def test_rescaled_boxes_are_in_pixels_of_the_original_image():
    model, x = head(), maps(2)
    samples = [sample([]), sample([])]
    for plain, found in zip(model.predict(x, samples),
                            model.predict(x, samples, rescale=True), strict=True):
        torch.testing.assert_close(found.bboxes * 2, plain.bboxes)


# Losses.

def test_losses_by_hand():
    model = head()
    # One cell a level; the box is the anchor of the last one, 256 wide around 16, 16.
    truth = [InstanceData(bboxes=torch.tensor([[-112.0, -112.0, 144.0, 144.0]]))]
    cls = [torch.zeros(1, 1, 1, 1) for _ in range(4)]
    reg = [torch.tensor([0.0, 0.5, 0.5, 0.5]).view(1, 4, 1, 1) for _ in range(4)]
    losses = model.loss_by_feat(cls, reg, truth, [dict(img_shape=(999, 999))])
    # All scores are 1/2. The other anchors overlap 1/64, 1/16 and 1/4 of the box: two
    # negatives of centerness 0, and an ignored one. The last has centerness 1.
    torch.testing.assert_close(losses['loss_rpn_cls'], torch.tensor(3 * 0.5 / 256))
    # The prediction goes from 16 to 144, and from 0, where it is clipped, to 144.
    iou = 128 * 144 / 256 ** 2
    torch.testing.assert_close(losses['loss_rpn_bbox'],
                               torch.tensor(8 * (1 - iou) / 256))


def test_boxes_start_as_the_anchors():
    """Otherwise an inverted box has IoU 0, and the IoU loss no gradient."""
    model = head()
    model.init_weights()
    cls, reg = model(maps())
    for anchors, distances in zip(model._anchors(cls), reg, strict=True):
        boxes = decode(anchors + 500, distances.flatten(2).transpose(1, 2),
                       torch.tensor([[2e3, 2e3]]))
        assert box_iou(boxes[0], anchors + 500).diagonal().min() > 0.8


def test_an_image_without_boxes_learns_that_nothing_is_centered():
    model = head()
    model.init_weights()
    losses = model.loss(maps(2), [sample([]), sample([])])
    # Scores start around 1/2, and 256 negatives are drawn in each image.
    torch.testing.assert_close(losses['loss_rpn_cls'], torch.tensor(0.5), atol=0.05,
                               rtol=0)
    assert losses['loss_rpn_bbox'] == 0
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert model.cls.weight.grad.abs().sum() > 0
    assert model.reg.weight.grad.abs().sum() == 0


@pytest.mark.parametrize('box', [
    [200.0, 300.0, 260.0, 340.0], [-30.0, -30.0, 20.0, 30.0], [9.0, 9.0, 9.0, 30.0]],
    ids=['outside', 'partly outside', 'flat'])
def test_odd_boxes_leave_losses_and_gradients_finite(box):
    model = head()
    losses = model.loss(maps(), [sample([box])])
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_outputs_and_losses_are_float32_under_autocast():
    model, x = head(), maps()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        outs = [out for level in model(x) for out in level]
        losses, found = model.loss_and_predict(x, [sample([[8, 8, 40, 40]])])
    assert {out.dtype for out in (*outs, *losses.values())} == {torch.float32}
    assert found[0].bboxes.dtype == found[0].scores.dtype == torch.float32


# In mmdet's detectors.

def test_training_on_an_image_finds_its_box():
    model = detector('RPN')
    model.init_weights()
    box = [20.0, 10.0, 60.0, 46.0]
    image = torch.zeros(1, 3, *SIZE)
    image[..., 10:46, 20:60] = 1
    samples, history = [sample([box])], []
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(80):
        losses = model.loss(image, samples)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        history.append({name: loss.item() for name, loss in losses.items()})
    for name in ('loss_rpn_cls', 'loss_rpn_bbox'):
        assert history[-1][name] < 0.4 * history[0][name]
    found = model.eval().predict(image, samples, rescale=False)[0].pred_instances
    # A cell learns its score from an IoU of 0.3 and its box from 0.7 on: not all of the
    # best have learned a box.
    assert box_iou(found.bboxes[:10], torch.tensor([box])).max() > 0.9
    assert found.scores[0] > 0.5
    assert len(found) == 20 and (found.scores[:-1] >= found.scores[1:]).all()
    assert not found.labels.any()


def test_a_two_stage_detector_of_mmdet_takes_the_head():
    roi_head = dict(
        type='mmdet.StandardRoIHead',
        bbox_roi_extractor=dict(
            type='mmdet.SingleRoIExtractor', out_channels=16,
            featmap_strides=[4, 8, 16, 32],
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0)),
        bbox_head=dict(
            type='mmdet.Shared2FCBBoxHead', in_channels=16, fc_out_channels=32,
            num_classes=3, bbox_coder=dict(type='mmdet.DeltaXYWHBBoxCoder'),
            loss_cls=dict(type='mmdet.CrossEntropyLoss'),
            loss_bbox=dict(type='mmdet.L1Loss')))
    model = detector(
        'FasterRCNN', roi_head=roi_head,
        train_cfg=dict(
            rpn=dict(), rpn_proposal=dict(nms_iou=0.7, max_per_img=50),
            rcnn=dict(
                assigner=dict(type='mmdet.MaxIoUAssigner', pos_iou_thr=0.5,
                              neg_iou_thr=0.5, min_pos_iou=0.5),
                sampler=dict(type='mmdet.RandomSampler', num=32, pos_fraction=0.25),
                pos_weight=-1, debug=False)),
        test_cfg=dict(rpn=dict(max_per_img=20), rcnn=dict(
            score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=7)))
    images = torch.rand(2, 3, *SIZE)
    samples = [sample([[8, 8, 40, 40], [30, 20, 90, 60]]), sample([])]
    losses = model.loss(images, samples)
    assert {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox'} <= set(losses)
    sum(loss for name, loss in losses.items() if 'loss' in name).backward()
    assert model.rpn_head.conv0.weight.grad.abs().sum() > 0
    found = model.eval().predict(images, samples)
    assert [len(x.pred_instances) for x in found] == [7, 7]


def test_mistakes_in_a_config_are_named():
    with pytest.raises(UserKeyError, match="train_cfg.rpn .*'num_sample'.*num_samples"):
        head(train_cfg=dict(num_sample=9))
    with pytest.raises(UserKeyError, match="test_cfg.rpn .*'nms'.*_delete_=True"):
        head(test_cfg=dict(nms=dict(type='nms', iou_threshold=0.7)))
    with pytest.raises(UserValueError, match="'image' or 'batch', got 'pad'"):
        head(clip_to='pad')
    with pytest.raises(UserValueError, match=r'powers of 2.*\(4, 7\)'):
        head(strides=(4, 7))
    with pytest.raises(UserValueError, match='must be 1, got 80'):
        head(num_classes=80)
    with pytest.raises(UserValueError, match=r'4 maps \(p2, p3, p4, p5\).*gives 3'):
        head()(maps()[:3])
