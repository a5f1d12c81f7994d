"""DITO's pretraining: losses, frozen parts, stages, ranks, bad input."""
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement

from mmcontrast.methods.dito.captions import drawn_captions
from mmcontrast.models.text import tokenize
from mmcontrast.registry import MODELS
from mmcontrast.testing.ranks import on_ranks

TEXTS = ('a red star', 'the sky', 'a striped blue circle', 'heart')
COUNTS = (3, 2, 1, 1)
TEXT = dict(type='CLIPTextEncoder', embed_dims=16, width=16, heads=2, layers=1,
            context_length=12)
STAGE_A = dict(
    type='DITOPretraining',
    backbone=dict(type='PlainViT', layers=2, width=16, heads=2, pos_grid=4),
    text_encoder=dict(TEXT, frozen=False))
STAGE_B = dict(
    STAGE_A, neck=dict(type='SimpleFeaturePyramid', out_channels=8),
    box_head=dict(type='TextBoxHead', num_convs=1, conv_channels=8, fc_channels=16),
    regions=dict(counts=COUNTS))
FROZEN = dict(STAGE_B, backbone=dict(STAGE_A['backbone'], frozen=True),
              text_encoder=TEXT)


def built(config, **changes):
    torch.manual_seed(0)
    return MODELS.build(config | changes).eval()


def samples(texts=TEXTS):
    return [BaseDataElement(text=text) for text in texts]


def images(count=4):
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def gradients(model, losses):
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def contrast(rows, columns, scale):
    """Cross entropy of matched rows and columns, both ways, by a loop."""
    logits = scale * F.normalize(rows, dim=1) @ F.normalize(columns, dim=1).T
    return sum(each[i].logsumexp(0) - each[i, i]
               for each in (logits, logits.T) for i in range(len(logits))
               ) / (2 * len(logits))


def test_image_level_loss_compares_the_mean_of_the_map_with_the_text():
    model = built(STAGE_A)
    losses = model(images(), samples(), mode='loss')
    rows = torch.stack([model.backbone(each[None])[-1][0].flatten(1).mean(1)
                        for each in images()])
    columns = model.text_encoder(tokenize(TEXTS, 12))
    torch.testing.assert_close(losses['loss_image'], contrast(rows, columns, 1 / .07))
    assert set(losses) == {'loss_image', 'logit_scale'}
    assert losses['logit_scale'].item() == pytest.approx(1 / .07)


def by_hand(model, draws, pool):
    """Losses of the levels: a crop and a pass of the head for each region."""
    columns = model.text_encoder(tokenize(TEXTS, 12))
    losses = []
    for level, boxes in enumerate(model.regions(draws, 64, 64)):
        rows = []
        for image, own in zip(images(), boxes, strict=True):
            maps = model.neck(model.backbone(image[None]))
            embeds = [model.box_head(model.roi_crop(
                maps, torch.cat([torch.zeros(1), box])[None], torch.tensor([level])
            ))[0][0] for box in own]
            rows.append(pool(torch.stack(embeds)))
        losses.append(contrast(torch.stack(rows), columns, 1 / .07))
    return torch.stack(losses)


@pytest.mark.parametrize('pool, by_pencil', [
    ('max', lambda x: x.max(0).values), ('mean', lambda x: x.mean(0))])
def test_region_loss_is_the_mean_over_levels_of_pooled_regions(pool, by_pencil):
    model = built(FROZEN, pool=pool)
    draws = model.draw(4)
    model.draw = lambda *args: draws
    losses = model(images(), samples(), mode='loss')
    expected = by_hand(model, draws[0], by_pencil)
    torch.testing.assert_close(losses['loss_region'], expected.mean())
    logged = torch.stack([losses[f'region_p{level}'] for level in range(2, 6)])
    torch.testing.assert_close(logged, expected.detach())
    assert set(losses) == {'loss_region', 'logit_scale'} | {
        f'region_p{level}' for level in range(2, 6)}
    model.level_reduction = 'sum'
    summed = model(images(), samples(), mode='loss')['loss_region']
    torch.testing.assert_close(summed, expected.sum())


