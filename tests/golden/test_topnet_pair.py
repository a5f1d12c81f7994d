"""The unofficial TopNet and SimOPA against the numbers of the released code."""
import pytest
import torch
from torch.nn import functional as F

from mmcontrast.methods.topnet import PlacementGrid, PlacementSample
from mmcontrast.methods.topnet.convert import PAIR_NAMES, SIMOPA_NAMES, renamed
from mmcontrast.methods.topnet.pair_fusion import PairFusionLayer
from mmcontrast.methods.topnet.pair_labels import labeled_pixels, sparse_cross_entropy
from mmcontrast.methods.topnet.pair_net import TopNetPair
from mmcontrast.methods.topnet.scales import rank_placements, scale_sizes
from mmcontrast.methods.topnet.simopa import SimOPA
from tests.helpers.topnet_case import Case, sparse_targets

pytestmark = pytest.mark.usefixtures('nan_weights')


@pytest.fixture(scope='module')
def net(nan_weights):
    """One network of 113 M parameters for the cases of this file."""
    return TopNetPair()


def fill(net, case):
    params = case.params()
    assert len(params) == 336
    net.load_state_dict({renamed(key, PAIR_NAMES): value
                         for key, value in params.items()})


def image_inputs(case):
    return dict(background=case.input('bg'),
                object=torch.cat([case.input('fg'), case.input('mask')], 1))


def samples_of(points, size, num_positive):
    """Samples whose labels are pixels of the input: boxes without an area."""
    pixels = torch.floor(points * size).double()
    boxes = torch.cat([pixels, torch.zeros_like(pixels)], -1)
    return [PlacementSample(metainfo=dict(background_wh=(size, size)),
                            positives=image[:num_positive],
                            negatives=image[num_positive:]) for image in boxes]


@torch.no_grad()
def test_network_in_evaluation(net):
    case = Case('ref_net_eval')
    fill(net.eval(), case)
    inputs = image_inputs(case)
    *skips, last = net.encode_backgrounds(inputs['background'])
    objects = net.encode_objects(inputs['object'])
    start = torch.cat([last, objects], 1)
    fused = net.fusion(start)
    decoded = net.decoder(fused, skips)
    logits = net.head(decoded)
    alone = net({name: value[:1] for name, value in inputs.items()})
    case.check(dict(
        transformer_in=start, transformer_out=fused, decoder_out=decoded,
        fuse_out=net.head.deconv(decoded), logits=logits, logits_b1=alone,
        prob1=logits.softmax(1)[:, 1]))
    # Without mixing, an image in a batch is scored as alone.
    first = net.fuse([*skips, last], objects)[:1]
    torch.testing.assert_close(first, alone, rtol=1e-4, atol=1e-4)
    assert (logits[:1] - alone).abs().max() > 1e-3


