"""tools/convert: official.py, inspect_checkpoint.py, to_safetensors.py, real files."""
import argparse
import os
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

from mmcontrast.apis.convert import convert_official
from mmcontrast.apis.convert.inspect_checkpoint import describe_checkpoint
from mmcontrast.converters import rename_keys, verify_stages
from mmcontrast.converters.equality import randomized
from mmcontrast.converters.resnets import released_encoder
from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.io.checkpoint_writer import write_training_checkpoint
from mmcontrast.io.manifest import file_sha256
from mmcontrast.methods.pixpro.convert import convert, infer_model
from mmcontrast.registry import MODELS
from tests.helpers.processes import run_python

ROOT = Path(__file__).parents[2]


def mlp(name: str, channels: int) -> dict:
    module = nn.ModuleDict(dict(
        linear1=nn.Conv2d(channels, 24, 1), bn1=nn.BatchNorm2d(24),
        linear2=nn.Conv2d(24, 16, 1)))
    return {f'{name}.{k}': v for k, v in module.state_dict().items()}


def released(depth: int = 18, instance: bool = False, transform: str = 'conv') -> dict:
    """Weights as the released code saves them, with small heads."""
    from torchvision import models
    encoder = models.get_model(f'resnet{depth}', weights=None)
    channels, encoder.fc = encoder.fc.in_features, nn.Identity()
    weights = {}
    for suffix in ('', '_k'):
        weights |= {f'encoder{suffix}.{k}': v for k, v in encoder.state_dict().items()}
        weights |= mlp(f'projector{suffix}', channels)
        if instance:
            weights |= mlp(f'projector_instance{suffix}', channels)
    if instance:
        weights |= mlp('predictor', 16)
    if transform == 'conv':
        weights |= {'value_transform.weight': torch.randn(16, 16, 1, 1),
                    'value_transform.bias': torch.randn(16)}
    if transform == 'mlp':
        mlp_16 = mlp('value_transform', 16)
        weights |= {k: v[:16, :16] if v.ndim > 1 else v[:16] if v.ndim else v
                    for k, v in mlp_16.items()}
    generator = torch.Generator().manual_seed(0)
    return {k: v + 0.01 * torch.randn(v.shape, generator=generator)
            if v.ndim else v for k, v in weights.items()}


def saved(weights: dict, path: Path, **others) -> Path:
    model = {f'module.{key}': value for key, value in weights.items()}
    torch.save(dict(model=model, **others), path)
    return path


@pytest.fixture
def run_tool(monkeypatch, capsys):
    """Run a tool as a script; its output, and the sentence it ended with (or None)."""
    def run(name: str, *arguments):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        sentence = None
        try:
            runpy.run_path(str(ROOT / 'tools' / 'convert' / name), run_name='__main__')
        except SystemExit as error:
            sentence = error.code
        return capsys.readouterr().out, sentence
    return run


def test_the_tool_prints_every_key_and_writes_a_file_that_the_model_loads(tmp_path):
    weights = released()
    src = saved(weights, tmp_path / 'src.pth', epoch=100, optimizer={},
                opt=argparse.Namespace(batch_size=1024))
    # A process of its own: modules beside the script come first on its path.
    run = run_python(
        [sys.executable, '-W', 'ignore', 'tools/convert/official.py', 'pixpro',
         str(src), str(tmp_path / 'dst.pth')], capture_output=True, text=True, cwd=ROOT,
        env=os.environ | dict(PYTHONPATH=str(ROOT)))
    assert run.returncode == 0, run.stderr
    for key in weights:
        assert f'  {key} ' in run.stdout
    assert 'backbone.layer4.1.conv2.weight' in run.stdout
    assert f'{len(weights)} keys converted, 0 dropped, 0 not in the file' in run.stdout
    assert 'not converted: epoch, opt, optimizer' in run.stdout

    # Plain data: torch reads it with its own safe globals.
    written = torch.load(tmp_path / 'dst.pth', weights_only=True)
    assert all(isinstance(value, str) for value in written['meta'].values())
    with DefaultScope.overwrite_default_scope('mmcontrast'):
        model = MODELS.build(convert(weights).model)
    model.load_state_dict(written['state_dict'])
    assert torch.equal(model.momentum.backbone.conv1.weight,
                       weights['encoder_k.conv1.weight'])


