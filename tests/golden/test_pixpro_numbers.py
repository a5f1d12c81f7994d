"""PixPro against the numbers of its reference implementation."""
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmcontrast.engine import LARS, cosine_momentum, two_groups, warmup_cosine
from mmcontrast.methods.pixpro import (
    PairConsistencyLoss,
    PixelPropagation,
    PixPro,
    positive_pairs,
)
from mmcontrast.testing import fill
from mmcontrast.testing.golden import Case
from tests.helpers import stand_in  # noqa: F401

pytestmark = pytest.mark.usefixtures('nan_weights')

FOLDER = str(Path(__file__).parent / 'pixpro')
RENAMES = {
    'encoder': 'backbone', 'encoder_k': 'momentum.backbone',
    'projector': 'projector', 'projector_k': 'momentum.projector',
    'value_transform': 'propagation.transform',
    'projector_instance': 'instance_projector',
    'projector_instance_k': 'momentum.instance_projector',
    'predictor': 'instance_predictor'}


def ours(key: str) -> str:
    """Our name of a parameter of the reference."""
    first, rest = key.split('.', 1)
    return f'{RENAMES[first]}.{rest}'


def pixpro(backbone: dict, instance_weight: float = 0.0) -> PixPro:
    return PixPro(
        backbone=backbone,
        projector=dict(type='ConvMLP', hidden_channels=4096, out_channels=256),
        propagation=dict(type='PixelPropagation'),
        loss=dict(type='PairConsistencyLoss'),
        instance_weight=instance_weight,
        data_preprocessor=dict(type='mmengine.BaseDataPreprocessor')).double().train()


RESNET50 = dict(type='mmpretrain.ResNet', depth=50, norm_eval=False)
STAND_IN = dict(type='GoldenEncoder', channels=2048)


def boxes(case: Case, which: str) -> torch.Tensor:
    return torch.tensor([pair[which] for pair in case.meta['inputs']['pairs']],
                        dtype=torch.float32)


def test_pixel_mask():
    case = Case(FOLDER, 'pixel_mask')
    q, k = boxes(case, 'coord_q'), boxes(case, 'coord_k')
    out = {}
    for m in case.meta['config']['maps']:
        shape, name = (m['H'], m['W']), f'{m["H"]}x{m["W"]}_r{m["pos_ratio"]}'
        mask = positive_pairs(q, k, shape, shape, m['pos_ratio'])
        out[f'mask_{name}'], out[f'count_{name}'] = mask, mask.sum((1, 2))
    case.check(out)


def test_pixel_loss():
    case = Case(FOLDER, 'pixel_loss')
    coords = boxes(case, 'coord_q'), boxes(case, 'coord_k')
    query = F.normalize(case.input('q'), dim=1).requires_grad_()
    key = F.normalize(case.input('k'), dim=1)
    loss = PairConsistencyLoss(case.meta['config']['pos_ratio'])
    # Query as view 1 and key as view 2; the other two maps play no part in 1 -> 2.
    one_to_two = loss((query, key), (query.detach(), key), coords).one_to_two
    one_to_two.backward()
    each = [loss((query[i:i + 1], key[i:i + 1]), (query[i:i + 1], key[i:i + 1]),
                 (coords[0][i:i + 1], coords[1][i:i + 1])).one_to_two
            for i in range(len(query))]
    # Swapped: the key map as query of view 2 against the query map of view 1.
    swapped = loss((query, key), (query.detach(), key), coords).two_to_one
    case.check(dict(loss=one_to_two, loss_each=torch.stack(each), grad_q=query.grad,
                    loss_swapped=swapped))