def test_training_step(net):
    case = Case('ref_train_step')
    fill(net.train(), case)
    inputs, size = image_inputs(case), case.config['input']
    samples = samples_of(case.input('points'), size, case.config['n_pos'])
    targets = sparse_targets(case.input('points'), size, case.config['n_pos'])
    assert torch.equal(labeled_pixels(samples, size).target_map(2, size).long(),
                       targets)
    kept = {}
    handle = net.decoder.register_forward_hook(
        lambda module, args, out: kept.update(decoded=out))
    loss = net.loss(inputs, samples)['loss_ce']
    handle.remove()
    loss.backward()
    logits = net.head(kept['decoded'])
    params, found = dict(net.named_parameters()), {}
    for name in case.outputs:
        if name.startswith('gradnorm.'):
            key = renamed(name.removeprefix('gradnorm.'), PAIR_NAMES)
            found[name] = params[key].grad.double().norm()
    norm = net.decoder.up32[1]
    case.check(found | {
        'loss': loss, 'logits': logits,
        'grad.classifier.bias': net.head.classifier.bias.grad,
        'grad.layer_norm1': params['fusion.layers.3.norm1.weight'].grad,
        'bn_running_mean': norm.running_mean[::16],
        'bn_running_var': norm.running_var[::16]})
    # The loss over gathered pixels is the dense one.
    dense = F.cross_entropy(logits, targets, ignore_index=255)
    torch.testing.assert_close(dense, loss, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_one_layer_of_the_fusion():
    case = Case('ref_transformer_layer')
    layer = PairFusionLayer(1024, 8, 'reference', 8, 128).eval()
    layer.load_state_dict({
        renamed(f'Transformer.layers.0.{key}', {}).removeprefix('fusion.layers.0.'):
        value for key, value in case.params().items()})
    x = case.input('x')
    tokens = layer.tokens(x)
    _, weights = layer.attention(tokens, tokens, tokens)
    case.check(dict(
        attn_out=layer.attend(tokens), attn_out_b1=layer.attend(tokens[:1]),
        attn_weights=weights[:8], y=layer(x), y_b1=layer(x[:1])))
    case.check(dict(y_b1=layer(x, mix_batch=False)[:1]))


def test_sparse_cross_entropy():
    case = Case('ref_sparse_ce')
    size, num_positive = case.config['size'], case.config['n_pos']
    samples = samples_of(case.input('points'), size, num_positive)
    del samples[-1].positives
    pixels = labeled_pixels(samples, size)
    logits = case.input('logits').requires_grad_()
    loss = sparse_cross_entropy(
        logits[pixels.images, :, pixels.rows, pixels.cols], pixels)
    loss.backward()
    labeled = (pixels.target_map(2, size) != 255).nonzero()
    image, row, col = labeled.unbind(1)
    case.check(dict(loss=loss, labelled_byx=labeled,
                    grad_l2=logits.grad.double().norm(),
                    grad_at_labelled=logits.grad[image, :, row, col]))
    # NaN in the released code.
    none = labeled_pixels(samples_of(torch.zeros(2, 0, 2), size, 0), size)
    assert case.arrays['all_ignored'] != case.arrays['all_ignored']
    assert sparse_cross_entropy(logits[none.images, :, none.rows, none.cols], none) == 0


def test_target_map():
    case = Case('ref_target_map')
    size, found = case.config['in_size'], {}
    for i, row in enumerate(case.config['rows']):
        positives, negatives = ([[x, y, 0, 0] for x, y in row[kind]]
                                for kind in ('pos', 'neg'))
        pixels = labeled_pixels([PlacementSample(
            metainfo=dict(background_wh=(row['W'], row['H'])),
            positives=positives, negatives=negatives)], size)
        target = pixels.target_map(1, size)[0]
        y, x = (target != 255).nonzero().unbind(1)
        found[f'row{i}.labelled_yxv'] = torch.stack([y, x, target[y, x].long()], 1)
        found[f'row{i}.feature_pos_xy'] = torch.stack([pixels.cols, pixels.rows], 1)
    assert set(found) == set(case.outputs)
    case.check(found)


def test_ranking_over_scales():
    case = Case('ref_multiscale_topk')
    (bg_h, bg_w), (fg_h, fg_w) = case.config['bg_hw'], case.config['fg_hw']
    heat = torch.floor(100 * case.input('low')).flatten()
    order = case.input('order').argsort(stable=True)
    heat[order[:150]] = 255. - torch.arange(150)
    grid = case.config['grid']
    sizes = scale_sizes((bg_w, bg_h), (fg_w, fg_h))
    ranked = rank_placements(heat.reshape(16, grid, grid), sizes, (bg_w, bg_h))
    case.check(dict(sizes_wh=sizes, boxes_xywh=ranked.boxes_xywh.long()))
    assert torch.equal(ranked.boxes_xywh, ranked.boxes_xywh.trunc())
    case.check(dict(scales=PlacementGrid(binning='fopa').ratios))


@torch.no_grad()
def test_simopa():
    case = Case('ref_simopa')
    model = SimOPA().eval()
    model.load_state_dict({renamed(key, SIMOPA_NAMES): value
                           for key, value in case.params().items()})
    logits = model(case.input('img_mask'))
    case.check(dict(logits=logits, score=logits.softmax(1)[:, 1]))