def test_the_image_term_is_added_with_its_weight():
    half, none = (built(STAGE_B, image_weight=weight) for weight in (.5, 2.))
    losses = [model(images(), samples(), mode='loss')['loss_image']
              for model in (half, none, built(STAGE_A))]
    torch.testing.assert_close(losses[0], losses[2] / 2)
    torch.testing.assert_close(losses[1], losses[2] * 2)


@pytest.mark.parametrize('config', [STAGE_A, STAGE_B, FROZEN, dict(
    FROZEN, image_weight=1., per_level_scale=True)])
def test_every_trained_parameter_receives_a_gradient(config):
    """Otherwise DistributedDataParallel stops in the second step."""
    model = built(config).train()
    for name, gradient in gradients(
            model, model(images(), samples(), mode='loss')).items():
        assert gradient is not None and gradient.abs().sum() > 0, name


def test_frozen_parts_are_no_part_of_the_graph():
    model = built(FROZEN).train()
    assert not model.extract_map(images()).requires_grad
    assert not model.encode_texts(TEXTS).requires_grad
    trained = {name.split('.')[0] for name, p in model.named_parameters()
               if p.requires_grad}
    assert trained == {'neck', 'box_head', 'logit_scale'}
    assert not model.box_head.box_predict.weight.requires_grad
    whole = built(STAGE_B)
    assert whole.extract_map(images()).requires_grad
    assert whole.encode_texts(TEXTS).requires_grad


def test_a_frozen_shifted_backbone_runs_both_passes_without_gradients():
    shifted = dict(FROZEN['backbone'], shift=1, windows=(2, None))
    model, plain = built(FROZEN, backbone=shifted), built(FROZEN)
    feature = model.extract_map(images())
    assert not feature.requires_grad
    assert not torch.allclose(feature, plain.extract_map(images()))


def test_a_projection_is_trained_on_a_frozen_backbone():
    narrow = dict(TEXT, embed_dims=12)
    backbone = dict(FROZEN['backbone'], with_projection=True, embed_dims=12)
    config = dict(FROZEN, backbone=backbone, text_encoder=narrow, image_weight=1.)
    fixed, model = built(config), built(config, train_projection=True)
    assert not fixed.backbone.proj.requires_grad
    found = gradients(model, model(images(), samples(), mode='loss'))
    assert {name for name in found if name.startswith('backbone')} == {'backbone.proj'}
    assert found['backbone.proj'].abs().sum() > 0
    assert not model.extract_map(images()).requires_grad
    assert built(dict(STAGE_A, backbone=backbone, text_encoder=narrow))(
        images()).shape == (4, 12)


def test_each_level_may_learn_a_scale():
    model = built(FROZEN, per_level_scale=True, image_weight=1.)
    losses = model(images(), samples(), mode='loss')
    names = {f'logit_scale_{name}' for name in ('p2', 'p3', 'p4', 'p5', 'image')}
    assert {name for name in losses if 'scale' in name} == names
    assert model.logit_scale.log_scale.shape == (5,)
    losses['loss_region'].backward()
    scale = model.logit_scale.log_scale.grad
    assert (scale[:4] != 0).all() and scale[4] == 0


def test_cropped_positions_make_equal_images_differ_in_training_alone():
    model = built(STAGE_A, positions=dict(type='CroppedPositions', size=16))
    same = images(1).expand(4, -1, -1, -1)
    whole = torch.tensor([0., .5, 0., 0.]).expand(1, 10, 4)
    draws = torch.cat([whole, whole, torch.rand(2, 10, 4)])
    first, second, third, fourth = model.encode(same, None, draws)[0]
    assert first.equal(second)
    assert not torch.allclose(first, third) and not torch.allclose(third, fourth)
    plain = built(STAGE_A)
    assert model(images()).equal(plain(images()))
    torch.manual_seed(1)
    cropped = model(images(), samples(), mode='loss')['loss_image']
    assert cropped != plain(images(), samples(), mode='loss')['loss_image']
    cropped.backward()
    assert model.backbone.positional_embedding.grad.abs().sum() > 0


