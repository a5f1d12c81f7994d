"""PlainViT: windows, shifted pass, positions, sizes, what is returned and trained."""
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmcontrast.models.backbones import PlainViT
from mmcontrast.models.backbones.positions import fit_grid
from mmcontrast.models.backbones.windows import WindowLayout, near_equal
from mmcontrast.models.layers.transformer import SelfAttention

TINY = dict(layers=3, width=32, heads=2, patch_size=16, pos_grid=4)


def tiny(**more) -> PlainViT:
    torch.manual_seed(0)
    return PlainViT(**{**TINY, **more})


def images(height: int, width: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, height, width,
                       generator=torch.Generator().manual_seed(1))


# Windows

def test_sides_are_split_as_tensor_split_does():
    for size, count in ((8, 4), (14, 4), (5, 3), (3, 4), (1, 2)):
        lengths = [length for number, length in near_equal(size, count)
                   for _ in range(number)]
        parts = torch.tensor_split(torch.arange(size), min(count, size))
        assert lengths == [len(part) for part in parts]


@pytest.mark.parametrize('size', [(8, 12), (8, 13), (9, 8), (7, 10), (3, 2), (1, 1)])
def test_each_window_is_contiguous_and_merging_restores_the_map(size):
    tokens = torch.arange(2 * size[0] * size[1]).view(2, -1, 1)
    layout = WindowLayout(*size, 4)
    split = layout.split(tokens)
    torch.testing.assert_close(layout.merge(split), tokens)
    lengths = [length for number, length in layout.runs for _ in range(number)]
    found = {tuple(window.tolist()) for window in split[1, :, 0].split(lengths)}
    grid = tokens[1, :, 0].view(size)
    wanted = {tuple(window.flatten().tolist())
              for band in grid.tensor_split(min(4, size[0]), 0)
              for window in band.tensor_split(min(4, size[1]), 1)}
    assert found == wanted and len(layout.runs) <= 4


@torch.no_grad()
def test_attention_stays_within_near_equal_windows():
    torch.manual_seed(0)
    attention, tokens = SelfAttention(16, 2), torch.randn(2, 7 * 10, 16)
    layout = WindowLayout(7, 10, 4)
    found = layout.merge(attention(layout.split(tokens), layout.runs))
    grid, wanted = tokens.view(2, 7, 10, 16), torch.zeros(2, 7, 10, 16)
    for rows in torch.arange(7).tensor_split(4):
        for cols in torch.arange(10).tensor_split(4):
            window = grid[:, rows][:, :, cols]
            out = attention(window.flatten(1, 2)).view(window.shape)
            wanted[:, rows[0]:rows[-1] + 1, cols[0]:cols[-1] + 1] = out
    torch.testing.assert_close(found.view(wanted.shape), wanted)


@torch.no_grad()
def test_blocks_equal_those_with_the_row_major_order_in_between():
    vit, x = tiny(windows=(2, None, 3), final_norm=False).eval(), images(80, 112)
    tokens = vit.conv1(x).flatten(2).mT + vit.positions(5, 7)
    for block, count in zip(vit.transformer.resblocks, vit.windows, strict=True):
        layout = WindowLayout(5, 7, count or 1)
        tokens = layout.merge(block(layout.split(tokens), layout.runs))
    torch.testing.assert_close(vit(x)[0], tokens.mT.unflatten(2, (5, 7)))


def test_a_pattern_is_repeated():
    assert tiny(layers=4, windows=(4, None)).windows == (4, None, 4, None)
    assert tiny().windows == (None, None, None)


# Shifted-window learning

@torch.no_grad()
def test_the_second_pass_sees_the_image_rolled_up_and_to_the_right():
    options = dict(windows=(2, 2, None), final_norm=False)
    plain, x = tiny(**options).eval(), images(64, 96)
    shifted, = tiny(**options, shift=1).eval()(x)
    first, = plain(x)
    second, = plain(x.roll((-16, 16), (2, 3)))
    torch.testing.assert_close(shifted, (first + second.roll((1, -1), (2, 3))) / 2)
    assert not torch.allclose(shifted, first, atol=1e-3)


@torch.no_grad()
def test_the_final_norm_follows_the_mean_of_the_passes():
    raw = tiny(windows=(2, 2, None), shift=1, final_norm=False).eval()
    normed, x = tiny(windows=(2, 2, None), shift=1).eval(), images(64, 64)
    wanted = F.layer_norm(raw(x)[0].permute(0, 2, 3, 1), (32,), eps=1e-6)
    torch.testing.assert_close(normed(x)[0], wanted.permute(0, 3, 1, 2))


# Positions

