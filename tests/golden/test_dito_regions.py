"""DITO's regions against the numbers of its reference implementation.

The cases have the background in column 0; ours is the last one.
"""
import torch

from mmcontrast.methods.dito.box_coder import (
    DeltaYXHWBoxCoder,
    clip_boxes,
    rescale_boxes,
)
from mmcontrast.methods.dito.box_head import TextBoxHead
from mmcontrast.methods.dito.detections import select_detections
from mmcontrast.methods.dito.mask_head import NormedMaskHead
from mmcontrast.methods.dito.mask_targets import mask_targets
from mmcontrast.methods.dito.roi_crop import PyramidRoICrop
from mmcontrast.methods.dito.roi_losses import box_loss, class_loss, mask_loss
from mmcontrast.methods.dito.roi_targets import sample_rois, with_image_index
from mmcontrast.methods.dito.scores import (
    cosine_logits,
    fuse_scores,
    weight_by_objectness,
)
from tests.helpers.dito_case import Case


def background_last(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    return x.roll(-1, dim)


def background_first(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    return x.roll(1, dim)


def boxes_of(case: Case) -> torch.Tensor:
    xy = case.input('xy')
    return torch.cat([xy, xy + case.input('wh')], dim=-1)


def test_box_head():
    case = Case('box_head')
    config = case.config
    head = TextBoxHead(
        embed_dims=config['text_dim'], fc_channels=config['fc'],
        num_convs=config['num_convs'], temperature_scale=config['temperature_scale'])
    head.load_state_dict(case.params('bbox_head.') | dict(
        temperature=torch.tensor(config['temperature'])))
    roi = case.input('roi')
    with torch.no_grad():
        embeddings, deltas = head(roi.flatten(0, 1))
        logits = head.logits(embeddings, case.input('text'))
    batch = roi.shape[:2]
    case.check(dict(embedding=embeddings.unflatten(0, batch),
                    deltas_dy_dx_dh_dw=deltas.unflatten(0, batch),
                    logits=logits.unflatten(0, batch)))


def test_mask_head():
    case = Case('mask_head')
    head = NormedMaskHead(num_convs=case.config['num_convs'],
                          temperature=case.config['temperature'])
    head.load_state_dict(case.params('mask_head.'))
    with torch.no_grad():
        case.check(dict(mask_logits=head(case.input('roi').flatten(0, 1)).squeeze(1)))


def crops(name: str, transform=lambda x: x) -> tuple[Case, torch.Tensor]:
    case = Case(name)
    levels = range(case.config['min_level'], case.config['max_level'] + 1)
    crop = PyramidRoICrop(case.config['output_size'], [2 ** i for i in levels])
    maps = [transform(case.input(f'p{i}')) for i in levels]
    boxes = case.input('boxes')
    return case, crop(maps, with_image_index(boxes)).unflatten(0, boxes.shape[:2])


def test_crops_of_a_pyramid():
    case, got = crops('roi_crop_multilevel')
    case.check(dict(crops=got))


def test_crops_of_small_boxes_and_at_borders():
    case, got = crops('roi_crop_small_boxes')
    case.check(dict(crops=got))


def test_crops_of_one_map():
    case, got = crops('roi_crop_single_level')
    case.check(dict(crops=got))


def test_crops_of_maps_in_channels_last():
    case, got = crops('roi_crop_small_boxes', lambda x: x.contiguous(
        memory_format=torch.channels_last))
    case.check(dict(crops=got))


def test_mask_targets():
    case = Case('mask_targets')
    masks = case.input('masks')
    case.check(dict(targets=mask_targets(
        masks, torch.arange(len(masks)), case.input('gt'), case.input('rois'),
        case.config['target'])))


def test_box_coding():
    case, coder = Case('box_coding'), DeltaYXHWBoxCoder()
    rois, gt = boxes_of(case)
    decoded = coder.decode(rois, case.input('delta'))
    clipped = coder.decode(rois, case.input('delta'), case.config['image_hw'])
    rescaled = clip_boxes(
        rescale_boxes(rois, case.config['scale']), case.config['image_hw'])
    case.check(dict(encoded_dy_dx_dh_dw=coder.encode(rois, gt), decoded=decoded,
                    clipped=clipped, rescaled=rescaled))
    assert clipped.equal(clip_boxes(decoded, case.config['image_hw']))


def test_sampled_targets():
    case = Case('sample_targets')
    proposals, padded = boxes_of(case), case.input('gt_boxes')
    classes = case.input('gt_classes').long()
    num_classes = 9
    count = [int((labels >= 0).sum()) for labels in classes]
    got = sample_rois(
        proposals, [boxes[:n] for boxes, n in zip(padded, count, strict=True)],
        [labels[:n] - 1 for labels, n in zip(classes, count, strict=True)], num_classes,
        case.config['num_samples'], case.config['fg_fraction'],
        sample_padding=padded.shape[1], fill_with_unsampled=True,
        priority=torch.arange(46.0).expand(2, -1))
    case.check(dict(
        rois=got.boxes, classes=(got.labels + 1) % (num_classes + 1),
        gt_index=got.gt_index, box_targets_dy_dx_dh_dw=got.deltas))


def test_losses_and_their_gradients():
    case = Case('roi_losses')
    num_classes = case.config['classes_incl_bg'] - 1
    leaves = [case.input(name).requires_grad_()
              for name in ('logits', 'deltas', 'mask_logits')]
    logits, deltas, mask_logits = leaves
    drawn = (case.input('cls_draw') * num_classes).floor().long()
    labels = drawn.where(case.input('pos_draw') < 0.3, num_classes)
    positive = labels < num_classes
    targets = case.input('targets') * positive[..., None]
    losses = dict(
        class_loss=class_loss(background_last(logits), labels,
                              case.config['background_weight']),
        box_loss=box_loss(deltas, targets, positive),
        mask_loss=mask_loss(mask_logits, case.input('mask_targets'), positive[:, :5]))
    grads = torch.autograd.grad(sum(losses.values()), leaves)
    names = ('grad_logits', 'grad_deltas', 'grad_mask')
    case.check(losses | dict(zip(names, grads, strict=True)))


def fused(name: str) -> tuple[Case, dict]:
    case = Case(name)
    temperature = case.config['temperature']
    text = background_last(case.input('text'), 0)
    base = case.input('base')[1:] > 0 if 'base' in case.meta['inputs'] else None
    logits = [cosine_logits(case.input(kind), text, temperature)
              for kind in ('det', 'vlm')]
    scores = fuse_scores(*logits, base, case.config['base_weight'],
                         case.config['novel_weight'])
    final = weight_by_objectness(
        scores, case.input('obj'), case.config['objectness_power'])
    names = ('det_logits', 'vlm_logits', 'ensembled', 'final')
    return case, {key: background_first(value) for key, value in zip(
        names, (*logits, scores, final), strict=True)}


def test_fused_scores():
    case, got = fused('score_ensemble')
    case.check(got)


def test_fused_scores_without_base_classes():
    case, got = fused('score_ensemble_nobase')
    case.check(got)


def test_detections():
    case = Case('detections')
    boxes = DeltaYXHWBoxCoder().decode(
        boxes_of(case), case.input('deltas'), case.config['image_hw'])
    post = case.config['post']
    got = select_detections(
        boxes, case.input('scores')[:, 1:], post, case.config['nms'],
        case.config['score_threshold'], case.config['pre'])
    count = len(got.scores)
    padded = {name: torch.cat([value, value.new_zeros(post - count, *value.shape[1:])])
              for name, value in got._asdict().items()}
    padded['labels'][:count] += 1
    case.check(dict(boxes=padded['boxes'], scores=padded['scores'],
                    labels=padded['labels'], num=torch.tensor(count)))
