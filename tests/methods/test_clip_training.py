"""CLIP trained by the real Runner, exported, and read by everybody who should."""
import json
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from mmengine.config import Config

from mmcontrast.apis.config import load_config
from mmcontrast.apis.convert.export_clip import export_clip
from mmcontrast.apis.test import test as run_test
from mmcontrast.models.clip_weights import load_clip_state
from mmcontrast.models.text import tokenize
from mmcontrast.registry import MODELS
from tests.helpers.processes import run_python
from tests.helpers.runs import run, scalars

ROOT = Path(__file__).parents[2]

CONFIGS = sorted((ROOT / 'configs' / 'clip').glob('*.py'))
DEBUG, = (str(path) for path in CONFIGS if path.stem.endswith('debug'))
TEXTS = ['a striped red star', 'the sky']


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A hundred steps of the debug config."""
    work_dir = tmp_path_factory.mktemp('clip')
    run(DEBUG, work_dir, {
        'train_dataloader.num_workers': 0, 'train_dataloader.dataset.num_images': 640,
        'train_cfg.max_epochs': 10, 'train_cfg.val_interval': 10,
        'default_hooks.logger.interval': 5, 'default_hooks.checkpoint.interval': 10})
    return work_dir


@pytest.fixture(scope='module')
def exported(trained):
    path = trained / 'tiny.safetensors'
    report = str(export_clip(DEBUG, trained / 'epoch_10.pth', path))
    return path, report


@pytest.fixture(scope='module')
def model(trained):
    model = MODELS.build(load_config(DEBUG).model)
    weights = torch.load(trained / 'epoch_10.pth', weights_only=False)['state_dict']
    model.load_state_dict(weights)
    return model.eval()


def image():
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_config_has_the_sizes_of_the_model_config_beside_it(path):
    sizes = json.loads((path.parent / 'tinyrn.json').read_text())
    assert Config.fromfile(path).model.architecture.to_dict() == sizes


def test_the_loss_falls(trained):
    losses = [row['loss'] for row in scalars(trained)]
    assert sum(losses[-4:]) / 4 < losses[0] - 0.7


def test_colors_of_unseen_objects_are_named_far_above_chance(trained):
    rows = [json.loads(line) for file in trained.glob('*/vis_data/scalars.json')
            for line in file.read_text().splitlines()]
    found, = (row for row in rows if 'zero_shot/seen/color' in row)
    # Chance is 12.5 and 1.6 per cent.
    assert found['zero_shot/seen/color'] > 50
    assert found['zero_shot/held_out/color'] > 50
    assert found['zero_shot/seen/pair'] > 5


def test_testing_a_checkpoint_asks_about_other_scenes(trained, tmp_path):
    found = run_test(DEBUG, str(trained / 'epoch_10.pth'), str(tmp_path), cfg_options={
        'test_dataloader.dataset.num_images': 30})
    assert found['zero_shot/seen/color'] > 50
    assert set(found) == {f'zero_shot/{name}' for name in (
        'scene/caption', *(f'{group}/{what}' for group in ('seen', 'held_out')
                           for what in ('color', 'shape', 'pair')))}


def test_open_clip_loads_the_export_and_encodes_alike(exported, model):
    path, report = exported
    assert 'Equal outputs with weights of the file' in report
    open_clip.add_model_config(path.with_suffix('.json'))
    theirs = open_clip.create_model('tiny', pretrained=str(path)).eval()
    with torch.no_grad():
        torch.testing.assert_close(
            theirs.encode_image(image(), normalize=True), model(image()))
        torch.testing.assert_close(
            theirs.encode_text(tokenize(TEXTS, 48), normalize=True),
            model.encode_texts(TEXTS))


def test_our_towers_read_the_export(exported, model):
    init = dict(type='CLIPPretrained', checkpoint=str(exported[0]))
    sizes = load_config(DEBUG)
    tower = MODELS.build(dict(
        type='CLIPResNetWithAttention', layers=sizes.vision_cfg.layers,
        width=sizes.vision_cfg.width, input_size=sizes.vision_cfg.image_size,
        embed_dims=sizes.embed_dim, init_cfg=init))
    text = MODELS.build(dict(
        type='CLIPTextEncoder', embed_dims=sizes.embed_dim, init_cfg=init,
        **{key: sizes.text_cfg[key] for key in (
            'width', 'heads', 'layers', 'vocab_size', 'context_length')}))
    for module in (tower, text):
        module.init_weights()
    with torch.no_grad():
        whole, dense = tower.eval()(image())[-1]
        assert dense.shape == (1, 128, 2, 2)
        normalize = torch.nn.functional.normalize
        torch.testing.assert_close(normalize(whole, dim=1), model(image()))
        torch.testing.assert_close(
            normalize(text(tokenize(TEXTS, 48)), dim=1), model.encode_texts(TEXTS))


def test_a_plain_file_holds_the_same_weights(exported, trained, tmp_path):
    export_clip(DEBUG, trained / 'epoch_10.pth', tmp_path / 'tiny.pt')
    plain = torch.load(tmp_path / 'tiny.pt', weights_only=True)
    state = load_clip_state(exported[0])
    assert set(plain) == set(state)
    assert 'visual.attnpool.positional_embedding' in plain
    torch.testing.assert_close(load_clip_state(tmp_path / 'tiny.pt'), state)


def test_the_tool_exports_and_says_how_to_load(trained, tmp_path):
    done = run_python(
        [sys.executable, ROOT / 'tools' / 'convert' / 'export_clip.py', DEBUG,
         trained / 'epoch_10.pth', tmp_path / 'out' / 'tiny.pt'],
        capture_output=True, text=True, check=True, cwd=ROOT)
    assert (tmp_path / 'out' / 'tiny.json').is_file()
    assert "open_clip.create_model('tiny', pretrained=" in done.stdout


def test_what_cannot_be_exported_is_named(trained, tmp_path):
    checkpoint = trained / 'epoch_10.pth'
    with pytest.raises(ValueError, match=r'\.safetensors, \.pt'):
        export_clip(DEBUG, checkpoint, tmp_path / 'tiny.onnx')
    other = str(next((ROOT / 'configs' / 'pixpro').glob('*debug.py')))
    with pytest.raises(ValueError, match="'PixPro'.*'CLIP'"):
        export_clip(other, checkpoint, tmp_path / 'tiny.pt')
    wider = tmp_path / 'wider.py'
    wider.write_text(f"_base_ = '{DEBUG}'\n"
                     "model = dict(architecture=dict(embed_dim=64))\n")
    with pytest.raises(ValueError, match='does not fit'):
        export_clip(str(wider), checkpoint, tmp_path / 'tiny.pt')
