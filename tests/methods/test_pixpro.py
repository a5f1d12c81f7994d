import copy

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

from mmcontrast.engine import LARS, two_groups
from mmcontrast.methods.pixpro.propagation import PixelPropagation
from mmcontrast.registry import MODELS
from mmcontrast.testing.ranks import on_ranks
from tests.helpers.two_view_batches import RESNET18, batch


def config(**changes) -> dict:
    return dict(
        type='PixPro', backbone=RESNET18,
        projector=dict(type='ConvMLP', hidden_channels=32, out_channels=16),
        propagation=dict(type='PixelPropagation'),
        loss=dict(type='PairConsistencyLoss')) | changes


def losses_of(model, **kwargs):
    model.train()
    model.momentum.coefficient = 0.99
    return model(*batch(**kwargs), mode='loss')


def test_the_loss_has_named_parts_and_health():
    losses = losses_of(MODELS.build(config(instance_weight=0.5)))
    assert set(losses) == {'loss_pixel', 'loss_instance', 'pairs_per_image',
                           'no_pair_share', 'feature_std'}
    assert losses['no_pair_share'] == 0
    assert not any(v.requires_grad for k, v in losses.items() if 'loss' not in k)


def test_the_instance_weight_scales_its_loss():
    model = MODELS.build(config(instance_weight=1.0))
    once = losses_of(copy.deepcopy(model))['loss_instance'].item()
    model.instance_weight = 0.25
    assert losses_of(model)['loss_instance'].item() == pytest.approx(once / 4, rel=1e-4)


def test_collapsed_features_show_in_feature_std():
    model = MODELS.build(config())
    with torch.no_grad():
        for p in model.projector.linear2.parameters():
            p.zero_()
        model.projector.linear2.bias.fill_(1.0)
    assert losses_of(model)['feature_std'] < 1e-3


@pytest.mark.parametrize('backbone, channels', [
    (dict(type='mmpretrain.ResNet', depth=50, norm_eval=False), 2048),
    (dict(type='mmdet.ResNet', depth=18, norm_eval=False, out_indices=(3,)), 512),
    (dict(type='mmpretrain.SwinTransformer', arch=dict(
        embed_dims=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 2]), img_size=64,
        window_size=2), 128)])
def test_any_backbone_with_a_feature_map_learns_through_the_loss(backbone, channels):
    model = MODELS.build(config(backbone=backbone))
    assert model.projector.linear1.in_channels == channels
    losses_of(model, images=2)['loss_pixel'].backward()
    silent = [n for n, p in model.named_parameters()
              if p.requires_grad and (p.grad is None or p.grad.abs().sum() == 0)]
    # A bias before a batch norm, and weights behind a last norm that starts at zero,
    # have no slope; the first layer must have one.
    first = next(n for n, p in model.named_parameters() if p.ndim > 1)
    assert first not in silent


def test_a_backbone_without_maps_is_rejected():
    with pytest.raises(TypeError, match='must return feature maps'):
        MODELS.build(config(backbone=dict(
            type='mmpretrain.VisionTransformer', arch='deit-tiny', img_size=64,
            patch_size=16)))


def test_a_neck_is_pretrained_with_the_loss_averaged_over_its_levels():
    model = MODELS.build(config(
        backbone=dict(RESNET18, out_indices=(1, 2, 3)),
        neck=dict(type='mmdet.FPN', out_channels=24, num_outs=3)))
    seen = []
    model.loss_module.register_forward_hook(lambda _, i, o: seen.append(o))
    loss = losses_of(model)['loss_pixel']
    assert len(seen) == 3
    each = [float(x.one_to_two + x.two_to_one) for x in seen]
    assert loss.item() == pytest.approx(sum(each) / 3, rel=1e-5)
    loss.backward()
    assert model.neck.lateral_convs[0].conv.weight.grad.abs().sum() > 0
    assert any(k.startswith('momentum.neck.') for k in model.state_dict())


# Two pixels (1, 0) and (-0.6, 0.8) with the cosine -0.6: y_i = v_i + s v_j, where s is
# max(-0.6, clamp) ** power.
@pytest.mark.parametrize('clamp, power, s', [
    (-1, 3, -0.216), (-1, 2, 0.36), (-0.5, 2, 0.25), (-0.5, 1, -0.5), (0, 0.5, 1e-3)])
