"""A tiny model, its data and a config, for runs whose disk or data fail."""
import json
import os
import shutil
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, MODELS, TRANSFORMS

CONFIG = """
custom_imports = dict(imports=['disk_runs'])
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
        return dict(loss=self.weight.square().mean())


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
    """Does something to a path once the first checkpoint was written.

    Args:
        what: 'remove', 'empty' or 'cut'.
        path: A file or folder.
    """

    priority = 'LOWEST'

    def __init__(self, what: str, path: str):
        self.what, self.path = what, Path(path)

    def after_train_epoch(self, runner):
        if runner.epoch > 0:
            return
        if self.what == 'empty':
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
    return ("dict(type='mmcontrast.UnlabelledImages', "
            f"data_root={str(folder)!r}, pipeline=[dict(type='LoadImage'), "
            "dict(type='mmengine.FirstValue')])")
