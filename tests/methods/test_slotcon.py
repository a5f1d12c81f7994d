import copy
from pathlib import Path

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

from mmcontrast.engine import LARS, two_groups
from mmcontrast.registry import MODELS
from mmcontrast.structures import View
from mmcontrast.testing.ranks import on_ranks
from tests.helpers.runs import run, scalars
from tests.helpers.two_view_batches import RESNET18, batch, sample

DEBUG = str(Path(__file__).parents[2] / 'configs' / 'slotcon'
            / 'slotcon_resnet18_1xb32-coslr-4e_shapes_debug.py')
LOGGED = {'slots_per_image', 'shared_slots', 'slots_alive', 'slot_entropy',
          'agreement', 'center_norm', 'no_pair_share', 'feature_std'}


def config(num_slots: int = 24, norm_cfg: dict | None = None, **changes) -> dict:
    mlp = dict(hidden_channels=32, num_layers=3, act_cfg=dict(type='GELU'),
               norm_cfg=norm_cfg)
    return dict(
        type='SlotCon', backbone=RESNET18,
        projector=dict(type='ConvMLP', out_channels=16, **mlp),
        predictor=dict(type='RowMLP', **mlp),
        grouping=dict(type='SlotGrouping', num_slots=num_slots)) | changes


def build(**changes):
    torch.manual_seed(0)
    model = MODELS.build(config(**changes)).train()
    model.momentum.coefficient = 0.99
    return model


def silent(model) -> set[str]:
    """Trained parameters for which DDP would wait in vain."""
    return {name for name, p in model.named_parameters()
            if p.requires_grad and p.grad is None}


def test_the_loss_has_named_parts_and_health():
    model = build()
    losses = model(*batch(), mode='loss')
    assert set(losses) == {'loss_distill', 'loss_slot'} | LOGGED
    assert all(losses[name].ndim == 0 and not losses[name].requires_grad
               for name in LOGGED)
    (losses['loss_distill'] + losses['loss_slot']).backward()
    assert not silent(model)
    assert model.grouping.prototypes.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.momentum.parameters())


def test_the_two_losses_share_one_weight():
    losses = {}
    for weight in (0.25, 0.5, 1.0):
        losses[weight] = build(distill_weight=weight)(*batch(), mode='loss')
    for name, ratio in (('loss_distill', 2), ('loss_slot', 0.5 / 0.75)):
        assert (losses[0.5][name] / losses[0.25][name]).item() == pytest.approx(ratio)
    assert losses[1.0]['loss_slot'] == 0


def test_disjoint_pairs_leave_a_finite_loss_without_a_slope_of_the_distillation():
    model = build()
    views, _ = batch()
    apart = [sample(View(0, 0, 40, 40), View(50, 50, 90, 90)) for _ in range(4)]
    losses = model(views, apart, mode='loss')
    assert losses['no_pair_share'] == 1 and losses['agreement'] == 0
    assert losses['loss_distill'].isfinite()
    losses['loss_distill'].backward()
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)


def test_a_batch_that_shares_no_slots_still_reaches_every_parameter():
    model = build(num_slots=2)
    with torch.no_grad():
        for branch, sign in ((model, 1.0), (model.momentum, -1.0)):
            # All features point one way: to slot 0 of the student, slot 1 of the
            # momentum encoder.
            branch.projector.linear3.weight.zero_()
            branch.projector.linear3.bias.fill_(1.0)
            branch.grouping.prototypes[0], branch.grouping.prototypes[1] = sign, -sign
    model.momentum.coefficient = 1.0
    losses = model(*batch(), mode='loss')
    assert losses['shared_slots'] == 0 and losses['loss_slot'] == 0
    (losses['loss_distill'] + losses['loss_slot']).backward()
    assert not silent(model)


def test_one_prototype_leaves_instance_discrimination():
    model = build(num_slots=1)
    losses = model(*batch(), mode='loss')
    assert losses['loss_distill'] == 0
    # Each image has its one slot in both views, and the slots of the others against it.
    assert losses['shared_slots'] == losses['slots_per_image'] == 1
    assert losses['loss_slot'] > 0 and losses['slot_entropy'] == 0


def test_the_momentum_encoder_keeps_batch_statistics_of_its_own():
    model = build()
    with torch.no_grad():
        for p in model.backbone.parameters():
            p.mul_(1.5)
    model.momentum.coefficient = 1.0
    alone = copy.deepcopy(model.momentum)
    views, samples = batch()
    model(views, samples, mode='loss')
    for view in views:
        alone.projector(alone.backbone(view)[-1])
    for (name, got), want in zip(model.momentum.named_buffers(), alone.buffers(),
                                 strict=True):
        torch.testing.assert_close(got, want, msg=name)
    # The student's first convolution is 1.5 times as large.
    torch.testing.assert_close(model.backbone.bn1.running_mean,
                               1.5 * model.momentum.backbone.bn1.running_mean)