def test_ppm():
    case = Case(FOLDER, 'ppm')
    start = 0.3 * case.input('x') + torch.einsum(
        'nrc,nrhw->nchw', case.input('basis'), case.input('coef'))
    out = {}
    for i, setting in enumerate(case.meta['config']['variants']):
        module = PixelPropagation(256, setting['layers'], setting['p'],
                                  setting['clamp']).train()
        shapes = case.meta['params'][f'layers={setting["layers"]}']
        weights = fill.fill_state_dict(shapes, case.meta['salt'])
        module.load_state_dict({
            key.replace('value_transform', 'transform'): value
            for key, value in weights.items()})
        x = start.clone().requires_grad_()
        y = module(x)
        (y * case.input('grad')).sum().backward()
        out[f'y_{i}'], out[f'gradx_{i}'] = y, x.grad
    case.check(out)


@pytest.mark.parametrize('name', ['model_r50_96', 'model_r50_64', 'instance_tiny'])
def test_model(name):
    case = Case(FOLDER, name)
    config = case.meta['config']
    backbone = RESNET50 if name != 'instance_tiny' else STAND_IN
    model = pixpro(backbone, config['ins_loss_weight'])
    model.load_state_dict({ours(k): v.double() for k, v in case.params().items()})
    model.momentum.coefficient = cosine_momentum(config['momentum_step_k'],
                                                 config['momentum_total_K'])
    views = [case.input(f'im_{v}').double() for v in (1, 2)]
    coords = tuple(case.input(f'coord_{v}').double() for v in (1, 2))
    seen = {}

    def keep(key):
        def hook(_, inputs, output):
            seen.setdefault(key, []).append(output.detach())
        return hook

    model.projector.register_forward_hook(keep('proj'))
    model.propagation.register_forward_hook(keep('propagated'))
    model.momentum.projector.register_forward_hook(keep('teacher_proj'))
    model.loss_module.register_forward_hook(
        lambda _, inputs, output: seen.update(loss=output))
    losses = model.losses_of(views, coords)
    loss = sum(v for k, v in losses.items() if 'loss' in k)
    loss.backward()

    state, grads = model.state_dict(), dict(model.named_parameters())
    out = dict(loss=loss, loss_pixel_1to2=seen['loss'].one_to_two,
               loss_pixel_2to1=seen['loss'].two_to_one)
    for key in case.meta['outputs']:
        kind, _, rest = key.partition(':')
        if kind == 'grad':
            out[key] = grads[ours(rest)].grad
        elif kind == 'after':
            out[key] = state[ours(rest)]
        elif key.rpartition('_')[0] in seen:
            stem, _, view = key.rpartition('_')
            out[key] = seen[stem][int(view) - 1]
    assert set(out) == set(case.meta['outputs'])
    case.check(out)
    assert all(p.grad is None for p in model.momentum.parameters())


def test_trajectory():
    case = Case(FOLDER, 'trajectory_tiny')
    config = case.meta['config']
    model = pixpro(STAND_IN)
    params = case.params()
    model.load_state_dict({
        ours(k): params[k.replace('_k.', '.')].double() for k in params})
    groups = two_groups(model)
    groups[1]['adapt'] = False
    optimizer = LARS(groups, lr=0.0, momentum=config['momentum'],
                     weight_decay=config['weight_decay'])
    total = config['epochs'] * config['n_iter_per_epoch']
    coords = tuple(case.input(f'coord_{v}').double() for v in (1, 2))
    losses, rates = [], []
    for step in range(4):
        model.momentum.coefficient = cosine_momentum(step, config['K'])
        rate = warmup_cosine(step, total,
                             config['warmup_epoch'] * config['n_iter_per_epoch'],
                             config['lr_peak'], config['warmup_multiplier'])
        for group in optimizer.param_groups:
            group['lr'] = rate
        views = [case.input('im', view=v, step=step).double() for v in (1, 2)]
        loss = model.losses_of(views, coords)['loss_pixel']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        rates.append(rate)
    state = model.state_dict()
    case.check(dict(loss=torch.stack(losses), lr=np.array(rates)) | {
        key: state[ours(key.split(':')[1])]
        for key in case.meta['outputs'] if key.startswith('after:')})
