"""RoI crops and heads of DITO."""
import pytest
import torch
from torchvision.ops import roi_align

from mmcontrast.methods.dito.box_head import TextBoxHead
from mmcontrast.methods.dito.mask_head import NormedMaskHead
from mmcontrast.methods.dito.normed import NormedConv2d, NormedLinear
from mmcontrast.methods.dito.roi_crop import PyramidRoICrop
from mmcontrast.registry import MODELS


def pyramid(batch: int = 2, channels: int = 3, size: int = 64, dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(batch, channels, size // s, size // s, generator=draw,
                        dtype=dtype) for s in (4, 8, 16, 32)]


def rois(*boxes, image: int = 0) -> torch.Tensor:
    return torch.tensor([[image, *box] for box in boxes], dtype=torch.float32)


def test_a_ramp_is_cropped_at_bin_centers():
    # Cell n of the map holds n. A box from x = 8 to 16 at stride 4 spans cells 2 to 4:
    # two bins have their centers at 2.5 and 3.5.
    ramp = torch.arange(10.0).expand(1, 1, 10, 10)
    crop = PyramidRoICrop(2, (4,))([ramp], rois((8, 0, 16, 8)))
    assert crop.flatten().tolist() == [2.5, 3.5, 2.5, 3.5]


def test_a_ramp_goes_on_left_of_the_map_and_stops_right_of_it():
    ramp = torch.arange(10.0).expand(1, 1, 10, 10)
    crop = PyramidRoICrop(2, (4,))([ramp], rois((-8, 0, 0, 8), (36, 0, 52, 8)))
    # Centers at cells -1.5, -0.5 and at 10, 12, of which the last one is 9.
    assert crop[:, 0, 0].tolist() == [[-1.5, -0.5], [9, 9]]


def test_levels_follow_the_size():
    crop = PyramidRoICrop()
    sides = [10, 55, 56, 111, 112, 223, 224, 447, 448, 5000]
    boxes = rois(*[(5, 5, 5 + side, 5 + side) for side in sides])
    assert crop.map_levels(boxes).tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3]
    # The root of the area counts, and a box without area is a small one.
    odd = rois((0, 0, 896, 224), (0, 0, 0, 500), (9, 9, 3, 500), (9, 9, 3, 3))
    assert crop.map_levels(odd).tolist() == [3, 0, 0, 0]


def test_boxes_inside_the_image_agree_with_a_shifted_roi_align_a_level():
    maps, crop = pyramid(dtype=torch.float32, size=512), PyramidRoICrop(5)
    draw = torch.Generator().manual_seed(1)
    first = 300 * torch.rand(40, 2, generator=draw) ** 2
    last = first + 4 + (470 - first) * torch.rand(40, 2, generator=draw) ** 0.5
    image = torch.randint(2, (40, 1), generator=draw).float()
    boxes = torch.cat([image, first, last], dim=1)
    boxes[:2, 1:] = torch.tensor([[3.0, 3, 475, 477], [9, 9, 30, 31]])
    got = crop(maps, boxes)
    levels = crop.map_levels(boxes)
    assert levels.unique().tolist() == [0, 1, 2, 3]
    for i, level in enumerate(levels.tolist()):
        stride = 4 << level
        moved = boxes[i:i + 1] + stride / 2 * torch.tensor([0, 1, 1, 1, 1])
        want = roi_align(maps[level], moved, 5, 1 / stride, 1, aligned=True)
        torch.testing.assert_close(got[i:i + 1], want, rtol=0, atol=1e-4)


def test_levels_can_be_given():
    maps, crop = pyramid(), PyramidRoICrop(3)
    box = rois((3, 4, 40, 50), image=1).expand(4, -1)
    got = crop(maps, box, levels=torch.arange(4))
    for level in range(4):
        alone = PyramidRoICrop(3, (4 << level,))([maps[level]], box[:1])
        torch.testing.assert_close(got[level:level + 1], alone)


def test_pooled_crops_are_their_mean():
    maps, crop = pyramid(), PyramidRoICrop(6)
    boxes = rois((3, 4, 40, 50), (-2, 0, 9, 9), (1, 1, 1, 1), image=1)
    torch.testing.assert_close(
        crop.pooled(maps, boxes), crop(maps, boxes).mean((2, 3)))


def test_gradients_of_crops():
    maps = [x.requires_grad_() for x in pyramid(1, 2, 32)]
    boxes = rois((1, 2, 12, 13), (-3, 0, 31, 31), (20, 20, 40, 40))
    assert torch.autograd.gradcheck(
        lambda *maps: PyramidRoICrop(2)(maps, boxes, torch.tensor([0, 2, 3])), maps)


