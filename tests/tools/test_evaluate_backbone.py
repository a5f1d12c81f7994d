"""The protocols from end to end: backbones by name, files in, tables and JSON out."""
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mmcontrast.apis.analysis.evaluate_backbone import (
    BackboneChoice,
    evaluate_clusters,
    evaluate_images,
    evaluate_masks,
    evaluate_videos,
    open_backbone,
    result_table,
)
from mmcontrast.apis.analysis.evaluate_backbone import results as results_module
from mmcontrast.apis.config import load_config
from mmcontrast.apis.convert.export_backbone import export_backbone
from mmcontrast.apis.data.make_shapes import make_shapes
from mmcontrast.datasets.shapes import draw_scene, scene_seed
from mmcontrast.datasets.video_clips import read_ids
from mmcontrast.evaluation.features import FrozenBackbone
from tests.helpers.runs import run, scalars

ROOT = Path(__file__).parents[2]
CONFIG = """
default_scope = 'mmcontrast'
model = dict(
    type='PixPro',
    data_preprocessor=dict(type='TwoViewPreprocessor', mean=[1, 2, 3], std=[4, 5, 6]),
    backbone=dict(type='mmpretrain.ResNet', depth=18, out_indices=(3,),
                  stem_channels=8, base_channels=8))
"""
QUIET = dict(progress=False, workers=0)


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp('world')
    return str(make_shapes(folder, ['mmseg', 'classes', 'davis'], train=24, val=12,
                           size=64, num_frames=5, progress=False))


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp('config') / 'config.py'
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture(scope='module')
def trained(config, tmp_path_factory):
    """As training writes it: both branches, the config as text."""
    states = {}
    for prefix, seed in (('backbone.', 1), ('momentum.backbone.', 2)):
        choice = BackboneChoice(config, 'random', seed=seed)
        network = open_backbone(choice)[0].network
        states |= {prefix + k: v for k, v in network.state_dict().items()}
    path = tmp_path_factory.mktemp('run') / 'epoch_1.pth'
    torch.save(dict(state_dict=states, meta=dict(cfg=CONFIG)), path)
    return str(path)


class Pixels(nn.Module):
    """The colors of the cells, or noise that knows nothing of the image."""

    def __init__(self, noise: bool):
        super().__init__()
        self.noise, self.dummy = noise, nn.Parameter(torch.zeros(()))
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, images):
        maps = nn.functional.avg_pool2d(images, 4)
        if self.noise:
            maps = torch.randn(maps.shape, generator=self.generator)
        return maps


@pytest.fixture(params=[False, True], ids=['colors', 'noise'])
def pixels(request, monkeypatch):
    backbone = FrozenBackbone(Pixels(request.param))
    monkeypatch.setattr(
        results_module, 'open_backbone', lambda choice: (backbone, None))
    return request.param


ANY = BackboneChoice('any.pth')


# ---- which backbone

def test_a_training_checkpoint_is_a_backbone_of_its_own(trained, config):
    weights = torch.load(trained)['state_dict']
    found, note = open_backbone(BackboneChoice(trained))
    assert note is None and (found.mean, found.std) == ([1, 2, 3], [4, 5, 6])
    # PixPro exports its online branch.
    assert torch.equal(found.network.conv1.weight, weights['backbone.conv1.weight'])
    for choice in (BackboneChoice(trained, branch='momentum'),
                   BackboneChoice(config, trained, prefix='momentum.backbone.')):
        momentum_encoder = open_backbone(choice)[0].network
        assert torch.equal(
            momentum_encoder.conv1.weight, weights['momentum.backbone.conv1.weight']
        )


def test_an_exported_backbone_gives_the_maps_of_the_checkpoint(
        trained, config, tmp_path):
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    export_backbone(config, trained, tmp_path / 'mm.pth', 'mmpretrain')
    ours, exported = (open_backbone(BackboneChoice(str(path)))[0]
                      for path in (trained, tmp_path / 'mm.pth'))
    # An exported file carries the normalization that it was trained with.
    assert (exported.mean, exported.std) == (list(ours.mean), list(ours.std))
    torch.testing.assert_close(exported(images), ours(images))


