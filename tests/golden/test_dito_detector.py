"""The whole detector against the reference: scores, boxes, masks, losses, gradients."""
import pytest
import torch
from torch import nn

pytest.importorskip('mmdet')
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmcontrast.methods.dito import roi_head, rpn_targets
from mmcontrast.methods.dito.scores import weight_by_objectness
from mmcontrast.registry import MODELS
from tests.helpers.dito_case import Case

pytestmark = pytest.mark.usefixtures('nan_weights')


class GivenTexts(nn.Module):
    """The embeddings of a case, in the place of ClassTexts."""

    def __init__(self, rows):
        super().__init__()
        # The reference has the background first.
        self.rows = torch.cat([rows[1:], rows[:1]])

    def forward(self):
        return self.rows

    def set_vocabulary(self, vocabulary):
        pass


def detector(case, rpn_train=None, rpn_test=None, rcnn_train=None, rcnn_test=None):
    """The reference's detector with the weights and texts of a case."""
    config = case.config
    vit = dict(type='PlainViT', layers=config['depth'], width=config['width'],
               heads=config['num_heads'], patch_size=16, windows=config['windows'],
               shift=config['shift'])
    with_vlm = 'shift_vlm' in config
    proposals = dict(nms_iou=config['rpn_nms'], max_per_img=config['rpn_post'],
                     min_bbox_size=-1)
    model = MODELS.build(dict(
        type='DITODetector', backbone=vit,
        neck=dict(type='SimpleFeaturePyramid', in_channels=config['width']),
        rpn_head=dict(type='CenternessRPNHead', clip_to='batch'),
        roi_head=dict(
            type='TextRoIHead', clip_to='batch',
            bbox_head=dict(type='TextBoxHead', embed_dims=config['text_dim']),
            mask_head=dict(type='NormedMaskHead')),
        vlm=dict(windows=config['windows_frozen'], shift=config['shift_vlm'])
        if with_vlm else None,
        class_names=[f'class {i}' for i in range(len(case.input('text')) - 1)],
        text_encoder=dict(type='CLIPTextEncoder', width=16, heads=2, layers=1,
                          embed_dims=config['text_dim'], vocab_size=49408),
        templates='name',
        train_cfg=dict(rpn=rpn_train or {}, rpn_proposal=proposals,
                       rcnn=rcnn_train or {}),
        test_cfg=dict(rpn=proposals, rcnn=rcnn_test or {})))
    model.class_texts = GivenTexts(case.input('text'))
    ours = {f'roi_head.{key}' if key.startswith(('bbox_head', 'mask_head')) else key:
            value for key, value in case.params().items()}
    ours['roi_head.bbox_head.temperature'] = torch.ones(1)
    model.load_state_dict(ours)
    return model


def sample(shape, **fields):
    found = DetDataSample(metainfo=dict(
        img_shape=shape, ori_shape=shape, batch_input_shape=shape,
        scale_factor=(1.0, 1.0)))
    for name, value in fields.items():
        setattr(found, name, value)
    return found


@torch.no_grad()
def test_detections_of_the_whole_detector():
    case = Case('detector_eval')
    config = case.config
    model = detector(case, rcnn_test=dict(max_per_img=config['max_dets'])).eval()
    model._is_base = case.input('base')[1:].bool()
    image, found = case.input('image'), sample(tuple(config['scaled_image_hw']))
    x = model.extract_feat(image)
    proposals, = model.rpn_head.predict(x, [found])
    head, text, vlm_map = model.roi_head, model.text_embeds(), model.vlm_map(image)
    rois = roi_head.rois_of([proposals.bboxes])
    logits = head.bbox_head.logits(head(x, rois)[0], text)
    first = [len(text) - 1, *range(len(text) - 1)]  # the reference's order
    case.check(dict(
        feat=model.backbone(image)[0], vlm_feat=vlm_map, rois=proposals.bboxes,
        roi_scores=proposals.scores, det_logits=logits[:, first],
        vlm_logits=head.vlm_logits(vlm_map, rois, text)[:, first],
        class_scores=weight_by_objectness(
            head.class_scores(logits, rois, text, vlm_map, model._is_base),
            proposals.scores)[:, first]))

    masks, pasted = [], head._pasted
    head._pasted = lambda probs, *args: masks.append(probs[:, 0]) or pasted(
        probs, *args)
    found, = model.predict(image, [found])
    found = found.pred_instances
    sides = found.bboxes[:, 2:] - found.bboxes[:, :2]
    # The reference zeroes the masks of boxes that end before they start.
    masks = masks[0] * (sides > 0).all(1)[:, None, None]
    case.check(dict(boxes=found.bboxes, scores=found.scores, labels=found.labels + 1,
                    masks=masks))


def test_losses_and_gradients_of_the_whole_detector(monkeypatch):
    case = Case('detector_train')
    config = case.config
    model = detector(
        case, rcnn_train=dict(
            num_samples=config['rois_per_image'], num_masks=config['masks_per_image'],
            background_weight=config['background_weight'], sample_padding=4,
            fill_with_unsampled=True)).train()
    # The identity in place of random permutations: the last candidates are drawn.
    count = config['rpn_post'] + 4
    drawn, sample_rois = [], model.roi_head.sample
    monkeypatch.setattr(model.roi_head, 'sample', lambda *args: drawn.append(
        sample_rois(*args, priority=torch.arange(count).float().expand(2, -1)))
        or drawn[-1])
    # All anchors but the ignored ones count, not 256 drawn ones.
    monkeypatch.setattr(rpn_targets, 'sample_anchors',
                        lambda match, *_: match > rpn_targets.IGNORED)
    # Masks come as they are stored, 112 x 112 in their boxes.
    monkeypatch.setattr(roi_head, 'store_masks', lambda masks, boxes: masks)
    losses = model.loss(case.input('image'), [
        sample((128, 128), gt_instances=truth) for truth in ground_truth(case)])
    total = sum(losses.values())
    total.backward()
    case.check(dict(
        model_loss=total, rpn_score_loss=losses['loss_rpn_cls'],
        rpn_box_loss=losses['loss_rpn_bbox'], fast_rcnn_class_loss=losses['loss_cls'],
        fast_rcnn_box_loss=losses['loss_bbox'], mask_loss=losses['loss_mask']))
    # The reference has the background as class 0.
    labels = drawn[0].labels
    case.check(dict(class_targets=torch.where(
        labels == drawn[0].num_classes, 0, labels + 1)))
    parameters = {key.removeprefix('roi_head.'): value.grad
                  for key, value in model.named_parameters()}
    norms = {name: parameters[name.removeprefix('gnorm:')].norm()
             for name in case.outputs if name.startswith('gnorm:')}
    case.check(norms | {
        'grad_temperature': parameters['bbox_head.temperature'],
        'grad:backbone.conv1.weight[:4]': parameters['backbone.conv1.weight'][:4]})


def ground_truth(case):
    """Instances of each image, without the rows of -1 that pad the reference's."""
    for boxes, labels, masks in zip(case.input('gt_boxes'), case.input('gt_classes'),
                                    case.input('gt_masks'), strict=True):
        real = labels >= 0
        yield InstanceData(bboxes=boxes[real], labels=labels[real].long() - 1,
                           masks=masks[real])
