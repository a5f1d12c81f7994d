"""Released checkpoints of the unofficial TopNet and of SimOPA become ours and go back.
"""
import json

import pytest
import torch

from mmcontrast.apis.convert import convert_official
from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.methods.topnet import released
from mmcontrast.methods.topnet.convert import (
    PAIR_NAMES,
    convert,
    convert_back,
    infer_model,
    renamed,
)
from mmcontrast.registry import MODELS
from mmcontrast.testing import fill
from tests.helpers.topnet_case import FOLDER
from tools.convert.official import main

pytestmark = pytest.mark.usefixtures('nan_weights')

# Functions of the release that a test replaces.
ORIGINAL = {}


def shapes_of(case):
    return json.loads((FOLDER / f'{case}.json').read_text())['params']


def drawn(model_cfg):
    """Weights of a model under our names."""
    with torch.device('meta'):
        state = MODELS.build(model_cfg).state_dict()
    return fill.fill_state_dict({key: value.shape for key, value in state.items()})


@pytest.fixture(scope='module')
def small(nan_weights):
    """Released weights of a network for 64 x 64 inputs, and ours."""
    ours = drawn(dict(type='TopNetPair', size=64, layers=2))
    return convert_back(ours), ours


@pytest.mark.parametrize('case, count', [('ref_net_eval', 336), ('ref_simopa', 121)])
def test_every_released_tensor_has_one_place(case, count):
    shapes = shapes_of(case)
    with torch.device('meta'):
        weights = {key: torch.empty(shape) for key, shape in shapes.items()}
        model_cfg = infer_model(weights)
        ours = MODELS.build(model_cfg).state_dict()
    back = {key: list(value.shape) for key, value in convert_back(ours).items()}
    assert back == shapes and len(shapes) == count
    if case == 'ref_net_eval':
        assert model_cfg == dict(type='TopNetPair', fusion='reference', layers=4,
                                 size=256, mlp_channels=128)


def test_a_small_network_is_converted_and_its_outputs_are_equal(small):
    theirs, ours = small
    conversion = convert(theirs)
    assert conversion.model['size'] == 64 and conversion.model['layers'] == 2
    assert conversion.state_dict.keys() == ours.keys()
    for key, value in ours.items():
        assert torch.equal(conversion.state_dict[key], value), key
    checks = conversion.report.checks
    assert sum(line.startswith('Equal') for line in checks) == 2
    assert all(name in checks[0] for name in ('fused', 'decoded', 'logits'))


@pytest.mark.parametrize('part, wrong', [
    ('_doubled', lambda x, align_corners: ORIGINAL['_doubled'](x, True)),
    ('_layer', lambda weights, name, x, heads: torch.cat(
        [ORIGINAL['_layer'](weights, name, image[None], heads) for image in x])),
    ('_object', lambda weights, x: ORIGINAL['_object'](weights, x.flip(1)))])
def test_the_check_finds_another_computation(small, part, wrong, monkeypatch):
    monkeypatch.setitem(ORIGINAL, part, getattr(released, part))
    monkeypatch.setattr(released, part, wrong)
    with pytest.raises(ValueError, match='Equality check with weights of the file'):
        convert(small[0])


def test_lost_and_missing_keys_are_named(small):
    theirs = dict(small[0])
    theirs['upconv64.basicconv.0.weight'] = theirs.pop('upconv1.basicconv.0.weight')
    with pytest.raises(ValueError) as error:
        convert(theirs)
    assert 'no place for upconv64.basicconv.0.weight' in str(error.value)
    assert 'nothing for decoder.up1.0.weight' in str(error.value)


def test_a_fopa_checkpoint_is_named():
    weights = {f'bg_encoder{i}.0.weight': torch.zeros(1) for i in (1, 2)}
    for key in ('fg_trans16.0.weight', 'selfdc_16.conv.weight', 'mask_conv.weight'):
        with pytest.raises(ValueError, match=f'FOPA checkpoint .{key}.*TopNet-Object'):
            convert(weights | {key: torch.zeros(1)})


def test_another_file_is_rejected():
    with pytest.raises(ValueError, match=r'lacks Transformer.*found backbone\. \(1\)'):
        convert({'backbone.conv1.weight': torch.zeros(1)})


def test_what_was_never_released_has_no_way_back():
    fixed = drawn(dict(type='TopNetPair', fusion='fixed', size=32, layers=1))
    with pytest.raises(ValueError, match="fusion='fixed' has no released layout"):
        convert_back(fixed)
    with pytest.raises(ValueError, match='1 weights have no place.*neck.weight'):
        convert_back({'neck.weight': torch.zeros(1)})


def test_the_tool_converts_simopa_and_writes_it_back(tmp_path, capsys):
    weights = fill.fill_state_dict(shapes_of('ref_simopa'), 'x')
    torch.save(dict(state_dict=weights, epoch=3), tmp_path / 'best-acc.pth')
    main(['topnet', str(tmp_path / 'best-acc.pth'), str(tmp_path / 'ours.pth')])
    assert '121 keys converted, 0 dropped, 0 not in' in capsys.readouterr().out
    ours = read_checkpoint(tmp_path / 'ours.pth')
    MODELS.build(dict(type='SimOPA')).load_state_dict(ours['state_dict'])
    assert "type='SimOPA'" in ours['meta']['model']
    convert_official('topnet', tmp_path / 'ours.pth', tmp_path / 'back.pth', back=True)
    back = read_checkpoint(tmp_path / 'back.pth')
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[key], value) for key, value in weights.items())
    with pytest.raises(ValueError, match='topnet end in .pth'):
        convert_official('topnet', tmp_path / 'ours.pth', tmp_path / 'back.msgpack',
                         back=True)


def test_names_go_both_ways():
    names = {ours: theirs for theirs, ours in PAIR_NAMES.items()}
    for key in shapes_of('ref_net_eval'):
        assert renamed(renamed(key, PAIR_NAMES), names, back=True) == key