@pytest.mark.parametrize('transform, layers', [('none', 0), ('conv', 1), ('mlp', 2)])
def test_instance_branch_and_transform_are_read_off_the_weights(transform, layers):
    weights = released(instance=True, transform=transform)
    result = convert(weights)
    assert result.model['propagation']['transform_layers'] == layers
    assert result.model['instance_weight'] == 1
    assert torch.equal(result.state_dict['instance_predictor.linear2.bias'],
                       weights['predictor.linear2.bias'])
    assert torch.equal(result.state_dict['momentum.instance_projector.linear1.bias'],
                       weights['projector_instance_k.linear1.bias'])


@pytest.mark.parametrize('depth', [34, 101])
def test_the_depth_is_read_off_the_weights(depth):
    assert infer_model(released(depth))['backbone']['depth'] == depth


def test_a_wide_or_odd_encoder_is_named():
    weights = released()
    weights['encoder.layer1.0.conv1.weight'] = torch.ones(128, 64, 3, 3)
    with pytest.raises(ValueError, match=r'wide or grouped.*\(128, 64\)'):
        convert(weights)
    lost = {k: v for k, v in released().items() if not k.startswith('encoder.layer4.1')}
    with pytest.raises(ValueError, match=r'\(2, 2, 2, 1\) blocks a stage'):
        convert(lost)


def test_no_key_is_lost_in_silence(tmp_path, run_tool):
    weights = released() | {'queue.x': torch.ones(3)}
    del weights['projector_k.bn1.running_var']
    src = saved(weights, tmp_path / 'src.pth')
    _, sentence = run_tool('official.py', 'pixpro', src, tmp_path / 'dst.pth')
    assert '2 keys would be lost' in sentence
    assert 'no place for queue.x [3]' in sentence
    assert 'nothing for momentum.projector.bn1.running_var [24]' in sentence
    assert not (tmp_path / 'dst.pth').exists()


def test_keys_are_dropped_on_request_and_reported(tmp_path):
    weights = released(instance=True) | {'queue.x': torch.ones(3)}
    src = saved(weights, tmp_path / 'src.pth')
    report = convert_official('pixpro', src, tmp_path / 'dst.pth',
                              drop=['queue.*', 'projector_instance*', 'predictor.*'])
    assert len(report.dropped) == 1 + 3 * 9
    assert 'queue.x' in str(report) and "--drop 'queue.*'" in str(report)
    written = read_checkpoint(tmp_path / 'dst.pth')
    assert 'instance' not in ''.join(written['state_dict'])


def test_a_config_of_another_depth_is_rejected(tmp_path):
    src = saved(released(18), tmp_path / 'src.pth')
    (tmp_path / 'config.py').write_text(
        "model = dict(type='PixPro', backbone=dict(type='mmpretrain.ResNet', depth=34),"
        "projector=dict(type='ConvMLP', hidden_channels=24, out_channels=16),"
        "propagation=dict(type='PixelPropagation'),"
        "loss=dict(type='PairConsistencyLoss'))")
    with pytest.raises(ValueError, match='nothing for backbone.layer1.2.conv1.weight'):
        convert_official('pixpro', src, tmp_path / 'dst.pth', tmp_path / 'config.py')
    assert not (tmp_path / 'dst.pth').exists()


def test_a_stride_16_net_is_verified_with_its_own_strides():
    # Same keys, another network: the check must build the dilated one.
    weights = released(50)
    model = infer_model(weights)
    model['backbone'] |= dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
    assert convert(weights, model).report.checks
    network = released_encoder(
        {k[8:]: v for k, v in weights.items() if k.startswith('encoder.')},
        model['backbone'])
    assert network.layer4[0].conv2.stride == (1, 1)
    assert network.layer4[2].conv2.dilation == (2, 2)


def test_foreign_files_and_methods_are_named(tmp_path):
    torch.save({'backbone.conv1.weight': torch.ones(1)}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'expected keys encoder.*found \[.backbone'):
        convert_official('pixpro', tmp_path / 'a.pth', tmp_path / 'b.pth')
    with pytest.raises(ValueError, match="did you mean 'pixpro'"):
        convert_official('pixpor', tmp_path / 'a.pth', tmp_path / 'b.pth')


