"""DenseCLIP's segmentor: what follows from the class names, and what is kept."""
import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

pytest.importorskip('mmseg')
from mmcontrast.methods.denseclip import score_map
from mmcontrast.models.text import tokenize
from mmcontrast.registry import MODELS
from tests.helpers import tiny_denseclip
from tests.helpers.denseclip_case import released_name
from tests.helpers.tiny_denseclip import (
    CHANNELS,
    NAMES,
    TEXT,
    Calls,
    images,
    model,
    samples,
)

META = [dict(img_shape=torch.Size((64, 96)))]
UPERNET = dict(
    type='UPerHead', in_channels=list(CHANNELS), in_index=[0, 1, 2, 3], channels=8,
    pool_scales=(1, 2), norm_cfg=dict(type='BN'),
    loss_decode=dict(type='CrossEntropyLoss'))


def logits(net, size=(64, 96)):
    with torch.no_grad():
        return net.eval().encode_decode(images(size=size), META)


# What follows from the names.

@pytest.mark.parametrize('names', [NAMES, ('sky', 'ground'), 'a;b;c;d;e'])
def test_class_counts_follow_from_the_names(names):
    net = model(class_names=names)
    count = len(names.split(';') if isinstance(names, str) else names)
    assert [conv.conv.in_channels for conv in net.neck.lateral_convs] == [
        16, 32, 64, 128 + count]
    assert net.decode_head.conv_seg.out_channels == count
    assert net.num_classes == net.out_channels == count == len(net.class_names)
    assert logits(net).shape == (2, count, 64, 96)


def test_without_a_neck_the_heads_make_room():
    net = model(neck=None, decode_head=dict(UPERNET), auxiliary_head=dict(
        type='FCNHead', in_channels=64, in_index=2, channels=8, num_convs=1,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4)))
    assert net.decode_head.in_channels == [16, 32, 64, 128 + 3]
    # Takes another map than the one with the scores.
    assert net.auxiliary_head.in_channels == 64
    assert set(net.loss(images(), samples())) == {
        'decode.loss_ce', 'decode.acc_seg', 'aux.loss_ce', 'aux.acc_seg',
        'aux_identity.loss_ce', 'aux_identity.acc_seg'}
    assert logits(net).shape == (2, 3, 64, 96)


def test_scores_are_concatenated_where_the_config_says():
    net = model(concat_index=1)
    with torch.no_grad():
        outputs = net.backbone(images(size=(64, 64)))
        net.prompting.attention_pool = nn.Identity()
        # A local map of the size of the second one.
        fit = (outputs[-1][0], F.interpolate(outputs[-1][1], (8, 8)))
        net.prompting.attention_pool.forward = lambda x: fit
        matched = net.match_text(outputs[:-1])
    assert [m.shape[1] for m in matched.features] == [16, 32 + 3, 64, 128]
    assert matched.features[1][:, 32:].equal(matched.score_map)


def test_scores_are_cosines():
    text, local = torch.randn(1, 2, 5), torch.randn(1, 5, 3, 4)
    found = score_map(text, local)
    t, x = text[0, 1], local[0, :, 2, 3]
    assert found.shape == (1, 2, 3, 4)
    torch.testing.assert_close(found[0, 1, 2, 3], t @ x / t.norm() / x.norm())
    with torch.autocast('cpu', torch.bfloat16):
        assert score_map(text, local).equal(found)


def test_the_released_scale_of_detectors_is_an_argument():
    net = model().eval()
    with torch.no_grad():
        plain = net.match_text(net.backbone(images()))
        net.prompting.concat_logits = True
        scaled = net.match_text(net.backbone(images()))
    assert scaled.score_map.equal(plain.score_map)
    torch.testing.assert_close(
        scaled.features[3][:, 128:], plain.features[3][:, 128:] / 0.07)


def test_a_long_name_gets_positions_and_leaves_the_others_unchanged():
    short, long = model().eval(), model(class_names=(*NAMES, 'a chest of drawers made '
                                                     'of very old and brittle wood'))
    assert short.class_texts.text_encoder.context_length == 8 + 5
    assert long.class_texts.text_encoder.context_length == 8 + 14
    state = {k: v for k, v in short.state_dict().items() if k.startswith(
        'prompting.class_texts') and 'positional' not in k}
    long.eval().load_state_dict(state, strict=False)
    with torch.no_grad():
        long.class_texts.text_encoder.positional_embedding[:13] = (
            short.class_texts.text_encoder.positional_embedding)
        torch.testing.assert_close(
            long.class_texts()[:3], short.class_texts())


