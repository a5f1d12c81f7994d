"""Configs in mmengine's new style, with classes for names, in every tool (faults I)."""
import functools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.model.weight_init import PretrainedInit
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from PIL import Image
from torch import nn

for library in ('mmdet', 'mmseg', 'mmpretrain'):
    pytest.importorskip(library)

from mmcontrast.apis import export_backbone  # noqa: E402
from mmcontrast.apis.analysis.browse_views import browse_views  # noqa: E402
from mmcontrast.apis.analysis.evaluate_backbone.backbones import (  # noqa: E402
    BackboneChoice,
    open_backbone,
)
from mmcontrast.apis.analysis.replay import replay  # noqa: E402
from mmcontrast.apis.config import UsageError, load_config, read_config  # noqa: E402
from mmcontrast.apis.doctor import doctor  # noqa: E402
from mmcontrast.apis.doctor.dry_run import _pretrained  # noqa: E402
from mmcontrast.apis.inferencers import open_inferencer  # noqa: E402
from mmcontrast.apis.lint import lint_config  # noqa: E402
from mmcontrast.apis.loading import config_in_checkpoint, load_model  # noqa: E402
from mmcontrast.apis.test import draw_predictions  # noqa: E402
from mmcontrast.apis.test import test as run_test  # noqa: E402
from mmcontrast.apis.train import enable_amp, train  # noqa: E402
from mmcontrast.apis.vocabulary_report import add_vocabulary_metric  # noqa: E402
from mmcontrast.engine.hooks.checkpoint_keys import _pretrained_cfgs  # noqa: E402
from mmcontrast.engine.nonfinite import NonFiniteError  # noqa: E402
from mmcontrast.engine.runner.reliable_runner import ReliableRunner  # noqa: E402
from mmcontrast.io.checkpoint import read_checkpoint  # noqa: E402
from mmcontrast.io.config_text import parse_config_text  # noqa: E402
from mmcontrast.io.config_types import full_name, type_name, with_names  # noqa: E402
from mmcontrast.io.safe_loading import load_from_local  # noqa: E402
from tests.helpers.disk_runs import OneWeight  # noqa: E402
from tests.helpers.new_style import write_new_style  # noqa: E402
from tests.helpers.new_style_files import CONFIGS, write_files  # noqa: E402

pytestmark = pytest.mark.usefixtures('scope_as_it_was')
SEG, DET, CLS = CONFIGS
PIXPRO = 'mmcontrast::pixpro/pixpro_resnet18_1xb32-coslr-4e_shapes_debug.py'
ONE_STEP = {
    'train_dataloader.dataset.num_images': 4, 'train_dataloader.batch_size': 4,
    'train_dataloader.num_workers': 0, 'train_cfg.max_epochs': 1,
    'param_scheduler.warmup': 0}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp('new_style'))


@pytest.fixture(scope='module')
def trained(folder, tmp_path_factory):
    """Config, checkpoint and runner of a short training, by the name of the config."""
    @functools.cache
    def run(name: str):
        work_dir = tmp_path_factory.mktemp('run')
        # An earlier run of another library; names without one are not looked up there.
        other = 'mmseg' if name == DET else 'mmdet'
        DefaultScope.get_instance(f'before-{name}', scope_name=other)
        runner = train(str(folder / name), str(work_dir))
        return str(folder / name), str(work_dir / 'iter_2.pth'), runner
    return run


@pytest.fixture(scope='module')
def pixpro(tmp_path_factory):
    """A method of ours in the new style, and a checkpoint of it."""
    work_dir = tmp_path_factory.mktemp('pixpro')
    config = str(write_new_style(read_config(PIXPRO), work_dir / 'configs'))
    train(config, str(work_dir), cfg_options=ONE_STEP)
    return config, str(work_dir / 'epoch_1.pth')


def write(folder: Path, text: str, name: str = 'config.py') -> str:
    (folder / name).write_text(text)
    return str(folder / name)


# ---- Runs

@pytest.mark.parametrize('name', CONFIGS)
def test_a_training_writes_a_config_that_is_data_and_can_be_used(trained, name):
    config, checkpoint, runner = trained(name)
    assert runner.iter == 2
    text = read_checkpoint(checkpoint)['meta']['cfg']
    written = Path(runner.work_dir, Path(config).name)
    assert parse_config_text(text) == Config.fromfile(written).to_dict()
    assert 'default_collate' in text or 'pseudo_collate' in text
    assert not lint_config(load_config(config))
    assert not lint_config(load_config(str(written)))


@pytest.mark.parametrize('name, score', [
    (SEG, 'mIoU'), (DET, 'pascal_voc/mAP'), (CLS, 'accuracy/top1')])
