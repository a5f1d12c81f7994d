"""Published configs of PropVG: models, files, optimizer, schedule and metrics."""
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from mmcontrast.apis.config import load_config
from mmcontrast.registry import DATASETS, HOOKS, METRICS, MODELS, PARAM_SCHEDULERS
from mmcontrast.testing.ranks import on_ranks
from tests.helpers import grounding_files
from tests.helpers.propvg_case import Case

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'configs' / 'propvg'
REFCOCO = [f'propvg_beit3-base_4xb8-30e_{name}-384x384' for name in (
    'refcoco', 'refcocoplus', 'refcocog', 'refcoco-mix')]
GREFCOCO, REFZOM, RREFCOCO = GENERAL = [
    f'propvg_beit3-base_4xb16-12e_{name}-320x320'
    for name in ('grefcoco', 'refzom', 'rrefcoco')]
CORRECTED = GREFCOCO.replace('propvg_', 'propvg-corrected_')
LARGE = GREFCOCO.replace('base', 'large')
OWN = 'propvg_beit3-base_1xb8-12e_own-data-320x320'
PUBLISHED = [*REFCOCO, *GENERAL, CORRECTED, LARGE, OWN]
TOY = sorted(path.stem for path in FOLDER.glob('propvg-corrected*shapes*.py'))
ENCODERS = sorted(path.stem for path in FOLDER.glob('propvg-encoder*.py'))


def config(stem):
    return load_config(str(FOLDER / f'{stem}.py'))


def test_every_config_is_tested_here():
    assert sorted([*PUBLISHED, *TOY, *ENCODERS]) == sorted(
        path.stem for path in FOLDER.glob('*.py'))


# Models.

@cache
def skeleton(stem):
    """The model without memory for its weights."""
    with torch.device('meta'):
        return MODELS.build(config(stem).model)


@pytest.mark.parametrize('stem, millions', [
    # 246.7 M, of which 0.40 M are never used; without existence 2.25 M less.
    (GREFCOCO, 246.7 - 0.40), (REFCOCO[0], 246.7 - 0.40 - 2.25)])
def test_the_published_number_of_parameters(stem, millions):
    count = sum(p.numel() for p in skeleton(stem).parameters()) / 1e6
    # 579 - 403 positions of 384 pixels are 0.14 M.
    assert count == pytest.approx(millions, abs=0.2)


@pytest.mark.parametrize('stem', [*PUBLISHED, *TOY])
def test_tokens_and_images_have_the_sizes_of_the_benchmark(stem):
    cfg = config(stem)
    size, tokens, existence = ((384, 20, False) if stem in REFCOCO else
                               (128, 20, True) if stem in TOY else (320, 50, True))
    assert cfg.model.encoder.image_size == size
    assert cfg.model.tokenizer.max_tokens == tokens
    assert cfg.model.head.with_existence is existence
    for part in ('train', 'val', 'test'):
        loader = cfg.get(f'{part}_dataloader')
        if loader is not None:
            resize, = (step for step in loader.dataset.pipeline
                       if step.type == 'ResizeGrounding')
            assert resize.scale == size


def test_large_differs_in_its_encoder_alone():
    plain, large = config(GREFCOCO), config(LARGE)
    encoder = large.model.pop('encoder')
    del plain.model['encoder']
    assert (encoder.depth, encoder.embed_dims, encoder.num_heads,
            encoder.feedforward) == (24, 1024, 16, 4096)
    for key in ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler'):
        assert large[key] == plain[key]


def test_the_corrected_config_changes_all_forms_and_nothing_else():
    plain, corrected = config(GREFCOCO), config(CORRECTED)
    changed = {key: corrected.model.head.pop(key) for key in (
        'sentence_pooling', 'word_pooling', 'pixel_token_layout', 'aux_weighting')}
    assert changed == dict(
        sentence_pooling='masked_max', word_pooling='masked',
        pixel_token_layout='channels_last', aux_weighting='all')
    for key in ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler'):
        assert corrected[key] == plain[key]
    for stem in TOY:
        head = config(stem).model.head
        assert {key: head[key] for key in changed} == changed


