"""Released PixPro checkpoints against what the released network gives."""
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torchvision.models import resnet50

from mmcontrast.apis.convert.export_backbone import export_backbone
from mmcontrast.converters.equality import stage_maps
from mmcontrast.methods.pixpro.convert import convert, infer_model
from mmcontrast.registry import MODELS
from mmcontrast.testing.golden import Case

pytestmark = pytest.mark.usefixtures('nan_weights')

FOLDER = str(Path(__file__).parent / 'pixpro')
CASES = ('converter_resnet50', 'converter_resnet50_d')


def released(case: Case) -> dict:
    """All 656 (or 680) keys of a published file, heads drawn at random."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return 0.1 * torch.randn(*shape, generator=generator)

    weights = {}
    for suffix in ('', '_k'):
        weights |= {f'encoder{suffix}.{k}': v for k, v in case.params().items()}
        weights |= {f'projector{suffix}.{k}': v for k, v in {
            'linear1.weight': draw(4096, 2048, 1, 1), 'linear1.bias': draw(4096),
            'bn1.weight': draw(4096), 'bn1.bias': draw(4096),
            'bn1.running_mean': draw(4096), 'bn1.running_var': draw(4096).abs() + 1,
            'bn1.num_batches_tracked': torch.tensor(7),
            'linear2.weight': draw(256, 4096, 1, 1), 'linear2.bias': draw(256)}.items()}
    return weights | {'value_transform.weight': draw(256, 256, 1, 1),
                      'value_transform.bias': draw(256)}


def full_model(backbone: str) -> dict:
    return dict(
        type='PixPro', backbone=dict(type=backbone, depth=50, norm_eval=False),
        projector=dict(type='ConvMLP', hidden_channels=4096, out_channels=256),
        propagation=dict(type='PixelPropagation'),
        loss=dict(type='PairConsistencyLoss'))


@pytest.mark.parametrize('library', ['mmpretrain', 'mmdet'])
@pytest.mark.parametrize('name', CASES)
def test_a_released_file_becomes_a_model_that_gives_the_reference_maps(name, library):
    case = Case(FOLDER, name)
    kind = 'ResNetV1d' if name.endswith('_d') else 'ResNet'
    weights = released(case)
    result = convert(weights, full_model(f'{library}.{kind}'))

    # The key map of the case, entry by entry, for both branches.
    renamed = {source: target for source, target, _ in result.report.rows}
    for entry in case.meta['keys']:
        key = entry['checkpoint'].removeprefix('module.')
        assert renamed[key] == f'backbone.{entry[library]}'
        suffix = key.replace('encoder.', 'encoder_k.')
        assert renamed[suffix] == f'momentum.backbone.{entry[library]}'
    assert len(renamed) == len(weights) == 2 * len(case.meta['keys']) + 20
    # Encoder and projector of both branches, and the transform; on two sets of weights.
    assert sum('Equal outputs' in line for line in result.report.checks) == 10
    assert not result.report.dropped and not result.report.unset

    with DefaultScope.overwrite_default_scope('mmcontrast'):
        model = MODELS.build(result.model).eval()
    model.load_state_dict(result.state_dict)   # strict: nothing missing or left over
    model.backbone.out_indices = (0, 1, 2, 3)
    with torch.no_grad():
        stages = model.backbone(case.input('x'))
    case.check({f'stage{i + 1}': m for i, m in enumerate(stages)})


@pytest.mark.parametrize('name', CASES)
def test_the_model_is_read_off_the_weights(name):
    weights = released(Case(FOLDER, name))
    kind = 'ResNetV1d' if name.endswith('_d') else 'ResNet'
    assert infer_model(weights) == full_model(f'mmpretrain.{kind}') | dict(
        propagation=dict(type='PixelPropagation', transform_layers=1),
        instance_weight=0.0)


@pytest.mark.parametrize('method, prefix, case, ours', [
    ('PixPro', 'backbone', Case(FOLDER, CASES[0]), 'mmpretrain'),
    ('SlotCon', 'momentum.backbone',
     Case(FOLDER.replace('pixpro', 'slotcon'), CASES[0]), 'mm_backbone')])
def test_detectron2_gets_the_names_of_the_released_converters(
        tmp_path, method, prefix, case, ours):
    """By the branch that each method exports; and back into the released network."""
    maps = Case(FOLDER, CASES[0])
    weights, path = maps.params(), tmp_path / 'backbone.pkl'
    torch.save({f'{prefix}.{key}': value for key, value in weights.items()},
               tmp_path / 'epoch_1.pth')
    config = Config(dict(model=dict(type=method, backbone=dict(
        type='mmpretrain.ResNet', depth=50, norm_eval=False))))
    export_backbone(config, tmp_path / 'epoch_1.pth', path, 'detectron2')

    written = pickle.loads(path.read_bytes())
    names = {entry[ours]: entry['detectron2'] for entry in case.meta['keys']
             if entry['detectron2']}
    assert len(names) == len(written['model']) == 318
    assert set(written['model']) == set(names.values())
    network = resnet50(weights=None)
    network.fc = torch.nn.Identity()
    network.load_state_dict({key: torch.from_numpy(written['model'][name])
                             for key, name in names.items()})
    with torch.no_grad():
        maps.check(stage_maps(network, maps.input('x')))
