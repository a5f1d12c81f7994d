"""Released trees of DITO: names of the full models, conversion of a small one."""
import json

import pytest
import torch

pytest.importorskip('mmdet')
from mmcontrast.apis.convert import convert_official
from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.io.flax_files import write_flax
from mmcontrast.methods.dito.convert import build_parts, convert, convert_back
from mmcontrast.methods.dito.names import (
    detector_table,
    pretraining_table,
    split_qkv,
    stack_qkv,
)
from mmcontrast.testing import fill
from tests.helpers.dito_case import FOLDER, Case

LEVELS = (2, 3, 4, 5)
SMALL = dict(
    type='DITODetector',
    backbone=dict(type='PlainViT', layers=2, width=32, heads=4, patch_size=16,
                  windows=(2, None), shift=1),
    neck=dict(type='SimpleFeaturePyramid', in_channels=32, out_channels=16),
    rpn_head=dict(type='CenternessRPNHead', in_channels=16, feat_channels=16),
    roi_head=dict(
        type='TextRoIHead',
        bbox_head=dict(type='TextBoxHead', in_channels=16, conv_channels=16,
                       fc_channels=24, embed_dims=20),
        mask_head=dict(type='NormedMaskHead', in_channels=16, conv_channels=16)),
    vlm=dict(windows=(2, None)))


def full_tree(name):
    shapes = json.loads((FOLDER / f'reference_param_tree_{name}.json').read_text())
    return {path: torch.empty(shape, device='meta')
            for path, shape in shapes['tree'].items()}


@pytest.mark.parametrize('name, heads, blocks', [
    ('vit_b16', 12, 12), ('vit_l16', 16, 24)])
def test_every_array_of_the_full_models_has_one_parameter(name, heads, blocks):
    tree = stack_qkv(full_tree(name))
    table = detector_table(heads, blocks, LEVELS)
    paths = [path for path, _ in table.values()]
    assert sorted(paths) == sorted(tree) and len(set(paths)) == len(paths)
    for path, kind in table.values():
        assert kind.flax(kind.ours(tree[path])).shape == tree[path].shape
    assert set(split_qkv(tree)) == set(full_tree(name))


def test_the_parameters_of_the_base_model_are_those_of_the_case():
    shapes = dict(Case('detector_eval').meta['params'])
    tree = stack_qkv(full_tree('vit_b16'))
    ours = {name.removeprefix('roi_head.'): list(kind.ours(tree[path]).shape)
            for name, (path, kind) in detector_table(12, 12, LEVELS).items()}
    assert ours.pop('bbox_head.temperature') == [1]
    assert ours == shapes


def small_tree(root=''):
    """Arrays of a small detector, drawn by name."""
    state = build_parts(SMALL, True).state_dict()
    ours = fill.fill_state_dict({name: value.shape for name, value in state.items()})
    return {f'{root}{path}': value.contiguous()
            for path, value in convert_back(ours, SMALL).items()}, ours


def test_a_small_detector_is_converted_and_its_outputs_are_equal():
    tree, ours = small_tree('optimizer/target/')
    conversion = convert(tree, SMALL)
    assert conversion.state_dict.keys() == ours.keys()
    for name, value in ours.items():
        assert torch.equal(conversion.state_dict[name], value), name
    equal = [line for line in conversion.report.checks if line.startswith('Equal')]
    assert len(equal) == 2 and 'frozen map' in equal[0] and 'mask' in equal[0]


@pytest.mark.parametrize('path, spoil', [
    ('task_heads_0/feature_pyramid_fn/ConvTranspose_0/kernel', lambda x: x.flip(0)),
    ('vision_model/transformer/resblocks.1/attn/query/kernel', lambda x: 2 * x),
    ('task_heads_0/fastrcnn_head_fn/fc6/kernel', lambda x: x.flip(0)),
    ('task_heads_0/maskrcnn_head_fn/conv5-mask/kernel', lambda x: x.flip(1))])
def test_the_check_finds_an_array_in_another_layout(path, spoil, monkeypatch):
    tree, _ = small_tree()
    from mmcontrast.methods.dito import released
    outputs = released.part

    def spoiled(given, name):
        return outputs({key: spoil(value) if key == path else value
                        for key, value in given.items()}, name)
    monkeypatch.setattr(released, 'part', spoiled)
    with pytest.raises(ValueError, match='Equality check with weights of the file'):
        convert(tree, SMALL)


def test_a_missing_array_is_named():
    tree, _ = small_tree()
    del tree['task_heads_0/region_proposal_head_fn/rpn-box/bias']
    with pytest.raises(ValueError, match='nothing for rpn_head.reg.bias'):
        convert(tree, SMALL)


def test_the_tool_reads_and_writes_flax_files(tmp_path):
    tree, ours = small_tree()
    write_flax(tree, tmp_path / 'released.msgpack')
    config = tmp_path / 'small.py'
    config.write_text(f'model = {SMALL!r}\n')
    convert_official('dito', tmp_path / 'released.msgpack', tmp_path / 'ours.pth',
                     config)
    assert read_checkpoint(tmp_path / 'ours.pth')['state_dict'].keys() == ours.keys()
    convert_official('dito', tmp_path / 'ours.pth', tmp_path / 'back.msgpack', config,
                     back=True)
    back = read_checkpoint(tmp_path / 'back.msgpack')['state_dict']
    assert back.keys() == tree.keys()
    assert all(torch.equal(back[path], value) for path, value in tree.items())


def test_pretrained_trees_fill_backbone_neck_and_box_head():
    model = dict(type='DITOPretraining', backbone=SMALL['backbone'], neck=SMALL['neck'],
                 box_head=SMALL['roi_head']['bbox_head'])
    state = build_parts(model, False).state_dict()
    ours = fill.fill_state_dict({name: value.shape for name, value in state.items()})
    tree = {path: value.contiguous()
            for path, value in convert_back(ours, model).items()}
    assert all(path.startswith('model_state/params/visual/') for path in tree)
    del ours['box_head.temperature']  # not trained, not released
    conversion = convert(tree, model, drop=['box_head.temperature'])
    assert len(pretraining_table(4, 2, LEVELS)) == len(ours)
    for name, value in ours.items():
        assert torch.equal(conversion.state_dict[name], value), name


def test_another_file_is_rejected():
    with pytest.raises(ValueError, match='No released DITO checkpoint.*conv1'):
        convert({'conv1/kernel': torch.zeros(1)})
