"""Published configs of TopNet: encoders, optimizer, schedule, test data and metrics."""
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from PIL import Image

from mmcontrast.apis.config import load_config
from mmcontrast.registry import DATASETS, MODELS, PARAM_SCHEDULERS
from tests.helpers.tiny_topnet import build

FOLDER = Path(__file__).parents[2] / 'configs' / 'topnet'
PUBLISHED = ['vit-s16_8xb8-25e_opa', 'vit-b16_8xb8-25e_opa', 'r50_8xb8-25e_opa',
             'vit-s16_8xb8-25e_inpainted']
PAIR = 'topnet-pair_2xresnet18_1xb8-25e_opa-256x256'


def config(stem, suffix=''):
    path, = FOLDER.glob(f'{stem}-*x*[0-9]{suffix}.py')
    return load_config(str(path))


def pair_config(suffix=''):
    return load_config(str(FOLDER / f'{PAIR}{suffix}.py'))


def optimizer_of(cfg, model):
    return build_optim_wrapper(model, cfg.optim_wrapper).optimizer


# Models.

def test_two_resnets_give_a_map_of_all_scales_and_places():
    """The background's ends at stride 16; both are filled from one file."""
    cfg = config('topnet_r50_8xb8-25e_opa').model
    for encoder in (cfg.background_encoder, cfg.object_encoder):
        assert encoder.pop('init_cfg').checkpoint == 'torchvision://resnet50'
    model = MODELS.build(cfg).eval()
    with torch.no_grad():
        tokens = model.encode_backgrounds(torch.zeros(1, 3, 256, 256))
        thing = model.encode_objects(torch.zeros(1, 3, 224, 224))
        logits = model.fuse(tokens, thing)
    assert tokens.shape == (1, 256, 1024) and thing.shape == (1, 2048)
    assert logits.shape == (1, 16, 256, 256)
    assert not hasattr(model.background_encoder, 'layer4')


# Optimizer and schedule.

@pytest.mark.parametrize('stem', PUBLISHED)
def test_weight_decay_is_the_same_for_all_and_encoders_learn_at_a_tenth(stem):
    model = build()
    groups = optimizer_of(config(f'topnet_{stem}'), model).param_groups
    rates = {id(p): group['lr'] for group in groups for p in group['params']}
    assert {group['weight_decay'] for group in groups} == {0.05}
    names = dict(model.named_parameters())
    assert any('norm' in name for name in names) and len(names) == len(rates)
    for name, parameter in names.items():
        expected = 1e-5 if 'encoder' in name.partition('.')[0] else 1e-4
        assert rates[id(parameter)] == pytest.approx(expected), name


def test_the_toy_world_decays_no_bias_and_no_norm():
    model = build()
    groups = optimizer_of(config('topnet_tinyrn_1xb32-10e_shapes'), model).param_groups
    decays = {id(p): group['weight_decay'] for group in groups
              for p in group['params']}
    assert {group['lr'] for group in groups} == {1e-3}
    for module in model.modules():
        is_norm = isinstance(module, torch.nn.LayerNorm | torch.nn.BatchNorm2d)
        if is_norm or isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            own = {name: decays[id(p)] for name, p in module.named_parameters()}
            assert own.pop('weight') == (0 if is_norm else 0.05)
            assert not any(own.values())


@pytest.mark.parametrize('stem, epochs, share', [
    *((name, 25, 0.05) for name in PUBLISHED),
    ('tinyrn_1xb32-10e_shapes', 10, 0.1), ('tinyrn_1xb32-2e_shapes', 2, 0.1)])
def test_the_warm_up_is_a_share_of_the_run(stem, epochs, share):
    cfg = config(f'topnet_{stem}', '_debug' if '-2e' in stem else '')
    assert cfg.train_cfg.max_epochs == epochs
    options = dict(cfg.param_scheduler)
    kind = PARAM_SCHEDULERS.get(options.pop('type'))
    assert options.pop('convert_to_iter_based')
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = kind.build_iter_from_epoch(
        optimizer, **options, begin=0, end=epochs, epoch_length=40)
    assert schedule.warmup == round(share * epochs * 40)


