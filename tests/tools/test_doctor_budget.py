"""The doctor keeps to its time, and estimates large batches from a few samples."""
import signal
import time

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmcontrast.apis.doctor import Report, doctor, dry_run
from mmcontrast.apis.doctor.budget import Budget, OutOfTime
from mmcontrast.apis.doctor.dry_run import check_dry_run
from mmcontrast.apis.doctor.strides import check_feature_strides
from mmcontrast.errors import UserValueError
from mmcontrast.registry import DATASETS, MODELS

pytestmark = pytest.mark.usefixtures('scope_as_it_was')


@MODELS.register_module(force=True)
class SlowModel(nn.Module):
    """Takes a tenth of a second a sample, and notes the batches it gets."""

    batches: list[int] = []

    def __init__(self, data_preprocessor=None, seconds=0.1):
        super().__init__()
        self.weight, self.seconds = nn.Parameter(torch.ones(1)), seconds

    def train_step(self, data, optim_wrapper):
        self.batches.append(len(data))
        time.sleep(self.seconds * len(data))
        loss = self.weight.sum()
        optim_wrapper.update_params(loss)
        return dict(loss=loss)


@DATASETS.register_module(force=True)
class ManyNumbers(torch.utils.data.Dataset):
    def __len__(self):
        return 10_000

    def __getitem__(self, idx):
        return torch.zeros(2)


def config(batch_size, seconds=0.1):
    return Config(dict(
        default_scope='mmcontrast', model=dict(type='SlowModel', seconds=seconds),
        train_dataloader=dict(
            batch_size=batch_size, num_workers=0, dataset=dict(type='ManyNumbers'),
            sampler=dict(type='InfiniteSampler')),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=600),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=None), work_dir='work_dir'))


def checked(cfg, budget):
    SlowModel.batches.clear()
    report = Report()
    check_dry_run(report, cfg, None, 2, budget)
    return '\n'.join(text for _, text in report.lines)


@pytest.fixture(autouse=True)
def without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)


def test_a_step_that_does_not_fit_is_estimated_from_a_few_samples(tmp_path):
    # Build 3: ten minutes and 8 GB for the batch of 128 of the page's first config.
    start = time.monotonic()
    said = checked(config(1280), Budget(1))
    assert time.monotonic() - start < 20
    assert SlowModel.batches == [2, 2, 4]
    # 128 s a step, 600 of them.
    assert 'a step of 1280 samples takes about 128 s on this machine' in said or (
        'a step of 1280 samples takes about 129 s on this machine') in said
    assert 'about 21.' in said and 'h for 600 iterations' in said
    assert 'an estimate from a step on 4 samples' in said


def test_a_step_that_fits_is_made_whole():
    said = checked(config(6, 0.01), Budget(1))
    assert SlowModel.batches == [2, 2, 4, 6, 6]
    assert '2 steps forward, backward and of the optimizer' in said
    assert 'an estimate from 2 step(s) on this machine' in said
    said = checked(config(2, 0.01), Budget(1))
    assert SlowModel.batches == [2, 2]


def test_a_step_beyond_the_memory_is_not_made(monkeypatch):
    peaks = iter([1 << 30] * 3)
    monkeypatch.setattr(dry_run, 'peak_memory', lambda: next(peaks, 3 << 30))
    monkeypatch.setattr(dry_run, 'free_memory', lambda: 8 << 30)
    said = checked(config(32, 0.001), Budget(1))
    assert SlowModel.batches == [2, 2, 4]
    # 2 GiB for 2 more samples, 1 GiB each.
    assert 'a step of 32 samples takes about 31.0 GiB, 8.0 GiB are free' in said
    assert 'about 31.0 GiB with whole batches' in said


def test_the_doctor_stops_by_itself_with_what_it_knows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = config(4, 60)
    cfg.dump('config.py')
    start = time.monotonic()
    report = doctor('config.py', minutes=2 / 60, steps=2)
    assert time.monotonic() - start < 20
    said = '\n'.join(text for _, text in report.lines)
    assert 'SlowModel with' in said and 'stopped after 0.0333333 minutes' in said
    assert report.count('FAIL') == 0
    assert [path.name for path in tmp_path.iterdir()] == ['config.py']


def test_the_alarm_ends_with_its_block():
    signal.setitimer(signal.ITIMER_REAL, 500)
    try:
        with Budget(1).enforced():
            pass
        assert 490 < signal.getitimer(signal.ITIMER_REAL)[0] <= 500
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    with pytest.raises(OutOfTime), Budget(0.02 / 60).enforced():
        time.sleep(5)
    with Budget(0.05 / 60).enforced():
        pass
    time.sleep(0.1)


# Build 3: anchors that do not fit the strides; siblings: points, C4, regions alone.
@pytest.mark.parametrize('head', ['RetinaHead', 'FCOSHead', 'bbox_roi_extractor'])
def test_anchors_beside_the_feature_maps_are_found(head):
    pytest.importorskip('mmdet')

    class Detector(nn.Module):
        def __init__(self, strides):
            super().__init__()
            self.weight, self.map_strides = nn.Parameter(torch.ones(1)), strides
            part = nn.Module()
            if head == 'bbox_roi_extractor':
                part.featmap_strides = [4, 8, 16, 32]
                self.roi_head = nn.Module()
                self.roi_head.bbox_roi_extractor = part
            else:
                from mmdet.models.task_modules import prior_generators
                part.prior_generator = (prior_generators.AnchorGenerator(
                    [4, 8, 16, 32], [1.], [8]) if head == 'RetinaHead' else
                    prior_generators.MlvlPointGenerator([4, 8, 16, 32]))
                self.bbox_head = part

        def extract_feat(self, x):
            return [x[..., ::stride, ::stride] for stride in self.map_strides]

    report = Report()
    check_feature_strides(report, Detector([4, 8, 16, 16]))
    (status, text), = report.lines
    assert status == 'WARN'
    assert 'strides 4, 8, 16, 32, but they have 4, 8, 16, 16' in text
    name = 'roi_head.bbox_roi_extractor' if 'roi' in head else 'bbox_head'
    assert f'model.{name}' in text
    report = Report()
    check_feature_strides(report, Detector([4, 8, 16, 32]))
    assert [status for status, _ in report.lines] == ['OK']


@pytest.mark.parametrize('minutes', [0, -1, float('nan')])
def test_no_time_is_no_clean_report(minutes):
    with pytest.raises(UserValueError, match='minutes must be greater than 0'):
        doctor('configs/pixpro/pixpro_resnet18_1xb32-coslr-600i_demo.py',
               minutes=minutes)
