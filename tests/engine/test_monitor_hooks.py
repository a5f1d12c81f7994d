import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmcontrast.engine.hooks import DenseProbeHook, PretrainMonitorHook
from mmcontrast.testing.ranks import on_ranks

CLASSES = ['dark', 'bright']


class Images(Dataset):
    def __init__(self, count=8):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return dict(inputs=torch.rand(3, 8, 8), data_samples=index)


class Tiny(BaseModel):
    """A backbone that learns to give ones, and reports what its test sets."""

    def __init__(self, reports=None):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 4, 2, stride=2), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.reports = reports or {}

    def forward(self, inputs, data_samples=None, mode='loss'):
        loss = (self.backbone(inputs) - 1).square().mean()
        return dict(loss=loss, **{k: torch.tensor(v) for k, v in self.reports.items()})


def train(work_dir, hooks, reports=None, epochs=2, resume=False, by_epoch=True,
          kind=None):
    """A run of two iterations an epoch; the runner, after training."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    loop = dict(by_epoch=True, max_epochs=epochs) if by_epoch else dict(
        by_epoch=False, max_iters=2 * epochs)
    runner = Runner(
        (kind or Tiny)(reports), str(work_dir),
        train_dataloader=DataLoader(
            Images(), batch_size=4, shuffle=True,
            collate_fn=lambda items: dict(
                inputs=torch.stack([x['inputs'] for x in items]),
                data_samples=[x['data_samples'] for x in items])),
        train_cfg=loop,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1),
                           checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=hooks, log_processor=dict(by_epoch=by_epoch),
        experiment_name=f'{work_dir.parent.name}-{work_dir.name}-{epochs}',
        resume=resume, randomness=dict(seed=0), log_level='INFO')
    runner.train()
    return runner


def scalars(work_dir):
    """Lines of all scalars.json below, in the order of time."""
    files = sorted(work_dir.rglob('vis_data/scalars.json'))
    return [json.loads(line) for file in files
            for line in file.read_text().splitlines()]


def log_text(work_dir):
    return '\n'.join(p.read_text() for p in sorted(Path(work_dir).rglob('*.log')))


@pytest.fixture
def probe_cfg():
    toy = dict(type='ShapesDataset', num_images=6, size=64, with_annotations=True)
    return dict(train_dataset=toy, val_dataset=dict(toy, split='val', num_images=3),
                size=32)


def test_probe_starts_at_random_init_and_follows_every_epoch(tmp_path, probe_cfg):
    runner = train(tmp_path / 'run', [DenseProbeHook(**probe_cfg)])
    lines = [x for x in scalars(tmp_path) if 'probe/miou' in x]
    assert [x['step'] for x in lines] == [0, 2, 4]
    assert all(0 <= x['probe/miou'] <= x['probe/accuracy'] <= 1 for x in lines)
    history = runner.message_hub.get_scalar('probe/miou').data[0]
    assert history.tolist() == [x['probe/miou'] for x in lines]
    assert 'knn probe after 4 iterations: mIoU' in log_text(tmp_path)
    assert 'circle 0.' in log_text(tmp_path)


def test_probe_by_iterations_and_without_the_first_point(tmp_path, probe_cfg):
    hook = DenseProbeHook(
        **probe_cfg, by_epoch=False, interval=3, before_training=False, kind='linear')
    train(tmp_path / 'run', [hook], epochs=3, by_epoch=False)
    steps = [x['step'] for x in scalars(tmp_path) if 'probe/miou' in x]
    assert steps == [3, 6]


def test_a_resumed_run_does_not_probe_its_first_point_again(tmp_path, probe_cfg):
    train(tmp_path / 'run', [DenseProbeHook(**probe_cfg)], epochs=1)
    train(tmp_path / 'run', [DenseProbeHook(**probe_cfg)], epochs=2, resume=True)
    steps = [x['step'] for x in scalars(tmp_path) if 'probe/miou' in x]
    assert steps == [0, 2, 4]


def test_training_is_the_same_with_and_without_the_probe(tmp_path, probe_cfg):
    class Noisy(DenseProbeHook):
        """A probe that draws from every generator."""

        def _load(self):
            torch.rand(3), np.random.rand(3), random.random()
            return super()._load()

    plain = train(tmp_path / 'plain', [])
    probed = train(tmp_path / 'probed', [Noisy(**probe_cfg)])
    assert probed.model.training
    for name, weight in plain.model.state_dict().items():
        assert torch.equal(weight, probed.model.state_dict()[name]), name


def probe_on_rank(rank, folder, cfg):
    """History of the probe on one rank, or the error of a wrong backbone name."""
    good = train(Path(folder) / 'good', [DenseProbeHook(**cfg)], epochs=1)
    try:
        train(Path(folder) / 'bad', [DenseProbeHook(**cfg, backbone='encoder')])
    except (ValueError, RuntimeError) as error:
        message = f'{type(error).__name__}: {error}'
    return good.message_hub.get_scalar('probe/miou').data[0].tolist(), message


def test_all_ranks_know_the_result_and_the_failure_of_rank_0(tmp_path, probe_cfg):
    (first, error), (second, other) = on_ranks(2, probe_on_rank, tmp_path, probe_cfg)
    assert first == second and len(first) == 2
    assert error.startswith('ValueError') and "no module 'encoder'" in error
    assert other.startswith('RuntimeError') and 'failed on rank 0' in other
    assert "no module 'encoder'" in other


def test_probe_takes_the_normalization_of_the_model(probe_cfg):
    from mmcontrast.evaluation.features import normalization_of
    model = Tiny()
    assert normalization_of(model)[0] == (123.675, 116.28, 103.53)
    model.data_preprocessor.mean, model.data_preprocessor.std = 1.0, 2.0
    assert normalization_of(model) == (1.0, 2.0)


def test_bad_probe_settings_are_named(tmp_path, probe_cfg):
    with pytest.raises(ValueError, match="got 'tree'"):
        DenseProbeHook(**probe_cfg, kind='tree')
    with pytest.raises(ValueError, match='interval must be 1 or more, got 0'):
        DenseProbeHook(**probe_cfg, interval=0)
    with pytest.raises(ValueError, match=r"no module 'encoder'; it has .*backbone"):
        train(tmp_path / 'run', [DenseProbeHook(**probe_cfg, backbone='encoder')])


def test_both_sets_must_have_the_same_classes(tmp_path, probe_cfg):
    other = dict(type='ShapesDataset', num_images=2, size=64, with_annotations=True,
                 metainfo=dict(classes=CLASSES + list('abcdefgh')))
    with pytest.raises(ValueError, match='must be the same'):
        train(tmp_path / 'run', [DenseProbeHook(**probe_cfg | dict(val_dataset=other))])


def test_monitor_logs_images_per_second_beside_what_the_model_reports(tmp_path):
    train(tmp_path / 'run', [PretrainMonitorHook()],
          dict(feature_std=0.9, pairs_per_image=7.0))
    lines = [x for x in scalars(tmp_path) if 'loss' in x]
    assert len(lines) == 4
    for line in lines:
        assert line['pairs_per_image'] == 7 and line['feature_std'] == pytest.approx(.9)
    # 4 images a step; the first line has the time of one step.
    assert lines[0]['images_per_second'] == pytest.approx(4 / lines[0]['time'], rel=.01)


def test_collapse_is_said_once_after_patience(tmp_path):
    hook = PretrainMonitorHook(min_feature_std=0.1, patience=3)
    train(tmp_path / 'run', [hook], dict(feature_std=0.05), epochs=4)
    lines = [x for x in log_text(tmp_path).splitlines() if 'becoming one vector' in x]
    assert len(lines) == 1
    assert 'feature_std is 0.050' in lines[0] and 'learning rate' in lines[0]


def test_a_spell_below_the_threshold_that_ends_is_no_collapse(tmp_path):
    hook = PretrainMonitorHook(min_feature_std=0.1, patience=5)
    train(tmp_path / 'run', [hook], dict(feature_std=0.05), epochs=2)
    assert 'becoming one vector' not in log_text(tmp_path)


class Grouped(Tiny):
    """A method with a sign of collapse of its own."""

    collapse_signs = dict(slot_entropy=dict(
        below=0.1, means='one slot takes all', do='Do this.'))


def test_a_method_may_name_other_signs_of_collapse(tmp_path):
    hook = PretrainMonitorHook(patience=2)
    train(tmp_path / 'run', [hook], dict(feature_std=0.9, slot_entropy=0.05),
          epochs=3, kind=Grouped)
    lines = [x for x in log_text(tmp_path).splitlines() if '(collapse)' in x]
    assert len(lines) == 1
    assert ('slot_entropy is 0.050 and was below 0.1 for 2 log intervals: one slot '
            'takes all (collapse). Do this.') in lines[0]


def test_bounds_go_before_those_of_the_method_and_must_name_a_sign(tmp_path):
    reports = dict(feature_std=0.9, slot_entropy=0.05)
    train(tmp_path / 'run', [PretrainMonitorHook(patience=2, bounds=dict(
        slot_entropy=0.01))], reports, epochs=3, kind=Grouped)
    assert '(collapse)' not in log_text(tmp_path)
    with pytest.raises(ValueError, match=r"bounds names \['slots'\].*'slot_entropy'\]"):
        train(tmp_path / 'bad', [PretrainMonitorHook(bounds=dict(slots=0.1))], reports,
              kind=Grouped)


def test_each_sign_has_a_patience_of_its_own(tmp_path):
    # Three intervals of low features and none of low entropy are no three of either.
    train(tmp_path / 'run', [PretrainMonitorHook(patience=3)],
          dict(feature_std=0.05, slot_entropy=0.5), epochs=4, kind=Grouped)
    lines = [x for x in log_text(tmp_path).splitlines() if '(collapse)' in x]
    assert len(lines) == 1 and 'feature_std is 0.050' in lines[0]


def test_an_epoch_without_pairs_is_said_once(tmp_path):
    train(tmp_path / 'run', [PretrainMonitorHook()],
          dict(feature_std=0.9, no_pair_share=1.0), epochs=3)
    assert log_text(tmp_path).count('An epoch of views without overlap') == 1


def test_an_epoch_with_a_few_pairs_is_fine(tmp_path):
    train(tmp_path / 'run', [PretrainMonitorHook()],
          dict(feature_std=0.9, no_pair_share=0.95))
    assert 'without overlap' not in log_text(tmp_path)


def test_a_model_that_reports_nothing_is_noted(tmp_path):
    train(tmp_path / 'run', [PretrainMonitorHook()])
    assert log_text(tmp_path).count('Tiny reports no feature_std') == 1


def test_bad_monitor_settings_are_named():
    with pytest.raises(ValueError, match='min_feature_std'):
        PretrainMonitorHook(min_feature_std=2)
    with pytest.raises(ValueError, match='patience'):
        PretrainMonitorHook(patience=0)
