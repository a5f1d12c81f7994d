"""Released SlotCon checkpoints: every key of the released layout has its place."""
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from mmcontrast.methods.slotcon.convert import convert
from mmcontrast.registry import MODELS
from mmcontrast.testing.fill import fill_state_dict
from mmcontrast.testing.golden import Case

pytestmark = pytest.mark.usefixtures('nan_weights')

HERE = Path(__file__).parent
CASE = Case(str(HERE / 'slotcon'), 'converter_resnet50')
SHAPES = {entry['checkpoint'].removeprefix('module.'): entry['shape']
          for entry in CASE.meta['keys']}


# "The network itself is the PixPro ResNet": its converter case has the stage maps.
MAPS = Case(str(HERE / 'pixpro'), 'converter_resnet50')


@pytest.fixture(scope='module')
def converted():
    """All 687 tensors of a training file, converted, and the model they fill."""
    weights = fill_state_dict(SHAPES) | {
        f'encoder_k.{key}': value for key, value in MAPS.params().items()}
    result = convert(weights)
    with DefaultScope.overwrite_default_scope('mmcontrast'):
        model = MODELS.build(result.model).eval()
    model.load_state_dict(result.state_dict)   # strict: nothing missing or left over
    return result, model


def test_every_key_of_the_released_layout_fills_the_model_read_off_it(converted):
    result, model = converted
    report = result.report
    assert len(report.rows) == len(SHAPES) == 687
    assert not report.dropped and not report.unset
    # Two encoders, two projectors, two tables of prototypes, the predictor; each with
    # the weights of the file and with random ones.
    assert sum('Equal outputs' in line for line in report.checks) == 14
    CASE.check(dict(
        num_keys=torch.tensor(len(model.state_dict())),
        num_backbone_keys=torch.tensor(len(model.momentum.backbone.state_dict())),
        num_parameters=torch.tensor(sum(p.numel() for p in model.parameters())),
        num_trained=torch.tensor(sum(
            p.numel() for p in model.parameters() if p.requires_grad))))


def test_the_teacher_is_what_the_case_sends_downstream(converted):
    report = converted[0].report
    renamed = {source: target for source, target, _ in report.rows}
    exported = [e for e in CASE.meta['keys'] if e['mm_backbone']]
    assert len(exported) == 318
    for entry in exported:
        key = entry['checkpoint'].removeprefix('module.')
        assert key.startswith('encoder_k.')
        assert renamed[key] == f'momentum.backbone.{entry["mm_backbone"]}'
        student = key.replace('encoder_k.', 'encoder_q.')
        assert renamed[student] == f'backbone.{entry["mm_backbone"]}'


def test_the_converted_teacher_gives_the_maps_of_the_reference(converted):
    teacher = converted[1].momentum.backbone
    teacher.out_indices = (0, 1, 2, 3)
    with torch.no_grad():
        stages = teacher(MAPS.input('x'))
    MAPS.check({f'stage{i + 1}': m for i, m in enumerate(stages)})
