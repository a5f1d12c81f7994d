"""Learning rates that fall towards the input."""
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmcontrast.models import PlainViT, SimpleFeaturePyramid


def detector(**more) -> nn.Module:
    model = nn.Module()
    model.backbone = PlainViT(layers=2, width=16, heads=2, pos_grid=2, **more)
    model.neck = SimpleFeaturePyramid(16, 8)
    return model


def rates(model: nn.Module, **options) -> dict[str, tuple]:
    """Name -> learning rate and weight decay."""
    wrapper = build_optim_wrapper(model, dict(
        constructor='mmcontrast.LayerDecayConstructor',
        optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.1),
        paramwise_cfg=dict(layer_decay_rate=0.5, **options)))
    names = {id(param): name for name, param in model.named_parameters()}
    return {names[id(param)]: (group['lr'], group['weight_decay'])
            for group in wrapper.optimizer.param_groups for param in group['params']}


def test_each_layer_learns_at_half_the_rate_of_the_next():
    found = rates(detector())
    assert {name: found[f'backbone.{name}'][0] for name in (
        'conv1.weight', 'transformer.resblocks.0.ln_1.bias',
        'transformer.resblocks.1.mlp.c_fc.weight', 'ln_post.weight')} == {
        'conv1.weight': 0.125, 'transformer.resblocks.0.ln_1.bias': 0.25,
        'transformer.resblocks.1.mlp.c_fc.weight': 0.5, 'ln_post.weight': 1}
    assert {lr for name, (lr, _) in found.items() if name.startswith('neck.')} == {1}


def test_options_of_mmengine_apply_on_top():
    found = rates(detector(frozen_stages=1), norm_decay_mult=0.0,
                  custom_keys={'resblocks.1.mlp': dict(lr_mult=0.1)})
    assert found['backbone.ln_post.weight'] == (1, 0)
    assert found['backbone.transformer.resblocks.1.mlp.c_fc.weight'] == (
        pytest.approx(0.05), 0.1)
    assert 'backbone.conv1.weight' not in found


@pytest.mark.parametrize(('model', 'rate', 'message'), [
    (detector(), 0, r'in \(0, 1\], such as 0.7, got 0'),
    (torch.nn.Linear(1, 1), 0.7, 'no part of Linear has a get_layer_depth')])
def test_what_does_not_fit_is_named(model, rate, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build_optim_wrapper(model, dict(
            constructor='mmcontrast.LayerDecayConstructor',
            optimizer=dict(type='AdamW', lr=1.0),
            paramwise_cfg=dict(layer_decay_rate=rate)))
