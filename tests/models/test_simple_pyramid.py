"""SimpleFeaturePyramid: sizes, types and bad input."""
import pytest
import torch
import torch.nn.functional as F

from mmcontrast.models.layers import ChannelLayerNorm, SimpleFeaturePyramid


def pyramid(**more) -> SimpleFeaturePyramid:
    torch.manual_seed(0)
    return SimpleFeaturePyramid(**{'in_channels': 32, 'out_channels': 16, **more})


@pytest.mark.parametrize('size', [(8, 12), (5, 7), (1, 1)])
@torch.no_grad()
def test_coarse_levels_cover_maps_of_odd_sides(size):
    neck = pyramid(levels=(2, 3, 4, 5, 6))
    maps = neck(torch.randn(2, 32, *size))
    assert neck.strides == (4, 8, 16, 32, 64)
    for x, factor in zip(maps, (4, 2, 1, 1 / 2, 1 / 4), strict=True):
        wanted = [int(-(-side * factor // 1)) for side in size]
        assert list(x.shape) == [2, 16, *wanted]


@pytest.mark.parametrize('patch_stride', [8, 32])
@torch.no_grad()
def test_levels_have_their_strides_whatever_that_of_the_map(patch_stride):
    maps = pyramid(patch_stride=patch_stride)(
        (torch.randn(1, 32, 64 // patch_stride, 64 // patch_stride),))
    assert [x.shape[-1] for x in maps] == [16, 8, 4, 2]


@torch.no_grad()
def test_the_channel_norm_is_a_layer_norm_of_every_cell():
    norm, x = ChannelLayerNorm(6), 3 + torch.randn(2, 6, 3, 4)
    norm.weight.copy_(torch.arange(6.0))
    wanted = F.layer_norm(x[1, :, 2, 1], (6,), norm.weight, norm.bias, 1e-6)
    torch.testing.assert_close(norm(x)[1, :, 2, 1], wanted)


@torch.no_grad()
def test_memory_format_and_type_of_the_map_do_not_matter():
    neck, x = pyramid(), torch.randn(2, 32, 6, 5)
    full = neck(x)
    torch.testing.assert_close(
        neck(x.contiguous(memory_format=torch.channels_last)), full,
        atol=1e-5, rtol=1e-5)
    with torch.autocast('cpu', torch.bfloat16):
        mixed = neck(x)
    for found, wanted in zip(mixed, full, strict=True):
        assert (found.float() - wanted).abs().max() < 0.03 * wanted.abs().max()


def test_every_parameter_gets_a_gradient():
    neck = pyramid(levels=(2, 3, 4, 5, 6))
    sum(x.square().sum() for x in neck(torch.randn(1, 32, 4, 4))).backward()
    assert all(p.grad is not None for p in neck.parameters())


@pytest.mark.parametrize(('options', 'message'), [
    (dict(levels=(3, 2)), r'ascending order.*\(3, 2\)'),
    (dict(levels=()), r'such as \(2, 3, 4, 5\), got \(\)'),
    (dict(patch_stride=14), 'patch_stride=14 is no power of two')])
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        pyramid(**options)


def test_several_maps_are_rejected():
    with pytest.raises(ValueError, match='from one map, got 2.*out_indices'):
        pyramid()([torch.zeros(1, 32, 2, 2)] * 2)
