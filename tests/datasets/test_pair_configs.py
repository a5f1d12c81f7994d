"""The base configs of image-text pairs read real files, and are checked by the lint."""
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from mmcontrast.apis.data.make_shapes import make_shapes
from mmcontrast.apis.lint import lint_config

ROOT = Path(__file__).parents[2] / 'configs'
BASES = dict(
    csv=dict(ann_file='captions_train.csv'),
    shards=dict(shards='shards/*.tar'),
    coco_captions=dict(ann_file='annotations/captions_train.json',
                       data_prefix=dict(img_path='images/train')))


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    return make_shapes(tmp_path_factory.mktemp('data') / 'shapes', [
        'csv', 'coco', 'shards'], train=4, val=0, size=32, progress=False)


def config(tmp_path, kind, **dataset):
    """A training of CLIP on one of the base configs."""
    path = tmp_path / 'config.py'
    path.write_text(f"""
_base_ = [
    '{ROOT}/clip/tinyrn.json', '{ROOT}/_base_/datasets/{kind}.py',
    '{ROOT}/_base_/schedules/small_data.py', '{ROOT}/_base_/image_text_runtime.py',
    '{ROOT}/_base_/clip_pixels.py']
model = dict(
    type='CLIP',
    data_preprocessor=dict(
        type='ImgDataPreprocessor', mean=_base_.clip_mean, std=_base_.clip_std),
    architecture=dict(
        embed_dim=_base_.embed_dim, quick_gelu=_base_.quick_gelu,
        vision_cfg=_base_.vision_cfg, text_cfg=_base_.text_cfg))
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False, dataset=dict({dataset!r}))
train_cfg = dict(max_epochs=1)
""")
    return Config.fromfile(path)


def first_batch(cfg):
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))


@pytest.mark.parametrize('kind', BASES)
def test_a_base_config_gives_batches_of_images_and_texts(tmp_path, world, kind):
    cfg = config(tmp_path, f'image_text_{kind}', data_root=str(world), **BASES[kind])
    assert not lint_config(cfg)
    batch = first_batch(cfg)
    assert batch['inputs'].shape == (2, 3, 224, 224)
    assert all(len(sample.text.split()) > 3 for sample in batch['data_samples'])


def test_the_toy_world_has_a_base_config_of_its_own(tmp_path):
    cfg = config(tmp_path, 'shapes_captions', num_images=4)
    assert not lint_config(cfg)
    batch = first_batch(cfg)
    assert batch['inputs'].shape == (2, 3, 128, 128)
    assert all(len(sample.text.split()) > 3 for sample in batch['data_samples'])


@pytest.mark.parametrize('kind, wrong, meant', [
    ('csv', dict(caption_colum='title'), 'caption_column'),
    ('shards', dict(caption_keys='alt'), 'caption_key')])
def test_a_misspelled_option_is_an_error_that_suggests_the_right_one(
        tmp_path, kind, wrong, meant):
    issue, = lint_config(config(tmp_path, f'image_text_{kind}', **wrong))
    assert meant in str(issue) and next(iter(wrong)) in str(issue)