def test_two_keys_never_become_one():
    with pytest.raises(ValueError, match='a and another key both become x|b and anoth'):
        rename_keys({'a': torch.ones(1), 'b': torch.ones(1)}, lambda k, v: ('x', v),
                    {'x': torch.ones(1)}, 'title')


def test_the_check_finds_swapped_weights_that_a_fresh_network_hides():
    # With the last norm of each block at zero, the branch has no effect on outputs.
    from torchvision import models
    def fresh():
        return models.resnet18(zero_init_residual=True).eval()
    weights = fresh().state_dict()
    a, b = 'layer1.0.conv1.weight', 'layer1.1.conv1.weight'

    def swapped(given):
        return dict(given) | {a: given[b], b: given[a]}

    with pytest.raises(ValueError, match='check with random weights: stage1 differs'):
        verify_stages(fresh(), fresh(), weights, swapped)
    assert len(verify_stages(fresh(), fresh(), weights, dict)) == 2


def test_random_weights_leave_no_tensor_without_effect():
    weights = randomized(nn.BatchNorm2d(4).state_dict())
    assert all((weights[k] != 0).all() for k in
               ('weight', 'bias', 'running_mean', 'running_var'))
    assert (weights['running_var'] > 0).all()


def test_inspection_tells_prefixes_shapes_and_meta(tmp_path, run_tool):
    torch.save(dict(state_dict={'backbone.a': torch.ones(2, 3), 'momentum.backbone.a':
                                torch.ones(2, 3), 'backbone.b': torch.ones(1)},
                    meta=dict(epoch=7, cfg='x = 1\ny = 2')), tmp_path / 'a.pth')
    output, sentence = run_tool('inspect_checkpoint.py', tmp_path / 'a.pth',
                                '--keys', 'backbone.*')
    assert sentence is None
    assert '3 tensors' in output and 'meta.epoch: 7' in output
    assert 'backbone. (2), momentum.backbone. (1)' in output
    assert 'backbone.a  [2, 3] float32' in output and '    y = 2' in output


def test_inspection_runs_nothing(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path / "trace"}',)
    torch.save(dict(meta=Payload(), state_dict={}), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='posix.system'):
        describe_checkpoint(tmp_path / 'a.pth')
    assert not (tmp_path / 'trace').exists()


def test_inspection_shows_the_manifest_and_checks_the_hash(tmp_path, run_tool):
    path = tmp_path / 'epoch_7.pth'
    write_training_checkpoint(dict(state_dict={'a': torch.ones(999)}), path, epoch=7,
                              step=70, config_text='x = 1')
    output, sentence = run_tool('inspect_checkpoint.py', path)
    assert sentence is None and 'manifest: epoch 7, step 70, written 2' in output
    assert f'torch {torch.__version__.partition("+")[0]}' in output
    assert f'{file_sha256(path)}, as its manifest says' in output
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(9).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    output, sentence = run_tool('inspect_checkpoint.py', path)
    assert not output
    assert 'epoch_7.pth is damaged: its content does not match' in sentence


def test_all_weights_go_into_a_safetensors_file_and_back(tmp_path, run_tool):
    tied = torch.randn(4, 3)
    weights = {'embed': tied, 'head': tied, 'turned': torch.randn(2, 5).T,
               'half': torch.tensor([float('nan'), 1]).half(), 'steps': torch.tensor(7),
               'mask': torch.tensor([True, False])}
    torch.save(dict(state_dict=weights, meta=dict(epoch=3, cfg='x = 1')),
               tmp_path / 'a.pth')
    output, sentence = run_tool('to_safetensors.py', tmp_path / 'a.pth',
                                tmp_path / 'a.safetensors')
    assert sentence is None and '6 tensors, read back and equal' in output
    read = read_checkpoint(tmp_path / 'a.safetensors')
    for key, value in weights.items():
        torch.testing.assert_close(read['state_dict'][key], value, rtol=0, atol=0,
                                   equal_nan=True)
    assert read['meta']['cfg'] == 'x = 1' and read['meta']['epoch'] == '3'
    assert read['meta']['source_sha256'] == file_sha256(tmp_path / 'a.pth')
    _, sentence = run_tool('to_safetensors.py', tmp_path / 'a.pth', tmp_path / 'b.pth')
    assert 'must end in .safetensors' in sentence
