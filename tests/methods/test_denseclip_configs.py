"""The segmentation configs of DenseCLIP: what they build is what was published."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmcontrast.registry import MODELS

pytest.importorskip('mmseg')
FOLDER = Path(__file__).parents[2] / 'configs' / 'denseclip'
SEG = sorted(FOLDER.glob('*-seg_*.py'))
ADE = '_8xb4-80k_ade20k-512x512'


def built(name: str) -> torch.nn.Module:
    """The model of a config without values; BN, as there is one process."""
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    for part in ('decode_head', 'backbone'):
        if 'norm_cfg' in cfg.model[part]:
            cfg.model[part].norm_cfg = dict(type='BN')
    # feature_channels asks the backbone, which needs values.
    device = 'cpu' if 'attention_pool' in cfg.model else 'meta'
    with DefaultScope.overwrite_default_scope(cfg.default_scope), torch.device(device):
        return MODELS.build(cfg.model)


def millions(model: torch.nn.Module, without: str = ' ') -> float:
    return sum(p.numel() for name, p in model.named_parameters()
               if without not in name) / 1e6


@pytest.mark.parametrize('name, with_text, published', [
    ('clip-seg_fpn-rn50' + ADE, 31.0, 31.0),
    ('clip-seg_fpn-rn101' + ADE, 50.0, 50.0),
    # The table of the release says 100.8 here; its model counts 101.3.
    ('clip-seg_fpn-vit-b16_8xb4-80k_ade20k-640x640', 101.3, 101.3),
    ('denseclip-seg_fpn-rn50' + ADE, 113.9, 50.3),
    ('denseclip-seg_fpn-rn101' + ADE, 131.2, 67.8),
    ('denseclip-seg_fpn-vit-b16_8xb4-80k_ade20k-640x640', 168.7, 105.3)])
def test_models_have_the_published_number_of_parameters(name, with_text, published):
    model = built(name)
    assert millions(model) == pytest.approx(with_text, abs=0.06)
    # The published tables leave the text tower out.
    assert millions(model, 'text_encoder') == pytest.approx(published, abs=0.06)


@pytest.mark.parametrize('name, channels', [
    ('denseclip-seg_upernet-rn50' + ADE, [256, 512, 1024, 2048 + 150]),
    ('denseclip-seg_fpn-r50-in1k' + ADE, [256, 512, 1024, 2048 + 150]),
    ('denseclip-seg_fpn-swin-t-in1k' + ADE, [96, 192, 384, 768 + 150]),
    ('denseclip-seg_fpn-rn50_1xb8-4k_camvid-320x320', [256, 512, 1024, 2048 + 11]),
    ('denseclip-seg_fpn-tinyrn_1xb8-300it_camvid-160x160', [64, 128, 256, 512 + 11]),
    ('denseclip-seg_fpn-tinyrn_1xb8-300it_shapes-256x256', [64, 128, 256, 512 + 10])])
def test_other_models_make_room_for_the_scores(name, channels):
    model = built(name)
    reader = model.neck if model.with_neck else model.decode_head
    assert list(reader.in_channels) == channels
    assert model.decode_head.num_classes == len(model.class_names)


@pytest.mark.parametrize('path', SEG, ids=lambda p: p.stem)
def test_config_names_match_batch_size_and_schedule(path):
    cfg = Config.fromfile(path)
    _, _, batch, *_ = path.stem.replace('_8xb', ' ').replace('_1xb', ' ').partition(' ')
    size, steps = batch.split('_')[0].split('-')
    if not path.stem.endswith('debug'):
        assert cfg.train_dataloader.batch_size == int(size)
        assert cfg.train_cfg.max_iters == int(
            steps.removesuffix('it').replace('k', '000'))
    assert 'type' in cfg.param_scheduler[0] and cfg.tta_pipeline
