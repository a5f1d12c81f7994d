"""SlotCon trained by the real Runner, from its configs."""
import ast
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import BaseDataElement
from PIL import Image

from mmcontrast.apis.train import fit_to_devices
from mmcontrast.datasets.transforms import OverlapCrops
from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.registry import DATASETS, MODELS, TRANSFORMS
from mmcontrast.structures import View
from tests.helpers.runs import run, scalars

CONFIGS = Path(__file__).parents[2] / 'configs' / 'slotcon'
NAMES = sorted(path.name for path in CONFIGS.glob('*.py'))
DEBUG = str(CONFIGS / 'slotcon_resnet18_1xb32-coslr-4e_shapes_debug.py')
SMALL = {
    'train_dataloader.batch_size': 8, 'train_dataloader.num_workers': 0,
    'train_dataloader.dataset.num_images': 16, 'default_hooks.logger.interval': 1,
    'default_hooks.slot_images.size': 64,
    'model.backbone.base_channels': 8, 'model.backbone.stem_channels': 8}


def same_views(images: int) -> list[BaseDataElement]:
    """Samples whose two views show the same part of the image."""
    result = [BaseDataElement() for _ in range(images)]
    for sample in result:
        sample.views = (View(0, 0, 80, 80, False, 128, 128),) * 2
    return result


@cache
def losses_of_equal_views(model: str) -> dict:
    """Of a model as several configs have it."""
    model = MODELS.build(ast.literal_eval(model)).train()
    model.momentum.coefficient = 0.99
    view = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        return model([view, view], same_views(2), mode='loss')


@pytest.mark.parametrize('name', NAMES)
def test_every_config_builds_and_equal_views_agree_with_the_momentum_encoder(name):
    cfg = Config.fromfile(CONFIGS / name)
    fit_to_devices(cfg)
    losses = losses_of_equal_views(str(cfg.model.to_dict()))
    assert all(value.isfinite() for value in losses.values())
    # The momentum encoder starts as a copy: it finds the same slots in the same places.
    assert losses['agreement'] == 1 and losses['no_pair_share'] == 0
    assert losses['shared_slots'] == losses['slots_per_image'] >= 1
    # Weight times two directions; a step so early knows no slot from another.
    assert losses['loss_distill'] > 0 and losses['loss_slot'] > 0


@pytest.mark.parametrize('name', NAMES)
def test_every_config_draws_bicubic_views_whose_crops_meet(name):
    dataset = Config.fromfile(CONFIGS / name).train_dataloader.dataset
    for part in dataset.get('datasets', [dataset]):
        steps = [TRANSFORMS.build(step) for step in part.pipeline]
        views, = (step for step in steps if hasattr(step, 'crop_pair'))
        assert type(views.crop_pair) is OverlapCrops
        assert [s.get('interpolation') for s in part.pipeline if 'size' in s] == [
            'bicubic']
        packed = dict(img=np.zeros((90, 120, 3), np.uint8), img_path='x')
        for step in steps:
            packed = step(packed)
        assert packed['inputs'][0].shape[1:] == views.size


def test_coco_plus_reads_both_folders(tmp_path):
    name = 'slotcon_resnet50_8xb64-coslr-800e_cocoplus.py'
    cfg = Config.fromfile(CONFIGS / name).train_dataloader.dataset
    for part, count in zip(cfg.datasets, (3, 2), strict=True):
        folder = tmp_path / part.data_prefix.img_path
        folder.mkdir()
        for i in range(count):
            Image.new('RGB', (40, 30), (50 * i, 0, 0)).save(folder / f'{i}.jpg')
        part.data_root = str(tmp_path)
    dataset = DATASETS.build(cfg)
    assert len(dataset) == 5
    paths = [Path(dataset[i]['data_samples'].img_path) for i in range(5)]
    assert [path.parent.name for path in paths] == (
        ['train2017'] * 3 + ['unlabeled2017'] * 2)


def test_a_run_on_two_folders_draws_slots_of_both(tmp_path):
    for name in ('a', 'b'):
        folder = tmp_path / name
        folder.mkdir()
        for i in range(4):
            pixels = np.random.default_rng(i).integers(0, 255, (72, 80, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f'{i}.jpg')
    pipeline = Config.fromfile(DEBUG).train_dataloader.dataset.pipeline
    options = {key: value for key, value in SMALL.items() if 'num_images' not in key}
    run(DEBUG, tmp_path / 'run', options | {
        'train_dataloader.batch_size': 4, 'train_cfg.max_epochs': 1,
        'param_scheduler.warmup': 0, 'train_dataloader.dataset': dict(
            _delete_=True, type='ConcatDataset', datasets=[
                dict(type='mmcontrast.UnlabeledImages', data_root=str(tmp_path / name),
                     pipeline=pipeline) for name in 'ab'])})
    sheets = sorted((tmp_path / 'run').rglob('vis_image/slots_*.png'))
    assert len(sheets) == 2     # before training and at the end
    # Four images below each other.
    assert Image.open(sheets[0]).height > 4 * 64


def test_training_lowers_the_loss_and_resuming_keeps_center_and_momentum(tmp_path):
    options = SMALL | {'train_cfg.max_epochs': 8}
    trained = run(DEBUG, tmp_path, options).model
    losses = [row['loss'] for row in scalars(tmp_path)]
    assert len(losses) == 16 and np.mean(losses[-4:]) < np.mean(losses[:4]) - 0.05
    state = read_checkpoint(tmp_path / 'epoch_8.pth')['state_dict']
    # The run is over, so resuming loads and trains no further.
    resumed = run(DEBUG, tmp_path, options, resume='auto').model
    for model in (trained, resumed):
        assert model.center.norm() > 0
        for key, value in model.state_dict().items():
            assert torch.equal(value, state[key]), key
    # The teacher's statistics are its own.
    assert not torch.equal(trained.momentum.backbone.bn1.running_mean,
                           trained.backbone.bn1.running_mean)
