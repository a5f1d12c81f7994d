"""State of modules outside parameters and buffers survives a resume; faults W."""
import enum
import itertools
import random
from collections import defaultdict, deque

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from torch import nn
from torchvision import tv_tensors

from mmcontrast.engine.resume.module_state import ModuleState
from mmcontrast.engine.resume.plain_state import fingerprint
from mmcontrast.io.checkpoint import read_checkpoint, write_checkpoint
from tests.helpers.exact_runs import (
    Data,
    Net,
    epochs,
    final,
    in_processes,
    iterations,
    same_run,
    text_log,
    train,
)


class Rule:
    """A plain object that a module holds, as an mmdet head its assigner."""

    def __init__(self):
        self.threshold, self.seen = 0.5, []


class Forgetful(Net):
    """Keeps state in every place but parameters and buffers; the loss depends on all.
    """

    def __init__(self):
        super().__init__()
        self.size, self.raw = None, b'\x00\xff'
        self.history = deque(maxlen=3)
        self.rules = [Rule(), Rule()]
        self.table = dict(a=np.zeros(2))
        self.hits, self.names = defaultdict(int), set()
        self.own = torch.Generator().manual_seed(1), random.Random(4)
        self.arrays = np.random.default_rng(1), np.random.RandomState(3)
        self.hidden = [nn.BatchNorm1d(3)]  # Torch does not see it.
        self.pairs = None
        self.register_buffer('count', torch.zeros(()), persistent=False)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode != 'loss':
            return super().forward(inputs, data_samples, mode)
        self.count += 1
        # References to weights, as a momentum encoder keeps: no state.
        self.pairs = self.pairs or [[p.data for p in self.parameters()], [self.queue]]
        assert self.pairs[1][0] is self.queue
        count = int(self.count)
        self.size = (count, random.random())
        self.history.append(float(inputs.mean()))
        self.rules[1].threshold = np.mean(self.history)
        self.rules[0].seen.append(torch.rand(2))
        self.table['a'] = self.table['a'] + self.arrays[0].random(2)
        self.names.add(count % 7)
        self.hits[count % 3] += 1
        self.raw += b'\xfe'
        losses = super().forward(self.hidden[0](inputs), data_samples, mode)
        losses['loss'] = losses['loss'] * (
            1 + self.size[1] + self.rules[1].threshold + self.table['a'].sum()
            + sum(self.rules[0].seen[-2:]).mean() + self.hits[1] + len(self.names)
            + torch.rand((), generator=self.own[0]) + self.own[1].random()
            + self.arrays[1].rand() + len(self.raw)) / 40
        self.last = losses['loss']  # A result, not state.
        return losses


class Stepping(OptimWrapper):
    """An optimizer wrapper that counts, and steps by its count."""

    calls = 0

    def scale_loss(self, loss):
        self.calls += 1
        return super().scale_loss(loss) * (1 + self.calls % 5)


@pytest.mark.parametrize('settings', [epochs, iterations])
def test_a_killed_run_restores_what_its_modules_remember(tmp_path, settings):
    """faults W, rows 1 and 2: exact, wherever a module keeps it."""
    config = settings(hooks=()) | dict(
        model=dict(type=Forgetful), optim_wrapper=dict(
            type=Stepping, optimizer=dict(type='Adam', lr=0.01)))
    whole, cut = tmp_path / 'whole', tmp_path / 'cut'
    in_processes(lambda pipe: train(config, whole, pipe=pipe))
    in_processes(lambda pipe: train(config, cut, pipe=pipe), kill_at=11)
    in_processes(lambda pipe: train(config, cut, True, pipe))
    same_run(cut, whole)
    assert 'no plain data' not in text_log(cut)
    saved = final(cut)['exact_resume']['ranks'][0]['modules']
    assert saved['lost'] == [] and 'pairs' not in saved['values']
    assert {'size', 'history', 'optim_wrapper.calls', 'rules[1].threshold', 'count',
            'hidden[0].running_mean'} <= set(saved['values'])


class Bank:
    """An object with a tensor."""

    def __init__(self, inputs):
        self.features = inputs.clone()


class Counting(Net):
    """Its state is no plain data."""

    def __init__(self):
        super().__init__()
        self.steps, self.rule, self.answer = itertools.count(), None, lambda: 0
        self.fixed, self.bank = Rule(), None

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss':
            step = next(self.steps)
            self.rule, self.answer = Rule(), lambda: step
            self.bank = self.bank or Bank(inputs)
            # Of this step, as the positive samples of mmdet's heads: no state.
            self.samples = dict(results=[Bank(inputs)])
        return super().forward(inputs, data_samples, mode)