def test_checkpoints_are_tested_from_either_config(trained, name, score, tmp_path):
    config, checkpoint, runner = trained(name)
    scores = run_test(config, checkpoint, str(tmp_path / 'a'))
    assert 0 <= scores[score] <= 100
    written = str(Path(runner.work_dir, Path(config).name))
    again = run_test(written, checkpoint, str(tmp_path / 'b'), cfg_options={
        'visualizer.name': f'written-{Path(config).stem}'})
    assert again[score] == scores[score]


def test_a_run_is_resumed(trained, tmp_path):
    config, _, _ = trained(CLS)
    train(config, str(tmp_path), cfg_options={'visualizer.name': 'resumed-cls'})
    runner = train(config, str(tmp_path), resume='auto', cfg_options={
        'train_cfg.max_iters': 3, 'visualizer.name': 'resumed-cls-2'})
    assert runner.iter == 3
    assert 'Resuming from' in max(
        tmp_path.glob('*/*.log'), key=lambda file: file.stat().st_mtime).read_text()


@pytest.mark.slow
@pytest.mark.parametrize('name', [DET, CLS])
def test_the_doctor_finds_nothing_wrong(folder, name, capfd):
    report = doctor(str(folder / name), steps=2)
    assert [text for status, text in report.lines if status == 'FAIL'] == []
    fine = '\n'.join(text for status, text in report.lines if status == 'OK')
    assert '2 steps forward' in fine and 'ShapesDataset with 4 samples' in fine


@pytest.mark.parametrize('name', [SEG, DET])
def test_models_are_asked_about_images(trained, name, tmp_path):
    config, checkpoint, _ = trained(name)
    rng = np.random.default_rng(0)
    file = tmp_path / 'image.png'
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(file)
    inferencer = open_inferencer(config, checkpoint, 'cpu')
    found = inferencer(str(file), score_thr=0.0 if name == DET else None)
    assert len(found.classes) == 10 and found.image_size == (64, 64)
    if name == SEG:
        assert found.labels.shape == (64, 64)
    else:
        assert 1 <= len(found.boxes_xyxy) <= 5


@pytest.mark.parametrize('name, to', [(SEG, 'mmseg'), (DET, 'mmdet'),
                                      (CLS, 'mmpretrain')])
def test_backbones_are_exported_and_opened_again(trained, name, to, tmp_path):
    config, checkpoint, _ = trained(name)
    exported = str(tmp_path / 'backbone.pth')
    export_backbone(config, checkpoint, exported, to)
    kind = config_in_checkpoint(exported).model.backbone.type
    assert kind == f'{to}.models.ResNet' + 'V1c' * (name == SEG)
    opened, note = open_backbone(BackboneChoice(exported, device='cpu'))
    weights = read_checkpoint(checkpoint)['state_dict']
    for key, value in opened.network.state_dict().items():
        assert torch.equal(value, weights[f'backbone.{key}'])
    assert note is None
    again, _ = open_backbone(BackboneChoice(config, checkpoint, device='cpu'))
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(again.network(images)[-1], opened.network(images)[-1])


def test_a_batch_that_stopped_a_run_is_replayed(folder, tmp_path):
    with pytest.raises(NonFiniteError):
        train(str(folder / CLS), str(tmp_path), cfg_options={
            'optim_wrapper.optimizer.lr': 1e38, 'visualizer.name': 'stopped-cls',
            'train_cfg.max_iters': 9})
    [saved] = (tmp_path / 'nonfinite').iterdir()
    assert replay(saved, device='cpu').same_losses


def test_class_names_in_a_checkpoint_reach_mmengine_as_text(trained, tmp_path):
    checkpoint = read_checkpoint(trained(CLS)[1])
    for settings in (dict(type=nn.Linear, out_features=2), 'torch.nn.Linear'):
        checkpoint['meta']['cfg'] = Config(dict(model=settings)).pretty_text
        torch.save(checkpoint, tmp_path / 'other.pth')
        text = load_from_local(str(tmp_path / 'other.pth'))['meta']['cfg']
        found = Config.fromstring(text, '.py').model
        assert found == settings or found.type == 'torch.nn.modules.linear.Linear'


# ---- A method of ours

def test_a_method_of_ours_is_trained_drawn_and_exported(pixpro, tmp_path):
    config, checkpoint = pixpro
    assert load_model(config, checkpoint, 'cpu').model.momentum is not None
    assert len(browse_views(config, 1, str(tmp_path), ONE_STEP)) == 1
    report = export_backbone(config, checkpoint, tmp_path / 'out.pth', 'mmdet')
    weights = read_checkpoint(checkpoint)['state_dict']
    exported = read_checkpoint(tmp_path / 'out.pth')['state_dict']
    # PixPro exports its online branch.
    assert torch.equal(exported['conv1.weight'], weights['backbone.conv1.weight'])
    assert 'online mmpretrain.models.ResNet -> mmdet' in str(report)
    opened, _ = open_backbone(BackboneChoice(checkpoint, device='cpu'))
    assert torch.equal(opened.network.conv1.weight, weights['backbone.conv1.weight'])