@pytest.mark.parametrize('scope, model', [
    ('mmpretrain', 'ImageClassifier'), ('mmseg', 'EncoderDecoder')])
def test_checkpoints_of_other_libraries_are_backbones_too(
        scope, model, trained, tmp_path):
    pytest.importorskip(scope)
    weights = torch.load(trained)['state_dict']
    cfg = CONFIG.replace("'mmcontrast'", f'{scope!r}').replace(
        "'PixPro'", f'{model!r}').replace('mmpretrain.', '')
    torch.save(dict(state_dict=weights, meta=dict(cfg=cfg)), tmp_path / 'mm.pth')
    found, note = open_backbone(BackboneChoice(str(tmp_path / 'mm.pth'), layer=2))
    assert note is None and type(found.network).__module__.startswith(scope)
    assert found(torch.zeros(1, 3, 64, 96, dtype=torch.uint8)).shape == (1, 32, 4, 6)


def test_layers_are_stages(trained):
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    shapes = [tuple(open_backbone(BackboneChoice(trained, layer=i))[0](images).shape)
              for i in range(4)]
    assert shapes == [(1, 8 << i, 16 >> i, 16 >> i) for i in range(4)]


@pytest.mark.parametrize('name, layer, shape', [
    ('timm:resnet18', None, (512, 3, 4)), ('timm:resnet18', 2, (128, 12, 16)),
    ('timm:vit_tiny_patch16_224', None, (192, 6, 8)),
    ('timm:swin_tiny_patch4_window7_224', 1, (192, 12, 16)),
    ('torchvision:resnet18', 1, (128, 12, 16)),
    ('torchvision:swin_t', None, (768, 3, 4)),
    ('mmpretrain:vit-base-p16_32xb128-mae_in1k', 1, (768, 6, 8))])
def test_networks_by_name_give_maps_of_images_that_are_not_square(name, layer, shape):
    pytest.importorskip(name.split(':')[0])
    found, _ = open_backbone(BackboneChoice(name, 'random', layer))
    assert found(torch.zeros(1, 3, 96, 128, dtype=torch.uint8)).shape[1:] == shape


def test_weights_of_torchvision_fit_in_name_and_value(tmp_path):
    import torchvision
    torch.manual_seed(0)
    network = torchvision.models.resnet18().eval()
    torch.save(network.state_dict(), tmp_path / 'r18.pth')
    image = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        x = network.maxpool(network.relu(network.bn1(network.conv1(
            (image / 255 - mean) / std))))
        for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
            x = stage(x)
    for library in ('torchvision', 'timm'):
        found, note = open_backbone(BackboneChoice(
            f'{library}:resnet18', str(tmp_path / 'r18.pth')))
        assert note is None
        torch.testing.assert_close(found(image), x, rtol=1e-3, atol=1e-4)


def test_bgr_networks_see_blue_first(tmp_path):
    text = CONFIG.replace("type='TwoViewPreprocessor', ", 'bgr_to_rgb=False, ')
    (tmp_path / 'config.py').write_text(text)
    image = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    choice = BackboneChoice(str(tmp_path / 'config.py'), 'random')
    found = open_backbone(choice)[0]
    # mean and std of such a config are in its own order.
    blue_first = FrozenBackbone(found.network, [1, 2, 3], [4, 5, 6])
    torch.testing.assert_close(found(image), blue_first(image.flip(1)))