def test_a_toy_model_knows_every_word():
    model = MODELS.build(config(TOY[0]).model)
    assert model.encoder.text_embed.num_embeddings == model.tokenizer.num_ids


# Runtime, optimizer and schedule.

def statistics_of_rank(rank, stem):
    """Batch norm of a rank that has seen its own images, after the epoch."""
    norm = torch.nn.BatchNorm2d(2)
    norm(torch.full((1, 2, 2, 2), 10.0 * rank))
    hook = HOOKS.build(config(stem).default_hooks.buffers)
    hook.after_train_epoch(SimpleNamespace(model=norm))
    return norm.running_mean


def test_ranks_validate_the_same_model():
    # Momentum 0.1: means of 0 and 1.
    for mean in on_ranks(2, statistics_of_rank, GREFCOCO):
        assert mean.tolist() == [0.5, 0.5]


@pytest.mark.parametrize('stem', [REFCOCO[0], GREFCOCO])
def test_adam_of_the_release_with_a_tenth_of_the_rate_for_the_encoder(stem):
    model = skeleton(stem)
    wrapper = build_optim_wrapper(model, config(stem).optim_wrapper)
    optimizer = wrapper.optimizer
    assert type(optimizer) is torch.optim.Adam
    rates = {id(p): group['lr'] for group in optimizer.param_groups
             for p in group['params']}
    for name, parameter in model.named_parameters():
        expected = 5e-5 if name.startswith('encoder.') else 5e-4
        assert rates[id(parameter)] == pytest.approx(expected), name
    for group in optimizer.param_groups:
        assert group['betas'] == (0.9, 0.98) and group['eps'] == 1e-9
        assert group['amsgrad'] and not group['weight_decay']
    assert wrapper.clip_grad_kwargs['max_norm'] == 0.15


def test_benchmarks_are_trained_alike():
    first = config(GREFCOCO).optim_wrapper
    assert all(config(stem).optim_wrapper == first for stem in PUBLISHED if stem != OWN)
    own = config(OWN).optim_wrapper
    assert own.optimizer.pop('lr') == first.optimizer.pop('lr') / 8
    assert own == first


@pytest.mark.parametrize('stem, epochs, key', [
    (GREFCOCO, 12, 'gref'), (REFCOCO[0], 30, 'refcoco')])
def test_rates_by_epochs_are_those_of_the_release(stem, epochs, key):
    cfg = config(stem)
    assert cfg.train_cfg.max_epochs == epochs
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedules = [PARAM_SCHEDULERS.build(dict(schedule, optimizer=optimizer))
                 for schedule in cfg.param_scheduler]
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    Case('lr_schedule').check({key: torch.tensor(rates, dtype=torch.float64)})


@pytest.mark.parametrize('stem, batch', [
    *((stem, 8) for stem in REFCOCO), *((stem, 16) for stem in GENERAL), (OWN, 8)])
def test_samples_of_a_gpu(stem, batch):
    assert config(stem).train_dataloader.batch_size == batch


# Data and metrics.

FILES = {
    'refcoco-unc/instances_withid.json': ('train', 'val', 'testA', 'testB'),
    'refcocoplus-unc/instances_withid.json': ('train', 'val', 'testA', 'testB'),
    'refcocog-umd/instances_withid.json': ('train', 'val', 'test'),
    'mixed-seg/instances_nogoogle_withid.json': (
        'train', 'val_refcoco_unc', 'testA_refcoco_unc'),
    'grefs/instances.json': ('train', 'val', 'testA', 'testB'),
    'ref-zom/instance_withid.json': ('train', 'test'),
    'rrefcoco/instance_withid.json': ('train', 'val_rrefcoco', 'val_rrefcoco+')}
FOREGROUND = ('mixed-seg/coco_all.json', 'grefs/coco_annotations.json',
              'ref-zom/allobj.json', 'rrefcoco/allobj.json')


