"""Config, checkpoint and labeled scenes of a small SlotCon, as files."""
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config

from mmcontrast.apis.data.make_shapes import make_shapes
from mmcontrast.datasets.shapes import draw_scene
from mmcontrast.registry import MODELS

CONFIG = """
default_scope = 'mmcontrast'
norm_cfg = dict(type='BN')
mlp = dict(hidden_channels=32, norm_cfg=norm_cfg)
model = dict(
    type='SlotCon',
    backbone=dict(type='mmpretrain.ResNet', depth=18, norm_cfg=norm_cfg,
                  strides=(1, 2, 2, 1), out_indices=(3, ), stem_channels=8,
                  base_channels=8),
    projector=dict(type='ConvMLP', out_channels=16, **mlp),
    predictor=dict(type='RowMLP', **mlp),
    grouping=dict(type='SlotGrouping', num_slots=12))
"""


def write_config(folder: Path) -> str:
    path = folder / 'config.py'
    path.write_text(CONFIG)
    return str(path)


def write_checkpoint(config: str, path: Path) -> str:
    """Random weights; the teacher's prototypes are features of cells of scenes.

    So every slot wins some cell, which random prototypes on random features do not.
    """
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model).eval()
    scenes = np.stack([draw_scene(seed, 64).image for seed in range(12)])
    images = (torch.from_numpy(scenes).permute(0, 3, 1, 2).float() - 120) / 58
    with torch.no_grad():
        features = model.momentum.projector(model.momentum.backbone(images)[0])
        cells = features.permute(0, 2, 3, 1).flatten(0, 2)[::17][:12]
        model.momentum.grouping.prototypes.copy_(cells)
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return str(path)


def write_scenes(folder: Path, count: int = 6) -> str:
    make_shapes(folder, ['panoptic', 'mmseg'], train=0, val=0, test=count, size=64,
                progress=False)
    return str(folder)
