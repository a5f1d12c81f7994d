"""Mosaics: each image is embedded by one of its own cells, wherever it lies."""
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from mmcontrast.methods.clip.mosaic import encode_cells, tiled, untiled
from tests.methods.test_clip import TEXTS, TINY, samples, tiny_clip


def test_tiles_lie_row_by_row_and_come_back():
    images = torch.arange(8.).view(8, 1, 1, 1).expand(8, 3, 2, 5)
    mosaics = tiled(images, 2)
    assert mosaics.shape == (2, 3, 4, 10)
    corners = mosaics[:, 0, ::3, ::9]
    assert corners.tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    torch.testing.assert_close(untiled(mosaics, 2), images)


def test_each_image_is_seen_from_a_cell_of_its_own():
    same = torch.nn.Identity()
    # A tower that mixes nothing: the cells say whose they are.
    tower = SimpleNamespace(
        stem=torch.nn.AvgPool2d(32), layer1=same, layer2=same, layer3=same, layer4=same,
        attnpool=SimpleNamespace(cells=same))
    images = torch.randn(4, 3, 64, 64)
    cells = F.avg_pool2d(images, 32).flatten(2)  # (N, C, 2 x 2)
    found = encode_cells(tower, images, 2)
    assert found.shape == (4, 3)
    for own, embedding in zip(cells, found, strict=True):
        assert (F.normalize(own, dim=0).T @ embedding).max() > 1 - 1e-5


def test_the_loss_of_mosaics_reaches_what_makes_cells():
    model = tiny_clip(mosaics=(2,)).train()
    images = torch.randn(4, 3, 32, 32)
    model(images, samples(), mode='loss')['loss_contrastive'].backward()
    pool = model.clip.visual.attnpool
    assert pool.v_proj.weight.grad.abs().sum() > 0
    assert model.clip.visual.layer1[0].conv1.weight.grad.abs().sum() > 0


def test_mosaics_change_neither_keys_nor_what_whole_images_are():
    plain, model = tiny_clip(), tiny_clip(mosaics=(1, 2))
    model.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(images), plain(images))


def test_a_batch_that_gives_no_whole_mosaic_is_rejected():
    model = tiny_clip(mosaics=(2,))
    with pytest.raises(ValueError, match='3 images .* 2 x 2'):
        model(torch.randn(3, 3, 32, 32), samples(TEXTS[:3]), mode='loss')


@pytest.mark.parametrize('mosaics, vision, message', [
    ((), {}, 'sides of 1 or more'), ((0, 1), {}, 'sides of 1 or more'),
    ((1, 2), dict(layers=1, patch_size=16), 'needs the attention pool of a ResNet')])
def test_mosaics_that_cannot_work_are_rejected(mosaics, vision, message):
    sizes = TINY | dict(vision_cfg=TINY['vision_cfg'] | dict(head_width=8) | vision)
    with pytest.raises(ValueError, match=message):
        tiny_clip(mosaics=mosaics, architecture=sizes)