def test_state_that_cannot_be_saved_is_named(tmp_path, monkeypatch):
    """faults W: named where it is no plain data."""
    config = epochs(val=False) | dict(model=dict(type=Counting))
    train(config | dict(train_cfg=dict(by_epoch=True, max_epochs=1)), tmp_path)
    train(config | dict(experiment_name=f'{tmp_path.name}-2'), tmp_path, True)
    text = text_log(tmp_path)
    assert 'Resuming is not exact' in text
    for name in ('answer', 'bank.features', 'rule.seen', 'rule.threshold', 'steps'):
        assert name in text
    assert 'fixed' not in text and 'samples' not in text


def test_modules_that_keep_nothing_add_nothing(tmp_path):
    train(epochs(val=False), tmp_path)
    saved = final(tmp_path)['exact_resume']['ranks'][0]['modules']
    assert saved == dict(
        values={'optim_wrapper._inner_count': 24, 'optim_wrapper._global_step': 23},
        lost=[], hooks=[])


class Counts(Hook):
    """A hook of a user that saves nothing."""

    def __init__(self):
        self.seen, self.fixed = 0, 1

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen += 1


def test_hooks_of_the_user_are_named_and_left_alone(tmp_path):
    """faults W: what a hook remembers may be about its process."""
    def settings():
        return epochs(val=False, hooks=[dict(type=Counts)])
    train(settings() | dict(train_cfg=dict(by_epoch=True, max_epochs=1)), tmp_path)
    runner = train(settings(), tmp_path, True)
    assert 'Hooks of yours had changed Counts.seen, which' in text_log(tmp_path)
    hook = next(hook for hook in runner.hooks if isinstance(hook, Counts))
    assert hook.seen == 16


class Caching:
    """A transform that remembers samples, as mmdet's CachedMosaic."""

    def __init__(self):
        self.results_cache, self.prob, self.reader = [], 0.5, None
        self.reduce_zero_label = None

    def __call__(self, sample):
        self.results_cache.append(object())
        self.reader = self.reader or object()  # Opens something once: no state.
        self.reduce_zero_label = False  # As mmseg's LoadAnnotations does.
        return sample


class Piped(Data):

    def __init__(self, kind):
        self.pipeline = [kind()]

    def __getitem__(self, k):
        return self.pipeline[0](super().__getitem__(k))


class Plainly(Caching):

    def __call__(self, sample):
        self.reduce_zero_label = False
        return sample


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('kind', [Caching, Plainly])
def test_transforms_that_remember_samples_are_named_at_the_start(
        tmp_path, workers, kind):
    config = epochs(val=False, workers=workers)
    config['train_dataloader']['dataset'] = dict(type=Piped, kind=kind)
    train(config | dict(train_cfg=dict(by_epoch=True, max_epochs=2)), tmp_path)
    text = '\n'.join(path.read_text() for path in tmp_path.rglob('*.log'))
    assert text.count('Caching (results_cache) of the training data changes') == (
        kind is Caching)
    assert not any(word in text for word in ('reader', '(prob', 'reduce_zero'))


VALUES = [1, True, 2.5, float('nan'), 'a\udcff', None, [1, (2, {3})], {'a': {1: [2]}},
          torch.arange(3), torch.zeros(()), torch.zeros(0), torch.ones(2).bfloat16(),
          np.float64(2), np.arange(6).reshape(2, 3).T, torch.Size([2]), deque([1], 2),
          frozenset({1}), np.array(1), torch.tensor([1 + 2j]), 3j, bytearray(b'a'),
          torch.eye(2).to_sparse(), tv_tensors.Image(torch.ones(1, 2, 2)),
          torch.ones(1).expand(4)]


@pytest.mark.parametrize('value', VALUES, ids=repr)
def test_every_plain_value_comes_back_from_a_file(tmp_path, value):
    def module(value):
        made = nn.Linear(1, 1)
        made.kept = value
        return made

    first, second = module('before'), module('before')
    state = ModuleState(first)
    first.kept = value
    values, lost = state.changed()
    assert not lost
    write_checkpoint(dict(values=values), tmp_path / 'a.pth')
    values = read_checkpoint(tmp_path / 'a.pth')['values']
    assert ModuleState(second).restore(values) == []
    restored = second.kept
    if type(value) is tv_tensors.Image:
        value = value.as_subclass(torch.Tensor)
    assert fingerprint(tuple(restored) if isinstance(value, torch.Size) else restored
                       ) == fingerprint(
        tuple(value) if isinstance(value, torch.Size) else value)
    assert ModuleState(nn.Linear(1, 1)).restore({'gone.kept': 1}) == ['gone.kept']