def test_prototypes_are_averaged_with_the_momentum_encoder():
    model = build()
    before = model.momentum.grouping.prototypes.clone()
    with torch.no_grad():
        model.grouping.prototypes.add_(1.0)
    model(*batch(), mode='loss')
    torch.testing.assert_close(model.momentum.grouping.prototypes, before + 0.01)


def test_under_autocast_scores_and_losses_stay_float32():
    model = build()
    seen = []
    for grouping in (model.grouping, model.momentum.grouping):
        grouping.register_forward_hook(lambda _, i, o: seen.append(o.dtype))
    with torch.autocast('cpu', torch.bfloat16):
        losses = model(*batch(), mode='loss')
    assert set(seen) == {losses['loss_distill'].dtype, losses['loss_slot'].dtype,
                         torch.float32}


def test_slot_scores_are_cosines_of_the_branch_asked_for():
    model = build().eval()
    view = batch()[0][0]
    scores = model.slot_scores(view)
    assert scores.shape == (4, 24, 4, 4) and not scores.requires_grad
    momentum_encoder = model.momentum
    features = momentum_encoder.projector(momentum_encoder.backbone(view)[-1])
    expected = torch.cosine_similarity(
        features[:, None],
        momentum_encoder.grouping.prototypes[None, :, :, None, None],
        dim=2,
    )
    torch.testing.assert_close(scores, expected)
    with torch.no_grad():
        model.grouping.prototypes.neg_()
    torch.testing.assert_close(model.slot_scores(view, 'online'), -scores)
    with pytest.raises(ValueError, match="'momentum' or 'online'"):
        model.slot_scores(view, 'teacher')


def test_predict_gives_the_maps_of_the_momentum_encoder_which_is_exported():
    model = build().eval()
    with torch.no_grad():
        for p in model.backbone.parameters():
            p.zero_()
    views, samples = batch()
    predicted = model(views, samples, mode='predict')
    torch.testing.assert_close(predicted[1].feature_map,
                               model.momentum.backbone(views[0])[-1][1])
    with pytest.raises(ValueError, match='SlotCon: mode must be'):
        model(views, samples, mode='train')


@pytest.mark.parametrize('wrong', [
    dict(student_temperature=0.0), dict(contrast_temperature=-1.0),
    dict(center_momentum=1.5), dict(distill_weight=-0.1)])
def test_settings_that_cannot_work_are_rejected(wrong):
    with pytest.raises(ValueError, match=f'SlotCon: {next(iter(wrong))}'):
        MODELS.build(config(**wrong))


def one_step(rank: int, world_size: int) -> dict:
    """Losses, weights and center after a step on this rank's share of eight images."""
    model = build(num_slots=2, norm_cfg=dict(type='GN', num_groups=4),
                  backbone=dict(type='InstanceNormNet'))
    model.momentum.coefficient = 0.9
    views, samples = batch(images=8)
    share = slice(rank * 8 // world_size, (rank + 1) * 8 // world_size)
    wrapped = model if world_size == 1 else MMDistributedDataParallel(model)
    groups = two_groups(model)
    groups[1]['adapt'] = False
    optimizer = OptimWrapper(LARS(groups, lr=100.0))
    losses = wrapped([v[share] for v in views], samples[share], mode='loss')
    loss, _ = model.parse_losses(losses)
    optimizer.update_params(loss)
    return dict(losses={k: v.detach() for k, v in losses.items()},
                state=dict(model.state_dict()))


def test_two_processes_step_like_one_on_the_joint_batch():
    joint = one_step(0, 1)
    # Both slots in all views: each process has as many queries, so that the mean over
    # processes is the mean over queries.
    assert joint['losses']['shared_slots'] == 2
    first, second = on_ranks(2, one_step, 2)
    for name in ('loss_distill', 'loss_slot', 'slots_per_image', 'agreement'):
        torch.testing.assert_close(
            (first['losses'][name] + second['losses'][name]) / 2, joint['losses'][name])
    for key, value in joint['state'].items():
        torch.testing.assert_close(first['state'][key], value, msg=key)
        torch.testing.assert_close(second['state'][key], first['state'][key],
                                   rtol=0, atol=0)


def test_a_run_logs_how_the_slots_are_used(tmp_path):
    run(DEBUG, tmp_path, {
        'train_dataloader.batch_size': 4, 'train_dataloader.num_workers': 0,
        'train_dataloader.dataset.num_images': 8, 'train_cfg.max_epochs': 1,
        'param_scheduler.warmup': 0, 'default_hooks.logger.interval': 1,
        'model.backbone.base_channels': 8, 'model.backbone.stem_channels': 8})
    rows = scalars(tmp_path)
    assert len(rows) == 2 and set(rows[0]) >= LOGGED | {'loss_distill', 'loss_slot'}
