"""DITO's region step, cropped positions and schedule against golden numbers."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from mmcontrast.methods.dito.cropped_positions import crop_table
from mmcontrast.methods.dito.pretraining import DITOPretraining
from tests.helpers.dito_case import Case

CONFIGS = Path(__file__).parents[2] / 'configs'
LEVELS = range(2, 6)


class KnownMap(nn.Module):
    """A backbone whose output is a parameter."""

    stride, with_projection = 16, False

    def __init__(self, feature):
        super().__init__()
        self.feature = nn.Parameter(feature)
        self.width = self.embed_dims = feature.shape[1]

    def forward(self, images, positions=None):
        return (self.feature,)

    def project(self, pooled):
        return pooled


class KnownTexts(nn.Module):
    def __init__(self, embed_dims):
        super().__init__()
        self.embed_dims = embed_dims


def pretraining(case: Case) -> DITOPretraining:
    config = case.config
    model = DITOPretraining(
        backbone=KnownMap(case.input('x')), text_encoder=KnownTexts(config['text_dim']),
        neck=dict(type='SimpleFeaturePyramid'), box_head=dict(type='TextBoxHead'),
        regions=dict(counts=config['regions']), pool=config['pool'],
        logit_scale=dict(init=1 / config['temperature']))
    model.neck.load_state_dict(case.params('neck.'))
    model.box_head.load_state_dict(
        case.params('bbox_head.') | dict(temperature=torch.ones(1)))
    return model


@pytest.mark.parametrize('pool', ['max', 'mean'])
def test_region_step(pool):
    case = Case(f'region_pretrain_{pool}')
    model = pretraining(case)
    height, width = case.config['image_hw']
    draws = [case.input(f'u{level}') for level in LEVELS]
    boxes = model.regions(draws, height, width)
    embeds = []
    model.encode_regions = lambda *args: embeds.extend(
        DITOPretraining.encode_regions(model, *args)) or embeds
    visual = model.encode(torch.empty(1, 3, height, width), draws)
    losses = model.criterion(visual, case.input('text'), model.logit_scale())[:-1]
    losses.mean().backward()
    case.check(
        dict(loss=losses.mean(), loss_per_level=losses,
             grad_x=model.backbone.feature.grad,
             grad_fc_weight_norm=model.box_head.fc.weight.grad.norm())
        | {f'boxes{i}': each for i, each in zip(LEVELS, boxes, strict=True)}
        | {f'emb{i}': each for i, each in zip(LEVELS, embeds, strict=True)})


def test_cropped_positions():
    case = Case('cropped_pos_embed')
    grid, size = case.config['grid'], case.config['up']
    case.check(dict(pos=crop_table(
        case.input('pos'), case.input('regions'), grid, grid, size)))


def test_learning_rates_of_the_detector_schedule():
    case = Case('lr_schedule')
    config = Config.fromfile(CONFIGS / '_base_/schedules/dito_detector.py')
    assert config.base_lr == case.config['init_learning_rate']
    assert config.max_iters == case.config['total_steps']
    optimizer = build_optim_wrapper(nn.Linear(1, 1), config.optim_wrapper).optimizer
    schedulers = [PARAM_SCHEDULERS.build(dict(each, optimizer=optimizer))
                  for each in config.param_scheduler]
    optimizer.step()                            # or the schedulers warn
    rates = []
    for _ in range(config.max_iters):
        rates.append(optimizer.param_groups[0]['lr'])
        for scheduler in schedulers:
            scheduler.step()
    case.check(dict(lr=torch.tensor(rates)[case.input('steps')]))
