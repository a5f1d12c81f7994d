"""DenseCLIP's detectors against the numbers of their reference implementation."""
import functools
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from mmengine.structures import InstanceData

from mmcontrast.methods.denseclip import PixelTextPrompting
from mmcontrast.models.text import CLIPTextEncoder
from mmcontrast.registry import MODELS
from tests.helpers.denseclip_case import Case, prompting_state, released_name

pytest.importorskip('mmdet')
from mmdet.structures import DetDataSample  # noqa: E402

pytestmark = pytest.mark.usefixtures('nan_weights')

CONFIGS = Path(__file__).parents[2] / 'configs' / 'denseclip'


def detector(kind: str, **changes) -> torch.nn.Module:
    """The published detector with random weights, all of them trained."""
    return MODELS.build(published(kind).model | dict(freeze_text=False, **changes))


@functools.cache
def published(kind: str) -> Config:
    return Config.fromfile(CONFIGS / f'denseclip-det_{kind}-rn50_8xb2-12e_coco.py')


def samples(case: Case, size) -> list[DetDataSample]:
    out, inputs = [], case.meta['inputs']
    for boxes, labels in zip(inputs['boxes_xyxy'], inputs['labels'], strict=True):
        truth = InstanceData(bboxes=torch.tensor(boxes), labels=torch.tensor(labels))
        out.append(DetDataSample(gt_instances=truth, metainfo=dict(
            img_shape=size, pad_shape=size, ori_shape=size, batch_input_shape=size,
            scale_factor=(1, 1))))
    return out


def maps(model, image) -> dict:
    """Text, score maps, neck and (for the first stage) head outputs."""
    matched = model.match_text(model.backbone(image))
    extracted = model.extract(image)
    torch.testing.assert_close(model.extract_feat(image), extracted.features)
    head = model.bbox_head if hasattr(model, 'bbox_head') else model.rpn_head
    out = dict(text_embeddings=matched.text, score0=extracted.logits,
               score3=matched.logits)
    for name, values in zip(('neck', 'cls', 'reg'), (
            extracted.features, *head(extracted.features)), strict=True):
        out |= {f'{name}{i}': value for i, value in enumerate(values)}
    return out


def losses(model, case: Case) -> dict:
    """As the case names them; a list keeps one loss a level."""
    image = case.input('img')
    found = model.loss(image, samples(case, image.shape[2:]))
    return {f'loss/{key}': torch.stack(value) if isinstance(value, list) else value
            for key, value in found.items()}


@torch.no_grad()
def test_retinanet():
    case = Case('retinanet_rn50_eval')
    model = detector('retinanet').eval()
    model.load_state_dict(case.state())
    out = maps(model, case.input('img')) | losses(model, case)
    assert set(out) == set(case.outputs)
    case.check(out)


@torch.no_grad()
def test_mask_rcnn():
    case = Case('maskrcnn_rn50_eval')
    model = detector('mask-rcnn').eval()
    model.load_state_dict(case.state())
    image = case.input('img')
    out = maps(model, image)
    # The losses of the two stages sample at random, so they are no part of the case.
    size = image.shape[2:]
    out['loss/loss_aux_seg'] = model.aux_loss(
        model.extract(image).logits, samples(case, size), size)
    assert set(out) == set(case.outputs)
    case.check(out)


def test_retinanet_in_training():
    case = Case('retinanet_rn50_train')
    model = detector('retinanet', context_decoder=dict(
        type='ContextDecoder', dropout=0.0)).train()
    model.load_state_dict(case.state())
    found = losses(model, case)
    sum(loss.sum() for loss in found.values()).backward()
    gradients = {released_name(name): p.grad for name, p in model.named_parameters()}

    def norm(prefix: str) -> torch.Tensor:
        return torch.stack([g.norm() for name, g in gradients.items()
                            if name.startswith(prefix)]).norm()

    out = {key: value.detach() for key, value in found.items()}
    out |= {f'grad/{name}': g for name, g in gradients.items()}
    out |= dict(grad_norm_all=norm(''), grad_norm_text_encoder=norm('text_encoder'))
    case.check({key: out[key] for key in case.outputs})