def test_full_names_of_our_classes_are_found_from_any_scope():
    from mmcontrast.methods.pixpro import PixPro
    from mmcontrast.registry import MODELS
    name = 'mmcontrast.methods.pixpro.PixPro'
    assert full_name(PixPro) == name
    assert ROOT_MODELS.get(name) is PixPro
    assert MODELS.get(name) is PixPro
    with pytest.raises(KeyError, match="did you mean 'PixPro'"):
        MODELS.get('PixPr')


# ---- Options and settings of the tools

def test_options_replace_classes_by_names_and_names_by_values(folder):
    cfg = load_config(str(folder / SEG), {
        'model.backbone.norm_cfg.type': 'BN', 'model.decode_head.num_convs': 1,
        'train_dataloader.collate_fn.type': 'default_collate',
        'optim_wrapper.optimizer.type': 'torch.optim.RMSprop',
        'train_dataloader.dataset.pipeline.0.meta_keys': ['ori_shape'],
        'default_hooks.logger': None})
    assert cfg.model.backbone.norm_cfg.type == 'BN'
    assert cfg.model.decode_head.norm_cfg.type is nn.SyncBatchNorm
    assert cfg.train_dataloader.dataset.pipeline[0].meta_keys == ['ori_shape']
    assert cfg.train_dataloader.dataset.pipeline[0].type.__name__ == 'PackSegInputs'
    assert not lint_config(cfg)
    with pytest.raises(UsageError, match="did you mean 'decode_head'"):
        load_config(str(folder / SEG), {'model.decode_heda.num_convs': 1})


def test_settings_that_tools_change_are_found_below_classes(folder, monkeypatch):
    cfg = load_config(str(folder / DET))
    draw_predictions(cfg, False, 'drawn', 2)
    assert cfg.default_hooks.visualization.test_out_dir == 'drawn'
    monkeypatch.setattr(
        sys.modules['mmcontrast.apis.train'], 'get_device', lambda: 'cuda')
    enable_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    cfg = load_config(str(folder / SEG))
    add_vocabulary_metric(cfg)
    assert cfg.test_evaluator[1].type == 'mmcontrast.GroupedIoUMetric'


def test_weights_that_an_initializer_class_reads_are_checked():
    module = nn.Identity()
    for kind in (PretrainedInit, full_name(PretrainedInit), 'Pretrained'):
        module.init_cfg = [dict(type='Normal'), dict(type=kind, checkpoint='x.pth')]
        assert _pretrained(module) == _pretrained_cfgs(module) == module.init_cfg[1:]


# ---- Errors

def test_errors_are_found_below_classes_before_anything_is_built(folder, tmp_path):
    config = write(folder / 'seg', """
from mmengine.config import read_base
with read_base():
    from .fcn import *
from mmseg.models import FCNHea, SyncBatchNorm
model.update(decode_head=dict(type=FCNHea))
""", 'typo.py')
    with pytest.raises(UsageError) as end:
        train(config, str(tmp_path / 'run'))
    assert "model.decode_head.type: 'mmseg.models.FCNHea' cannot be imported" in str(
        end.value)
    assert "did you mean 'FCNHead'" in str(end.value)
    assert 'line 5' in str(end.value) and 'SyncBatchNorm' not in str(end.value)
    assert not (tmp_path / 'run').exists()
    cfg = load_config(str(folder / DET))
    cfg.model.bbox_head.num_clases, cfg.optim_wrapper.optimizer.momentun = 3, 0.5
    found = {issue.path: issue.message for issue in lint_config(cfg)}
    assert "'num_classes'" in found['model.bbox_head.num_clases']
    assert "'momentum'" in found['optim_wrapper.optimizer.momentun']


@pytest.mark.parametrize('text, words', [
    ('from torch import nn\nx = nn.Conv2d(3, 3)', 'line 2: it computes with something'),
    ('import numpy as np\nlr = np.pi * 2', 'line 2: it computes with something'),
    ("_base_ = './base.py'\nfrom torch import nn", 'must match'),
    ("_base_ = './base.py'", 'inheritance chain must match'),
    ("with open('x') as file:\n    pass", 'Only `read_base`'),
    ('from mmengine.config import read_base\nwith read_base():\n'
     '    from .nothing import *', 'nothing.py not found'),
    ('from mmengine.config import read_base\nwith read_base():\n    import os',
     'Only `from ... import ...`'),
    ('from torch.nn import *', 'from xxx import \\*'),
    ('from torch import nn\nx = y', "line 2: name 'y' is not defined"),
    ('from torch import nn\nx = = 1', 'invalid syntax')])