def test_sigmoid_and_focal_forms_train_with_the_same_parts():
    model = built(FROZEN, loss=dict(form='sigmoid'),
                  logit_scale=dict(init=10., bias=-10.))
    found = gradients(model, model(images(), samples(), mode='loss'))
    assert found['logit_scale.bias'] != 0
    focal = built(STAGE_A, loss=dict(form='focal'))
    rows, columns = focal(images()), F.normalize(focal.encode_texts(TEXTS), dim=1)
    logits, matched = rows @ columns.T / .07, torch.eye(4)
    entropy = F.binary_cross_entropy_with_logits(logits, matched, reduction='none')
    expected = (entropy * (matched - logits.sigmoid()).abs()).sum() / 4
    got = focal(images(), samples(), mode='loss')['loss_image']
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize('config', [STAGE_A, FROZEN])
def test_the_answer_is_the_text_with_the_largest_cosine(config):
    model = built(config)
    embeds = model(images(2))
    torch.testing.assert_close(embeds.norm(dim=1), torch.ones(2))
    cosines = embeds @ F.normalize(model.encode_texts(TEXTS), dim=1).T
    asked = [BaseDataElement(questions={'which': (TEXTS, 0)}),
             BaseDataElement(questions={'pair': (TEXTS[2:], 1)})]
    first, second = model(images(2), asked, mode='predict')
    assert first.answers == {'which': cosines[0].argmax().item()}
    assert second.answers == {'pair': cosines[1, 2:].argmax().item()}


def test_images_are_answered_by_the_box_head_where_there_is_one():
    model = built(FROZEN)
    maps = model.neck(model.backbone(images(1)))
    rows = torch.stack([model.box_head(model.roi_crop(
        maps, torch.tensor([[0., 0, 0, 64, 64]]), torch.tensor([level])))[0][0]
        for level in range(4)])
    expected = F.normalize(F.normalize(rows, dim=1).mean(0), dim=0)
    torch.testing.assert_close(model(images(1))[0], expected)


def test_region_level_starts_from_an_image_level_checkpoint(tmp_path):
    stage_a = built(STAGE_A)
    stage_a.logit_scale.log_scale.data.fill_(math.log(30.))
    for p in (*stage_a.backbone.parameters(), *stage_a.text_encoder.parameters()):
        p.data += 1
    path = tmp_path / 'stage_a.pth'
    torch.save(dict(state_dict=stage_a.state_dict()), path)
    start = built(FROZEN, per_level_scale=True)
    model = built(FROZEN, per_level_scale=True,
                  init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    model.init_weights()
    for part in ('backbone', 'text_encoder'):
        for name, value in getattr(stage_a, part).state_dict().items():
            assert value.equal(getattr(model, part).state_dict()[name]), name
    for name, value in start.box_head.state_dict().items():
        assert value.equal(model.box_head.state_dict()[name]), name
    assert model.logit_scale().tolist() == pytest.approx([30] * 4)


def test_autocast_changes_the_losses_little_and_they_are_float32():
    model = built(FROZEN)
    draws = model.draw(4)
    model.draw = lambda *args: draws
    whole = model(images(), samples(), mode='loss')['loss_region']
    with torch.autocast('cpu', torch.bfloat16):
        low = model(images(), samples(), mode='loss')['loss_region']
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, whole, rtol=.1, atol=.05)