def test_random_weights_follow_the_seed(config):
    one, same, other = (open_backbone(BackboneChoice(config, 'random', seed=s))[0]
                        .network.conv1.weight for s in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_what_cannot_be_a_backbone_is_said(config, trained, tmp_path):
    torch.save(dict(state_dict=dict(w=torch.zeros(2))), tmp_path / 'no_config.pth')
    torch.save(dict(state_dict=dict(w=torch.zeros(2)), meta=dict(
        cfg="import os\nx = os.listdir('.')")), tmp_path / 'runs.pth')
    no_config, runs, nowhere = (
        str(tmp_path / f'{x}.pth') for x in ('no_config', 'runs', 'no'))
    for network, weights, kind, message in (
            (config, None, ValueError, '--weights FILE, or --weights random'),
            (no_config, None, ValueError, 'carries no config'),
            (runs, None, ValueError, 'nothing in a checkpoint is run'),
            (nowhere, None, FileNotFoundError, 'no.pth does not exist'),
            (config, no_config, KeyError, 'no weight fits'),
            (trained, 'gone.pth', FileNotFoundError, 'gone.pth'),
            ('timm:resnt18', 'random', ValueError, 'knows no model'),
            ('torchvision:vit_b_16', 'random', ValueError, 'timm:NAME'),
            ('torchvision:nothing', 'random', ValueError, 'knows no model')):
        with pytest.raises(kind, match=message):
            open_backbone(BackboneChoice(network, weights))
    with pytest.raises(ValueError, match='has the layers 0 to 3, got 4'):
        open_backbone(BackboneChoice('torchvision:resnet18', 'random', 4))


# ---- protocols on the toy world

def test_a_frozen_backbone_stays_frozen(trained, world, monkeypatch):
    seen = []
    real = results_module.open_backbone

    def kept(choice):
        backbone, note = real(choice)
        seen.append((backbone.network, {
            k: v.clone() for k, v in backbone.network.state_dict().items()}))
        return backbone, note

    monkeypatch.setattr(results_module, 'open_backbone', kept)
    choice = BackboneChoice(trained)
    evaluate_images(choice, f'{world}/by_shape', 'linear', size=64, resize=64, **QUIET)
    evaluate_masks(choice, world, 'dense-linear', **QUIET)
    evaluate_clusters(choice, world, max_images=4, **QUIET)
    evaluate_videos(choice, world, max_clips=2, **QUIET)
    assert len(seen) == 4
    for network, before in seen:
        assert not any(p.requires_grad or p.grad is not None
                       for p in network.parameters())
        assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_the_linear_probe_of_mmpretrain_trains_its_head_and_nothing_else(
        trained, config, world, tmp_path, scope_as_it_was):
    pytest.importorskip('mmpretrain')
    export_backbone(config, trained, tmp_path / 'mm.pth', 'mmpretrain')
    exported = torch.load(tmp_path / 'mm.pth')['state_dict']
    options = {
        'model.backbone.init_cfg.checkpoint': str(tmp_path / 'mm.pth'),
        'model.backbone.stem_channels': 8, 'model.backbone.base_channels': 8,
        'model.head.in_channels': 64, 'train_cfg.max_epochs': 2,
        'train_cfg.val_interval': 2, 'train_dataloader.batch_size': 8}
    for split in ('train', 'val', 'test'):
        options |= {f'{split}_dataloader.num_workers': 0,
                    f'{split}_dataloader.persistent_workers': False,
                    f'{split}_dataloader.dataset.data_root': f'{world}/by_shape/'}
    runner = run(
        str(ROOT / 'configs/evaluation/linear_resnet18_1xb32-steplr-10e_shapes_debug.py'
            ), tmp_path / 'work', options)
    backbone = runner.model.backbone
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, exported[key]), key
    assert not any(p.requires_grad for p in backbone.parameters())
    log = scalars(tmp_path / 'work')
    assert runner.model.head.fc.weight.abs().sum() > 0 and log[-1]['epoch'] == 2
    assert runner.message_hub.get_scalar('val/accuracy/top1').current() >= 0


@pytest.mark.parametrize('name, rate, epochs', [
    ('linear_resnet50_8xb32-steplr-100e_in1k', 30, 100),
    ('linear_resnet50_8xb512-coslr-90e_in1k', 0.1 * 4096 / 256, 90)])
