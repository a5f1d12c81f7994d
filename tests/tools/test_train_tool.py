"""tools/train.py and tools/test.py, run as a user runs them, on a toy model."""
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from mmcontrast.apis import test as run_test
from mmcontrast.apis import train as run_training
from mmcontrast.apis.config import UsageError, load_config
from mmcontrast.apis.train import (
    enable_amp,
    enable_auto_scale_lr,
    fit_to_devices,
    remove_hooks_set_to_none,
)
from mmcontrast.engine.runner.reliable_runner import ReliableRunner
from tests.helpers.processes import run_python

ROOT = Path(__file__).parents[2]
TOY = '''
import torch
from mmcv.cnn import build_norm_layer
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmcontrast.registry import DATASETS, METRICS, MODELS

@DATASETS.register_module()
class ToyData(torch.utils.data.Dataset):
    metainfo = {}
    def __len__(self):
        return 16
    def __getitem__(self, i):
        return dict(inputs=torch.full((3, 4, 4), i / 16), data_samples=i / 16)

@MODELS.register_module()
class ToyNet(BaseModel):
    """Regresses the gray value; one weight, so that a step is easily followed."""
    def __init__(self, norm_cfg=dict(type='BN')):
        super().__init__()
        self.norm = build_norm_layer(norm_cfg, 3)[1]
        self.scale = torch.nn.Parameter(torch.zeros(1))
    def forward(self, inputs, data_samples=None, mode='tensor'):
        gray = inputs.mean((1, 2, 3)) * self.scale + 0 * self.norm(inputs).sum()
        if mode == 'loss':
            return dict(loss=(gray - data_samples.float()).square().mean())
        return [dict(gray=value) for value in gray]

@METRICS.register_module()
class ToyCount(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [1] * len(data_samples)
    def compute_metrics(self, results):
        return dict(count=len(results))
'''
CONFIG = """
_base_ = 'mmcontrast::_base_/runtime.py'
custom_imports = dict(imports=['toy'])
model = dict(type='ToyNet', norm_cfg=dict(type='SyncBN'))
train_dataloader = dict(
    batch_size=8, num_workers=0, dataset=dict(type='ToyData'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'))
train_cfg = dict(by_epoch=True, max_epochs=3)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
param_scheduler = dict(type='CosineAnnealingLR', T_max=4, by_epoch=True)
auto_scale_lr = dict(base_batch_size=16)
"""
TESTING = CONFIG + """
test_dataloader = dict(
    batch_size=8, num_workers=0, dataset=dict(type='ToyData'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'))
test_cfg = dict()
test_evaluator = dict(type='ToyCount')
"""


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder in which the toy was trained for three epochs, and the log of that."""
    folder = fill(tmp_path_factory.mktemp('trained'))
    return folder, train(folder, 'toy_pretrain.py', '--auto-scale-lr', '--cfg-options',
                         'default_hooks.logger.interval=1', start=subprocess.run)


def fill(folder: Path) -> Path:
    (folder / 'toy.py').write_text(TOY)
    (folder / 'toy_pretrain.py').write_text(CONFIG)
    (folder / 'toy_test.py').write_text(TESTING)
    # Read in this process, which shall not import the toy.
    (folder / 'plain.py').write_text(CONFIG.replace('custom_imports', 'unused'))
    return folder


def run(folder: Path, *command: str, status: int = 0, start=run_python) -> str:
    """What a command prints, run in ``folder``; the exit status is checked."""
    paths = [str(ROOT), str(folder), *filter(None, [os.environ.get('PYTHONPATH')])]
    settings = dict(os.environ, PYTHONPATH=os.pathsep.join(paths),
                    PYTHON=sys.executable, OMP_NUM_THREADS='1')
    settings.pop('LOCAL_RANK', None)
    done = start(
        [str(part) for part in command], cwd=folder, env=settings, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    assert done.returncode == status, done.stdout[-3000:]
    return done.stdout


def train(folder: Path, *arguments: str, status: int = 0, start=run_python) -> str:
    tool = ROOT / 'tools/train.py'
    return run(folder, sys.executable, tool, *arguments, status=status, start=start)


def weights(path: Path) -> dict:
    return torch.load(path, map_location='cpu', weights_only=False)


def test_none_removes_a_hook_of_a_base_config(folder):
    text = CONFIG + 'default_hooks = dict(checkpoint_keys=None, sampler_seed=None)\n'
    (folder / 'config.py').write_text(text.replace('custom_imports', 'unused'))
    cfg = load_config(str(folder / 'config.py'))
    remove_hooks_set_to_none(cfg)
    assert 'checkpoint_keys' not in cfg.default_hooks
    # One of the runner's own: None is what tells it.
    assert cfg.default_hooks.sampler_seed is None


def test_a_run_writes_its_checkpoints_where_the_config_is_named(trained):
    folder, log = trained
    last = weights(folder / 'work_dirs/toy_pretrain/epoch_3.pth')
    assert last['meta']['iter'] == 6
    assert last['state_dict']['scale'].item() > 0.1  # it learns: the answer is 1
    # faults T: what a run draws is no data.
    assert next(folder.glob('work_dirs/*/*/.mmcontrast-output')).read_text() == '*\n'
    assert log.count('SyncBN needs several GPUs: 1 layer setting(s)') == 1
    assert 'Failed to search registry' not in log


def test_the_rate_follows_the_batch_size(trained):
    """lr 0.1 is meant for 16 images a step; here are 8."""
    assert 'Epoch(train) [1][1/2]  lr: 5.0000e-02' in trained[1]


def test_training_continues_as_if_it_had_not_stopped(trained):
    unbroken, _ = trained
    stopped = unbroken / 'work_dirs/stopped'
    stopped.mkdir()
    shutil.copy(unbroken / 'work_dirs/toy_pretrain/epoch_2.pth', stopped)
    (stopped / 'last_checkpoint').write_text(str(stopped / 'epoch_2.pth'))
    log = train(unbroken, 'toy_pretrain.py', '--resume', '--work-dir', stopped,
                '--auto-scale-lr')
    assert 'Epoch(train) [2]' not in log
    mine = weights(stopped / 'epoch_3.pth')
    theirs = weights(unbroken / 'work_dirs/toy_pretrain/epoch_3.pth')
    assert mine['meta']['iter'] == theirs['meta']['iter'] == 6
    assert mine['param_schedulers'] == theirs['param_schedulers']
    assert (mine['optimizer']['param_groups'][0]['lr']
            == theirs['optimizer']['param_groups'][0]['lr'])
    assert torch.equal(mine['state_dict']['scale'], theirs['state_dict']['scale'])


def test_the_first_start_with_resume_begins_with_the_weights_of_the_config(trained):
    folder, _ = trained
    source = folder / 'work_dirs/toy_pretrain/epoch_3.pth'
    train(folder, 'toy_pretrain.py', '--resume', '--work-dir', folder / 'first',
          '--cfg-options', f'load_from={source}', 'train_cfg.max_epochs=1',
          'optim_wrapper.optimizer.lr=0.0')
    first = weights(folder / 'first/epoch_1.pth')
    assert first['meta']['iter'] == 2
    assert torch.equal(first['state_dict']['scale'],
                       weights(source)['state_dict']['scale'])


def test_weights_of_another_network_are_one_sentence_and_a_failure(folder):
    torch.save(dict(state_dict={'encoder.weight': torch.ones(1)}), folder / 'other.pth')
    log = train(folder, 'toy_pretrain.py', '--cfg-options', 'load_from=other.pth',
                status=1)
    assert '\ntrain.py: other.pth: no weight fits ToyNet. ' in log.replace(
        f'{folder}/', '')
    assert 'Traceback' not in log


def test_a_config_inherited_by_scope_finds_the_functions_of_its_loader(tmp_path):
    file = tmp_path / 'mine.py'
    file.write_text("""