class Slots:
    """It has no ``__dict__``."""

    __slots__ = ('count',)

    def __init__(self):
        self.count = 0


class Mode(enum.Enum):
    WARM, FULL = 'warm', 'full'


class Odd(nn.Module):
    """What a walk over attributes may meet; its forward pass changes all of it."""

    def __init__(self):
        super().__init__()
        self.layer, self.hook, self.dtype = nn.Linear(1, 1), None, None
        self.ready, self.switched, self.calls = False, False, 0
        self.slots, self.mode = Slots(), Mode.WARM
        self.loop = []
        self.loop.append(dict(up=self.loop, rule=Rule()))
        self.deep = []
        for _ in range(3000):
            self.deep = [self.deep]

    def forward(self, inputs):
        if not self.ready:
            self.hook = self.layer.register_forward_hook(lambda *_: None)
            self.dtype, self.ready = inputs.dtype, True
        self.calls += 1
        self.switched = self.calls > 2
        self.slots.count += 1
        self.mode = Mode.FULL
        self.loop[0]['rule'].threshold = self.calls
        return self.layer(inputs)


def test_odd_attributes_are_saved_or_named_and_do_no_harm():
    """faults W: objects in circles; what the first step makes is made again."""
    first, second = Odd(), Odd()
    state = ModuleState(first)
    for step in range(4):
        first(torch.ones(1, 1))
        if step == 0:
            state.note_new_objects()
    values, lost = state.changed()
    assert lost == ['mode', 'ready', 'slots']
    # Not "ready", or the hook would never be registered.
    assert values == {'calls': 4, 'switched': True, "loop[0]['rule'].threshold": 4}
    assert ModuleState(second).restore(values) == []
    assert second.loop[0]['rule'].threshold == 4 and Mode.WARM.value == 'warm'
    second(torch.ones(1, 1))
    assert second.hook is not None


@pytest.mark.parametrize('value', [
    np.ma.array([1], mask=[True]), np.matrix([1]), torch.ones(1, device='meta')],
    ids=lambda value: type(value).__name__)
def test_values_that_no_checkpoint_may_hold_are_named(value):
    module = nn.Linear(1, 1)
    state = ModuleState(module)
    module.kept = value
    assert state.changed() == ({}, ['kept'])


def test_an_expanded_buffer_is_restored():
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    for module in (first, second):
        module.kept = torch.zeros(1).expand(3)
    state = ModuleState(first)
    first.kept = torch.ones(1).expand(3)
    ModuleState(second).restore(state.changed()[0])
    assert second.kept.tolist() == [1, 1, 1]


def test_an_mmdet_detector_resumes_with_its_sizes_and_thresholds(tmp_path):
    """faults W, rows 1 and 2, with the classes of mmdet that showed them."""
    head = pytest.importorskip('mmdet.models.roi_heads.dynamic_roi_head')
    augment = pytest.importorskip('mmdet.models.data_preprocessors.data_preprocessor')
    from mmdet.models.task_modules.assigners import MaxIoUAssigner

    class Head(head.DynamicRoIHead):
        def __init__(self):
            nn.Module.__init__(self)
            self.bbox_assigner = MaxIoUAssigner(
                0.5, 0.5, iou_calculator=dict(type='mmdet.BboxOverlaps2D'))
            self.iou_history, self.beta_history = [], []

    def model():
        return nn.ModuleDict(dict(
            head=Head(), resize=augment.BatchSyncRandomResize((320, 640))))

    first, second = model(), model()
    state = ModuleState(first)
    first['resize']._input_size = (416, 320)
    first['head'].iou_history.append(np.float64(0.4))
    first['head'].bbox_assigner.pos_iou_thr = np.float64(0.45)
    values, lost = state.changed()
    write_checkpoint(dict(values=values), tmp_path / 'a.pth')
    ModuleState(second).restore(read_checkpoint(tmp_path / 'a.pth')['values'])
    assert not lost and len(values) == 3
    assert second['resize']._input_size == (416, 320)
    assert second['head'].iou_history == [0.4]
    assert second['head'].bbox_assigner.pos_iou_thr == 0.45
