"""A tiny model, its data and a config, for runs whose disk or data fail."""
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS

CONFIG = """
custom_imports = dict(imports=['tests.helpers.disk_runs'])
default_scope = 'mmengine'
model = dict(type='OneWeight', size=270_000)
train_dataloader = dict(
    batch_size=2, num_workers=2, sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'), dataset={dataset})
train_cfg = dict(by_epoch=True, max_epochs={epochs})
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval=1),
    logger=dict(type='LoggerHook', interval=1))
custom_hooks = [{hook}]
visualizer = dict(
    type='Visualizer', vis_backends=[dict(type='LocalVisBackend')], name='tiny')
"""


@MODELS.register_module()
class OneWeight(BaseModel):
    """A model of one vector, 4 bytes a value.

    ``ONE_WEIGHT_BUILT`` names a file that appears when it is built.
    """

    def __init__(self, size: int):
        super().__init__()
        if 'ONE_WEIGHT_BUILT' in os.environ:
            Path(os.environ['ONE_WEIGHT_BUILT']).touch()
        self.weight = torch.nn.Parameter(torch.zeros(size))

    def forward(self, inputs, mode='loss'):
        if mode == 'predict':
            return [dict() for _ in inputs]
        return dict(loss=self.weight.square().mean())


@METRICS.register_module()
class Rising(BaseMetric):
    """A score that gets better with every validation."""

    score = 0

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        self.score += 1
        return dict(acc=self.score)


@DATASETS.register_module()
class ListedImages(BaseDataset):
    """mmengine's data set, which mmdet and mmseg build on, as it is."""


@TRANSFORMS.register_module()
class FirstValue:
    """The least that a model can be given of an image."""

    def __call__(self, results: dict) -> dict:
        return dict(inputs=float(np.asarray(results['img']).flat[0]))


@HOOKS.register_module()
class Harm(Hook):
    """Does something to a path once the checkpoint of an epoch was written.

    Args:
        what: 'remove', 'empty', 'cut' or 'fill', which fills the disk of the file.
        path: A file or folder.
        epoch: The epoch, from 1.
    """

    priority = 'LOWEST'

    def __init__(self, what: str, path: str, epoch: int = 1):
        self.what, self.path, self.epoch = what, Path(path), epoch

    def after_train_epoch(self, runner):
        if runner.epoch + 1 != self.epoch:
            return
        if self.what == 'fill':
            with suppress(OSError), open(self.path, 'wb', buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        elif self.what == 'empty':
            self.path.write_bytes(b'')
        elif self.what == 'cut':
            self.path.write_bytes(self.path.read_bytes()[:-30])
        elif self.path.is_dir():
            shutil.rmtree(self.path)
        else:
            self.path.unlink()


def write_config(folder: Path, epochs: int = 3, dataset: str = '[dict(inputs=1.)] * 4',
                 hook: str = '') -> Path:
    """``tiny.py`` in a folder."""
    path = folder / 'tiny.py'
    path.write_text(CONFIG.format(dataset=dataset, epochs=epochs, hook=hook))
    return path


def validated(config: Path) -> Path:
    """The same config with a validation after each epoch that keeps the best."""
    config.write_text(config.read_text() + """
val_dataloader = train_dataloader
val_cfg, val_evaluator = dict(), dict(type='Rising')
default_hooks['checkpoint'].update(save_best='acc', rule='greater', max_keep_ckpts=1)
""")
    return config


def listed_images(folder: Path, decoder: str = 'cv2') -> str:
    """A data set as mmdet and mmseg have them: a list, and mmcv's loading."""
    listed = dict(metainfo={}, data_list=[
        dict(img_path=str(path)) for path in sorted(folder.rglob('*.png'))])
    (folder.parent / 'list.json').write_text(json.dumps(listed))
    return ("dict(type='ListedImages', "
            f"ann_file={str(folder.parent / 'list.json')!r}, pipeline=["
            f"dict(type='mmcv.LoadImageFromFile', imdecode_backend={decoder!r}), "
            "dict(type='FirstValue')])")


def decoded_by_pillow(folder: Path) -> str:
    """The same, decoded as mmseg decodes its label maps."""
    return listed_images(folder, 'pillow')


def own_images(folder: Path) -> str:
    """A data set of ours, which replaces single broken images."""
    return ("dict(type='mmcontrast.UnlabeledImages', "
            f"data_root={str(folder)!r}, pipeline=[dict(type='LoadImage'), "
            "dict(type='mmengine.FirstValue')])")