def test_synonyms_share_a_class():
    net = model(class_names=['tree', ['car', 'a red car']]).eval()
    with torch.no_grad():
        tree, car = net.class_texts()
        net.set_classes(['tree', 'car', 'a red car'])
        alone = net.class_texts()
    torch.testing.assert_close(tree, alone[0])
    torch.testing.assert_close(car, (alone[1] + alone[2]) / 2)
    assert net.class_texts.trained_vocabulary.names == ['tree', 'car']


# What is computed once.

def test_the_text_tower_runs_once_for_a_sliding_window():
    net = model(test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(32, 32))).eval()
    tower, backbone = Calls(net.class_texts.text_encoder), Calls(net.backbone)
    with torch.no_grad():
        for _ in range(2):
            net.predict(images(1, (96, 160)), samples(1, (96, 160)))
    assert backbone.count == 2 * 2 * 4
    assert tower.count == 1


def test_cached_embeddings_equal_computed_ones():
    net = model().eval()
    with torch.no_grad():
        kept = net.class_texts(), net.class_texts()
    assert kept[0] is kept[1]
    torch.testing.assert_close(kept[0], net.class_texts().detach())


@pytest.mark.parametrize('change', [
    lambda net: net.train().eval(),
    lambda net: net.eval(),
    lambda net: net.double().float(),
    lambda net: net.load_state_dict(net.state_dict()),
    lambda net: net.class_texts.text_encoder.load_state_dict(
        net.class_texts.text_encoder.state_dict()),
    lambda net: net.set_classes(('tree', 'sky', 'car')),
    lambda net: net.class_texts.contexts.add_(1),
])
@torch.no_grad()
def test_the_embedding_cache_is_cleared(change):
    net = model().eval()
    net.class_texts()
    tower = Calls(net.class_texts.text_encoder)
    net.class_texts()
    assert tower.count == 0
    change(net)
    net.class_texts()
    assert tower.count == 1


@torch.no_grad()
def test_loaded_weights_show_at_once():
    net, other = model().eval(), model().eval()
    other.class_texts.contexts.normal_()
    before, wanted = logits(net), logits(other)
    assert not torch.allclose(before, wanted)
    net.load_state_dict(other.state_dict())
    torch.testing.assert_close(net.encode_decode(images(), META), wanted)


def test_training_and_gradients_in_eval_mode_run_the_tower():
    net = model()
    tower = Calls(net.class_texts.text_encoder)
    for step in range(2):
        net.loss(images(), samples())
        assert tower.count == step + 1
    net.eval()
    net.match_text(net.backbone(images())).score_map.sum().backward()
    assert tower.count == 3 and net.class_texts.contexts.grad.abs().sum() > 0


@torch.no_grad()
def test_a_copy_keeps_embeddings_of_its_own():
    """mmengine's EMA copies the model and swaps weights in between epochs."""
    net = model().eval()
    logits(net)
    momentum_encoder = copy.deepcopy(net)
    momentum_encoder.class_texts.contexts.zero_()
    assert not torch.allclose(logits(momentum_encoder), logits(net))


@torch.no_grad()
def test_without_contexts_texts_are_the_towers_own():
    net = model(num_contexts=0).eval()
    plain = net.class_texts.text_encoder(tokenize(NAMES, 5))
    torch.testing.assert_close(net.class_texts(), plain)


# The score map in the result.