def test_published_linear_probes_keep_their_rates_and_freeze_all_stages(
        name, rate, epochs):
    pytest.importorskip('mmpretrain')
    cfg = load_config(str(ROOT / f'configs/evaluation/{name}.py'))
    assert cfg.optim_wrapper.optimizer.lr == rate
    assert cfg.optim_wrapper.optimizer.weight_decay == 0
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.model.backbone.frozen_stages == 4
    # A backbone alone, as the exporter writes it.
    assert 'prefix' not in cfg.model.backbone.init_cfg


@pytest.fixture(scope='module')
def by_color(tmp_path_factory):
    """ImageNet's layout: scenes of one object each by the color of the sky."""
    folder = tmp_path_factory.mktemp('by_color')
    for split, count in (('train', 60), ('val', 30)):
        for i in range(count):
            scene = draw_scene(scene_seed(split, i), 32, num_objects=(1, 1))
            name = 'warm' if scene.image[..., 0].mean() > scene.image[
                ..., 2].mean() else 'cold'
            path = folder / split / name / f'{i}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(scene.image).save(path)
    return str(folder)


@pytest.mark.parametrize('protocol', ['knn', 'linear'])
def test_colors_tell_warm_scenes_from_cold_and_noise_does_not(
        protocol, pixels, by_color):
    found = evaluate_images(ANY, by_color, protocol, size=32, resize=32, ks=[10],
                            **QUIET)
    (_, score), = found['rows']['any.pth']['scores'].items()
    assert score < 0.8 if pixels else score > 0.9


@pytest.fixture(scope='module')
def by_hue(tmp_path_factory):
    """mmseg's layout: scenes, and which of red, green, blue is strongest where."""
    folder = tmp_path_factory.mktemp('by_hue')
    for split, count in (('train', 12), ('val', 6)):
        for i in range(count):
            image = draw_scene(scene_seed(split, i), 64).image
            blocks = image.reshape(16, 4, 16, 4, 3).mean((1, 3))
            mask = blocks.argmax(2).repeat(4, 0).repeat(4, 1).astype(np.uint8)
            for part, content in (('img_dir', image), ('ann_dir', mask)):
                path = folder / part / split / f'{i}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(content).save(path)
    return dict(data=str(folder), num_classes=3, img_suffix='.png')


@pytest.mark.parametrize('protocol', ['dense-knn', 'dense-linear'])
def test_colors_segment_hues_and_noise_does_not(protocol, pixels, by_hue):
    found = evaluate_masks(ANY, protocol=protocol, **by_hue, **QUIET)
    row = found['rows']['any.pth']
    assert set(row['per_class_iou']) == {'class 0', 'class 1', 'class 2'}
    assert row['scores']['mIoU'] < 0.4 if pixels else row['scores']['mIoU'] > 0.8


def test_clusters_of_colors_are_hues_and_clusters_of_noise_are_not(pixels, by_hue):
    found = evaluate_clusters(ANY, clusters=12, **by_hue, **QUIET)['rows']['any.pth']
    score = found['scores']['majority mIoU']
    assert score < 0.4 if pixels else score > 0.6


# faults C: classes that never occur are named in every result.
def test_classes_without_labels_are_named_in_the_table(pixels, by_hue, by_color):
    data = dict(by_hue, num_classes=4, max_images=2)
    for found in (evaluate_masks(ANY, **data, **QUIET),
                  evaluate_clusters(ANY, **data, **QUIET)):
        note = 'Note: class 3 (class 3) occurs in no mask of val.'
        assert note in found['notes'] and note in result_table(found)
    found = evaluate_images(ANY, by_color, size=32, resize=32, ks=[1], max_images=1,
                            **QUIET)
    assert any('occurs in no image of train' in note for note in found['notes'])


def test_other_masks_need_their_number_of_classes(pixels, world):
    found = evaluate_clusters(ANY, world, ann_dir='ann_dir_things', num_classes=3,
                              **QUIET)
    assert len(found['rows']['any.pth']['per_class_iou']) == 3
    with pytest.raises(ValueError, match='--num-classes'):
        evaluate_clusters(ANY, world, ann_dir='ann_dir_things', **QUIET)


