"""Batches that stopped a run, run again."""
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmcontrast.apis.analysis.replay import replay
from mmcontrast.apis.config import UsageError
from mmcontrast.apis.train import train
from mmcontrast.engine.nonfinite import NonFiniteError, read_record
from mmcontrast.errors import UserValueError
from mmcontrast.registry import DATASETS
from tests.helpers.fragile import config, runner_of
from tests.helpers.processes import run_python

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures('scope_as_it_was')


def save_a_batch(work_dir: Path, **settings) -> tuple[Path, str]:
    """A run that stops: what it saved, and its message."""
    with pytest.raises(NonFiniteError) as caught:
        runner_of(config(work_dir, **settings)).train()
    return max((work_dir / 'nonfinite').iterdir()), str(caught.value)


@pytest.mark.parametrize('settings', [
    dict(dark=[9]), dict(dark=[9], meter='Root'), dict(broken=[6], meter='Identity'),
    dict(meter='Identity', custom_hooks=[
        dict(type='mmcontrast.SpoilWeight', iteration=2)]),
    dict(dark=[9], model='WithMomentum'),
    dict(dark=[5, 9], model='WithMomentum', guard=dict(skip=dict(budget=1)))],
    ids=['forward', 'backward', 'image', 'weight', 'momentum_encoder', 'after a skip'])
def test_a_replay_finds_the_same_origin_with_the_same_bits(tmp_path, settings):
    folder, text = save_a_batch(tmp_path, **settings)
    found = replay(folder, device='cpu')
    assert found.same_losses
    # Dropout and batch norm of the training mode are in these bits.
    assert 'loss_queue' in found.result.losses
    assert f'First non-finite: {found.origin.sentence}.' in text
    assert all(f'    {line}' in text for line in found.origin.details)


def test_a_replay_of_mixed_precision_can_leave_it(tmp_path):
    folder, _ = save_a_batch(tmp_path, dark=[5], optim_wrapper=dict(
        type='CpuAmp', dtype='bfloat16', optimizer=dict(type='SGD', lr=0.01)))
    assert read_record(folder).state['autocast'] == dict(dtype='bfloat16')
    assert replay(folder, device='cpu').same_losses
    assert not replay(folder, device='cpu', fp32=True).same_losses


def test_what_is_saved_is_what_was_before_the_step(tmp_path):
    folder, _ = save_a_batch(tmp_path / 'a', dark=[9])
    before = runner_of(config(tmp_path / 'b', max_iters=2))
    before.train()
    record = read_record(folder)
    weights = record.state['weights']
    for name, value in before.model.state_dict().items():
        assert torch.equal(weights[name], value)
    assert record.state['info']['iteration'] == 3
    assert [s.img_path for s in record.batch['data_samples']] == [
        f'photos/{i}.jpg' for i in range(8, 12)]
    assert not record.batch['inputs'][1].any()
    assert record.state['optimizer']['state'][0]['momentum_buffer'].isfinite().all()


def run_tool(*arguments: str) -> subprocess.CompletedProcess:
    return run_python(
        [sys.executable, 'tools/analysis/replay.py', '--device', 'cpu', *arguments],
        cwd=ROOT, capture_output=True, text=True,
        env=os.environ | dict(PYTHONPATH=str(ROOT)))


def test_the_tool_prints_the_modules_around_the_origin(tmp_path):
    folder, _ = save_a_batch(tmp_path, dark=[9])
    done = run_tool(str(folder), '--import', 'tests.helpers.fragile', '--rows', '1')
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert '(the same bits)' in out
    assert 'First non-finite: meter (Ratio), in its forward.' in out
    table = out.partition('Forward, modules')[2].splitlines()
    at = table.index('--> meter (Ratio)')
    assert table[at + 2].startswith('        ! output (4,) float32, min 1 max 1 mean 1')
    assert table[at - 3] == '    stem.3 (Dropout)' and '    ... 6 before' in table


def test_a_module_of_your_own_is_imported_only_if_you_say_so(tmp_path):
    folder, _ = save_a_batch(tmp_path, dark=[9])
    text = (folder / 'config.py').read_text().replace('.Fragile', '.MyOwnNet')
    (folder / 'config.py').write_text(
        f"{text}\ncustom_imports = dict(imports=['my_nets'])\n")
    with pytest.raises(UsageError, match="MyOwnNet' is not in .*--import my_nets"):
        replay(folder)


def test_a_fixed_model_replays_with_finite_values(tmp_path):
    folder, _ = save_a_batch(tmp_path, dark=[9])
    fixed = tmp_path / 'fixed.py'
    fixed.write_text("model = dict(type='mmcontrast.Fragile', meter='Identity')")
    found = replay(folder, config=str(fixed), device='cpu')
    assert found.origin is None and found.result.backward_done
    assert 'All values are finite this time.' in found.text()