def test_positions_that_shrink_are_antialiased():
    table = torch.arange(4.0)[:, None].expand(4, 4).reshape(16, 1)
    # Triangles of two cells around 1 and 3 over the cells 0.5, 1.5, 2.5, 3.5.
    wanted = torch.tensor([[1.25 / 1.75], [3 - 1.25 / 1.75]]).expand(2, 4)
    torch.testing.assert_close(fit_grid(table, 2, 4).view(2, 4), wanted)


def test_positions_are_compared_by_shape_and_not_by_count():
    table = torch.arange(4.0).repeat_interleave(4)[:, None]     # the row of each cell
    found = fit_grid(table, 8, 2).view(8, 2)
    torch.testing.assert_close(
        found[:, 0], torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]))
    torch.testing.assert_close(fit_grid(table, 4, 4), table)


def test_positions_are_cropped_from_the_top_left():
    table = torch.arange(9.0)[:, None]
    assert fit_grid(table, 2, 3, 'crop').flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert tiny(pos_mode='crop').positions(2, 3).shape == (6, 32)


def test_fitted_positions_are_cached_without_gradients_only():
    vit = tiny().eval()
    with torch.no_grad():
        assert vit.positions(5, 6) is vit.positions(5, 6)
    vit(images(80, 96))[0].square().sum().backward()
    assert vit.positional_embedding.grad.abs().sum() > 0


@torch.no_grad()
def test_positions_can_be_given_for_each_image():
    vit, x = tiny(windows=(2, 2, None), shift=1).eval(), images(64, 64)
    own = vit.positional_embedding
    torch.testing.assert_close(vit(x, own)[0], vit(x)[0])
    torch.testing.assert_close(vit(x, torch.stack([own, own.flip(0)]))[0],
                               torch.cat([vit(x[:1])[0], vit(x[1:], own.flip(0))[0]]))


# Sizes

@torch.no_grad()
def test_images_of_any_size_are_padded_to_whole_patches():
    vit, x = tiny(windows=(2, 2, None)).eval(), images(70, 90)
    found, = vit(x)
    assert found.shape == (2, 32, 5, 6)
    torch.testing.assert_close(found, vit(F.pad(x, (0, 6, 0, 10)))[0])


@pytest.mark.parametrize(('stride', 'size'), [
    (None, (4, 6)), (14, (5, 7)), (8, (8, 12))])
@torch.no_grad()
def test_patches_of_14_pixels_have_a_stride_of_16_unless_told(stride, size):
    vit = tiny(patch_size=14, stride=stride).eval()
    assert vit.stride == (stride or 16)
    assert vit(images(64, 96))[0].shape == (2, 32, *size)


def test_a_tower_gives_its_sizes():
    with torch.device('meta'):
        vit = PlainViT('ViT-L-14', pos_grid=16, with_projection=True)
    assert len(vit.transformer.resblocks) == 24 and vit.out_channels == (1024,)
    assert vit.conv1.weight.shape == (1024, 3, 14, 14)
    assert vit.proj.shape == (1024, 768) and vit.embed_dims == 768


# What is returned

@torch.no_grad()
def test_maps_of_chosen_blocks_come_raw_and_the_last_one_normalized():
    vit, x = tiny(out_indices=(0, -1), windows=(2, 2, None), shift=1).eval(), images(
        80, 96)
    first, last = vit(x)
    cut = tiny(out_indices=(0,), windows=(2, 2, None), shift=1).eval()
    cut.load_state_dict(vit.state_dict(), strict=False)
    torch.testing.assert_close(first, cut(x)[0])
    torch.testing.assert_close(last.mean(1), torch.zeros(2, 5, 6), atol=1e-5, rtol=0)
    assert first.mean(1).abs().max() > 1e-2


def test_every_parameter_gets_a_gradient_whatever_blocks_are_read():
    for options in (dict(), dict(out_indices=(1,)), dict(out_indices=(0, 2)),
                    dict(windows=(2, 2, None), shift=1, pre_norm=True)):
        vit = tiny(**options).train()
        sum(x.square().sum() for x in vit(images(80, 64))).backward()
        assert all(p.grad is not None for p in vit.parameters())


@torch.no_grad()
def test_projection_and_mean_commute():
    vit = tiny(with_projection=True, embed_dims=8).eval()
    x, = vit(images(64, 64))
    assert not vit.proj.requires_grad
    torch.testing.assert_close(vit.project(x, dim=1).mean((2, 3)),
                               vit.project(x.mean((2, 3))))
    assert tiny().embed_dims == 32 and tiny().project(x) is x


# Training

def test_checkpointing_gives_the_same_gradients():
    x, found = images(64, 96), []
    for with_cp in (False, True):
        vit = tiny(windows=(2, 2, None), shift=1, with_cp=with_cp).train()
        vit(x)[0].square().sum().backward()
        found.append([p.grad for p in vit.parameters()])
    torch.testing.assert_close(*found)


