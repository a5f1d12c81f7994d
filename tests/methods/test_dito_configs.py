"""Published configs of DITO: their sizes, names and schedules."""
import re
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmdet')
pytest.importorskip('open_clip')
from mmcontrast.apis.config import load_config
from mmcontrast.methods.dito.convert import build_parts
from mmcontrast.methods.dito.names import detector_table, pretraining_table, stack_qkv
from mmcontrast.registry import MODELS
from tests.golden.test_dito_converter import full_tree

FOLDER = Path(__file__).parents[2] / 'configs' / 'dito'
CONFIGS = sorted(FOLDER.glob('*.py'))


def model_of(stem):
    path, = FOLDER.glob(f'{stem}*.py')
    return load_config(str(path)).model


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_names_give_batch_size_and_schedule(path):
    cfg = load_config(str(path))
    gpus, batch, steps, unit = re.search(
        r'_(\d+)xb(\d+)-(\d+)(k|e)_', path.stem).groups()
    assert cfg.train_dataloader.batch_size == int(batch) and int(gpus) >= 1
    if unit == 'k':
        assert cfg.train_cfg.max_iters // 1000 == int(steps)
        assert cfg.param_scheduler[-1].get('end', 10 ** 9) >= cfg.train_cfg.max_iters
    else:
        assert cfg.train_cfg.max_epochs == int(steps)


@pytest.mark.parametrize('size, heads, blocks', [
    ('vit-b16', 12, 12), ('vit-l16', 16, 24)])
def test_the_lvis_models_have_the_parameters_of_the_reference(size, heads, blocks):
    with torch.device('meta'):
        state = build_parts(model_of(f'dito_mask-rcnn-{size}'), True).state_dict()
    tree = stack_qkv(full_tree(size.replace('-', '_')))
    table = detector_table(heads, blocks, (2, 3, 4, 5))
    assert {name: value.shape for name, value in state.items()} == {
        name: kind.ours(tree[path]).shape for name, (path, kind) in table.items()}


@pytest.mark.parametrize('size, heads, blocks', [
    ('vit-b16', 12, 12), ('vit-l16', 16, 24)])
def test_region_pretraining_has_the_parts_that_the_detectors_load(size, heads, blocks):
    config = model_of(f'dito-pretrain-regions_{size}')
    with torch.device('meta'):
        state = build_parts(config, False).state_dict()
        detector = build_parts(model_of(f'dito_mask-rcnn-{size}'), True).state_dict()
    names = pretraining_table(heads, blocks, (2, 3, 4, 5))
    assert set(state) == {*names, 'box_head.temperature'}
    for name, value in state.items():
        ours = name.replace('box_head.', 'roi_head.bbox_head.')
        assert detector[ours].shape == value.shape, name


def test_with_clip_the_frozen_copy_and_the_texts_share_a_space():
    config = model_of('dito_mask-rcnn-clip-vit-b16')
    with torch.device('meta'):
        vlm = MODELS.build(dict(config.backbone) | config.vlm | dict(init_cfg=None))
        text = MODELS.build(dict(config.text_encoder, init_cfg=None))
    assert vlm.embed_dims == text.embed_dims == 512
    assert config.roi_head.bbox_head.embed_dims == 512
    assert vlm.width == 768 and vlm.pre_norm and vlm.norm_eps == 1e-5


def test_the_toy_detector_reads_the_text_tower_of_the_small_clip():
    detector, clip = (load_config(str(FOLDER.parent / name)) for name in (
        'dito/dito_faster-rcnn-vit-tiny_1xb8-6e_shapes.py',
        'clip/clip_tinyrn_1xb64-coslr-32e_shapes.py'))
    ours, text = detector.model.text_encoder, clip.model.architecture.text_cfg
    assert (ours.width, ours.heads, ours.layers, ours.context_length) == (
        text.width, text.heads, text.layers, text.context_length)
    assert ours.embed_dims == clip.model.architecture.embed_dim


def test_the_shift_is_half_a_window_of_the_largest_images():
    for size in ('vit-b16', 'vit-l16', 'clip-vit-b16'):
        backbone = model_of(f'dito_mask-rcnn-{size}').backbone
        assert 2 * backbone.shift == 1024 // 16 // backbone.windows[0]
