"""SlotCon trained by the real Runner, from its configs."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import BaseDataElement

from mmcontrast.apis.train import fit_to_devices
from mmcontrast.registry import MODELS
from mmcontrast.structures import View

CONFIGS = Path(__file__).parents[2] / 'configs' / 'slotcon'
NAMES = sorted(path.name for path in CONFIGS.glob('*.py'))


def same_views(images: int) -> list[BaseDataElement]:
    """Samples whose two views show the same part of the image."""
    result = [BaseDataElement() for _ in range(images)]
    for sample in result:
        sample.views = (View(0, 0, 80, 80, False, 128, 128),) * 2
    return result


@pytest.mark.parametrize('name', NAMES)
def test_every_config_builds_and_equal_views_agree_with_their_twin(name):
    cfg = Config.fromfile(CONFIGS / name)
    fit_to_devices(cfg)
    model = MODELS.build(cfg.model).train()
    model.momentum.coefficient = 0.99
    view = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        losses = model([view, view], same_views(2), mode='loss')
    assert all(value.isfinite() for value in losses.values())
    # The twin starts as a copy: it finds the same slots in the same places.
    assert losses['agreement'] == 1 and losses['no_pair_share'] == 0
    assert losses['shared_slots'] == losses['slots_per_image'] >= 1
    # Weight times two directions; a step so early knows no slot from another.
    assert losses['loss_distill'] > 0 and losses['loss_slot'] > 0
