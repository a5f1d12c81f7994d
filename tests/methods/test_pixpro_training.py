"""PixPro trained by the real Runner, from its configs."""
import ast
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmcontrast.apis.train import fit_to_devices
from mmcontrast.engine import cosine_momentum, warmup_cosine
from mmcontrast.registry import MODELS
from tests.helpers.runs import run, scalars

CONFIGS = Path(__file__).parents[2] / 'configs' / 'pixpro'
DEBUG = str(CONFIGS / 'pixpro_resnet18_1xb32-coslr-4e_shapes_debug.py')
SMALL = {
    'train_dataloader.batch_size': 4, 'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'train_dataloader.dataset.num_images': 12,
    'train_dataloader.dataset.pipeline.0.size': 32,
    'default_hooks.logger.interval': 1, 'model.backbone.base_channels': 8,
    'model.backbone.stem_channels': 8}


@cache
def first_losses(model: str, size: int) -> dict:
    """Of a model as several configs have it."""
    model = MODELS.build(ast.literal_eval(model)).train()
    views = [torch.randn(2, 3, size, size) for _ in range(2)]
    box = torch.tensor([[0., 0., .7, .7]]).repeat(2, 1)
    model.momentum.coefficient = 0.99
    with torch.no_grad():
        return model.losses_of(views, (box, box + .1))


@pytest.mark.parametrize('name', sorted(path.name for path in CONFIGS.glob('*.py')))
def test_every_config_builds_and_gives_a_loss(name):
    cfg = Config.fromfile(CONFIGS / name)
    fit_to_devices(cfg)
    losses = first_losses(str(cfg.model.to_dict()), 224 if 'swin' in name else 64)
    assert torch.isfinite(losses['loss_pixel']) and losses['no_pair_share'] == 0
    assert losses['feature_std'] > 0


def test_a_resumed_run_continues_with_rate_momentum_and_step(tmp_path):
    straight, broken = tmp_path / 'straight', tmp_path / 'broken'
    options = SMALL | {'train_cfg.max_epochs': 4}
    run(DEBUG, straight, options)
    # The first part stops after two of the four epochs, as if it had been killed.
    stop = dict(type='mmcontrast.StopAfterEpoch', epoch=2)
    with pytest.raises(KeyboardInterrupt):
        run(DEBUG, broken, options | {'default_hooks.stop': stop})
    run(DEBUG, broken, options, resume='auto')
    whole, parts = scalars(straight), scalars(broken)
    for key in ('step', 'lr', 'momentum'):
        assert [row[key] for row in parts] == [row[key] for row in whole]
    # Three iterations an epoch, one epoch of warm-up.
    assert [row['lr'] for row in parts] == pytest.approx(
        [warmup_cosine(t, 12, 3, 1e-3) for t in range(12)])
    assert [row['momentum'] for row in parts] == pytest.approx(
        [cosine_momentum(k, 12) for k in range(12)])


def test_momentum_moves_once_an_optimizer_step_when_gradients_accumulate(tmp_path):
    run(DEBUG, tmp_path, SMALL | {
        'train_cfg.max_epochs': 2, 'optim_wrapper.accumulative_counts': 2})
    # Six iterations are three optimizer steps.
    assert [row['momentum'] for row in scalars(tmp_path)] == pytest.approx(
        [cosine_momentum(k, 3) for k in (0, 0, 1, 1, 2, 2)])


def write_images(folder: Path, count: int):
    folder.mkdir(parents=True)
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 255, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f'{i}.jpg')


def folder_options(folder: Path) -> dict:
    options = {key: value for key, value in SMALL.items() if 'num_images' not in key}
    return options | {
        'train_dataloader.dataset': dict(
            _delete_=True, type='UnlabeledImages', data_root=str(folder),
            pipeline=[dict(type='LoadImage'), dict(type='TwoViews', size=32),
                      dict(type='PackViews')]),
        'train_cfg.max_epochs': 1, 'param_scheduler.warmup': 0}


def without_pipeline(options: dict) -> dict:
    return {k: v for k, v in options.items() if 'pipeline.0' not in k}


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere'):
        run(DEBUG, tmp_path / 'run', without_pipeline(
            folder_options(tmp_path / 'nowhere')))


def test_a_folder_without_images_says_what_was_looked_for(tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty' / 'notes.txt').write_text('no image')
    with pytest.raises((FileNotFoundError, ValueError), match=r'empty.*(jpg|image)'):
        run(DEBUG, tmp_path / 'run', without_pipeline(
            folder_options(tmp_path / 'empty')))


def test_a_set_of_broken_images_stops_with_the_first_of_them(tmp_path):
    (tmp_path / 'broken').mkdir()
    for i in range(8):
        (tmp_path / 'broken' / f'{i}.jpg').write_bytes(b'\xff\xd8\xff not an image')
    with pytest.raises(Exception, match=r'8 of 8|\.jpg') as error:
        run(DEBUG, tmp_path / 'run', without_pipeline(
            folder_options(tmp_path / 'broken')))
    assert 'broken' in str(error.value)


def test_a_broken_image_among_good_ones_is_skipped_and_listed(tmp_path):
    write_images(tmp_path / 'photos', 30)
    (tmp_path / 'photos' / 'bad.jpg').write_bytes(b'')
    runner = run(DEBUG, tmp_path / 'run', without_pipeline(
        folder_options(tmp_path / 'photos')))
    assert runner.iter == 31 // 4
    listed = list((tmp_path / 'run').rglob('bad_images.txt'))
    assert len(listed) == 1 and 'bad.jpg' in listed[0].read_text()


def test_a_run_starts_from_any_checkpoint_but_one_that_fits_nowhere(tmp_path):
    torch.save(dict(state_dict={'some.other.net': torch.zeros(2)}), tmp_path / 'x.pth')
    with pytest.raises(KeyError, match='some'):
        run(DEBUG, tmp_path / 'run', SMALL | {
            'train_cfg.max_epochs': 1, 'param_scheduler.warmup': 0,
            'load_from': str(tmp_path / 'x.pth')})