def record(name):
    """One record in the layout of a file: of one object, or of any number."""
    thing = grounding_files.coco()['annotations'][0]
    image = dict(image_id=7, width=40, height=30,
                 file_name=grounding_files.NAME.format(7))
    if name.startswith(('refcoco', 'mixed')):
        return dict(image, expressions=['the cup'], bbox=thing['bbox'],
                    mask=thing['segmentation'], id=thing['id'])
    return dict(
        image, expressions=dict(raw=['the cup']),
        annotations=[{key: thing[key] for key in ('id', 'bbox', 'segmentation')}])


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    """The files of PropVG's authors, under their names."""
    root = tmp_path_factory.mktemp('seqtr_type')
    for folder in ('train2014', 'trainval2014'):
        grounding_files.write_images(root / 'images/mscoco' / folder)
    for name, splits in FILES.items():
        found = record(name)
        elements = [found]
        if name.startswith('rrefcoco'):
            none = dict(id=None, bbox=None, segmentation=None)
            elements = [[found], [dict(
                found, expressions=dict(raw=['no cup']), annotations=[none])]]
        grounding_files.write_json(
            root / 'annotations' / name, dict.fromkeys(splits, elements))
    for name in FOREGROUND:
        grounding_files.write_json(
            root / 'annotations' / name, grounding_files.foreground())
    grounding_files.write_json(
        root / 'annotations/rrefcoco/instance_index.json', dict(val_rrefcoco=[[0, 2]]))
    return str(root)


@pytest.mark.parametrize('stem', [stem for stem in PUBLISHED if stem != OWN])
@pytest.mark.parametrize('part', ['train', 'val', 'test'])
def test_data_are_found_in_the_layout_of_the_authors(stem, part, data_root):
    loader = config(stem).get(f'{part}_dataloader')
    if loader is None:
        assert stem == RREFCOCO and part == 'val'
        return
    item = DATASETS.build(dict(loader.dataset, data_root=data_root))[0]
    size = 384 if stem in REFCOCO else 320
    sample = item['data_samples']
    assert item['inputs'].shape == (3, size, size)
    assert sample.text == 'the cup' and sample.gt_mask.any()
    # Two of the three objects of the image are large enough for proposals.
    assert sample.gt_instances.referred.tolist() == [True, False]
    assert ('group_id' in sample) == (stem == RREFCOCO and part == 'test')


def test_own_data_are_coco_files_with_phrases(tmp_path):
    content = dict(grounding_files.coco(), refs=[
        dict(ref, split=None) for ref in grounding_files.refs()])
    cfg = config(OWN)
    for part in ('train', 'val'):
        grounding_files.write_json(tmp_path / f'refs_{part}.json', content)
    grounding_files.write_images(tmp_path / 'images')
    sample = DATASETS.build(dict(
        cfg.train_dataloader.dataset, data_root=str(tmp_path)))[0]['data_samples']
    # Small objects are proposals, too.
    assert sample.gt_instances.referred.tolist() == [True, False, False]
    assert len(DATASETS.build(dict(
        cfg.val_dataloader.dataset, data_root=str(tmp_path)))) == 5


@pytest.mark.parametrize('stem', [*PUBLISHED, *TOY])
def test_metrics_can_be_built_and_the_best_are_chosen_by_them(stem):
    cfg = config(stem)
    names = set()
    for key in ('val_evaluator', 'test_evaluator'):
        evaluator = cfg.get(key) or []
        for metric in evaluator if isinstance(evaluator, list) else [evaluator]:
            names.add(METRICS.build(metric).prefix)
    assert names == ({'REC', 'RES'} if stem in REFCOCO else
                     {'RefZOM'} if stem == REFZOM else
                     {'RRefCOCO'} if stem == RREFCOCO else
                     {'GREC', 'GRES', 'targets'} if stem in TOY else
                     {'GREC', 'GRES'})
    for key in cfg.default_hooks.checkpoint.get('save_best', []):
        assert key.partition('/')[0] in names