@torch.no_grad()
def test_scores_are_added_to_the_logits_with_their_weight():
    plain, net = model().eval(), model(score_weight=0.5).eval()
    net.load_state_dict(plain.state_dict())
    scores = net.match_text(net.backbone(images())).score_map / 0.07
    added = net.encode_decode(images(), META) - plain.encode_decode(images(), META)
    small = F.interpolate(scores, (64, 96), mode='bilinear')
    torch.testing.assert_close(added, 0.5 * small, rtol=1e-4, atol=1e-4)
    added = net(images()) - plain(images())
    torch.testing.assert_close(
        added, 0.5 * F.interpolate(scores, added.shape[2:], mode='bilinear'),
        rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('changes', [{}, dict(loss_decode=dict(
    type='CrossEntropyLoss', class_weight=[1., 2., 3.]))])
def test_training_sees_the_logits_that_the_result_is_made_of(changes):
    head = tiny_denseclip.config()['decode_head'] | changes
    net = model(score_weight=2., decode_head=head).eval()
    batch = samples()
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in batch])
    # mmseg divides by all pixels, or by the weights of those that count.
    weight = torch.tensor([1., 2., 3.]) if changes else None
    count = weight[labels[labels < 3]].sum() if changes else labels.numel()
    wanted = F.cross_entropy(
        F.interpolate(net(images()), (64, 96), mode='bilinear'), labels, weight,
        ignore_index=255, reduction='sum') / count
    torch.testing.assert_close(net.loss(images(), batch)['decode.loss_ce'], wanted)


def test_a_head_that_makes_its_loss_otherwise_gets_no_scores():
    head = tiny_denseclip.config()['decode_head'] | dict(
        type='PointHead', num_fcs=1, in_channels=[8], in_index=[0])
    head.pop('feature_strides')
    from mmcontrast.methods.denseclip.head_loss import head_loss
    point = MODELS.build(dict(head, num_classes=3, _scope_='mmseg'))
    with pytest.raises(ValueError, match='PointHead .* score_weight=0'):
        head_loss(point, [], samples(), scores=torch.zeros(2, 3, 2, 3))


# Other names at test time.

@torch.no_grad()
def test_other_classes_are_segmented_by_the_score_map_alone():
    net = model().eval()
    head = Calls(net.decode_head)
    net.set_classes('dog;a blue car;sky;tree')
    scores = net.match_text(net.backbone(images())).score_map
    torch.testing.assert_close(
        net.encode_decode(images(), META), F.interpolate(
            scores / 0.07, (64, 96), mode='bilinear', align_corners=False))
    found = net.predict(images(), samples())
    assert head.count == 0 and net.out_channels == 4
    assert found[0].seg_logits.data.shape == (4, 64, 96)
    torch.testing.assert_close(net(images()), scores / 0.07)


@torch.no_grad()
def test_a_sliding_window_knows_the_new_number_of_classes():
    net = model(test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(32, 32))).eval()
    net.set_classes('dog;cat')
    found, = net.predict(images(1, (96, 160)), samples(1, (96, 160)))
    assert found.seg_logits.data.shape == (2, 96, 160)


@torch.no_grad()
def test_the_trained_classes_use_the_heads_again():
    net = model().eval()
    before = logits(net)
    net.set_classes('dog;cat')
    net.set_classes(None)
    assert net.encode_decode(images(), META).equal(before)
    net.set_classes(NAMES)
    assert net.encode_decode(images(), META).equal(before)
    # The same number, but not the same classes.
    net.set_classes(NAMES[::-1])
    assert not torch.allclose(net.encode_decode(images(), META), before)


def test_weights_can_be_loaded_while_other_classes_are_set():
    net = model().eval()
    state = net.state_dict()
    net.set_classes('dog;cat')
    net.load_state_dict(state)
    with pytest.raises(ValueError, match='set_classes gave this model other classes'):
        net.loss(images(), samples())


def test_invalid_classes_at_test_time_are_rejected():
    net = model()
    with pytest.raises(ValueError, match=r"\['sky'\] is one class"):
        net.set_classes('sky;')
    with pytest.raises(ValueError, match="'a very small red car' has 7 tokens.*=5"):
        net.set_classes(['sky', 'a very small red car'])
    with pytest.raises(ValueError, match="'Sky' twice"):
        net.set_classes(['sky', 'Sky'])
    assert net.class_texts.is_trained_vocabulary
    roomy = model(text_encoder=dict(TEXT, context_length=77))
    roomy.set_classes(['sky', 'a very small red car'])


# What is trained.

