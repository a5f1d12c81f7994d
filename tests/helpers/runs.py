"""Short runs of the real Runner for tests."""
import json
import uuid
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel

from mmcontrast.apis.train import train
from mmcontrast.models.preprocessor import TwoViewPreprocessor
from mmcontrast.registry import HOOKS


class Mean(BaseModel):
    """Learns one number from two views."""

    def __init__(self):
        super().__init__(data_preprocessor=TwoViewPreprocessor())
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, inputs, data_samples, mode):
        return dict(loss=(inputs[0].mean() * self.weight - inputs[1].mean()) ** 2)


@HOOKS.register_module()
class StopAfterEpoch(Hook):
    """Break off a run after the checkpoint of an epoch was written."""

    priority = 'LOWEST'

    def __init__(self, epoch: int):
        self.epoch = epoch

    def after_train_epoch(self, runner):
        if runner.epoch + 1 == self.epoch:
            raise KeyboardInterrupt


def scalars(work_dir: Path) -> list[dict]:
    """All rows of all runs below a work dir, oldest first."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json'),
                   key=lambda path: path.stat().st_mtime)
    lines = [line for file in files for line in file.read_text().splitlines()]
    return [row for row in map(json.loads, lines) if 'loss' in row]


def run(config: str, work_dir: Path, options: dict, **kwargs):
    """Train; each run has a visualizer of its own, which mmengine keeps by name."""
    return train(config, str(work_dir), cfg_options=options | {
        'visualizer.name': str(uuid.uuid4())}, **kwargs)