def test_of_several_captions_one_is_drawn():
    torch.manual_seed(0)
    several = samples([('one', 'two'), 'three'])
    drawn = [tuple(drawn_captions(several)) for _ in range(20)]
    assert set(drawn) == {('one', 'three'), ('two', 'three')}


def test_long_captions_are_truncated_with_a_warning():
    model, long = built(STAGE_A), 'a striped red star ' * 4
    with pytest.warns(UserWarning, match='truncated'):
        got = model.encode_texts([long, 'heart'])
    ids = tokenize([long], 77)[0]
    cut = torch.cat([ids[:11], ids[ids.argmax()][None]])
    torch.testing.assert_close(got[0], model.text_encoder(cut[None])[0])


@pytest.mark.parametrize('text', ['', '  ', [], ['fine', ''], None, 3])
def test_an_empty_caption_is_an_error_that_names_the_sample(text):
    bad = BaseDataElement(text=text, metainfo=dict(img_path='shards/7.tar/31.jpg'))
    with pytest.raises(ValueError, match=r'sample 1 of the batch \(shards/7.tar'):
        built(STAGE_A)(images(2), [*samples(['heart']), bad], mode='loss')


@pytest.mark.parametrize('config, changes, message', [
    (STAGE_A, dict(text_encoder=dict(TEXT, embed_dims=8)),
     'has 16 channels .* gives 8.*with_projection=True, embed_dims=8'),
    (STAGE_B, dict(neck=None), 'neck and box_head belong together'),
    (STAGE_B, dict(image_weight=0.), 'a trained backbone or projection needs it'),
    (FROZEN, dict(image_weight=-1.), 'positive weight'),
    (STAGE_A, dict(image_weight=0.), 'image_weight=0'),
    (STAGE_B, dict(regions=dict(counts=(4, 1))), 'p2, p3, p4, p5'),
    (STAGE_B, dict(box_head=dict(STAGE_B['box_head'], embed_dims=9)), 'of 9 channels'),
    (STAGE_A, dict(train_projection=True), 'needs a backbone with_projection'),
    (STAGE_A, dict(pool='median'), "'median'"),
    (STAGE_A, dict(level_reduction='max'), "'max'"),
])
def test_parts_that_do_not_fit_are_named(config, changes, message):
    with pytest.raises(ValueError, match=message):
        built(config, **changes)


def test_an_unknown_mode_is_named():
    with pytest.raises(ValueError, match="'losses'"):
        built(STAGE_A)(images(), samples(), mode='losses')


def loss_and_gradients(rank, world_size, config):
    """Of this rank's share of the batch, gradients averaged over ranks as DDP does."""
    model = built(config).double()
    share = slice(rank * 4 // world_size, (rank + 1) * 4 // world_size)
    torch.manual_seed(3)
    regions, positions = model.draw(4)
    model.draw = lambda *args: (
        regions and [each[share] for each in regions],
        None if positions is None else positions[share])
    losses = model(images()[share].double(), samples(TEXTS[share]), mode='loss')
    found = gradients(model, losses)
    if world_size > 1:
        for gradient in found.values():
            torch.distributed.all_reduce(gradient)
            gradient /= world_size
    return {name: each.detach() for name, each in losses.items()}, found


@pytest.mark.parametrize('world_size, config', [
    (2, STAGE_B), (4, STAGE_B), (2, dict(FROZEN, per_level_scale=True)),
    (2, dict(STAGE_A, positions=dict(type='CroppedPositions', size=16)))])
def test_ranks_have_the_losses_and_gradients_of_the_joint_batch(world_size, config):
    losses, expected = loss_and_gradients(0, 1, config)
    for each, averaged in on_ranks(world_size, loss_and_gradients, world_size, config):
        assert each.keys() == losses.keys()
        for name, value in losses.items():
            torch.testing.assert_close(each[name], value, msg=name)
        for name, gradient in expected.items():
            torch.testing.assert_close(
                averaged[name], gradient, rtol=1e-5, atol=1e-8, msg=name)
