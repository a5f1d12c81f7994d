"""A small model and data with which training meets values that are not finite."""
import uuid
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel, ImgDataPreprocessor
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import nn
from torch.utils.data import Dataset

from mmcontrast.models.momentum import MomentumEncoder
from mmcontrast.registry import DATASETS, HOOKS, MODELS, RUNNERS


@DATASETS.register_module()
class Photos(Dataset):
    """Noise; the images in ``dark`` are black, those in ``broken`` have a NaN pixel."""

    metainfo = {}

    def __init__(self, count=24, dark=(), broken=()):
        self.count, self.dark, self.broken = count, set(dark), set(broken)

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(i))
        if i in self.dark:
            image.zero_()
        if i in self.broken:
            image[1, 2, 3] = torch.nan
        return dict(inputs=image, data_samples=BaseDataElement(
            metainfo=dict(img_path=f'photos/{i}.jpg')))


class Ratio(nn.Module):
    """0 / 0 for a black image."""

    def forward(self, x):
        return x / x


class Root(nn.Module):
    """Finite for a black image, with an infinite slope."""

    def forward(self, x):
        return x.sqrt()


@MODELS.register_module()
class Fragile(BaseModel):
    """Batch norm, dropout and a queue; the light meter breaks on black images."""

    def __init__(self, meter='Ratio'):
        super().__init__(ImgDataPreprocessor())
        self.stem = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
            nn.Dropout(0.3))
        self.gain = nn.Parameter(torch.ones(()))
        self.meter = dict(Ratio=Ratio, Root=Root, Identity=nn.Identity)[meter]()
        self.head = nn.Linear(4, 1)
        self.register_buffer('queue', torch.zeros(4, 4))
        # -inf on purpose, as in attention: no reason for an alarm.
        self.register_buffer('mask', torch.full((2,), -torch.inf))

    def forward(self, inputs, data_samples=None, mode='loss'):
        features = self.stem(inputs).mean((2, 3))
        self.queue.copy_(torch.cat([features.detach()[:1], self.queue[:-1]]))
        light = self.meter(self.gain * inputs.mean((1, 2, 3)))
        return dict(
            loss_pixel=(self.head(features)[:, 0] + light).square().mean(),
            loss_queue=(features @ self.queue.T).square().mean() * 0.01)


@MODELS.register_module()
class WithMomentum(Fragile):
    """Has a momentum encoder that is updated in each forward pass."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.momentum = MomentumEncoder(head=self.head)
        self.momentum.coefficient = 0.9

    def forward(self, inputs, data_samples=None, mode='loss'):
        self.momentum.update()
        losses = super().forward(inputs, data_samples, mode)
        features = inputs.mean((2, 3))[:, [0, 1, 2, 0]]
        return losses | dict(loss_momentum=(
            self.head(features) - self.momentum.head(features)).abs().mean())


@OPTIM_WRAPPERS.register_module()
class CpuAmp(AmpOptimWrapper):
    """Mixed precision with a loss scaler, on a CPU, which mmengine does not offer."""

    def __init__(self, scale=8.0, dtype='float16', **kwargs):
        OptimWrapper.__init__(self, **kwargs)
        self._scale_update_param = None
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=scale)
        self.cast_dtype = getattr(torch, dtype)

    def optim_context(self, model):
        return torch.autocast('cpu', self.cast_dtype)


@HOOKS.register_module()
class SpoilWeight(Hook):
    """Sets a weight to infinity before an iteration."""

    def __init__(self, iteration, name='head.weight'):
        self.iteration, self.name = iteration, name

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            with torch.no_grad():
                runner.model.get_parameter(self.name)[0, 0] = torch.inf


def config(work_dir: Path, guard: dict | None = None, meter='Ratio', batch_size=4,
           max_iters=6, model='Fragile', optim_wrapper: dict | None = None,
           custom_hooks=(), **data) -> dict:
    """Of a run over :class:`Photos` in their order; iteration k has images 4k to
    4k+3."""
    return dict(
        model=dict(type=f'mmcontrast.{model}', meter=meter), work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=batch_size, num_workers=0,
            dataset=dict(type='mmcontrast.Photos', **data),
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate')),
        train_cfg=dict(by_epoch=False, max_iters=max_iters),
        optim_wrapper=optim_wrapper or dict(
            optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=9)],
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', interval=100, save_last=False),
            guard=dict(type='mmcontrast.NonFiniteGuardHook', **(guard or {}))),
        custom_hooks=list(custom_hooks), randomness=dict(seed=3),
        log_level='WARNING', experiment_name=uuid.uuid4().hex,
        default_scope='mmengine')


def runner_of(cfg: dict) -> Runner:
    """The plain Runner of mmengine, unless the config names another one."""
    return RUNNERS.build(Config(cfg))
