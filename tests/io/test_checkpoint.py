"""Reading and writing of checkpoints."""
import argparse
import datetime
import errno
import os
import pickle
from collections import defaultdict, deque
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader, load_from_local
from torch import nn

from mmcontrast.engine.hooks.checkpoint_keys import CheckpointKeysHook
from mmcontrast.io import atomic
from mmcontrast.io.checkpoint import (
    atomic_write,
    check_matching_keys,
    find_state_dict,
    read_checkpoint,
    write_checkpoint,
)
from mmcontrast.io.disk import DiskError
from mmcontrast.io.safe_loading import use_safe_loading


class Payload:
    """Runs a command where it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class Stolen:
    """Asks for something through getattr where it is unpickled."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


@pytest.fixture
def mmengine_loader():
    """Leave mmengine's loader and default scope as other tests expect them."""
    with DefaultScope.overwrite_default_scope('mmcontrast'):
        yield
    CheckpointLoader.register_scheme('', load_from_local, force=True)


@pytest.mark.parametrize('legacy', [False, True])
def test_a_malicious_file_is_rejected_and_not_executed(tmp_path, legacy):
    path, trace = tmp_path / 'evil.pth', tmp_path / 'trace'
    torch.save(dict(state_dict=Payload(f'touch {trace}')), path,
               _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r'evil.pth holds posix.system.*nothing was'):
        read_checkpoint(path)
    assert not trace.exists()


def test_getattr_reaches_log_statistics_only(tmp_path):
    torch.save(dict(x=Stolen()), tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match='getattr.*__init__.*is code'):
        read_checkpoint(tmp_path / 'evil.pth')


def test_mmengine_reads_through_us_and_no_longer_falls_back(tmp_path, mmengine_loader):
    path, trace = tmp_path / 'evil.pth', tmp_path / 'trace'
    torch.save(dict(state_dict=Payload(f'touch {trace}')), path)
    use_safe_loading()
    with pytest.raises(ValueError, match='posix.system'):
        CheckpointLoader.load_checkpoint(str(path), 'cpu')
    assert not trace.exists()


def test_what_training_files_hold_is_data(tmp_path):
    buffer = HistoryBuffer([1., 2.], [1, 1])
    torch.save(dict(
        state_dict={'a': torch.ones(2)}, opt=argparse.Namespace(lr=0.1, name='r50'),
        scalar=np.float64(0.5), small=np.uint8(7), array=np.arange(3.),
        words=np.array(['a', 'b']), log=buffer), tmp_path / 'a.pth')
    read = read_checkpoint(tmp_path / 'a.pth')
    assert read['opt'].lr == 0.1 and read['scalar'] == 0.5 and read['small'] == 7
    assert read['array'].tolist() == [0, 1, 2] and read['words'].tolist() == ['a', 'b']
    assert read['log'].mean() == 1.5 and read['log'].statistics('max') == 2