def test_frozen_stages_have_no_gradient_and_drop_no_path():
    vit = tiny(frozen_stages=2, drop_path=0.5).train()
    assert {name.split('.')[2] if 'resblocks' in name else name
            for name, p in vit.named_parameters() if p.requires_grad} == {
        '2', 'ln_post.weight', 'ln_post.bias'}
    blocks = vit.transformer.resblocks
    assert [block.training for block in blocks] == [False, False, True]


def test_a_frozen_tower_gives_the_same_in_training():
    vit, x = tiny(frozen=True, drop_path=0.9).train(), images(64, 64)
    assert not any(p.requires_grad for p in vit.parameters())
    torch.testing.assert_close(vit(x)[0], vit.eval()(x)[0])


def test_drop_path_leaves_out_branches_of_whole_images():
    vit = tiny(windows=(2, 2, 2), drop_path=0.9).train()
    block, tokens = vit.transformer.resblocks[2], torch.randn(64, 16, 32)
    torch.manual_seed(0)
    same = (block(tokens, ((4, 4),)) == tokens).all(2)
    assert (same.all(1) | ~same.any(1)).all() and same.all(1).sum() > 30


def test_depths_rise_from_the_patch_embedding_to_the_heads():
    vit = tiny(pre_norm=True)
    depths = {name: vit.get_layer_depth(f'backbone.{name}', 'backbone.')[0]
              for name, _ in vit.named_parameters()}
    assert {depths[name] for name in (
        'conv1.weight', 'positional_embedding', 'ln_pre.bias')} == {0}
    assert depths['transformer.resblocks.0.ln_1.weight'] == 1
    assert depths['transformer.resblocks.2.mlp.c_fc.bias'] == 3
    assert depths['ln_post.weight'] == 4
    assert vit.get_layer_depth('neck.p2.up1.weight', 'backbone.') == (4, 5)


# Types

@pytest.mark.parametrize(('dtype', 'tolerance'), [
    (torch.float16, 0.004), (torch.bfloat16, 0.03)])
@torch.no_grad()
def test_half_precision_stays_close(dtype, tolerance):
    vit, x = tiny(windows=(2, 2, None), shift=1).eval(), images(80, 96)
    full, = vit(x)
    with torch.autocast('cpu', dtype):
        mixed, = vit(x)
    half, = vit.to(dtype)(x.to(dtype))
    assert half.dtype == dtype
    for found in (half.float(), mixed.float()):
        assert (found - full).abs().max() < tolerance * full.abs().max()


# Bad input

@pytest.mark.parametrize(('options', 'message'), [
    (dict(windows=(4, None)), r'each of the 3 blocks.*got 2: \(4, None\)'),
    (dict(windows=(0, 1, 2)), '1 or more.*got 0'),
    (dict(shift=-1), '0 or more tokens, got -1'),
    (dict(activation='gelu_tan'), "did you mean 'gelu_tanh'"),
    (dict(out_indices=(2, 0)), r'0 to 2 .*ascending order, got \(2, 0\)'),
    (dict(out_indices=(3,)), r'0 to 2 .*got \(3,\)'),
    (dict(frozen_stages=4), '-1 to 3, got 4'),
    (dict(pos_mode='cut'), "'resize', 'crop'.*'cut'")])
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)


# Stem of convolutions

def test_the_stem_of_convolutions_halves_the_image_and_doubles_the_channels():
    stem = tiny(conv_stem=True).conv1
    convs = [part for part in stem if isinstance(part, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.stride[0]) for c in convs] == [
        (3, 4, 2), (4, 8, 2), (8, 16, 2), (16, 32, 2), (32, 32, 1)]
    assert stem(images(48, 64)).shape == (2, 32, 3, 4)


def test_with_a_stem_of_convolutions_a_token_sees_the_patches_around_it():
    x = images(64, 64).requires_grad_()
    seen = []
    for vit in (tiny(), tiny(conv_stem=True)):
        grad, = torch.autograd.grad(vit.conv1(x)[0, :, 2, 2].sum(), x)
        rows = grad[0].abs().sum((0, 2)).nonzero().flatten()
        seen.append((int(rows[0]), int(rows[-1])))
    # One patch, rows 32 to 47. With convolutions and group norms: the whole image.
    assert seen == [(32, 47), (0, 63)]


def test_a_frozen_stem_of_convolutions_has_no_gradient():
    vit = tiny(conv_stem=True, frozen_stages=0)
    assert not any(p.requires_grad for p in vit.conv1.parameters())
    assert vit.get_layer_depth('conv1.0.weight')[0] == 0


@pytest.mark.parametrize(('patch_size', 'width'), [(14, 32), (1, 32), (32, 24)])
def test_sizes_that_a_stem_of_convolutions_cannot_reach_are_named(patch_size, width):
    with pytest.raises(ValueError, match=f'patch_size={patch_size} with width={width}'):
        tiny(conv_stem=True, patch_size=patch_size, width=width, heads=2)
