"""A resumed run over shards of image-text pairs sees the pairs it would have seen."""
import io
import json
import tarfile
import uuid
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from PIL import Image

from mmcontrast.engine.runner.reliable_runner import ReliableRunner

# 22 pairs, one with an empty caption, in batches of 3: 7 batches an epoch.
SIZES, EMPTY = (9, 5, 8), 11
EPOCHS = dict(type='EpochBasedTrainLoop', max_epochs=3)
ITERS = dict(type='IterBasedTrainLoop', max_iters=18)


class Brightness(BaseModel):
    """Learns one number from images and the lengths of their texts."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, inputs, data_samples, mode):
        lengths = torch.tensor([float(len(sample.text)) for sample in data_samples])
        images = torch.stack([image.float().mean() / 255 for image in inputs])
        return dict(loss=((images * self.weight - lengths) ** 2).mean())


class Seen(Hook):
    """Names and texts of the pairs that were trained on; may break off a run."""

    priority = 'LOWEST'  # after the checkpoint is written

    def __init__(self, stop_after=None):
        self.stop_after, self.batches = stop_after, []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.batches.append([(Path(sample.img_path).name, sample.text)
                             for sample in data_batch['data_samples']])
        if len(self.batches) == self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture(scope='module')
def shards(tmp_path_factory):
    folder, first = tmp_path_factory.mktemp('shards'), 0
    for k, size in enumerate(SIZES):
        with tarfile.open(folder / f's-{k}.tar', 'w') as tar:
            for n in range(first, first + size):
                data = io.BytesIO()
                Image.new('RGB', (20, 20), (n, n, n)).save(data, 'PNG')
                texts = [f'{article} {n}' for article in ('a', 'the', 'some')]
                caption = json.dumps(dict(caption='' if n == EMPTY else texts))
                for ending, content in (('png', data.getvalue()),
                                        ('json', caption.encode())):
                    info = tarfile.TarInfo(f'{n:02}.{ending}')
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        first += size
    return folder


def train(shards, work_dir, train_cfg, stop_after=None, resume=False,
          kind=ReliableRunner, workers=0):
    """(name, text) of the pairs of every batch, and the learned weight."""
    seen = Seen(stop_after)
    runner = kind(
        model=Brightness(), work_dir=str(work_dir), default_scope='mmcontrast',
        train_dataloader=dict(
            batch_size=3, num_workers=workers, drop_last=True,
            persistent_workers=workers > 0,
            sampler=dict(type='ShardSampler', buffer_size=4),
            collate_fn=dict(type='pseudo_collate'),
            worker_init_fn=dict(type='mmcontrast.seed_worker'),
            dataset=dict(
                type='ShardedPairs', shards=f'{shards}/*.tar', max_bad_share=0.5,
                pipeline=[dict(type='LoadImage'), dict(type='CropImage', size=8),
                          dict(type='ChooseText'), dict(type='FlipImageText'),
                          dict(type='PackImageText')])),
        train_cfg=train_cfg, randomness=dict(seed=5), resume=resume,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        default_hooks=dict(
            shard_position=dict(type='ShardPositionHook'),
            bad_images=dict(type='BadImagesHook'),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
            checkpoint_keys=dict(type='CheckpointKeysHook')),
        custom_hooks=[seen], experiment_name=str(uuid.uuid4()))
    try:
        runner.train()
    except KeyboardInterrupt:
        assert stop_after
    # Left to the garbage collector, the workers would take five seconds each to end.
    runner.train_loop.dataloader_iterator = runner.train_dataloader._iterator = None
    return seen.batches, runner.model.weight.item()


@pytest.mark.parametrize('train_cfg, stop_after, kept, workers', [
    (EPOCHS, 5, 4, 0), (EPOCHS, 12, 12, 1), (ITERS, 11, 10, 0)])
def test_a_resumed_run_sees_the_pairs_texts_and_weights_of_an_uninterrupted_one(
        shards, tmp_path, train_cfg, stop_after, kept, workers):
    whole, weight = train(shards, tmp_path / 'whole', train_cfg)
    assert len(whole) == (21 if train_cfg is EPOCHS else 18)
    first, _ = train(shards, tmp_path / 'run', train_cfg, stop_after, workers=workers)
    second, resumed = train(shards, tmp_path / 'run', train_cfg, resume=True)
    # The random choice of a caption and what replaces the empty one included.
    assert first == whole[:stop_after] and second == whole[kept:]
    assert resumed == weight


def test_every_text_belongs_to_its_image_and_the_empty_one_is_listed(shards, tmp_path):
    batches, _ = train(shards, tmp_path, dict(EPOCHS, max_epochs=2),
                       kind=Runner)
    pairs = [pair for batch in batches for pair in batch]
    assert all(text.split()[1] == str(int(name[:2])) for name, text in pairs)
    assert len({text.split()[0] for _, text in pairs}) == 3
    assert f'{EMPTY}.png' not in {name for name, _ in pairs}
    assert (tmp_path / 'bad_images.txt').read_text() == (
        f'{shards}/s-1.tar/{EMPTY}.png\tempty caption\n')