def test_a_file_of_numpy_1_is_read(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(x=np.float64(0.25)), path, _use_new_zipfile_serialization=False)
    # numpy 2 renamed the module of the function that its scalars are pickled with.
    content = path.read_bytes().replace(b'cnumpy._core.multi', b'cnumpy.core.multi')
    path.write_bytes(content)
    assert b'cnumpy.core.multiarray' in content
    assert read_checkpoint(path)['x'] == 0.25


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.pth'):
        read_checkpoint(tmp_path / 'none.pth')
    torch.save(dict(a=torch.randn(1000)), tmp_path / 'short.pth')
    content = (tmp_path / 'short.pth').read_bytes()
    (tmp_path / 'short.pth').write_bytes(content[:len(content) // 2])
    (tmp_path / 'empty.pth').write_bytes(b'')
    for name in ('short.pth', 'empty.pth'):
        with pytest.raises(ValueError, match=f'{name} cannot be read.*copy it again'):
            read_checkpoint(tmp_path / name)
    torch.save(torch.ones(3), tmp_path / 'tensor.pth')
    with pytest.raises(ValueError, match='tensor.pth holds a Tensor, expected a dict'):
        read_checkpoint(tmp_path / 'tensor.pth')


def test_safetensors_give_weights_and_text(tmp_path):
    from safetensors.torch import save_file
    save_file({'a': torch.arange(4.)}, tmp_path / 'a.safetensors', {'author': 'we'})
    read = read_checkpoint(tmp_path / 'a.safetensors')
    assert read['state_dict']['a'].tolist() == [0, 1, 2, 3]
    assert read['meta'] == {'author': 'we'}
    (tmp_path / 'b.safetensors').write_bytes(b'no')
    with pytest.raises(ValueError, match='b.safetensors is no safetensors file'):
        read_checkpoint(tmp_path / 'b.safetensors')


def test_files_that_timm_writes_are_read(tmp_path):
    import timm
    from timm.models._hub import save_for_hf
    from timm.utils import CheckpointSaver
    model = timm.create_model('resnet18', num_classes=2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    CheckpointSaver(model, optimizer, args=argparse.Namespace(model='r18'),
                    checkpoint_dir=tmp_path, recovery_dir=tmp_path
                    ).save_checkpoint(1, metric=0.5)
    save_for_hf(model, tmp_path, safe_serialization='both')
    for name in ('last.pth.tar', 'pytorch_model.bin', 'model.safetensors'):
        weights = find_state_dict(read_checkpoint(tmp_path / name), name)
        assert set(weights) == set(model.state_dict()), name
        assert torch.equal(weights['fc.weight'], model.fc.weight)


@pytest.mark.parametrize('legacy', [False, True])
def test_files_of_torchvision_and_its_training_script_are_read(tmp_path, legacy):
    from torchvision.models import resnet18
    model = resnet18(num_classes=2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    # Its weights to download, and what references/classification/train.py saves.
    for content in (model.state_dict(), dict(
            model=model.state_dict(), optimizer=optimizer.state_dict(), epoch=1,
            lr_scheduler=schedule.state_dict(), args=argparse.Namespace(lr=0.1))):
        torch.save(content, tmp_path / 'a.pth',
                   _use_new_zipfile_serialization=not legacy)
        weights = find_state_dict(read_checkpoint(tmp_path / 'a.pth'), 'a.pth')
        assert list(weights) == list(model.state_dict())
        assert torch.equal(weights['fc.weight'], model.fc.weight)


@pytest.mark.parametrize('value, read', [
    (Path('a/b'), Path('a/b')), (datetime.datetime(2024, 5, 1), ) * 2,
    (range(3), range(3)), (frozenset('a'), frozenset('a')), (deque([1, 2], 3), [1, 2]),
    (defaultdict(list, a=[1]), dict(a=[1])), (np.int64(3), 3)])
def test_plain_values_of_python_are_data(tmp_path, value, read):
    torch.save(dict(a=torch.ones(1), value=value), tmp_path / 'a.pth')
    assert read_checkpoint(tmp_path / 'a.pth')['value'] == read


def test_weights_are_found_under_the_usual_names():
    weights = {'module.a.weight': torch.ones(1)}
    for checkpoint in (weights, dict(model=weights, epoch=3), dict(state_dict=weights)):
        assert list(find_state_dict(checkpoint, 'x.pth')) == ['a.weight']
    with pytest.raises(KeyError, match=r"x.pth: no weights.*\['epoch'\]"):
        find_state_dict(dict(epoch=3), 'x.pth')


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / 'a.pth'
    write_checkpoint(dict(a=torch.ones(1)), path)
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        write_checkpoint(dict(a=torch.zeros(1), b=lambda: 0), path)
    assert read_checkpoint(path)['a'] == 1
    assert os.listdir(tmp_path) == ['a.pth']


def test_an_error_about_another_file_is_not_taken_for_one_of_writing(tmp_path):
    with pytest.raises(FileNotFoundError, match='other.txt'), \
            atomic_write(tmp_path / 'a') as file:
        file.write((tmp_path / 'other.txt').read_bytes())
    assert os.listdir(tmp_path) == []


def test_a_folder_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    done, target = [], tmp_path / 'a'
    monkeypatch.setattr(atomic, '_sync', done.append)
    with atomic.atomic_folder(target) as folder:
        (folder / 'inner').mkdir()
        (folder / 'inner' / 'b').write_bytes(b'x')
        assert not target.exists()
    assert done == [folder / 'inner', folder / 'inner' / 'b', folder, tmp_path]
    assert os.listdir(tmp_path) == ['a'] and (target / 'inner' / 'b').is_file()


def test_a_folder_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    with pytest.raises(DiskError, match='file/a could not be written'), \
            atomic.atomic_folder(tmp_path / 'file' / 'a'):
        pytest.fail('there is no folder to write to')
    with pytest.raises(FileNotFoundError, match='other.txt'), \
            atomic.atomic_folder(tmp_path / 'a'):
        (tmp_path / 'other.txt').read_bytes()
    with pytest.raises(DiskError, match='a could not be written: No space left'), \
            atomic.atomic_folder(tmp_path / 'a') as folder:
        raise OSError(errno.ENOSPC, 'No space left', str(folder / 'b'))
    assert os.listdir(tmp_path) == ['file']


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path):
    with atomic_write(tmp_path / 'new' / 'a') as file:
        file.write(b'half')
        file.flush()
        assert not (tmp_path / 'new' / 'a').exists()
    assert (tmp_path / 'new' / 'a').read_bytes() == b'half'


def test_no_matching_key_names_what_is_there_and_what_to_do():
    model = nn.ModuleDict(dict(backbone=nn.Linear(2, 3), head=nn.Linear(3, 1)))
    backbone = nn.Linear(2, 3).state_dict()
    with pytest.raises(KeyError, match=r'a.pth: no weight fits.*weight \(1\).*'
                                       r'wants backbone. \(2\), head. \(2\).*init_cfg'):
        check_matching_keys(backbone, model, 'a.pth')
    with pytest.raises(KeyError):  # Names alone do not make a fit.
        check_matching_keys({'head.weight': torch.ones(5, 5)}, model, 'a.pth')


def test_a_partial_match_is_counted():
    model = nn.ModuleDict(dict(backbone=nn.Linear(2, 3), head=nn.Linear(3, 1)))
    given = {'module.backbone.weight': torch.ones(3, 2), 'neck.x': torch.ones(1),
             'head.bias': torch.ones(7)}
    message = check_matching_keys(given, model, 'a.pth')
    assert '1 of 4 weights' in message and 'neck. (1)' in message
    assert "another shape: ['head.bias']" in message
    assert check_matching_keys(model.state_dict(), model, 'a.pth') is None


class Toy(BaseModel):
    """The smallest model that a Runner trains."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg=init_cfg)
        self.layer = nn.Linear(2, 1)

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.layer(inputs).square().mean())


def runner(folder, model=None, **options):
    data = [dict(inputs=torch.full((2,), float(i))) for i in range(4)]
    return Runner(
        model or Toy(), str(folder), experiment_name=str(folder).replace('/', '_'),
        train_dataloader=dict(dataset=data, batch_size=2, num_workers=0,
                              sampler=DefaultSampler(data, shuffle=False),
                              collate_fn=dict(type='default_collate')),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        param_scheduler=dict(type='LinearLR', end=2),
        default_hooks=dict(checkpoint=dict(
            type='CheckpointHook', interval=1,
            backend_args=dict(backend='atomic'))),
        custom_hooks=[CheckpointKeysHook()], cfg=Config(dict(work_dir=str(folder))),
        default_scope='mmcontrast', log_level='WARNING', **options)


def test_a_training_checkpoint_is_written_whole_and_resumes(tmp_path, mmengine_loader):
    runner(tmp_path / 'a').train()
    read = read_checkpoint(tmp_path / 'a' / 'epoch_1.pth')
    assert read['meta']['iter'] == 2
    assert read['message_hub']['log_scalars']['train/loss'].current() > 0
    assert not list((tmp_path / 'a').glob('.*partial'))
    whole = read_checkpoint(tmp_path / 'a' / 'epoch_2.pth')
    runner(tmp_path / 'b', resume=True,
           load_from=str(tmp_path / 'a' / 'epoch_1.pth')).train()
    again = read_checkpoint(tmp_path / 'b' / 'epoch_2.pth')
    assert torch.equal(again['state_dict']['layer.weight'],
                       whole['state_dict']['layer.weight'])


def test_load_from_a_foreign_file_stops_the_run(tmp_path, mmengine_loader):
    write_checkpoint(dict(state_dict={'encoder.conv1.weight': torch.ones(1)}),
                     tmp_path / 'foreign.pth')
    with pytest.raises(KeyError, match=r'foreign.pth: no weight fits Toy.*encoder\. '):
        runner(tmp_path / 'a', load_from=str(tmp_path / 'foreign.pth')).train()


def test_init_cfg_with_a_foreign_file_stops_the_run(tmp_path, mmengine_loader):
    path = tmp_path / 'foreign.pth'
    write_checkpoint({'encoder.conv1.weight': torch.ones(1)}, path)
    model = Toy(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    with pytest.raises(KeyError, match=(
            r'foreign.pth \(init_cfg of .*inspect_checkpoint.py \S+foreign.pth\W*$')):
        runner(tmp_path / 'a', model).train()
