import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mmcontrast.apis.analysis.feature_maps import (
    feature_map_sheet,
    find_images,
)
from mmcontrast.apis.loading import load_backbone
from mmcontrast.visualization.pca import (
    draw_feature_maps,
    feature_pca_maps,
    principal_maps,
)
from tests.helpers.processes import run_python

ROOT = Path(__file__).parents[2]
CONFIG = """
default_scope = '{scope}'
model = dict(
    type='Whatever',
    data_preprocessor=dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0]),
    backbone=dict(
        type='{kind}', depth=18, out_indices=(0, 3),
        init_cfg=dict(type='Pretrained', checkpoint='nowhere.pth')))
"""


# ---- PCA

def test_directions_come_in_the_order_of_their_strength():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 400, generator=generator)
    hidden = torch.linalg.qr((hidden - hidden.mean(1, keepdim=True)).T)[0].T
    axes = torch.linalg.qr(torch.randn(8, 3, generator=generator))[0]
    cells = axes @ (torch.tensor([[3.0], [2.0], [1.0]]) * hidden) + 5
    found, share = principal_maps([cells.view(8, 20, 20)])
    assert share == pytest.approx(1, abs=1e-6)
    for component, truth in zip(found[0].flatten(1), hidden, strict=True):
        assert abs(np.corrcoef(component, truth)[0, 1]) == pytest.approx(1, abs=1e-4)
    # Strengths 9, 4, 1: the first alone holds 9 of 14 parts.
    assert principal_maps([cells.view(8, 20, 20)], count=1)[1] == pytest.approx(9 / 14)


@pytest.mark.parametrize('channels', [5, 200])
def test_components_agree_with_numpys_svd(channels):
    # 5 channels: the Gram matrix of channels is the smaller one; 200: that of cells.
    maps = [torch.randn(channels, 4, 6, generator=torch.Generator().manual_seed(i))
            for i in range(2)]
    cells = np.concatenate([m.flatten(1).T.numpy() for m in maps])
    left, strength, _ = np.linalg.svd(cells - cells.mean(0), full_matrices=False)
    found, share = principal_maps(maps)
    joined = np.concatenate([m.flatten(1).T.numpy() for m in found])
    for i in range(3):
        correlation = np.corrcoef(joined[:, i], left[:, i])[0, 1]
        assert abs(correlation) == pytest.approx(1, abs=1e-4)
    assert share == pytest.approx((strength[:3] ** 2).sum() / (strength ** 2).sum())


def test_one_feature_has_one_color_in_all_images():
    maps = [torch.randn(6, 3, 3, generator=torch.Generator().manual_seed(i))
            for i in range(3)]
    maps[2][:, 0, 0] = maps[0][:, 2, 1]
    found, _ = principal_maps(maps)
    torch.testing.assert_close(found[2][:, 0, 0], found[0][:, 2, 1])