def test_colors_follow_objects_and_noise_does_not(pixels, world):
    found = evaluate_videos(ANY, world, radius=4, **QUIET)
    score = found['rows']['any.pth']['scores']['J&F']
    assert score < 0.4 if pixels else score > 0.5


def test_fewer_labels_and_fewer_images_are_taken_evenly(pixels, world):
    found = evaluate_masks(ANY, world, fraction=0.25, max_images=8, **QUIET)
    assert found['settings']['splits'] == dict(train=2, val=8)
    assert found['rows']['any.pth']['cells'] == 2 * 16 * 16
    with pytest.raises(ValueError, match=r'fraction must be in \(0, 1\]'):
        evaluate_masks(ANY, world, fraction=0, **QUIET)


def test_masks_and_sheets_of_clips_are_written(pixels, world, tmp_path):
    evaluate_videos(ANY, world, max_clips=3, masks_out=str(tmp_path / 'masks'),
                    sheet=str(tmp_path / 'sheet.png'), **QUIET)
    files = sorted((tmp_path / 'masks').rglob('*.png'))
    assert len(files) == 15
    first, palette = read_ids(files[0])
    truth, own = read_ids(Path(world, 'Annotations/480p', *files[0].parts[-2:]))
    np.testing.assert_array_equal(first, truth)
    assert palette[:30] == own[:30]
    # Two rows of at least 240 pixels for each of 3 clips.
    assert Image.open(tmp_path / 'sheet.png').height > 6 * 240


def test_one_command_gives_the_same_figures_again(config, world):
    choice = BackboneChoice(config, 'random', layer=1)
    for again in (lambda: evaluate_clusters(choice, world, **QUIET),
                  lambda: evaluate_masks(choice, world, max_cells=500, **QUIET)):
        first, second = (again()['rows']['random weights']['scores'] for _ in range(2))
        assert first == second


def test_splits_with_other_classes_are_rejected(by_color, tmp_path):
    folder = tmp_path / 'images'
    for split, name in (('train', 'cat'), ('val', 'dog')):
        (folder / split / name).mkdir(parents=True)
        Image.new('RGB', (8, 8)).save(folder / split / name / '0.png')
    with pytest.raises(ValueError, match=r"val has the classes \['dog'\] that train"):
        evaluate_images(ANY, str(folder), **QUIET)


def test_a_table_shows_per_cent_and_notes():
    table = result_table(dict(protocol='knn', notes=['Half of it fits.'], rows={
        'a.pth': dict(scores={'k=10': 0.625}),
        'random weights': dict(scores={'k=10': None})}))
    assert table.splitlines() == [
        'knn, in %:', '                    k=10', 'a.pth               62.5',
        'random weights         -', 'Half of it fits.']


def test_the_tool_runs_a_protocol_beside_random_weights(
        trained, world, tool, tmp_path, capsys):
    out = tmp_path / 'new' / 'result.json'
    tool(['knn', trained, '--data', f'{world}/by_shape', '--size', '64', '--k', '1',
          '5', '--baseline', 'random', '--workers', '0', '--out', str(out)])
    shown = capsys.readouterr().out
    assert 'k=1     k=5' in shown and 'random weights' in shown and str(out) in shown
    result = json.loads(out.read_text())
    assert set(result['rows']) == {'epoch_1.pth', 'random weights'}
    assert result['backbone']['network'] == trained
    assert 'torch' in result['machine']['packages']
    assert len(result['settings']['classes']) == 8


def test_the_tool_ends_in_a_sentence(trained, world, tool):
    for arguments, message in (
            (['dense-knn', trained, '--data', f'{world}/nowhere'], 'no such folder'),
            (['knn', trained, '--data', world], 'No folder'),
            (['propagate', trained, '--data', world, '--split', 'x'], 'ImageSets')):
        with pytest.raises(SystemExit, match=message):
            tool(arguments)


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path(str(ROOT / 'tools/analysis/evaluate_backbone.py'))['main']