def test_the_text_tower_is_frozen_by_default_and_contexts_learn():
    net = model()
    sum(v for k, v in net.loss(images(), samples()).items() if 'loss' in k).backward()
    assert all(p.grad is None for p in net.class_texts.text_encoder.parameters())
    missed = [name for name, p in net.named_parameters()
              if p.grad is None and 'text_encoder' not in name]
    assert missed == []
    assert net.class_texts.contexts.grad.abs().sum() > 0
    assert net.prompting.gamma.grad.abs().sum() > 0


def test_half_precision_computes_cosines_and_losses_in_float32():
    net = model()
    with torch.autocast('cpu', torch.bfloat16):
        matched = net.match_text(net.backbone(images()))
        found = net.loss(images(), samples())
    assert matched.features[3].dtype == torch.bfloat16
    assert matched.score_map.dtype == found['decode.loss_ce'].dtype == torch.float32
    assert matched.score_map.abs().max() < 1.001
    exact = logits(net)
    half = net.bfloat16().encode_decode(images().bfloat16(), META)
    torch.testing.assert_close(half.float(), exact, rtol=0, atol=0.05)


def test_gamma_of_zero_makes_the_texts_independent_of_the_image():
    net = model(gamma=0.).eval()
    net.prompting.gamma.data.zero_()
    with torch.no_grad():
        text = net.match_text(net.backbone(images())).text
    assert text[0].equal(text[1]) and text[0].equal(net.class_texts().detach())


def test_heads_are_initialized_as_mmseg_does_or_not_at_all():
    plain, released = model(), model(init_heads=False)
    before = released.decode_head.conv_seg.weight.clone()
    neck = released.neck.lateral_convs[0].conv.weight.clone()
    plain.init_weights()
    released.init_weights()
    # mmseg: std 0.01; torch: uniform up to 8 ** -0.5.
    assert plain.decode_head.conv_seg.weight.std() < 0.02
    assert before.std() > 0.1 and released.decode_head.conv_seg.weight.equal(before)
    assert released.neck.lateral_convs[0].conv.weight.equal(neck)


def test_paper_prompting_makes_contexts_from_each_image():
    net = model(prompting='pre')
    assert not hasattr(net.prompting, 'gamma')
    net.eval()
    with torch.no_grad():
        both = net.match_text(net.backbone(images())).text
        second = net.match_text(net.backbone(images()[1:])).text
    torch.testing.assert_close(both[1:], second)
    assert (both[0] - both[1]).abs().max() > 1e-4
    net.train()
    sum(v for k, v in net.loss(images(), samples()).items() if 'loss' in k).backward()
    for parameter in (net.class_texts.contexts,
                      net.prompting.context_decoder.out_proj[1].weight):
        assert parameter.grad.abs().sum() > 0


def test_images_without_labels_cost_nothing_and_keep_the_graph():
    net = model()
    losses = net.loss(images(), samples(ignored=1.1))
    total = losses['decode.loss_ce'] + losses['aux_identity.loss_ce']
    total.backward()
    assert total.item() == 0 and net.class_texts.contexts.grad.abs().sum() == 0
    assert losses['decode.acc_seg'].item() == 0


# Any backbone.

@pytest.mark.parametrize('backbone, channels', [
    (dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8,
          out_indices=(0, 1, 2, 3)), [8, 16, 32, 64]),
    (dict(type='mmdet.SwinTransformer', embed_dims=8, depths=(1, 1, 1, 1),
          num_heads=(1, 1, 2, 2), window_size=4), [8, 16, 32, 64])])
def test_any_backbone_gets_an_attention_pool(backbone, channels):
    pytest.importorskip(backbone['type'].partition('.')[0])
    net = model(
        backbone=backbone, attention_pool=dict(type='DenseAttentionPool', grid_size=4),
        neck=dict(type='FPN', in_channels=channels, out_channels=8, num_outs=4))
    assert net.prompting.attention_pool.c_proj.weight.shape == (24, channels[-1])
    sum(v for k, v in net.loss(images(), samples()).items() if 'loss' in k).backward()
    assert net.prompting.attention_pool.q_proj.weight.grad.abs().sum() > 0
    assert logits(net).shape == (2, 3, 64, 96)


# What cannot work.