def test_percentiles_span_the_colors_so_one_outlier_does_not_darken_all():
    maps = torch.randn(4, 20, 20, generator=torch.Generator().manual_seed(0))
    maps[:, 0, 0] = 100
    found, _ = principal_maps([maps])
    low, high = (torch.quantile(found[0].flatten(1), q, dim=1) for q in (0.01, 0.99))
    torch.testing.assert_close(low, torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(high, torch.ones(3), atol=1e-5, rtol=0)


def test_collapsed_features_give_one_color_and_no_nan():
    found, share = principal_maps([torch.ones(4, 3, 3)])
    assert share == 1 and found[0].isfinite().all() and found[0].std() == 0


def test_two_channels_leave_the_third_color_empty():
    found, _ = principal_maps([torch.randn(2, 5, 5)])
    assert found[0].shape == (3, 5, 5) and (found[0][2] == 0).all()


def test_feature_maps_have_the_size_of_their_images_and_split_them_by_color():
    backbone = nn.AvgPool2d(4)
    backbone.dummy = nn.Parameter(torch.zeros(()))
    left = torch.zeros(3, 32, 64)
    left[0, :, 32:] = 200
    found = feature_pca_maps(backbone, [left, left[:, :16]])
    assert [p.shape for p in found.maps] == [(32, 64, 3), (16, 64, 3)]
    assert found.maps[0].dtype == np.uint8
    reds = found.maps[0][:, :, 0]
    assert (reds[:, :24] == reds[0, 0]).all() and (reds[:, 40:] == reds[0, -1]).all()
    assert abs(int(reds[0, 0]) - int(reds[0, -1])) == 255
    with pytest.raises(ValueError, match='at least one image'):
        feature_pca_maps(backbone, [])


def test_sheet_has_a_row_an_image_and_a_column_a_backbone():
    image = Image.new('RGB', (100, 50), 'red')
    blue = np.zeros((50, 100, 3), np.uint8)
    blue[..., 2] = 255
    sheet = draw_feature_maps([image] * 2, ['a.jpg', 'b.jpg'],
                              {'one\nline two': [blue] * 2, 'two': [blue] * 2}, 200)
    assert sheet.width == 8 + 3 * 208
    pixels = np.asarray(sheet)
    # Middle of the second row: image, map, map.
    row = pixels[sheet.height - 22 - 8 - 50]
    assert [row[108 + 208 * i].tolist() for i in range(3)] == [
        [255, 0, 0], [0, 0, 255], [0, 0, 255]]


# ---- from files

@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(5):
        noise = generator.integers(256, size=(8, 12, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((90, 60)).save(folder / f'{i}.png')
    return folder


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(CONFIG.format(scope='mmcontrast', kind='mmpretrain.ResNet'))
    return str(path)


@pytest.fixture
def checkpoint(tmp_path, config):
    """As training writes it: the backbone among other modules."""
    from mmcontrast.apis.config import load_config
    backbone, _ = load_backbone(load_config(config), None, seed=3)
    state = {f'backbone.{k}': v for k, v in backbone.state_dict().items()}
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=state | {'projector.weight': torch.zeros(2)}), path)
    return str(path)


def test_a_training_checkpoint_and_an_exported_backbone_give_the_same_weights(
        config, checkpoint, tmp_path):
    from mmcontrast.apis.config import load_config
    cfg = load_config(config)
    weights = torch.load(checkpoint)['state_dict']
    alone = {k.removeprefix('backbone.'): v for k, v in weights.items()
             if k.startswith('backbone.')}
    torch.save(dict(state_dict=alone, meta={}), tmp_path / 'alone.pth')
    first, note = load_backbone(cfg, checkpoint)
    second, _ = load_backbone(cfg, str(tmp_path / 'alone.pth'))
    assert note is None
    assert all(torch.equal(v, second.state_dict()[k])
               for k, v in first.state_dict().items())
    assert torch.equal(first.conv1.weight, weights['backbone.conv1.weight'])


def test_random_weights_follow_the_seed_and_leave_all_generators_alone(
        config, monkeypatch):
    # torch.manual_seed calls it, with a GPU or without.
    monkeypatch.setattr(torch.cuda, 'manual_seed_all', lambda seed: pytest.fail('GPU'))
    from mmcontrast.apis.config import load_config
    cfg = load_config(config)
    state = torch.get_rng_state()
    one, again, other = (load_backbone(cfg, None, seed=s)[0].conv1.weight
                         for s in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())


def test_a_config_of_mmdet_works_in_its_own_scope(tmp_path):
    pytest.importorskip('mmdet')
    from mmcontrast.apis.config import load_config
    path = tmp_path / 'mmdet_config.py'
    path.write_text(CONFIG.format(scope='mmdet', kind='ResNet'))
    backbone, _ = load_backbone(load_config(str(path)), None)
    assert type(backbone).__module__.startswith('mmdet')


def test_the_sheet_has_one_column_more_for_random_weights(
        config, checkpoint, photos, tmp_path):
    settings = dict(config=config, checkpoint=checkpoint, images=[str(photos)],
                    size=64, max_images=2)
    plain, _ = feature_map_sheet(out=str(tmp_path / 'new/a.png'), **settings)
    both, notes = feature_map_sheet(
        out=str(tmp_path / 'b.png'), baseline='random', beside=checkpoint, **settings)
    assert Image.open(plain).width == 8 + 2 * 268
    assert Image.open(both).width == 8 + 4 * 268 and notes == []


def test_images_come_from_files_and_folders_evenly_spaced(photos):
    assert [Path(p).name for p in find_images([str(photos)], 2)] == ['0.png', '2.png']
    single = str(photos / '4.png')
    assert find_images([single, str(photos)], 99)[0] == single
    with pytest.raises(FileNotFoundError, match='nowhere'):
        find_images(['nowhere'], 3)
    with pytest.raises(ValueError, match='max_images'):
        find_images([single], 0)


def test_the_tool_ends_in_sentences_where_weights_or_maps_do_not_fit(
        config, checkpoint, photos, tmp_path):
    torch.save(dict(state_dict={'head.weight': torch.zeros(2)}), tmp_path / 'no.pth')
    for args, message in (
            ([config, str(tmp_path / 'no.pth'), str(photos)], 'no weight fits'),
            ([config, checkpoint, str(photos), '--out-index', '7', '--size', '64'],
             'returns 2 map(s)')):
        found = run_python(
            [sys.executable, 'tools/analysis/feature_maps.py', *args], cwd=ROOT,
            env={'PYTHONPATH': str(ROOT), 'PATH': '', 'OMP_NUM_THREADS': '1'},
            capture_output=True, text=True)
        assert found.returncode == 1 and message in found.stderr
        assert 'Traceback' not in found.stderr