def test_what_the_new_style_does_not_allow_is_one_sentence(tmp_path, text, words):
    write(tmp_path, 'from torch import nn\nmodel = dict(type=nn.Identity)', 'base.py')
    with pytest.raises(UsageError, match=words) as end:
        load_config(write(tmp_path, text))
    assert 'config.py' in str(end.value)


def test_imports_that_no_setting_needs_are_not_imported(tmp_path):
    cfg = load_config(write(tmp_path, """
import math
import re as expressions
from functools import partial

import nowhere.at_all
from nowhere import Thing
from torch import nn

def double(value):
    return value * 2

own = dict(type=Thing)
model = dict(type=nn.Linear, in_features=double(2), out_features=int(math.sqrt(16)))
"""))
    assert not lint_config(cfg)
    assert sorted(cfg.keys()) == ['model', 'own', 'work_dir']
    assert parse_config_text(cfg.pretty_text) == dict(
        model=dict(type='torch.nn.Linear', in_features=4, out_features=4),
        own=dict(type='nowhere.Thing'), work_dir='work_dirs/config')


def test_imported_values_are_values_and_modules_of_ones_own_are_imported(tmp_path):
    config = write(tmp_path, """
import cv2
from mmcontrast.datasets.shapes.vocabulary import SHAPES
from torch import nn
import torch.nn.functional as functional

custom_imports = dict(imports=['tests.helpers.new_style_files'])
model = dict(type=nn.Upsample, size=cv2.INTER_CUBIC, mode=functional.relu)
neck = dict(type=nn.Identity, classes=SHAPES, parts=[nn.ReLU])
tta_model = dict(type=functional)
""")
    cfg = load_config(config)
    assert cfg.model.size == 2
    written = with_names(cfg)
    assert written.model == dict(
        type='torch.nn.Upsample', size=2, mode='torch.nn.functional.relu')
    assert written.neck.classes[:2] == ('circle', 'square')
    assert written.neck.parts == ['torch.nn.ReLU']
    [issue] = [each for each in lint_config(cfg) if each.path == 'tta_model.type']
    assert 'expected a class or a function' in issue.message


# ---- Names

@pytest.mark.parametrize('kind, name', [
    ('mmdet.FPN', 'mmdet.FPN'), (nn.SyncBatchNorm, 'torch.nn.SyncBatchNorm'),
    (default_collate, 'mmengine.dataset.default_collate'), (dict, 'dict'), (len, 'len'),
    (functools.partial(default_collate), 'mmengine.dataset.default_collate'),
    (Config.fromfile, 'mmengine.Config.fromfile'), (torch, 'torch')])
def test_classes_functions_and_modules_have_full_names(kind, name):
    assert full_name(kind) == name
    assert type_name(dict(type=kind)) == name.rpartition('.')[2]
    assert type_name({}, 'OptimWrapper') == 'OptimWrapper'


def test_a_runner_of_a_config_with_classes_and_functions_writes_names(tmp_path):
    cfg = Config(dict(
        model=dict(type=OneWeight, size=3), work_dir=str(tmp_path),
        train_dataloader=dict(
            dataset=[1, 2], batch_size=1, collate_fn=dict(type=default_collate),
            sampler=dict(type='DefaultSampler')),
        train_cfg=dict(by_epoch=True, max_epochs=1), norms=[nn.BatchNorm2d, len],
        optim_wrapper=dict(optimizer=dict(type=torch.optim.SGD, lr=0.1))))
    runner = ReliableRunner.from_cfg(cfg)
    written = parse_config_text(runner.cfg.pretty_text)
    assert written['model']['type'] == 'tests.helpers.disk_runs.OneWeight'
    assert written['train_dataloader']['collate_fn'] == dict(
        type='mmengine.dataset.default_collate')
    assert written['norms'] == ['torch.nn.BatchNorm2d', 'len']
    assert cfg.train_dataloader.collate_fn.type is default_collate
    assert with_names(cfg).pretty_text == runner.cfg.pretty_text


def test_class_names_without_quotes_in_a_checkpoint_are_text():
    text = Config(dict(model=dict(type=nn.Linear, in_features=2))).pretty_text
    assert 'type=torch.nn.modules.linear.Linear' in text
    with pytest.raises(ValueError, match='is not data'):
        parse_config_text(text)
    assert parse_config_text(text, class_names=True)['model'] == dict(
        type='torch.nn.modules.linear.Linear', in_features=2)
    for code in ("a = open('x').name", 'a = b', 'a = [].append', 'a = (b.c)()'):
        with pytest.raises(ValueError, match='is not data'):
            parse_config_text(code, class_names=True)
