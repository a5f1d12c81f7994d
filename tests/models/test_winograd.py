"""WinogradConv2d equals torch's convolution."""
import pytest
import torch
import torch.nn.functional as F

from mmcontrast.models.layers.winograd import WinogradConv2d, winograd


@pytest.mark.parametrize('size', [(8, 12), (7, 5), (1, 1), (4, 9)])
def test_values_and_gradients_are_those_of_the_convolution(size):
    torch.manual_seed(0)
    given = [torch.randn(2, 6, *size), torch.randn(5, 6, 3, 3)]
    pairs = []
    for convolve in (winograd, lambda x, w: F.conv2d(x, w, padding=1)):
        leaves = [x.clone().requires_grad_() for x in given]
        out = convolve(*leaves)
        factors = torch.linspace(-1, 1, out.numel()).view(out.shape)
        (out * factors).sum().backward()
        pairs.append([out, *(x.grad for x in leaves)])
    for ours, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_large_map_differs_from_double_precision_by_rounding():
    torch.manual_seed(0)
    conv, x = WinogradConv2d(128, 128), torch.randn(1, 128, 64, 64)
    assert conv._pays_off(x)
    exact = F.conv2d(x.double(), conv.weight.double(), padding=1)
    scale = exact.abs().max()
    assert (conv(x) - exact).abs().max() < 3e-5 * scale
    assert not torch.equal(conv(x), F.conv2d(x, conv.weight, padding=1))


@pytest.mark.parametrize('x', [
    torch.zeros(1, 128, 32, 32), torch.zeros(1, 128, 64, 64, dtype=torch.float64)])
def test_small_maps_and_other_types_are_left_to_torch(x):
    assert not WinogradConv2d(128, 128)._pays_off(x)


@torch.no_grad()
def test_autocast_and_traces_are_left_to_torch():
    conv, x = WinogradConv2d(128, 128), torch.randn(1, 128, 64, 64)
    with torch.autocast('cpu', torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
    traced = torch.jit.trace(conv, x, check_trace=False)
    small = torch.randn(2, 128, 9, 6)
    torch.testing.assert_close(traced(small), conv(small))
