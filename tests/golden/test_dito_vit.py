"""The plain ViT and the pyramid against the numbers of DITO's reference."""
import pytest
import torch

from mmcontrast.models.backbones import PlainViT
from mmcontrast.models.backbones.windows import WindowLayout
from mmcontrast.models.layers import SimpleFeaturePyramid
from tests.helpers.dito_case import Case

pytestmark = pytest.mark.usefixtures('nan_weights')


def test_window_order():
    case = Case('window_order')
    (height, width), count = case.config['hw'], case.config['windows_per_side']
    shift, tokens = case.config['shift'], case.input('tokens')
    layout = WindowLayout(height, width, count)
    split = layout.split(tokens)
    (windows, length), = layout.runs
    # The reference stacks windows on the batch axis, before the images.
    stacked = split.unflatten(1, (windows, length)).transpose(0, 1).flatten(0, 1)
    rolled = tokens.unflatten(1, (height, width)).roll((-shift, shift), (1, 2))
    case.check(dict(split=stacked, merged=layout.merge(split), rolled=rolled[..., 0]))


@pytest.mark.parametrize('name', ['vit_tiny_shift0', 'vit_tiny_shift1',
                                  'vit_b16_256_shift2', 'vit_b16_256_frozen'])
@torch.no_grad()
def test_vit(name):
    case = Case(name)
    config = case.config
    vit = PlainViT(
        layers=config['depth'], width=config['width'], heads=config['num_heads'],
        patch_size=config['patch'], pos_grid=config['pos_grid'],
        windows=config['windows_per_side'], shift=config['shift']).eval()
    vit.load_state_dict(case.params('backbone.'))
    feat, = vit(case.input('image'))
    case.check(dict(feat=feat))


@pytest.mark.parametrize('name', ['simple_fpn_p2_p5', 'simple_fpn_p2_p6'])
@torch.no_grad()
def test_simple_feature_pyramid(name):
    case = Case(name)
    config = case.config
    levels = range(config['min_level'], config['max_level'] + 1)
    neck = SimpleFeaturePyramid(config['in_dim'], config['out'], levels)
    neck.load_state_dict(case.params('neck.'))
    maps = neck([case.input('x')])
    case.check({f'p{level}': x for level, x in zip(levels, maps, strict=True)})