def test_every_epoch_of_the_unofficial_network_is_kept():
    for suffix in ('', '_multiscale'):
        assert pair_config(suffix).default_hooks.checkpoint.max_keep_ckpts == -1
    assert config('topnet_vit-s16_8xb8-25e_opa'
                  ).default_hooks.checkpoint.max_keep_ckpts == 3


# Test data and metrics.

@pytest.fixture(scope='module')
def opa(tmp_path_factory):
    """Two backgrounds and objects; one pair has implausible rows only."""
    root = tmp_path_factory.mktemp('OPA')
    for number in (1, 2):
        for name, size in ((f'background/b/{number}.jpg', (60, 40, 3)),
                           (f'foreground/f/{number}.jpg', (10, 20, 3)),
                           (f'foreground/f/mask_{number}.jpg', (10, 20))):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full(size, 255, np.uint8)).save(root / name)
    rows = ['fg_id,bg_id,position,scale,label,img_name,mask_name']
    rows += [f'{i},{i},"[{x}, 4, 20, 10]",0.5,{label},dataset/a.jpg,dataset/m.jpg'
             for i, x, label in ((1, 3, 1), (1, 9, 1), (1, 0, 0), (2, 0, 0))]
    for split in ('train', 'test'):
        (root / f'{split}_set.csv').write_text('\n'.join(rows))
    return str(root)


def labels(cfg, split, root):
    """(positives, negatives) of each item that a loader of the config gives."""
    dataset = DATASETS.build(dict(cfg[f'{split}_dataloader'].dataset, data_root=root))
    samples = [item['data_samples'] for item in dataset]
    return [(len(sample.positives), len(sample.negatives)) for sample in samples]


@pytest.mark.parametrize('stem', PUBLISHED[:3])
def test_all_labels_of_opa_are_tested_and_pairs_with_a_positive_trained(stem, opa):
    cfg = config(f'topnet_{stem}')
    assert labels(cfg, 'train', opa) == [(2, 1)]
    for split in ('val', 'test'):
        # F1 and balanced accuracy need the second pair's negative as well.
        assert labels(cfg, split, opa) == [(2, 1), (0, 1)]


def test_composites_are_made_of_pairs_and_the_center_is_that_of_a_row(opa):
    composites = config('topnet_vit-s16_8xb8-25e_opa', '_composites')
    assert labels(composites, 'test', opa) == labels(
        pair_config('_multiscale'), 'test', opa) == [(2, 1)]
    assert labels(composites, 'val', opa) == [(2, 1), (0, 1)]
    fixed = config('topnet_vit-s16_8xb8-25e_opa', '_fixed-center')
    assert labels(fixed, 'test', opa) == [(1, 0), (1, 0)]
    assert fixed.model.test_cfg.fix == 'center'
    assert max(fixed.test_evaluator.thresholds) == 0.95


def test_the_published_search_runs_over_sixteen_scales(opa):
    cfg = pair_config('_multiscale')
    item = DATASETS.build(dict(cfg.test_dataloader.dataset, data_root=opa))[0]
    assert item['inputs']['object'].shape == (16, 4, 256, 256)


def test_composites_are_drawn_from_the_first_fifty_boxes():
    for cfg in (pair_config('_multiscale'),
                config('topnet_vit-s16_8xb8-25e_opa', '_composites')):
        assert cfg.model.test_cfg.k == 50
        metrics = {metric.type: metric for metric in cfg.test_evaluator}
        assert set(metrics) == {'PlacementIoU', 'SimOPAAccuracy', 'CompositeFID',
                                'CompositeLPIPS'}
        assert all(metrics[name].among == 50 for name in metrics if 'IoU' not in name)
        pattern = metrics['CompositeFID'].real_pattern
        name = '17_4_209_123_80_61_0.125_1.jpg'
        assert fnmatch(name, pattern) and not fnmatch(f'mask_{name}', pattern)
        assert not fnmatch(name.replace('_1.jpg', '_0.jpg'), pattern)


def test_opa_is_scored_by_labels_and_by_boxes():
    """Labeled pixels alone say little about the rest of a map."""
    for cfg in (pair_config(), *(config(f'topnet_{stem}') for stem in PUBLISHED[:3])):
        assert [metric.type for metric in cfg.val_evaluator] == [
            'PlacementIoU', 'OPAMetric']
        assert cfg.val_evaluator[0].per_truth
