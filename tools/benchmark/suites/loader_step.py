"""Time training steps with data from files against steps on data in memory."""
import itertools
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from timing.frame import Row, seconds, suite

from mmcontrast.apis.config import load_config
from mmcontrast.apis.train import fit_to_devices
from mmcontrast.models import MomentumEncoder
from mmcontrast.registry import MODELS

from .views import write_toy_jpegs

_CONFIG = 'mmcontrast::pixpro/pixpro_resnet18_1xb32-coslr-600i_demo.py'
_BATCHES_IN_MEMORY = 4


@suite('loader_step', 'Training from files against training from memory', threads=0)
def loader_step(data: str = '', images: int = 200, config: str = _CONFIG,
                size: int = 112, batch: int = 32, workers: int = 1, steps: int = 12,
                device: str = 'cpu', precision: str = 'float32',
                channels_last: int = 0):
    """Complete steps, from batch to optimizer, in turns from memory and from files.

    Batches in memory are those of the same loader, before the preprocessor.

    --data           folder of images; by default scenes of the toy world, written as
                     JPEGs of 500 x 400 pixels, quality 90
    --images         number of these scenes
    --config         of a two-view method: model, views, optimizer
    --size           side of the views in pixels
    --batch          batch size
    --workers        data loading workers
    --steps          steps per turn
    --device         cpu or cuda
    --precision      float32, or on a GPU bfloat16 or float16
    --channels-last  1 for channels-last memory of weights and views

    On a GPU: --device cuda --precision bfloat16 --channels-last 1 --size 224
    --batch 128 --workers 8
    --config mmcontrast::pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k.py
    """
    folder = tempfile.TemporaryDirectory(prefix='mmcontrast-steps-')
    cfg = settings(config, data or folder.name, size, batch, workers, device, precision,
                   channels_last)
    if not data:
        write_toy_jpegs(Path(folder.name), images)
    trainer = Trainer(cfg, device, bool(channels_last))

    def run() -> Iterator[Row]:
        # A folder by that name lives as long as this function.
        assert Path(folder.name).is_dir()
        memory = trainer.turn(trainer.from_memory(), steps)
        files = trainer.turn(trainer.from_files(), steps)
        yield Row('steps on data in memory', steps * batch / memory.seconds, 'images/s')
        yield Row('steps on data from files', steps * batch / files.seconds, 'images/s')
        yield Row('share of the in-memory step rate',
                  100 * memory.seconds / files.seconds, '%', target='at least 90 %')
        yield Row(f'{files.waiter} waiting for data, share of the time',
                  100 * files.waited / files.seconds, '%')
        yield Row('step on data in memory', memory.seconds / steps * 1e3, 'ms')
        if trainer.on_gpu:
            yield Row('peak GPU memory', torch.cuda.max_memory_allocated() / 2 ** 30,
                      'GiB')
    return run


def settings(config: str, data: str, size: int, batch: int, workers: int, device: str,
             precision: str, channels_last: int) -> Config:
    """The config on a folder of images, sampled without end."""
    if device != 'cpu' and not torch.cuda.is_available():
        raise ValueError(f'--device {device}: no GPU is here; use --device cpu.')
    if device == 'cpu' and precision != 'float32':
        raise ValueError(f'--precision {precision} needs a GPU; use float32.')
    cfg = load_config(config)
    fit_to_devices(cfg)
    loader = cfg.train_dataloader
    pipeline = loader.dataset.pipeline
    next(step for step in pipeline if 'size' in step).size = size
    loader.dataset = dict(type='UnlabeledImages', data_root=data, pipeline=pipeline)
    loader.sampler = dict(type='InfiniteSampler', shuffle=True)
    loader.update(batch_size=batch, num_workers=workers, persistent_workers=workers > 0,
                  pin_memory=device != 'cpu')
    cfg.model.data_preprocessor.channels_last = bool(channels_last)
    if precision != 'float32':
        cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype=precision)
    return cfg


@dataclass
class Turn:
    """Consecutive training steps.

    Attributes:
        seconds: From the first batch to the end of the last step.
        waited: Seconds spent waiting for the next batch.
        waiter: What waited.
    """

    seconds: float
    waited: float
    waiter: str = field(default='trainer')


class Trainer:
    """Model, optimizer and loader of a config."""

    def __init__(self, cfg: Config, device: str, channels_last: bool) -> None:
        init_default_scope('mmcontrast')
        torch.manual_seed(0)
        self.on_gpu = device != 'cpu'
        self.model = MODELS.build(cfg.model)
        self.model.train()
        self.model.to(device)
        if channels_last:
            self.model.to(memory_format=torch.channels_last)
        for module in self.model.modules():
            if isinstance(module, MomentumEncoder):
                module.coefficient = 0.99
        self.optimizer = build_optim_wrapper(self.model, cfg.optim_wrapper)
        self.batches = iter(Runner.build_dataloader(cfg.train_dataloader, seed=0))
        self.memory = list(itertools.islice(self.batches, _BATCHES_IN_MEMORY))

    def from_memory(self) -> Iterator[dict]:
        return itertools.cycle(self.memory)

    def from_files(self) -> Iterator[dict]:
        """Batches of the loader, after dropping those prefetched before."""
        for batch in itertools.islice(self.batches, _BATCHES_IN_MEMORY):
            self.step(batch)
        return self.batches

    def step(self, batch: dict) -> None:
        self.model.train_step(batch, self.optimizer)

    def turn(self, batches: Iterator[dict], steps: int) -> Turn:
        """Train some steps; returns their duration and the time spent waiting."""
        marks, waited = [], 0.0

        def work() -> None:
            nonlocal waited
            for _ in range(steps):
                start = time.perf_counter()
                batch = next(batches)
                waited += time.perf_counter() - start
                marks.append(self._mark())
                self.step(batch)
                marks.append(self._mark())

        took = seconds(work)
        if not self.on_gpu:
            return Turn(took, waited)
        # From the end of a step on the GPU to the beginning of the next one.
        gaps = zip(marks[1:-1:2], marks[2::2], strict=True)
        idle = sum(end.elapsed_time(start) for end, start in gaps) / 1e3
        return Turn(took, idle, 'GPU')

    def _mark(self) -> torch.cuda.Event | None:
        if not self.on_gpu:
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
