"""Configs with the names of earlier versions keep working."""
from importlib import import_module

import pytest

from mmcontrast.apis.config import check_config, load_config
from mmcontrast.engine.runner.reliable_runner import ReliableRunner
from mmcontrast.registry import TRANSFORMS

BASE = """
default_scope = 'mmcontrast'
runner_type = 'ReliableRunner'
model = dict(type='ConvMLP', in_channels=3, hidden_channels=4, out_channels=2)
default_hooks = dict(
    nonfinite_guard=dict(type='NonFiniteGuardHook', max_saves=3),
    slot_images=dict(type='SlotImagesHook', interval=2, num_images=3))
"""


@pytest.fixture
def config(tmp_path):
    def write(text: str = '') -> str:
        (tmp_path / 'base.py').write_text(BASE)
        (tmp_path / 'mine.py').write_text(f"_base_ = 'base.py'\n{text}")
        return str(tmp_path / 'mine.py')
    return write


def test_a_former_hook_key_removes_the_hook_of_a_base_config(config):
    cfg = load_config(config('default_hooks = dict(finite_guard=None)'))
    assert cfg.default_hooks.nonfinite_guard is None
    assert 'finite_guard' not in cfg.default_hooks


def test_a_former_hook_key_changes_the_hook_of_a_base_config(config):
    cfg = load_config(config('default_hooks = dict(slot_pictures=dict(interval=5))'))
    assert cfg.default_hooks.slot_images == dict(
        type='SlotImagesHook', interval=5, num_images=3)
    assert 'slot_pictures' not in cfg.default_hooks
    check_config(cfg)


def test_former_keys_on_the_command_line(config):
    cfg = load_config(config(), {
        'default_hooks.finite_guard': None,
        'default_hooks.slot_pictures.interval': 7})
    assert cfg.default_hooks.nonfinite_guard is None
    assert cfg.default_hooks.slot_images.interval == 7
    check_config(cfg)


def test_former_type_names_pass_the_check(config):
    cfg = load_config(config("""
runner_type = 'TrustedRunner'
default_hooks = dict(finite_guard=dict(type='FiniteGuardHook'),
                     slot_pictures=dict(type='SlotPicturesHook'))
train_dataloader = dict(
    batch_size=2, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='UnlabelledImages', data_root='x', pipeline=[]))
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
"""))
    check_config(cfg)


def test_a_former_meta_key_of_packed_views_is_renamed():
    """Else views that the pipeline has augmented would be augmented again."""
    pack = TRANSFORMS.build(dict(type='PackViews', meta_keys=('label', 'recoloured')))
    assert pack.meta_keys == ('label', 'photometric_done')


@pytest.mark.parametrize('name', [
    'ReliableRunner', 'TrustedRunner', 'mmcontrast.TrustedRunner'])
def test_a_runner_is_found_without_its_scope(name, config, monkeypatch):
    built, module = [], import_module('mmcontrast.apis.train')
    monkeypatch.setattr(ReliableRunner, 'from_cfg', built.append)
    monkeypatch.setattr(module, '_OUR_HOOKS', {})
    monkeypatch.setattr(module, 'fit_to_devices', lambda cfg: [])
    module.build_runner(load_config(config(f'runner_type = {name!r}')))
    assert len(built) == 1