def test_a_backbone_without_embeddings_leads_to_the_pool():
    net = model(backbone=dict(type='mmcontrast.CLIPResNet', layers=(1, 1, 1, 1),
                              width=4))
    with pytest.raises(ValueError, match='CLIPResNet returns maps without CLIP embed'):
        net.loss(images(), samples())


def test_towers_of_different_width_are_named():
    net = model(text_encoder=dict(TEXT, embed_dims=32))
    with pytest.raises(ValueError, match='embeddings of 24 numbers.*tower gives 32'):
        net.loss(images(), samples())


@pytest.mark.parametrize('names, message', [
    ([], 'names no class'), (['sky'], 'at least two'), (['sky', 'sky'], 'twice'),
    (['sky', 'word ' * 80], "'word word .*82 tokens")])
def test_invalid_class_names_are_rejected(names, message):
    with pytest.raises(ValueError, match=message):
        model(class_names=names)


def test_a_concat_index_without_a_map_is_rejected():
    with pytest.raises(ValueError, match=r'concat_index=4 .* neck.in_channels is'):
        model(concat_index=4)
    with pytest.raises(ValueError, match="'post' .* or 'pre' .*got 'mid'"):
        model(prompting='mid')


@pytest.mark.parametrize('load', ['torch', 'mmengine'])
def test_weights_of_another_vocabulary_are_rejected(load):
    """mmengine would load what fits and only log the rest."""
    from mmengine.runner.checkpoint import load_state_dict
    state = model(class_names=('a', 'b', 'c', 'd', 'e')).state_dict()
    net = model()
    with pytest.raises(ValueError, match=(
            'trained on 5 classes, this model is built for 3: sky, a red car, tree .*'
            'set_classes')):
        net.load_state_dict(state) if load == 'torch' else load_state_dict(net, state)


def test_the_parts_without_classes_start_from_another_vocabulary(tmp_path):
    other, path = model(class_names=('a', 'b', 'c', 'd')), tmp_path / 'other.pth'
    torch.save(dict(state_dict=other.state_dict()), path)
    cfg = tiny_denseclip.config()
    for part, prefix in (('backbone', 'backbone.'),
                         ('context_decoder', 'prompting.context_decoder.')):
        cfg[part]['init_cfg'] = dict(
            type='Pretrained', checkpoint=str(path), prefix=prefix)
    net = model(**cfg)
    with torch.no_grad():
        net.backbone.conv1.weight.zero_()
    net.init_weights()
    for part in ('backbone', 'prompting.context_decoder'):
        wanted = other.get_submodule(part).state_dict()
        for key, value in net.get_submodule(part).state_dict().items():
            assert value.equal(wanted[key]), key


@pytest.mark.parametrize('load', ['torch', 'mmengine'])
@torch.no_grad()
def test_checkpoints_written_before_the_class_texts_were_a_module_load(load):
    """Their keys are those of the release."""
    from mmengine.runner.checkpoint import load_state_dict
    changes = dict(attention_pool=dict(type='DenseAttentionPool', grid_size=2),
                   backbone=dict(type='mmcontrast.CLIPResNet', layers=(1, 1, 1, 1),
                                 width=4))
    former, net = model(**changes), model(**changes)
    for parameter in net.parameters():
        parameter.add_(1)
    state = {released_name(key): value for key, value in former.state_dict().items()}
    assert {key.partition('.')[0] for key in state} == {
        'backbone', 'neck', 'decode_head', 'contexts', 'gamma', 'text_encoder',
        'context_decoder', 'attention_pool'}
    if load == 'torch':
        net.load_state_dict(state)
    else:
        load_state_dict(net, state, strict=True)
    assert logits(net).equal(logits(former))


def test_weights_of_longer_names_are_rejected():
    state = model(class_names=(*NAMES[:2], 'a very small red car')).state_dict()
    with pytest.raises(ValueError, match='15 text positions, this model 13: 8 contexts '
                       "and 5 for its longest class name, 'a red car'"):
        model().load_state_dict(state)


def test_weights_of_another_model_are_rejected():
    state = model().state_dict() | {'contexts': torch.zeros(1, 4, 16)}
    with pytest.raises(ValueError, match=(
            r'another model: prompting.class_texts.contexts \(1, 4, 16\) in')):
        model().load_state_dict(state)
