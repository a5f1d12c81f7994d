"""DenseCLIP's segmentors against the numbers of their reference implementation."""
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.structures import PixelData
from torch import nn

from mmcontrast.methods.denseclip import ContextDecoder, PixelTextPrompting
from mmcontrast.registry import MODELS
from tests.helpers.denseclip_case import Case, prompting_state, released_name

pytest.importorskip('mmseg')
from mmseg.structures import SegDataSample  # noqa: E402

pytestmark = pytest.mark.usefixtures('nan_weights')

CONFIGS = Path(__file__).parents[2] / 'configs' / 'denseclip'
RN50 = 'denseclip-seg_fpn-rn50_8xb4-80k_ade20k-512x512.py'
VIT = 'denseclip-seg_fpn-vit-b16_8xb4-80k_ade20k-640x640.py'


def segmentor(name: str, **changes) -> nn.Module:
    """The published model with random weights; BN, as there is one process."""
    cfg = Config.fromfile(CONFIGS / name)
    cfg.model.decode_head.norm_cfg = dict(type='BN')
    return MODELS.build(cfg.model | changes)


def samples(case: Case) -> list:
    return [SegDataSample(gt_sem_seg=PixelData(data=label))
            for label in case.input('label')]


def released_accuracy(value: torch.Tensor, case: Case) -> torch.Tensor:
    """mmseg 0.19 counts ignored pixels as wrong ones."""
    return value * (case.input('label') != 255).float().mean()


def named_losses(losses: dict, case: Case, prefix: str) -> dict:
    return {f'{prefix}/{key}': released_accuracy(value, case) if 'acc' in key else value
            for key, value in losses.items()}


def test_context_decoder():
    case = Case('context_decoder')
    decoder = ContextDecoder(visual_dim=1024, width=256, heads=4, layers=3).eval()
    decoder.load_state_dict(case.state())
    text, visual = (case.input(name).requires_grad_() for name in ('text', 'visual'))
    out = decoder(text, visual)
    (out * case.input('grad_weight')).sum().backward()
    case.check(dict(out=out, d_text=text.grad, d_visual=visual.grad))


@pytest.mark.parametrize('name', ['score_map', 'score_map_gamma_init'])
def test_score_map(name):
    case = Case(name)
    text, decoder = (case.meta['config'][part]
                     for part in ('text_encoder', 'context_decoder'))
    model = PixelTextPrompting(
        nn.Identity(), class_names=case.input('class_names'),
        text_encoder=dict(
            type='CLIPTextEncoder', width=text['transformer_width'],
            heads=text['transformer_heads'], layers=text['transformer_layers'],
            embed_dims=text['embed_dim'],
            vocab_size=case.meta['state']['text_encoder.token_embedding.weight'][0]),
        context_decoder=dict(
            type='ContextDecoder', width=decoder['transformer_width'],
            heads=decoder['transformer_heads'], layers=decoder['transformer_layers'],
            dropout=decoder['dropout']))
    gamma = (torch.full((48,), 1e-4) if name.endswith('init') else case.input('gamma'))
    # The position table of 13 rows shows that the length of the names came out as 5.
    model.load_state_dict(prompting_state(
        case.state() | dict(contexts=case.input('contexts'), gamma=gamma)))
    matched = model.eval()([
        *(case.input(f'x{i}') for i in range(4)),
        (case.input('global'), case.input('local'))])
    (matched.score_map * case.input('grad_weight')).sum().backward()
    case.check(dict(
        text_embeddings=matched.text, score_map=matched.score_map,
        concatenated=matched.features[3], d_contexts=model.class_texts.contexts.grad,
        d_gamma=model.gamma.grad))


def test_identity_loss():
    from mmcontrast.methods.denseclip.head_loss import IdentityHead, head_loss
    case = Case('identity_loss')
    config = case.meta['config']
    head = IdentityHead(config['num_classes_of_the_map'], dict(
        type='mmseg.CrossEntropyLoss', loss_weight=config['loss_weight']))
    scores = case.input('score_map').requires_grad_()
    losses = head_loss(head, scores / config['tau'], samples(case))
    losses['loss_ce'].backward()
    case.check(dict(loss_ce=losses['loss_ce'], d_score_map=scores.grad,
                    acc_seg=released_accuracy(losses['acc_seg'], case)))


