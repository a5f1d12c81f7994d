"""Released DenseCLIP checkpoints become ours without losing a key."""
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.methods.denseclip.convert import convert, infer_model
from mmcontrast.registry import MODELS
from tests.helpers.denseclip_case import Case, released_name
from tests.helpers.processes import run_python

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize('name, count, classes', [
    ('seg_rn50_eval', 624, 150), ('seg_vitb16_eval', 456, 150),
    ('retinanet_rn50_eval', 600, 80), ('maskrcnn_rn50_eval', 606, 80)])
def test_official_layouts_find_their_model_and_fill_it(name, count, classes):
    shapes = Case(name).meta['state']
    assert len(shapes) == count
    with torch.device('meta'):
        weights = {key: torch.empty(shape) for key, shape in shapes.items()}
        model = MODELS.build(infer_model(weights, {}))
    ours = {released_name(key): list(value.shape)
            for key, value in model.state_dict().items()}
    assert ours == {key: list(shape) for key, shape in shapes.items()}
    assert len(model.class_names) == classes


def test_class_names_come_from_the_file_where_it_has_them():
    shapes = Case('retinanet_rn50_eval').meta['state']
    weights = {key: torch.empty(shape, device='meta') for key, shape in shapes.items()}
    names = [f'thing {i}' for i in range(80)]
    assert infer_model(weights, dict(CLASSES=names)).class_names == names


CLASSES = ('square', 'red circle', 'moon')
SIZES = dict(
    class_names=CLASSES, num_contexts=4,
    text_encoder=dict(tower=None, embed_dims=32, width=64, heads=2, layers=2,
                      vocab_size=49408, init_cfg=None),
    context_decoder=dict(width=64, heads=4, layers=2))
RESNET = dict(tower=None, layers=(1, 2, 1, 1), width=16, embed_dims=32, input_size=128,
              init_cfg=None)
VIT = dict(tower=None, layers=12, width=64, heads=1, embed_dims=32, input_size=64,
           patch_size=16, init_cfg=None)
CHANNELS = [64, 128, 256, 512]
TINY = {
    'det_retinanet-rn50_8xb2-12e_coco': dict(
        SIZES, backbone=RESNET, neck=dict(in_channels=CHANNELS, out_channels=8),
        bbox_head=dict(in_channels=8, feat_channels=8)),
    'seg_fpn-rn50_8xb4-80k_ade20k-512x512': dict(
        SIZES, backbone=RESNET, neck=dict(in_channels=CHANNELS, out_channels=8),
        decode_head=dict(in_channels=[8] * 4, channels=8)),
    'seg_fpn-vit-b16_8xb4-80k_ade20k-640x640': dict(
        SIZES, backbone=VIT, neck=dict(in_channels=[64] * 4, out_channels=8),
        decode_head=dict(in_channels=[8] * 4, channels=8))}


def tiny_config(name: str) -> Config:
    """A published config with small towers."""
    cfg = Config.fromfile(ROOT / 'configs' / 'denseclip' / f'denseclip-{name}.py')
    cfg.merge_from_dict(dict(model=TINY[name]))
    return cfg


def random_weights(model: torch.nn.Module) -> dict:
    torch.manual_seed(0)
    state = {released_name(key): value for key, value in model.state_dict().items()}
    for name, value in state.items():
        if name.endswith('running_var'):
            value.uniform_(0.5, 1.5)
        elif value.is_floating_point() and value.ndim < 2:
            value.normal_(float(name.endswith('weight')), 0.1)
    return state


@pytest.mark.parametrize('name', TINY)
def test_our_model_sees_what_the_released_code_sees(name):
    cfg = tiny_config(name).model
    weights = random_weights(MODELS.build(cfg))
    conversion = convert(weights, cfg)
    found = {released_name(key): x for key, x in conversion.state_dict.items()}
    assert set(found) == set(weights)
    assert all(found[key].equal(weights[key]) for key in weights)
    assert conversion.report.summary().count('Equal outputs with') == 2
    assert conversion.meta['dataset_meta']['classes'] == list(CLASSES)


def test_the_equality_check_finds_a_model_that_computes_something_else():
    cfg = tiny_config('seg_fpn-rn50_8xb4-80k_ade20k-512x512').model
    weights = random_weights(MODELS.build(cfg))
    # The same tensors, read as half as many heads as the released decoder has.
    cfg.context_decoder.heads = 2
    with pytest.raises(ValueError, match='text differs'):
        convert(weights, cfg)


def test_lost_keys_and_other_files_are_rejected():
    cfg = tiny_config('det_retinanet-rn50_8xb2-12e_coco').model
    weights = dict(random_weights(MODELS.build(cfg)))
    del weights['bbox_head.retina_cls.bias']
    weights['bbox_head.extra.weight'] = torch.zeros(1)
    with pytest.raises(ValueError) as error:
        convert(weights, cfg)
    assert 'nothing for bbox_head.retina_cls.bias' in str(error.value)
    assert 'no place for bbox_head.extra.weight' in str(error.value)
    with pytest.raises(ValueError, match='--config'):
        convert(weights)
    with pytest.raises(ValueError, match='lacks contexts'):
        convert({'backbone.conv1.weight': torch.zeros(1)})


def test_the_tool_writes_a_checkpoint_that_names_its_classes(tmp_path):
    cfg = tiny_config('det_retinanet-rn50_8xb2-12e_coco')
    cfg.dump(tmp_path / 'tiny.py')
    weights = random_weights(MODELS.build(cfg.model))
    torch.save(dict(meta=dict(CLASSES=CLASSES, epoch=12), state_dict=weights),
               tmp_path / 'released.pth')
    done = run_python(
        [sys.executable, 'tools/convert/official.py', 'denseclip',
         tmp_path / 'released.pth', tmp_path / 'ours.pth', '--config',
         tmp_path / 'tiny.py'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f'{len(weights)} keys converted, 0 dropped, 0 not in' in done.stdout
    ours = read_checkpoint(tmp_path / 'ours.pth')
    MODELS.build(cfg.model).load_state_dict(ours['state_dict'])
    assert ours['meta']['dataset_meta']['classes'] == list(CLASSES)