def test_gradients_are_shown_from_the_last_module_to_the_first(tmp_path):
    folder, _ = save_a_batch(tmp_path, dark=[9], meter='Root')
    text = replay(folder, device='cpu').text(rows=0)
    gradients = text.partition('Gradients, modules')[2]
    assert gradients.index('head (Linear)') < gradients.index('--> meter (Root)')
    assert gradients.index('meter (Root)') < gradients.index('stem.0 (Conv2d)')
    assert 'Gradients, ' not in replay(folder, device='cpu', grad=False).text()


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_in_a_folder_is_executed(tmp_path):
    folder, _ = save_a_batch(tmp_path, dark=[9])
    touched = tmp_path / 'touched'
    text = (folder / 'config.py').read_text()
    (folder / 'config.py').write_text(
        f'{text}\nx = __import__("pathlib").Path({str(touched)!r}).touch()\n')
    with pytest.raises(ValueError, match='not data'):
        replay(folder)
    (folder / 'config.py').write_text(
        "model = dict(type='mmcontrast.Fragile', meter=dict(type='os.mkdir', "
        f'path={str(touched)!r}))')
    with pytest.raises(UsageError, match="'os.mkdir'.*outside the registries"):
        replay(folder)
    # faults Y row 2: a bare module, and what else mmengine imports for a name.
    for text in ("model = dict(type='antigravity')",
                 "model = dict(type='mmcontrast.Fragile', _scope_='antigravity')",
                 "model = dict(type='antigravity.Net')",
                 "default_scope = 'antigravity'\nmodel = dict(type='Fragile')"):
        (folder / 'config.py').write_text(text)
        with pytest.raises(UsageError, match="'antigravity.*outside the registries"):
            replay(folder)
    assert 'antigravity' not in sys.modules
    # A list in a list in a list, which pickle itself would not write.
    deep = b'\x80\2}X\5\0\0\0batch' + b']' * 20_000 + b'a' * 19_999 + b's.'
    with zipfile.ZipFile(folder / 'batch.pth', 'w') as archive:
        archive.writestr('a/data.pkl', deep)
        archive.writestr('a/version', '3')
    with pytest.raises(UserValueError, match='batch.pth is no saved batch .Recursion'):
        replay(folder)
    torch.save(dict(batch=dict(__kind__='array')), folder / 'batch.pth')
    with pytest.raises(UserValueError, match='batch.pth is no saved batch .KeyError'):
        replay(folder)
    torch.save(dict(batch=Touch(touched)), folder / 'batch.pth')
    with pytest.raises(ValueError, match='not data'):
        replay(folder)
    assert not touched.exists()


def test_tools_train_guards_every_config_and_can_leave_it(tmp_path):
    cfg = config(tmp_path / 'run', dark=[9])
    cfg['default_hooks'].pop('guard')
    file = tmp_path / 'plain.py'
    Config(cfg).dump(file)
    with pytest.raises(NonFiniteError, match=r'First non-finite: meter \(Ratio\)'):
        train(str(file))
    assert replay(tmp_path / 'run' / 'nonfinite' / 'iter_3', device='cpu').same_losses
    runner = train(str(file), str(tmp_path / 'off'), cfg_options={
        'default_hooks.nonfinite_guard': None, 'experiment_name': 'off'})
    assert runner.model.gain.isnan()


def test_a_wrong_folder_is_answered_with_the_right_one(tmp_path):
    save_a_batch(tmp_path, dark=[9])
    with pytest.raises(FileNotFoundError, match='there is nonfinite/iter_3 in it'):
        replay(tmp_path)


def test_a_detector_with_boxes_and_masks_is_replayed(tmp_path):
    structures = pytest.importorskip('mmdet.structures')
    from mmdet.structures.bbox import HorizontalBoxes
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    @DATASETS.register_module(force=True)
    class Scenes(torch.utils.data.Dataset):
        metainfo = {}

        def __len__(self):
            return 4

        def __getitem__(self, i):
            return sample(i)

    def sample(i):
        boxes = torch.tensor([[4., 4, 30, 40], [10, 8, 60, 50]])
        if i == 3:
            boxes[1, 2] = torch.nan
        found = structures.DetDataSample(metainfo=dict(
            img_path=f'photos/{i}.jpg', img_shape=(64, 64), scale_factor=(1., 1.)))
        found.gt_instances = InstanceData(
            bboxes=HorizontalBoxes(boxes), labels=torch.tensor([0, 1]),
            masks=BitmapMasks(np.ones((2, 64, 64), np.uint8), 64, 64))
        image = torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8,
                              generator=torch.Generator().manual_seed(i))
        return dict(inputs=image, data_samples=found)

    cfg = config(tmp_path, batch_size=2, custom_hooks=[dict(
        type='mmcontrast.SpoilWeight', iteration=1,
        name='neck.fpn_convs.0.conv.weight')])
    cfg |= dict(default_scope='mmdet', model=dict(
        type='FCOS', data_preprocessor=dict(
            type='DetDataPreprocessor', mean=[120.] * 3, std=[60.] * 3, pad_mask=True,
            pad_size_divisor=32),
        backbone=dict(type='ResNet', depth=18, base_channels=8, out_indices=(2, 3)),
        neck=dict(type='FPN', in_channels=[32, 64], out_channels=16, num_outs=3),
        bbox_head=dict(type='FCOSHead', num_classes=2, in_channels=16, feat_channels=16,
                       stacked_convs=1, strides=[16, 32, 64], norm_cfg=None,
                       regress_ranges=((-1, 64), (64, 128), (128, 1e8)))))
    cfg['train_dataloader']['dataset'] = dict(type='mmcontrast.Scenes')
    with pytest.raises(NonFiniteError) as caught:
        runner_of(cfg).train()
    assert 'annotations of photos/3.jpg: gt_instances.bboxes.tensor (2, 4)' in str(
        caught.value)
    found = replay(tmp_path / 'nonfinite' / 'iter_2', device='cpu')
    assert found.same_losses and not found.record.missing
    assert found.origin.sentence in str(caught.value)
    after = found.record.batch['data_samples'][1]
    assert type(after) is structures.DetDataSample
    assert type(after.gt_instances.bboxes) is HorizontalBoxes
    assert type(after.gt_instances.masks) is BitmapMasks
    # As the loader gave it: the preprocessor has not left its marks.
    assert 'batch_input_shape' not in after