_base_ = 'mmcontrast::_base_/datasets/folder_two_views.py'
train_dataloader = dict(batch_size=2, num_workers=1)
""")
    for name in ('a.png', 'b.png'):
        Image.new('RGB', (32, 32)).save(tmp_path / name)
    data_root = {'train_dataloader.dataset.data_root': str(tmp_path)}
    settings = Config.fromfile(file)
    settings.merge_from_dict(data_root)
    for cfg, runner in ((settings, ReliableRunner), (load_config(
            str(file), data_root), Runner)):
        assert 'mmcontrast' in str(cfg.train_dataloader.dataset)
        loader = runner.build_dataloader(cfg.train_dataloader, seed=0)
        assert next(iter(loader))['inputs'][0].shape[0] == 2


def test_two_processes_train_without_a_gpu(folder):
    if torch.cuda.is_available():
        pytest.skip('the launcher gives each process a GPU here')
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        os.environ['PORT'] = str(s.getsockname()[1])
    try:
        log = run(folder, 'bash', ROOT / 'tools/dist_train.sh', 'toy_pretrain.py', '2',
                  start=subprocess.run)
    finally:
        del os.environ['PORT']
    assert 'the processes train on the CPU over gloo' in log
    # 16 samples, 8 a process, two processes: one step an epoch.
    assert weights(folder / 'work_dirs/toy_pretrain/epoch_3.pth')['meta']['iter'] == 3


def test_a_checkpoint_is_tested_and_its_predictions_written(trained):
    folder, _ = trained
    log = run(folder, sys.executable, ROOT / 'tools/test.py', 'toy_test.py',
              'work_dirs/toy_pretrain/epoch_3.pth', '--out', 'predictions.pkl')
    assert 'count: 16' in log
    assert (folder / 'predictions.pkl').stat().st_size > 0


def test_testing_a_pretraining_config_says_what_to_do_instead(folder):
    config = str(folder / 'plain.py')
    with pytest.raises(UsageError) as caught:
        run_test(config, 'x.pth')
    assert 'pretrains without labels' in str(caught.value)
    assert f'export_backbone.py {config} x.pth' in str(caught.value)


def test_an_unknown_type_is_one_message_and_a_failure(folder):
    typo = ['--cfg-options', 'model.type=ToyNett']
    log = train(folder, 'toy_pretrain.py', *typo, status=1)
    assert "train.py: --cfg-options model.type: 'ToyNett' is not in the " in log
    assert "did you mean 'ToyNet'?" in log
    assert 'Traceback' not in log


def test_a_missing_config_names_its_neighbors(folder):
    with pytest.raises(FileNotFoundError, match=r'did you mean .*toy_pretrain\.py'):
        load_config(str(folder / 'toy_pretrian.py'))
    with pytest.raises(FileNotFoundError, match='there is no folder nowhere'):
        load_config('nowhere/config.py')
    with pytest.raises(FileNotFoundError, match='is a folder'):
        load_config(str(folder))


def test_a_missing_checkpoint_is_named(folder):
    with pytest.raises(FileNotFoundError, match='epoch_9.pth does not exist'):
        run_training(str(folder / 'plain.py'), resume='epoch_9.pth')


def test_a_misspelled_override_is_an_error(folder):
    config = str(folder / 'plain.py')
    with pytest.raises(UsageError, match="did you mean 'max_epochs'"):
        load_config(config, {'train_cfg.max_epoch': 3})
    # A key that the config does not spell out, but close to nothing, is welcome.
    cfg = load_config(config, {'train_cfg.val_begin': 3, 'randomness.seed': 7})
    assert cfg.train_cfg.val_begin == 3 and cfg.randomness.seed == 7


def test_a_misspelled_setting_in_the_file_is_an_error(folder):
    file = folder / 'typo.py'
    file.write_text("_base_ = 'plain.py'\noptim_wraper = dict(type='X')\n")
    with pytest.raises(UsageError, match="did you mean 'optim_wrapper'"):
        load_config(str(file))


def test_the_work_dir_is_the_flag_else_the_config_else_its_name(folder):
    config = str(folder / 'plain.py')
    assert load_config(config).work_dir == 'work_dirs/plain'
    assert load_config(config, {'work_dir': 'mine'}).work_dir == 'mine'
    assert load_config(config, {'work_dir': 'mine'}, 'flag').work_dir == 'flag'


def test_a_rate_without_its_batch_size_cannot_be_scaled():
    with pytest.raises(UsageError, match='auto_scale_lr.base_batch_size'):
        enable_auto_scale_lr(Config(dict(auto_scale_lr=dict(enable=False))))


def test_amp_without_a_gpu_says_so():
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper')))
    if torch.cuda.is_available():
        enable_amp(cfg)
        assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    else:
        with pytest.raises(UsageError, match='--amp needs a GPU'):
            enable_amp(cfg)


def test_sync_bn_becomes_bn_wherever_it_stands_in_the_model():
    sync = dict(type='SyncBN', requires_grad=True)
    cfg = Config(dict(launcher='none', model=dict(
        backbone=dict(norm_cfg=sync), heads=[dict(norm_cfg=dict(sync))])))
    note, = fit_to_devices(cfg)
    assert note.startswith('SyncBN needs several GPUs: 2 layer')
    assert cfg.model.backbone.norm_cfg == dict(type='BN', requires_grad=True)
    assert cfg.model.heads[0].norm_cfg.type == 'BN'
    assert fit_to_devices(cfg) == []
