"""The unofficial TopNet: head, loss on labeled pixels, batches, trunks, predictions."""
import logging

import pytest
import torch
from torch.nn import functional as F
from torchvision.models import resnet18

from mmcontrast.methods.topnet import PlacementSample
from mmcontrast.methods.topnet.pair_head import PairHead
from mmcontrast.methods.topnet.pair_labels import labeled_pixels
from mmcontrast.methods.topnet.pair_trunk import FourChannelResNet, SOPAPretrained
from mmcontrast.methods.topnet.simopa import SimOPA
from mmcontrast.registry import METRICS, MODELS

SIZE = 64


@pytest.fixture(scope='module')
def nets():
    """A small network of each fusion, with statistics that batches changed."""
    torch.manual_seed(0)
    built = {}
    for fusion in ('reference', 'fixed'):
        net = MODELS.build(dict(
            type='TopNetPair', fusion=fusion, size=SIZE, layers=2,
            test_cfg=dict(k=3, heat=True)))
        with torch.no_grad():
            net.train()(inputs(4))
        built[fusion] = net.eval()
    return built


def inputs(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(count, channels, SIZE, SIZE, generator=generator)
            for name, channels in dict(background=3, object=4).items()}


def sample(positives=(), negatives=(), background_wh=(SIZE, SIZE), **meta):
    meta = dict(object_wh=(20, 10), object_size_wh=(12, 6)) | meta
    return PlacementSample(metainfo=dict(background_wh=background_wh, **meta),
                           positives=positives, negatives=negatives)


SAMPLES = [sample([[10, 10, 4, 4], [-2, 60, 4, 8]], [[30, 20, 5, 5]]),
           sample([], [[62, -2, 4, 4], [62, 62, 4, 4]])]


def heat_of(net, given):
    with torch.no_grad():
        return net.heat(net.encode_backgrounds(given['background']),
                        net.encode_objects(given['object']))


def test_one_convolution_equals_the_two_of_the_release():
    torch.manual_seed(0)
    head, x = PairHead(8, 32).double(), torch.randn(2, 8, 6, 5).double()
    weight = torch.randn(2, 2, 6, 5).double()
    grads = []
    for forward in (head, lambda x: head.classifier(head.deconv(x))):
        out = forward(x)
        head.zero_grad()
        (out * weight).sum().backward()
        grads.append([out, *(p.grad.clone() for p in head.parameters())])
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_chosen_pixels_have_the_logits_of_the_whole_map():
    torch.manual_seed(0)
    head, x = PairHead(8, 32), torch.randn(2, 8, 6, 5)
    places = torch.ones(2, 6, 5).nonzero().unbind(1)     # corners and edges too
    torch.testing.assert_close(head.at(x, *places),
                               head(x).permute(0, 2, 3, 1).reshape(-1, 2))


@pytest.mark.parametrize('fusion', ['reference', 'fixed'])
def test_loss_and_gradients_are_those_of_the_whole_map(nets, fusion):
    net, given = nets[fusion], inputs(2)
    loss = net.loss(given, SAMPLES)['loss_ce']
    net.zero_grad()
    loss.backward()
    sparse = {name: p.grad.clone() for name, p in net.named_parameters()}
    target = labeled_pixels(SAMPLES, SIZE).target_map(2, SIZE).long()
    # Box (-2, 60, 4, 8) is centered at (0, 64): on the last row of the input.
    assert target[0, 63, 0] == 1 and (target[0] != 255).sum() == 3
    x = net.decode(net.encode_backgrounds(given['background']),
                   net.encode_objects(given['object']), mix_batch=True)
    dense = F.cross_entropy(net.head.classifier(net.head.deconv(x)), target,
                            ignore_index=255)
    torch.testing.assert_close(loss, dense)
    net.zero_grad()
    dense.backward()
    for name, p in net.named_parameters():
        scale = float(p.grad.abs().max())
        torch.testing.assert_close(sparse[name], p.grad, rtol=1e-3, atol=1e-3 * scale)


