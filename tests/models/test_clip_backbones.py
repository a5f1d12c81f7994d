"""CLIP's image towers: what they give, at which sizes and in which types."""
import open_clip
import pytest
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import nn

from mmcontrast.models.backbones import (
    CLIPResNet,
    CLIPResNetWithAttention,
    CLIPVisionTransformer,
    DenseAttentionPool,
)
from mmcontrast.models.backbones.positions import crop_positions, resize_positions

TINY = dict(layers=(1, 1, 1, 1), width=16)
TINY_VIT = dict(layers=3, width=32, heads=2, patch_size=16, embed_dims=24)


def tiny_resnet(**more) -> CLIPResNetWithAttention:
    torch.manual_seed(0)
    return CLIPResNetWithAttention(**{**TINY, 'embed_dims': 24, **more})


def tiny_vit(**more) -> CLIPVisionTransformer:
    torch.manual_seed(0)
    return CLIPVisionTransformer(**{**TINY_VIT, 'with_embeddings': True, **more})


def images(height: int, width: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, height, width,
                       generator=torch.Generator().manual_seed(1))


# The same numbers as CLIP's own towers

def test_the_global_embedding_is_that_of_open_clips_resnet():
    torch.manual_seed(0)
    theirs = ModifiedResNet([1, 2, 1, 1], 24, heads=8, image_size=64, width=16).eval()
    for parameter in theirs.parameters():
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    ours = tiny_resnet(layers=(1, 2, 1, 1), input_size=64).eval()
    ours.load_state_dict(theirs.state_dict())
    x = images(64, 64)
    torch.testing.assert_close(ours(x)[-1][0], theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('quick_gelu', [True, False])
def test_the_embedding_of_clips_own_tokens_is_that_of_open_clips_vit(quick_gelu):
    torch.manual_seed(0)
    theirs = VisionTransformer(
        64, 16, 32, layers=3, heads=2, mlp_ratio=4, output_dim=24,
        act_layer=QuickGELU if quick_gelu else nn.GELU).eval()
    ours = tiny_vit(input_size=64, class_token_twice=False, quick_gelu=quick_gelu)
    ours.load_state_dict(theirs.state_dict(), strict=False)
    x = images(64, 64)
    torch.testing.assert_close(ours.eval()(x)[-1][0], theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('tower', ['RN50', 'RN101', 'RN50x4', 'RN50x16', 'ViT-B-16',
                                   'ViT-L-14'])
def test_keys_and_shapes_are_those_of_the_tower_of_that_name(tower):
    with torch.device('meta'):
        theirs = open_clip.create_model(tower, load_weights=False, device='meta').visual
        ours = (CLIPVisionTransformer(tower, with_embeddings=True)
                if tower.startswith('ViT') else CLIPResNetWithAttention(tower))
    shapes = {key: value.shape for key, value in ours.state_dict().items()
              if not key.startswith('fpn')}
    assert shapes == {key: value.shape for key, value in theirs.state_dict().items()}


# Sizes

def test_pools_round_sizes_down():
    maps = CLIPResNet(**TINY).eval()(images(97, 130))
    # The stem's convolution gives 49 x 65; its pool and three more halve.
    assert [tuple(x.shape[-2:]) for x in maps] == [(24, 32), (12, 16), (6, 8), (3, 4)]
    assert [x.shape[1] for x in maps] == [64, 128, 256, 512]


def test_chosen_stages_are_announced():
    backbone = CLIPResNet(**TINY, out_indices=(1, 3)).eval()
    assert backbone.out_channels == (128, 512)
    assert [x.shape[1] for x in backbone(images(64, 64))] == [128, 512]


@pytest.mark.parametrize('patch_size', [4, 8, 14, 16, 32])
def test_a_vit_gives_four_strides_whatever_its_patches(patch_size):
    *maps, (whole, local) = tiny_vit(patch_size=patch_size).eval()(images(64, 96))
    assert [tuple(x.shape) for x in maps] == [
        (2, 32, 16, 24), (2, 32, 8, 12), (2, 32, 4, 6), (2, 32, 2, 3)]
    stride = 16 if patch_size == 14 else patch_size
    assert whole.shape == (2, 24)
    assert local.shape == (2, 24, 64 // stride, 96 // stride)


def test_a_vit_builds_only_the_taps_of_its_strides():
    backbone = tiny_vit(strides=(8, 32))
    assert backbone.out_channels == (32, 32) and backbone.out_indices == (1, 2)
    assert [tuple(x.shape[-2:]) for x in backbone.eval()(images(64, 96))[:-1]] == [
        (8, 12), (2, 3)]
    assert {key[:4] for key in backbone.state_dict() if key.startswith('fpn')} == {
        'fpn2', 'fpn4'}


def test_taps_lie_at_a_third_half_two_thirds_and_the_top():
    assert tiny_vit(layers=24).out_indices == (7, 11, 15, 23)
    assert tiny_vit(layers=1).out_indices == (0, 0, 0, 0)


def test_without_embeddings_only_maps_come():
    backbone = tiny_vit(with_embeddings=False)
    assert len(backbone.eval()(images(32, 32))) == 4
    assert not hasattr(backbone, 'proj')


def test_drop_path_rises_to_its_rate_and_rests_in_eval():
    backbone = tiny_vit(drop_path=0.5)
    rates = [getattr(block.drop_path, 'drop_prob', 0)
             for block in backbone.transformer.resblocks]
    assert rates == [0, 0.25, 0.5]
    x, plain = images(32, 32), tiny_vit()
    plain.load_state_dict(backbone.state_dict())
    torch.testing.assert_close(backbone.eval()(x)[-1], plain.eval()(x)[-1])
    torch.manual_seed(0)
    assert not torch.equal(backbone.train()(x)[-1][0], plain(x)[-1][0])


# Positions

def test_positions_are_resized_between_cell_centers():
    table = torch.tensor([[9.0], [0.0], [1.0], [2.0], [3.0]])
    # Two cells at 1/4 and 3/4 seen by four at 1/8, 3/8, 5/8, 7/8.
    columns = torch.tensor([0, 0.25, 0.75, 1])
    wanted = (2 * columns[:, None] + columns).flatten()
    found = resize_positions(table, 4, 4).squeeze(1)
    assert found[0] == 9
    torch.testing.assert_close(found[1:], wanted)


def test_positions_are_cut_from_the_top_left():
    table = torch.cat([torch.tensor([[-1.0]]), torch.arange(9.0)[:, None]])
    assert crop_positions(table, 2, 3).squeeze(1).tolist() == [-1, 0, 1, 2, 3, 4, 5]


def test_a_map_beyond_the_table_stretches_only_the_axis_that_is_too_short():
    table = torch.cat([torch.tensor([[-1.0]]), torch.arange(4.0)[:, None]])
    found = crop_positions(table, 1, 4).squeeze(1)
    torch.testing.assert_close(found, torch.tensor([-1.0, 0, 0.25, 0.75, 1]))


def test_a_table_that_is_no_square_is_named():
    with pytest.raises(ValueError, match=r'1 \+ n \* n rows.*\(7, 2\)'):
        resize_positions(torch.zeros(7, 2), 3, 3)


def test_fitted_positions_are_cached_while_nothing_changes():
    pool = DenseAttentionPool(8, 4, 2, grid_size=3).eval()
    with torch.no_grad():
        kept = pool.positions(2, 5)
        assert pool.positions(2, 5) is kept
        assert pool.positions(5, 2).shape == kept.shape
        assert pool.positions(2, 5) is kept


def swap_weights_as_averaging_hooks_do(pool):
    pool.positional_embedding.data.mul_(2)
    pool.eval()


@pytest.mark.parametrize('change', [
    lambda pool: pool.train().eval(),
    lambda pool: pool.load_state_dict(
        {key: value + 1 for key, value in pool.state_dict().items()}),
    lambda pool: pool.to(torch.float64),
    lambda pool: pool.positional_embedding.mul_(2),
    swap_weights_as_averaging_hooks_do])
def test_fitted_positions_are_dropped_when_weights_may_have_changed(change):
    pool = DenseAttentionPool(8, 4, 2, grid_size=3).eval()
    with torch.no_grad():
        kept = pool.positions(2, 5)
        change(pool)
        now = pool.positions(2, 5)
    assert now is not kept
    with torch.no_grad():
        wanted = resize_positions(pool.positional_embedding, 2, 5)
    torch.testing.assert_close(now, wanted)


def test_positions_learn_after_a_forward_that_cached_them():
    backbone = tiny_resnet().eval()
    with torch.no_grad():
        backbone(images(64, 96))
    backbone(images(64, 96))[-1][1].sum().backward()
    assert backbone.attnpool.positional_embedding.grad.abs().sum() > 0


@torch.no_grad()
def test_without_attention_a_cell_knows_of_no_other():
    torch.manual_seed(0)
    pools = {local: DenseAttentionPool(8, 4, 2, grid_size=3, local=local)
             for local in ('attention', 'value')}
    pools['value'].load_state_dict(pools['attention'].state_dict())
    x = torch.randn(1, 8, 3, 3)
    changed = x.clone()
    changed[0, :, 2, 1] += 1
    moved = {name: (pool(changed)[1] - pool(x)[1]).abs().amax(1)[0] > 1e-6
             for name, pool in pools.items()}
    assert moved['attention'].all()
    assert moved['value'].nonzero().tolist() == [[2, 1]]
    # The image as a whole is seen by attention either way.
    torch.testing.assert_close(pools['value'](x)[0], pools['attention'](x)[0])
    value = pools['value']
    token = x[0, :, 0, 2] + value.positional_embedding[3]
    torch.testing.assert_close(
        value(x)[1][0, :, 0, 2], value.c_proj(value.v_proj(token)))


def test_only_a_few_sizes_are_cached():
    pool = DenseAttentionPool(8, 4, 2, grid_size=3).eval()
    with torch.no_grad():
        for width in range(1, 60):
            pool.positions(2, width)
    assert len(pool._cache) < 20


# Types

@pytest.mark.parametrize('build', [tiny_resnet, tiny_vit])
@pytest.mark.parametrize(('dtype', 'tolerance'), [
    (torch.float16, 0.004), (torch.bfloat16, 0.03)])
@torch.no_grad()
def test_half_precision_stays_close(build, dtype, tolerance):
    backbone = build().eval()
    x = images(64, 96)
    full = flat(backbone(x))
    with torch.autocast('cpu', dtype):
        mixed = flat(backbone(x))
    half = flat(backbone.to(dtype)(x.to(dtype)))
    for name, wanted in full.items():
        assert half[name].dtype == dtype
        for found in (half[name].float(), mixed[name].float()):
            assert (found - wanted).abs().max() < tolerance * wanted.abs().max(), name


def flat(outputs) -> dict:
    *maps, (whole, local) = outputs
    return {'global': whole, 'local': local, **{str(i): x for i, x in enumerate(maps)}}


# Training

def test_every_parameter_gets_a_gradient():
    for backbone in (tiny_resnet(), tiny_vit()):
        outputs = flat(backbone.train()(images(64, 64)))
        sum(x.square().sum() for x in outputs.values()).backward()
        assert all(p.grad is not None for p in backbone.parameters())


def test_frozen_stages_and_norms_stay():
    backbone = CLIPResNet(**TINY, frozen_stages=1, norm_eval=True).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    sum(x.sum() for x in backbone(images(64, 64))).backward()
    learning = {name.split('.')[0] for name, p in backbone.named_parameters()
                if p.requires_grad}
    assert learning == {'layer2', 'layer3', 'layer4'}
    after = backbone.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_norms_use_batch_statistics_by_default():
    backbone = CLIPResNet(**TINY).train()
    backbone(images(64, 64))
    assert backbone.bn1.running_mean.abs().sum() > 0


# Bad input

@pytest.mark.parametrize(('build', 'message'), [
    (lambda: CLIPResNet('RN51'), "no ResNet image tower 'RN51'.*'RN50'"),
    (lambda: CLIPResNet('ViT-B-16'), 'it has RN101, .*RN50x4'),
    (lambda: CLIPVisionTransformer('vit-b/16'), "did you mean 'ViT-B-16'"),
    (lambda: CLIPResNet('RN50', width=16), r'width=16 \(it has 64\)'),
    (lambda: CLIPResNet(layers=(1, 1)), 'four stages'),
    (lambda: CLIPResNet(**TINY, out_indices=(1, 4)), r'0 to 3, got \(1, 4\)'),
    (lambda: CLIPResNet(**TINY, frozen_stages=5), '-1 to 4, got 5'),
    (lambda: tiny_vit(out_indices=(0, 1, 2)), r'0 to 2 for each of the strides \(4, 8'),
    (lambda: tiny_vit(strides=(8, 4)), r'\(4, 8, 16, 32\) in order, got \(8, 4\)'),
    (lambda: tiny_vit(heads=5), 'width=32 .*heads=5'),
    (lambda: tiny_resnet(pos_mode='cut'), "'resize', 'crop'.*'cut'"),
    (lambda: DenseAttentionPool(10, 4, num_heads=3), 'in_channels=10 .*num_heads=3'),
    (lambda: DenseAttentionPool(8, 4, local='key'), "'attention' .* got 'key'")])
def test_bad_sizes_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# Weights

def clip_state(backbone, **changes) -> dict:
    state = {f'visual.{key}': value for key, value in backbone.state_dict().items()
             if not key.startswith('fpn')}
    return {**state, 'text_projection': torch.zeros(4, 4), **changes}


def test_load_clip_takes_the_image_tower_and_resizes_its_positions():
    source = tiny_resnet(input_size=64)
    backbone = tiny_resnet(input_size=96)
    nn.init.zeros_(backbone.conv1.weight)
    report = backbone.load_clip(clip_state(source))
    assert torch.equal(backbone.conv1.weight, source.conv1.weight)
    assert report.resized == ('attnpool.positional_embedding',)
    torch.testing.assert_close(
        backbone.attnpool.positional_embedding,
        resize_positions(source.attnpool.positional_embedding, 3, 3))


def test_plain_backbones_leave_out_the_pooling():
    report = CLIPResNet(**TINY).load_clip(clip_state(tiny_resnet()))
    assert {key.split('.')[0] for key in report.skipped} == {'attnpool'}
    assert not report.missing
    report = tiny_vit(with_embeddings=False).load_clip(clip_state(tiny_vit()))
    assert set(report.skipped) == {'ln_post.weight', 'ln_post.bias', 'proj'}
    assert {key[:3] for key in report.missing} == {'fpn'}


def test_a_pool_alone_takes_clips():
    source = tiny_resnet()
    pool = DenseAttentionPool(512, 24, grid_size=2)
    report = pool.load_clip(clip_state(source))
    assert report.resized and torch.equal(
        pool.q_proj.weight, source.attnpool.q_proj.weight)


@pytest.mark.parametrize(('state', 'message'), [
    ({'text_projection': torch.zeros(2, 2)}, "starts with 'visual.'.*text_projection"),
    (clip_state(tiny_resnet(layers=(1, 2, 1, 1))), 'without a place.*layer2.1'),
    (clip_state(tiny_resnet(width=32)), r'shape: conv1.weight \(16, 3, 3, 3\) instead'),
    ({k: v for k, v in clip_state(tiny_resnet()).items() if 'conv3' not in k},
     'without a value in the file: conv3')])
def test_weights_of_another_tower_are_rejected_whole(state, message):
    backbone = tiny_resnet()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        backbone.load_clip(state)
    after = backbone.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
