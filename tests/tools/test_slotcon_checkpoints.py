"""A released SlotCon file through our tools: converted, then exported."""
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from mmcontrast.apis.convert.export_backbone import export_backbone
from mmcontrast.converters.equality import randomized
from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.methods.slotcon.convert import convert
from mmcontrast.registry import MODELS

ROOT = Path(__file__).parents[2]
SLOTS, WIDTH = 12, 16


def mlp(linear: type, norm: type, channels: int) -> dict:
    """The released heads: three layers in an ``nn.Sequential`` named ``mlp``."""
    one = dict(kernel_size=1) if linear is nn.Conv2d else {}
    layers = nn.Sequential(
        linear(channels, 24, **one), norm(24), nn.GELU(), linear(24, 24, **one),
        norm(24), nn.GELU(), linear(24, WIDTH, **one))
    return {f'mlp.{key}': value for key, value in layers.state_dict().items()}


def released() -> dict:
    """Weights as the released code saves them; student and teacher differ."""
    from torchvision import models
    encoder = models.resnet18()
    encoder.fc = nn.Identity()
    parts = dict(predictor_slot=mlp(nn.Linear, nn.BatchNorm1d, WIDTH))
    for suffix in 'qk':
        parts |= {f'encoder_{suffix}': encoder.state_dict(),
                  f'projector_{suffix}': mlp(nn.Conv2d, nn.BatchNorm2d, 512),
                  f'grouping_{suffix}': {'slot_embed.weight': torch.ones(SLOTS, WIDTH)}}
    weights = {f'{name}.{key}': value for name, part in parts.items()
               for key, value in part.items()}
    return randomized(weights | {'center': torch.ones(1, SLOTS)})


@pytest.fixture(scope='module')
def converted(tmp_path_factory) -> Path:
    """A folder with a released file and what the tool made of it."""
    folder = tmp_path_factory.mktemp('slotcon')
    model = {f'module.{key}': value for key, value in released().items()}
    torch.save(dict(model=model, epoch=800, optimizer={}), folder / 'src.pth')
    run_tool('official.py', 'slotcon', folder / 'src.pth', folder / 'dst.pth')
    return folder


def run_tool(name: str, *arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [name, *map(str, arguments)])
        runpy.run_path(str(ROOT / 'tools' / 'convert' / name), run_name='__main__')


def test_the_converted_file_fills_the_model_that_it_names(converted):
    weights = released()
    written = torch.load(converted / 'dst.pth', weights_only=True)
    with DefaultScope.overwrite_default_scope('mmcontrast'):
        model = MODELS.build(convert(weights).model)
    model.load_state_dict(written['state_dict'])
    for ours, theirs in (
            (model.center, 'center'),
            (model.grouping.prototypes, 'grouping_q.slot_embed.weight'),
            (model.momentum.grouping.prototypes, 'grouping_k.slot_embed.weight'),
            (model.backbone.conv1.weight, 'encoder_q.conv1.weight'),
            (model.predictor.linear3.bias, 'predictor_slot.mlp.6.bias'),
            (model.momentum.projector.bn2.running_var,
             'projector_k.mlp.4.running_var')):
        assert torch.equal(ours, weights[theirs])
    assert "type='SlotCon'" in written['meta']['model']


def test_the_teacher_is_exported_with_its_own_statistics(converted):
    (converted / 'config.py').write_text(
        read_checkpoint(converted / 'dst.pth')['meta']['model'])
    run_tool('export_backbone.py', converted / 'config.py', converted / 'dst.pth',
             converted / 'backbone.pth', '--to', 'mmdet')
    exported = read_checkpoint(converted / 'backbone.pth')
    weights = released()
    assert exported['meta']['branch'] == 'momentum'
    assert len(exported['state_dict']) == 120
    for key, value in exported['state_dict'].items():
        assert torch.equal(value, weights[f'encoder_k.{key}'])
    assert not torch.equal(weights['encoder_q.bn1.running_mean'],
                           weights['encoder_k.bn1.running_mean'])


def test_the_student_is_exported_on_request(converted, tmp_path):
    model = read_checkpoint(converted / 'dst.pth')['meta']['model']
    export_backbone(Config.fromstring(model, '.py'), converted / 'dst.pth',
                    tmp_path / 'student.pth', 'torchvision', branch='online')
    assert torch.equal(read_checkpoint(tmp_path / 'student.pth')['conv1.weight'],
                       released()['encoder_q.conv1.weight'])


def test_a_file_of_another_method_or_without_prototypes_is_named():
    with pytest.raises(ValueError, match=r'No released SlotCon.*encoder_q.*\[.encode'):
        convert({'encoder.conv1.weight': torch.ones(1)})
    weights = {k: v for k, v in released().items() if not k.startswith('grouping')}
    with pytest.raises(ValueError, match='no grouping_q.slot_embed.weight'):
        convert(weights)


def test_a_key_without_a_place_is_not_lost_in_silence():
    with pytest.raises(ValueError, match=r'no place for projector_q.mlp.7.weight \[3'):
        convert(released() | {'projector_q.mlp.7.weight': torch.ones(3)})