@torch.no_grad()
@pytest.mark.parametrize('name, config', [
    ('seg_rn50_eval', RN50), ('seg_vitb16_eval', VIT)])
def test_segmentor(name, config):
    case = Case(name)
    model = segmentor(config).eval()
    model.load_state_dict(case.state())
    image = case.input('img')
    matched = model.match_text(model.backbone(image))
    neck = model.extract_feat(image)
    logits = model.encode_decode(image, [dict(img_shape=image.shape[2:])])
    out = dict(text_embeddings=matched.text, score_map=matched.score_map,
               logits_stride4=model(image), logits=logits, pred=logits.argmax(1))
    out |= {f'neck{i}': x for i, x in enumerate(neck)}
    out |= named_losses(model.loss(image, samples(case)), case, 'loss')
    assert set(out) == set(case.outputs) - {'pred_margin_min'}
    case.check(out)


def test_training_step():
    """The faithful mode: nothing frozen, and every parameter gets a gradient."""
    case = Case('seg_rn50_train')
    model = segmentor(RN50, freeze_text=False)
    model.load_state_dict(case.state())
    for module in model.train().modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.
    losses = model.loss(case.input('img'), samples(case))
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    params = {released_name(name): p for name, p in model.named_parameters()}
    buffers = dict(model.named_buffers())
    out = named_losses(losses, case, 'step0')
    for name in case.outputs:
        kind, _, key = name.partition('/')
        if kind == 'grad':
            out[name] = params[key].grad
        elif kind == 'bn':
            out[name] = buffers[key]
    out['no_grad'] = [name for name, p in params.items() if p.grad is None]
    norms = {name: p.grad.norm() for name, p in params.items()}
    out['grad_norm_all'] = torch.stack(list(norms.values())).norm()
    out['grad_norm_without_text_encoder'] = torch.stack(
        [n for name, n in norms.items() if 'text_encoder' not in name]).norm()
    assert set(out) == set(case.outputs)
    case.check(out)


@pytest.mark.parametrize('name, config', [
    ('optim_seg_rn50', RN50), ('optim_seg_vitb16', VIT)])
def test_parameter_groups(name, config):
    case = Case(name)
    cfg = Config.fromfile(CONFIGS / config)
    with torch.device('meta'):
        model = segmentor(config, freeze_text=False)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    names = {id(p): released_name(name) for name, p in model.named_parameters()}
    found = {}
    for group in optimizer.param_groups:
        key = group['lr'], group['weight_decay']
        found.setdefault(key, []).extend(names[id(p)] for p in group['params'])
    wanted = case.meta['outputs']['groups']['value']
    assert set(found) == {(g['lr'], g['weight_decay']) for g in wanted}
    for group in wanted:
        members = found[group['lr'], group['weight_decay']]
        assert Counter(m.partition('.')[0] for m in members) == group['by_top_module']
        assert set(group['names']) - {'...'} <= set(members)


def test_learning_rates():
    outputs = Case('optim_seg_rn50').outputs
    groups = [dict(params=[nn.Parameter(torch.zeros(1))], lr=lr)
              for lr in outputs['base_lr']['value']]
    optimizer = torch.optim.AdamW(groups)
    cfg, = Config.fromfile(CONFIGS / RN50).param_scheduler
    scheduler = PARAM_SCHEDULERS.build(
        dict(cfg), default_args=dict(optimizer=optimizer, end=80000))
    for point in outputs['schedule']['value']:
        scheduler.last_step = point['iter']
        assert scheduler._get_value() == pytest.approx(point['lr'], rel=1e-9, abs=0)


def test_freezing_the_text_tower_takes_it_out_of_the_training():
    with torch.device('meta'):
        model = segmentor(RN50)
    assert not any(p.requires_grad for p in model.class_texts.text_encoder.parameters())
    assert model.class_texts.contexts.requires_grad
    assert model.prompting.gamma.requires_grad