def test_without_labels_the_loss_is_0_and_reaches_every_parameter(nets):
    net = nets['reference']
    net.zero_grad()
    loss = net.loss(inputs(2), [sample(), PlacementSample(
        metainfo=dict(background_wh=(8, 8)))])['loss_ce']
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in net.parameters())


def test_the_loss_is_float32_under_autocast(nets):
    with torch.autocast('cpu', torch.bfloat16):
        loss = nets['fixed'].loss(inputs(2), SAMPLES)['loss_ce']
    assert loss.dtype == torch.float32 and loss.isfinite()


@pytest.mark.parametrize('fusion', ['reference', 'fixed'])
def test_predictions_do_not_depend_on_the_batch(nets, fusion):
    net, given = nets[fusion], inputs(3)
    together = heat_of(net, given)
    for i in range(3):
        alone = heat_of(net, {name: x[i:i + 1] for name, x in given.items()})
        torch.testing.assert_close(alone[0], together[i], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_only_the_released_fusion_mixes_a_batch(nets):
    given = inputs(2)
    for fusion, mixes in (('reference', True), ('fixed', False)):
        net = nets[fusion]
        alone = net({name: x[:1] for name, x in given.items()})
        change = (net(given)[:1] - alone).abs().max()
        assert (change > 1e-4) == mixes, fusion
        net.test_cfg['mix_batch'] = True
        mixed = net.predict(given, [sample(), sample()])[0].heat
        del net.test_cfg['mix_batch']
        torch.testing.assert_close(mixed[0], net(given).softmax(1)[0, 1])


@torch.no_grad()
def test_one_background_serves_many_objects_and_one_object_many_backgrounds(nets):
    net, given = nets['reference'], inputs(3)
    maps = net.encode_backgrounds(given['background'])
    objects = net.encode_objects(given['object'])
    first = [x[:1] for x in maps]
    row, column = net.fuse(first, objects), net.fuse(maps, objects[:1])
    for i in range(3):
        torch.testing.assert_close(row[i:i + 1], net.fuse(first, objects[i:i + 1]),
                                   rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            column[i:i + 1], net.fuse([x[i:i + 1] for x in maps], objects[:1]),
            rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_labels_are_scored_at_their_centers_and_boxes_have_the_size_of_the_pair(nets):
    net, given = nets['reference'], inputs(2)
    found = net(given, [x.clone() for x in SAMPLES], mode='predict')
    heat = heat_of(net, given)
    # Centers (12, 12) and (0, 64), clipped to the last row.
    torch.testing.assert_close(found[0].positive_scores,
                               torch.stack([heat[0, 12, 12], heat[0, 63, 0]]))
    torch.testing.assert_close(found[0].negative_scores, heat[0, 22:23, 32])
    assert found[1].positive_scores.shape == (0,)
    torch.testing.assert_close(found[1].negative_scores,
                               torch.stack([heat[1, 0, 63], heat[1, 63, 63]]))
    for one, whole in zip(found, heat, strict=True):
        assert one.boxes_xywh.shape == (3, 4) and one.heat.shape == (1, SIZE, SIZE)
        assert one.boxes_xywh[:, 2:].tolist() == [[12, 6]] * 3
        # The border of half an object is 6 columns and 3 rows.
        torch.testing.assert_close(one.scores[0], whole[3:-3, 6:-6].max())


@torch.no_grad()
def test_labels_on_one_pixel_count_once_and_negatives_win(nets):
    """As in the target map of the release, which holds one label a pixel."""
    net = nets['fixed']
    crowded = sample([[10, 10, 4, 4], [11, 10, 2, 4], [30, 30, 4, 4], [50, 20, 4, 4]],
                     [[29, 29, 6, 6], [40, 40, 2, 2]])
    other = sample([[10, 10, 4, 4]], [])
    found = net(inputs(2), [crowded, other], mode='predict')
    assert found[0].positive_counted.tolist() == [False, True, False, True]
    assert found[0].negative_counted.tolist() == [True, True]
    assert found[1].positive_counted.tolist() == [True]
    metric = METRICS.build(dict(type='OPAMetric'))
    metric.process({}, [one.to_dict() for one in found])
    scores = metric.compute_metrics(metric.results)
    target = labeled_pixels([crowded, other], SIZE).target_map(2, SIZE)
    accepted = heat_of(net, inputs(2)) > 0.5
    for name, label, says in (('TP', 1, True), ('FN', 1, False), ('FP', 0, True),
                              ('TN', 0, False)):
        assert scores[name] == int(((target == label) & (accepted == says)).sum())
    assert sum(scores[name] for name in ('TP', 'FN', 'FP', 'TN')) == 5


@torch.no_grad()
def test_scales_share_the_background_and_are_ranked_together(nets):
    net = nets['reference']
    given = inputs(4, seed=1)
    given = dict(background=given['background'][:1], object=given['object'][None])
    one, = net(given, [sample(background_wh=(120, 60))], mode='predict')
    assert one.heat.shape == (4, SIZE, SIZE)
    for i in range(4):
        alone = heat_of(net, dict(background=given['background'],
                                  object=given['object'][:, i]))
        torch.testing.assert_close(one.heat[i], alone[0], rtol=1e-4, atol=1e-5)
    # 20 x 10 in 120 x 60: scale i of 4 is i / 6 of the width.
    widths = [20, 40, 60, 80]
    assert one.boxes_xywh[:, 2].tolist() == [widths[s] for s in one.cells[:, 0]]
    assert one.scores.tolist() == sorted(one.scores.tolist(), reverse=True)


def test_a_mask_of_zeros_is_no_mask():
    torch.manual_seed(0)
    trunk, x = FourChannelResNet().eval(), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        whole = trunk(torch.cat([x, torch.zeros(1, 1, 32, 32)], 1))
        for ours, theirs in zip(trunk(x), whole, strict=True):
            torch.testing.assert_close(ours, theirs)
    assert [m.shape[1] for m in whole] == list(trunk.out_channels)


def test_a_kernel_of_three_channels_gets_one_of_the_luma(tmp_path):
    weights = resnet18().state_dict()
    torch.save(weights, tmp_path / 'resnet18.pth')
    trunk = FourChannelResNet(dict(
        type='Pretrained', checkpoint=str(tmp_path / 'resnet18.pth')))
    trunk.init_weights()
    kernel, given = trunk.conv1.weight, weights['conv1.weight']
    assert torch.equal(kernel[:, :3], given)
    torch.testing.assert_close(
        kernel[5, 3], 0.299 * given[5, 0] + 0.587 * given[5, 1] + 0.114 * given[5, 2])
    assert torch.equal(trunk.layer4[1].bn2.weight, weights['layer4.1.bn2.weight'])


def test_a_trunk_is_filled_from_both_layouts_of_sopa(tmp_path):
    torch.manual_seed(0)
    trunk = FourChannelResNet()
    plain = {key: value + 1 for key, value in trunk.state_dict().items()}
    places = dict(conv1=0, bn1=1, layer1=4, layer2=5, layer3=6, layer4=7)
    simopa = {'prediction_head.weight': torch.zeros(2, 512)}
    for key, value in plain.items():
        first, _, rest = key.partition('.')
        simopa[f'backbone.{places[first]}.{rest}'] = value
    for name, content in (('a', dict(state_dict=plain)), ('b', simopa)):
        torch.save(content, tmp_path / name)
        target = FourChannelResNet(dict(type='mmcontrast.SOPAPretrained',
                                        checkpoint=str(tmp_path / name)))
        target.init_weights()
        for key, value in target.state_dict().items():
            torch.testing.assert_close(value, plain[key])


def test_a_file_that_fills_no_trunk_is_an_error(tmp_path):
    path = tmp_path / 'wrapped.pth'
    torch.save({f'net.{key}': value
                for key, value in FourChannelResNet().state_dict().items()}, path)
    with pytest.raises(KeyError, match=r'0 keys fit the 120 weights.*at least 100'):
        SOPAPretrained(path)(FourChannelResNet())
    with pytest.raises(FileNotFoundError, match='SOPA.pth.tar'):
        SOPAPretrained(tmp_path / 'SOPA.pth.tar')(FourChannelResNet())


def test_positives_alone_are_warned_of_once(nets, monkeypatch):
    told = []
    monkeypatch.setattr('mmcontrast.methods.topnet.negatives_watch.print_log',
                        lambda message, *args: told.append((message, args)))
    net = nets['fixed']
    many = sample([[10, 10, 4, 4]] * 600)
    monkeypatch.setattr(net._watch, '_positives', 0)
    for _ in range(3):
        net.loss(inputs(1), [many])
    (message, (_, level)), = told
    assert '1200 positives' in message and level == logging.WARNING
    assert 'TopNetPair' in message
    net._watch._positives = 0
    for batch in ([many, sample([], [[0, 0, 1, 1]])], [many, many], [many, many]):
        net.loss(inputs(2), batch)
    assert len(told) == 1


@pytest.mark.parametrize('options, message', [
    (dict(fusion='refrence'), "did you mean 'reference'"),
    (dict(size=100), 'multiple of 32, got 100'),
    (dict(fusion='fixed', test_cfg=dict(mix_batch=True)), "mix_batch needs.*'fixed'"),
    (dict(test_cfg=dict(window=2)), 'test_cfg of TopNetPair: k must be .* window=2'),
    (dict(test_cfg=dict(windw=3)), "'windw'.*did you mean 'window'")])
def test_wrong_options_are_named(options, message):
    from mmcontrast.methods.topnet.pair_net import TopNetPair
    with pytest.raises((ValueError, KeyError), match=message):
        TopNetPair(**dict(size=SIZE, layers=1) | options)


def test_wrong_calls_are_named(nets):
    net = nets['fixed']
    with pytest.raises(ValueError, match="got 'train'"):
        net(inputs(1), mode='train')
    small = {name: x[..., :32, :32] for name, x in inputs(1).items()}
    with pytest.raises(ValueError, match=r'background must be \(B, 3, 64, 64\)'):
        net(small)
    with pytest.raises(ValueError, match=r'object must be.*with_mask=True'):
        net(dict(inputs(1), object=inputs(1)['background']))
    lacking = PlacementSample(metainfo=dict(background_wh=(8, 8), object_id='7'))
    with torch.no_grad(), pytest.raises(
            KeyError, match='object_size_wh, but .* object 7 has only'):
        net(inputs(1), [lacking], mode='predict')
    lacking = PlacementSample(positives=[[1, 2, 3, 4]])
    with pytest.raises(KeyError, match='from background_wh'):
        net(inputs(1), [lacking], mode='loss')
    with torch.no_grad(), pytest.raises(ValueError, match='2 backgrounds and 3 obj'):
        net(dict(background=inputs(2)['background'], object=inputs(3)['object']))


def test_mixing_a_batch_is_rejected_for_objects_at_several_sizes(nets, monkeypatch):
    net = nets['reference']
    monkeypatch.setitem(net.test_cfg, 'mix_batch', True)
    given = inputs(2)
    with pytest.raises(ValueError, match=r'mix_batch is for objects of one size.*'
                       r'\(1, 2, 4, 64, 64\)'):
        net(dict(background=given['background'][:1], object=given['object'][None]),
            [sample()], mode='predict')


@torch.no_grad()
def test_simopa_sees_colors_from_0_to_1():
    torch.manual_seed(0)
    model = SimOPA(size=32).eval()
    pixels = torch.randint(0, 256, (2, 4, 32, 32), dtype=torch.uint8)
    expected = model(pixels / 255).softmax(1)[:, 1]
    torch.testing.assert_close(model.scores(pixels[:, :3], pixels[:, 3:]), expected)
    assert (model.scores(pixels[:, :3], pixels[:, 3:] // 2) - expected).abs().max() > 0
    with pytest.raises(ValueError, match='Do not normalize'):
        model.scores(pixels[:, :3] / 255, pixels[:, 3:])


def test_scores_of_simopa_keep_no_graph():
    pixels = torch.zeros(1, 4, 32, 32, dtype=torch.uint8)
    assert not SimOPA(size=32).eval().scores(pixels[:, :3], pixels[:, 3:]).requires_grad