def test_score_map():
    case = Case('score_map_det')
    config, text = case.meta['config'], case.meta['config']['text_encoder']
    decoder = config['context_decoder']
    model = PixelTextPrompting(
        torch.nn.Identity(), case.input('class_names'),
        dict(type='CLIPTextEncoder', embed_dims=text['embed_dim'],
             width=text['transformer_width'], heads=text['transformer_heads'],
             layers=text['transformer_layers'], context_length=text['context_length']),
        dict(type='ContextDecoder', width=decoder['transformer_width'],
             heads=decoder['transformer_heads'], layers=decoder['transformer_layers'],
             dropout=decoder['dropout']),
        temperature=config['tau'], concat_logits=True, concat_index=0)
    state = case.state()
    state |= {name: case.input(name) for name in ('contexts', 'gamma')}
    model.load_state_dict(prompting_state(state))
    assert isinstance(model.class_texts.text_encoder, CLIPTextEncoder)
    matched = model.eval()(
        [case.input('x3'), (case.input('global'), case.input('local'))])
    score0 = torch.nn.functional.interpolate(
        matched.logits, case.meta['inputs']['x0_size'], mode='bilinear',
        align_corners=False)
    (score0 * case.input('grad_weight')).sum().backward()
    out = dict(text_embeddings=matched.text, score3=matched.logits, score0=score0,
               concatenated=matched.features[0],
               d_contexts=model.class_texts.contexts.grad, d_gamma=model.gamma.grad)
    assert set(out) == set(case.outputs)
    case.check(out)


def test_parameter_groups_and_learning_rates():
    case, config = Case('optim_retinanet_rn50'), published('retinanet')
    with torch.device('meta'):
        model = detector('retinanet')
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    clip = config.optim_wrapper.clip_grad
    assert clip == case.meta['config']['optimizer_config']['grad_clip']
    defaults = case.meta['config']['defaults']
    assert list(optimizer.defaults['betas']) == defaults['betas']
    assert (optimizer.defaults['eps'], optimizer.defaults['amsgrad']) == (
        defaults['eps'], defaults['amsgrad'])
    names = {id(p): released_name(name) for name, p in model.named_parameters()}
    found = {}
    for group in optimizer.param_groups:
        found.setdefault((group['lr'], group['weight_decay']), []).extend(
            names[id(p)] for p in group['params'])
    groups = {(g['lr'], g['weight_decay']): g for g in case.outputs['groups']['value']}
    assert set(found) == set(groups)
    for key, group in groups.items():
        listed = [name for name in group['names'] if name != '...']
        assert len(found[key]) == group['tensors'] and set(listed) <= set(found[key])
        assert Counter(
            name.split('.')[0] for name in found[key]) == group['by_top_module']


def test_schedule():
    case, config = Case('optim_retinanet_rn50'), published('retinanet')
    rates = case.outputs['base_lr']['value']
    optimizer = torch.optim.SGD([dict(params=[torch.zeros(1)], lr=lr) for lr in rates])
    warmup, steps = (PARAM_SCHEDULERS.build(dict(x, optimizer=optimizer))
                     for x in config.param_scheduler)
    iteration = epoch = 0
    for row in case.outputs['schedule']['value']:
        # Nothing changes within an epoch after the warm-up.
        while iteration < min(row['iter'], 600):
            iteration += 1
            optimizer.step()
            warmup.step()
        while epoch < row['epoch']:
            epoch += 1
            steps.step()
        assert [g['lr'] for g in optimizer.param_groups] == pytest.approx(
            row['lr'], rel=case.meta['tolerance']['rtol'], abs=0), row


# Millions, as counted in the released code; with the text tower where there is one.
@pytest.mark.parametrize('name, millions', [
    ('denseclip-det_retinanet-rn50', 124.1), ('denseclip-det_retinanet-rn101', 141.4),
    ('denseclip-det_mask-rcnn-rn50', 130.4), ('denseclip-det_mask-rcnn-rn101', 147.6),
    ('clip-det_retinanet-rn50', 38), ('clip-det_retinanet-rn101', 57),
    ('clip-det_mask-rcnn-rn50', 44), ('clip-det_mask-rcnn-rn101', 63)])
def test_published_settings_have_the_published_sizes(name, millions):
    config = Config.fromfile(CONFIGS / f'{name}_8xb2-12e_coco.py')
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config.model)
    found = sum(p.numel() for p in model.parameters()) / 1e6
    # Given to 0.1 and to 1 million.
    assert found == pytest.approx(
        millions, abs=0.06 if name.startswith('dense') else 0.5)
    assert config.sync_bn == 'torch' and config.train_cfg.max_epochs == 12
    assert config.optim_wrapper.optimizer.lr == (
        2e-4 if 'mask' in name else 1e-4)