def test_no_rois_give_no_crops_and_keep_the_graph():
    maps = [x.requires_grad_() for x in pyramid()]
    crops = PyramidRoICrop(7)(maps, torch.zeros(0, 5))
    assert crops.shape == (0, 3, 7, 7)
    crops.sum().backward()
    assert all(x.grad.abs().sum() == 0 for x in maps)


def test_crops_of_inference_do_not_disturb_training():
    maps, boxes = pyramid(1, 2, 96), rois((1, 2, 30, 40))
    with torch.inference_mode():
        PyramidRoICrop()(maps, boxes)
    PyramidRoICrop()([x.requires_grad_() for x in maps], boxes).sum().backward()


def test_a_nan_box_reads_inside_the_maps():
    crops = PyramidRoICrop()(pyramid(), rois((float('nan'),) * 4))
    assert crops.isnan().all()


def test_crops_need_a_map_a_stride_and_strides_that_double():
    with pytest.raises(ValueError, match='needs 4 maps, got 1'):
        PyramidRoICrop()(pyramid()[:1], rois((0, 0, 1, 1)))
    with pytest.raises(ValueError, match='twice the one before'):
        PyramidRoICrop(7, (4, 16))


def small_head(**kwargs) -> TextBoxHead:
    return MODELS.build(dict(
        type='TextBoxHead', in_channels=4, roi_size=3, num_convs=2, conv_channels=8,
        fc_channels=16, embed_dims=5, **kwargs))


def test_logits_of_the_box_head_are_cosines_over_the_temperature():
    head = small_head(temperature_scale=0.1)
    head.temperature.data.fill_(2)
    text = torch.tensor([[3.0, 0, 0, 0, 0], [0, 0, 0, 0, -7], [0, 0, 0, 0, 0]])
    logits = head.logits(torch.tensor([[3.0, 0, 0, 0, 4]]), text)
    torch.testing.assert_close(logits, torch.tensor([[3.0, -4, 0]]))


def test_the_box_head_does_not_depend_on_the_memory_format():
    head, x = small_head(), torch.randn(3, 4, 3, 3)
    for got, want in zip(head(x.contiguous(memory_format=torch.channels_last)), head(x),
                         strict=True):
        torch.testing.assert_close(got, want)


def test_initial_weights_of_the_box_head():
    head = TextBoxHead(64, 7, 1, 64, 256, 32).requires_grad_(False)
    # Variance scaling 2 over fan_out = 64 * 9; Xavier's bound for fc.
    assert head.conv0.weight.std() == pytest.approx((2 / 576) ** 0.5, rel=0.05)
    bound = (6 / (64 * 49 + 256)) ** 0.5
    assert head.fc.weight.abs().max() == pytest.approx(bound, rel=0.01)
    assert head.box_predict.weight.std() == pytest.approx(0.001, rel=0.1)
    assert all(layer.bias.abs().max() == 0
               for layer in (head.conv0, head.fc, head.box_predict))
    assert head.temperature.tolist() == [1] and head.fc_ln.eps == head.ln0.eps == 1e-6


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_logits_are_float32_under_autocast(dtype):
    head, text = small_head(), torch.randn(6, 5)
    x = torch.randn(3, 4, 3, 3)
    with torch.autocast('cpu', dtype):
        embeddings, _ = head(x)
        logits = head.logits(embeddings, text)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(
        logits, head.logits(embeddings.float(), text), rtol=0, atol=1e-4)


def test_normed_layers_agree_with_those_of_mmdet():
    layers = pytest.importorskip('mmdet.models.layers')
    for ours, theirs, x in (
            (NormedLinear(6, 5, bias=True), layers.NormedLinear(6, 5),
             torch.randn(3, 6)),
            (NormedConv2d(6, 5, 3, padding=1), layers.NormedConv2d(6, 5, 3, padding=1),
             torch.randn(2, 6, 4, 4))):
        theirs.load_state_dict(ours.state_dict())
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_a_zero_cell_has_a_finite_gradient_in_normed_layers():
    x = torch.zeros(1, 6, 2, 2, requires_grad=True)
    NormedConv2d(6, 5, 1)(x).sum().backward()
    assert x.grad.isfinite().all()


def test_the_mask_head_doubles_the_size():
    head = MODELS.build(dict(
        type='NormedMaskHead', in_channels=4, num_convs=1, conv_channels=8))
    assert isinstance(head, NormedMaskHead)
    assert head(torch.randn(3, 4, 14, 14)).shape == (3, 1, 28, 28)