def test_propagation_with_whole_powers_takes_negative_similarities(clamp, power, s):
    x = torch.tensor([[1., -0.6], [0., 0.8]])[None, :, None]
    propagation = PixelPropagation(2, transform_layers=0, power=power, clamp=clamp)
    expected = torch.tensor([[1 - 0.6 * s, s - 0.6], [0.8 * s, 0.8]])
    torch.testing.assert_close(propagation(x)[0, :, 0], expected)


def test_the_gradient_of_a_negative_similarity_is_right():
    x = torch.tensor([[2., -0.6], [0.5, 0.8]], dtype=torch.float64)[None, :, None]
    for power in (1, 2, 3):
        propagation = PixelPropagation(2, 0, power=power, clamp=-1)
        assert torch.autograd.gradcheck(propagation, x.requires_grad_())


def test_a_fractional_power_of_negative_similarities_is_rejected():
    with pytest.raises(ValueError, match=r'power=2.5 is undefined .* clamp=-0.1'):
        PixelPropagation(power=2.5, clamp=-0.1)
    with pytest.raises(ValueError, match='power must be > 0, got 0'):
        PixelPropagation(power=0)


def test_pixcontrast_trains_without_propagation():
    model = MODELS.build(config(
        propagation=None, loss=dict(type='PixContrastLoss', temperature=0.3)))
    loss = losses_of(model)['loss_pixel']
    assert loss > 0   # minus the logarithm of a share
    loss.backward()
    assert model.backbone.conv1.weight.grad.abs().sum() > 0


def test_under_autocast_the_similarities_stay_float32():
    model = MODELS.build(config())
    seen = []
    model.propagation.register_forward_hook(lambda _, i, o: seen.append(o.dtype))
    with torch.autocast('cpu', torch.bfloat16):
        loss = losses_of(model)['loss_pixel']
    assert seen == [torch.float32] * 2 and loss.dtype == torch.float32


def test_tensor_and_predict_give_the_maps_of_the_first_view():
    model = MODELS.build(config()).eval()
    views, samples = batch(images=2)
    maps = model(views, mode='tensor')
    assert maps[-1].shape == (2, 512, 4, 4)
    predicted = model(views, samples, mode='predict')
    torch.testing.assert_close(predicted[1].feature_map, maps[-1][1])
    with pytest.raises(ValueError, match="'loss', 'tensor' or 'predict'"):
        model(views, samples, mode='train')


def test_a_negative_instance_weight_is_rejected():
    with pytest.raises(ValueError, match='instance_weight'):
        MODELS.build(config(instance_weight=-1.0))


def one_step(rank: int, world_size: int) -> dict:
    """Loss and weights after a step on this rank's share of eight images."""
    torch.manual_seed(0)
    norm = dict(type='GN', num_groups=4)
    model = MODELS.build(config(
        backbone=dict(type='InstanceNormNet'), instance_weight=0.5,
        projector=dict(type='ConvMLP', hidden_channels=32, out_channels=16,
                       norm_cfg=norm))).train()
    views, samples = batch(images=8)
    share = slice(rank * 8 // world_size, (rank + 1) * 8 // world_size)
    data = dict(inputs=[v[share] for v in views], data_samples=samples[share])
    model.momentum.coefficient = 0.9
    wrapped = model if world_size == 1 else MMDistributedDataParallel(model)
    groups = two_groups(model)
    groups[1]['adapt'] = False
    optimizer = OptimWrapper(LARS(groups, lr=100.0))
    losses = wrapped(**data, mode='loss')
    loss, _ = model.parse_losses(losses)
    optimizer.update_params(loss)
    return dict(loss=loss.detach(), state=dict(model.state_dict()))


def test_two_processes_step_like_one_on_the_joint_batch():
    joint = one_step(0, 1)
    first, second = on_ranks(2, one_step, 2)
    torch.testing.assert_close((first['loss'] + second['loss']) / 2, joint['loss'])
    for key, value in joint['state'].items():
        torch.testing.assert_close(first['state'][key], value, msg=key)
        torch.testing.assert_close(second['state'][key], first['state'][key],
                                   rtol=0, atol=0)
