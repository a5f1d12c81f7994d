"""TopNet: encoders of any library, the three modes, scores of single images."""
import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch import nn

from mmcontrast.errors import UserKeyError, UserValueError
from mmcontrast.methods.topnet import PlacementSample
from mmcontrast.methods.topnet.encoders import (
    global_token,
    has_class_token,
    num_prefix_tokens,
    patch_tokens,
)
from mmcontrast.methods.topnet.preprocessor import PlacementPreprocessor
from mmcontrast.registry import DATASETS, METRICS, MODELS
from tests.helpers.tiny_topnet import ENCODER, SIZE, batch, build

MM_VIT = dict(
    type='mmpretrain.VisionTransformer', img_size=SIZE, patch_size=8, arch=dict(
        embed_dims=24, num_layers=1, num_heads=2, feedforward_channels=32))
TIMM_VIT = dict(
    type='mmpretrain.TIMMBackbone', model_name='vit_tiny_patch16_224', img_size=SIZE,
    patch_size=8, depth=1, embed_dim=24, num_heads=2)
RESNET = dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8,
              num_stages=2, out_indices=(1,), strides=(1, 2), dilations=(1, 1))


@pytest.fixture(scope='module')
def model():
    return build().eval()


def built(config):
    """A backbone in eval mode; ``eval()`` of mmpretrain's does not return it."""
    encoder = MODELS.build(config)
    encoder.eval()
    return encoder


def scores(model, inputs):
    with torch.no_grad():
        return model(inputs).sigmoid()


def prepared(model, **options):
    return model.data_preprocessor(batch(**options))['inputs']


def test_scores_do_not_depend_on_the_rest_of_the_batch(model):
    inputs = prepared(model, count=5)
    together = scores(model, inputs)
    assert together.std(0).mean() > 1e-5
    order = torch.tensor([3, 0, 4, 1, 2])
    mixed = scores(model, {key: x[order] for key, x in inputs.items()})
    torch.testing.assert_close(mixed, together[order], rtol=0, atol=1e-6)
    others = prepared(model, count=5, seed=1)
    for i in range(5):
        alone = {key: x[i:i + 1] for key, x in inputs.items()}
        torch.testing.assert_close(
            scores(model, alone)[0], together[i], rtol=0, atol=1e-6)
        for key, x in others.items():
            x[2] = inputs[key][i]
        torch.testing.assert_close(
            scores(model, others)[2], together[i], rtol=0, atol=1e-6)


def test_predicted_boxes_do_not_depend_on_the_rest_of_the_batch(model):
    data = model.data_preprocessor(batch(4))
    together = model(**data, mode='predict')
    boxes = [sample.boxes_xywh for sample in together]
    for i in range(4):
        single = dict(inputs={key: x[i:i + 1] for key, x in data['inputs'].items()},
                      data_samples=data['data_samples'][i:i + 1])
        alone = model(**single, mode='predict')[0]
        torch.testing.assert_close(alone.boxes_xywh, boxes[i])


def test_one_background_serves_many_objects_and_one_object_many_backgrounds(model):
    inputs = prepared(model, count=3)
    with torch.no_grad():
        backgrounds = model.encode_backgrounds(inputs['background'])
        objects = model.encode_objects(inputs['object'])
        pairs = [model.fuse(backgrounds[:1], objects), model.fuse(backgrounds,
                                                                  objects[:1])]
        for i in range(3):
            for many, pair in zip(pairs, ((0, i), (i, 0)), strict=True):
                one = model.fuse(backgrounds[pair[0], None], objects[pair[1], None])
                torch.testing.assert_close(many[i], one[0], rtol=0, atol=1e-5)
    assert scores(model, dict(inputs, background=inputs['background'][:1])
                  ).shape == (3, 4, 16, 16)


def test_scores_depend_on_both_background_and_object(model):
    inputs = prepared(model, count=2)
    with torch.no_grad():
        given = model(inputs)
        for key, x in inputs.items():
            assert (model(dict(inputs, **{key: x.flip(0)})) - given).abs().max() > 1e-4


def test_untrained_scores_start_near_the_bias_of_the_head():
    model = build()
    model.init_weights()
    with torch.no_grad():
        model.fusion.head.weight.zero_()
        logits = model.eval()(prepared(model))
    torch.testing.assert_close(logits, torch.full_like(logits, -2.))


def test_loss_reaches_every_parameter_and_falls():
    model = build().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    data, history = model.data_preprocessor(batch(4), training=True), []
    for _ in range(8):
        losses = model(**data, mode='loss')
        assert set(losses) == {'loss_rank', 'loss_range', 'loss_neg'}
        loss = sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in model.parameters())
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.9 * history[0]


@pytest.mark.parametrize('kind', ['SparseContrastiveLoss', 'SparseCellBCE',
                                  'GaussianPeakFocalLoss'])
def test_a_batch_without_labels_gives_zero_with_a_gradient_path(kind):
    model = build(loss=dict(type=kind)).train()
    data = model.data_preprocessor(batch(2))
    for sample in data['data_samples']:
        sample.positives = sample.negatives = []
    loss = sum(model(**data, mode='loss').values())
    loss.backward()
    assert loss.item() == 0
    assert all((p.grad == 0).all() for p in model.parameters())


def test_a_sample_without_any_label_field_is_an_error(model):
    data = model.data_preprocessor(batch(1))
    data['data_samples'] = [PlacementSample(metainfo=dict(background_wh=(9, 9)))]
    with pytest.raises(UserValueError, match='positives or negatives'):
        model(**data, mode='loss')


def test_predictions_hold_the_map_when_asked_and_follow_the_options():
    model = build(test_cfg=dict(heat=True, k=2, keep_inside=False)).eval()
    data = model.data_preprocessor(batch(2))
    for sample in model(**data, mode='predict'):
        assert sample.heat.shape == (4, 16, 16)
        assert sample.scores[0] == sample.heat.max()
        assert len(sample.boxes_xywh) == 2
        assert sample.boxes_xywh.dtype == torch.float64
        assert sample.scores[0] == sample.heat[tuple(sample.cells[0])]


def test_labeled_boxes_get_the_score_of_their_cell():
    model = build(test_cfg=dict(heat=True)).eval()
    for sample in model(**model.data_preprocessor(batch(3)), mode='predict'):
        for boxes, scores in ((sample.positives, sample.positive_scores),
                              (sample.negatives, sample.negative_scores)):
            assert len(boxes) == len(scores)
            cells = model.grid.cells(boxes, sample.background_wh)
            for cell, score in zip(cells, scores, strict=True):
                assert score == sample.heat[tuple(cell)]


def test_pairs_of_the_toy_world_pass_from_dataset_to_predictions():
    steps = [dict(type='PrepareTopNet', background_size=SIZE, object_size=SIZE),
             dict(type='PackPlacement')]
    dataset = DATASETS.build(dict(
        type='ShapesPlacements', num_pairs=3, labels='all', size=64, pipeline=steps))
    model = build()
    data = model.data_preprocessor(pseudo_collate([dataset[i] for i in range(3)]))
    assert sum(model(**data, mode='loss').values()) > 0
    for sample in model.eval()(**data, mode='predict'):
        width, height = sample.background_wh
        assert (sample.boxes_xywh[:, :2] >= -1e-9).all()
        assert (sample.boxes_xywh[:, 0] + sample.boxes_xywh[:, 2] <= width + 1e-9).all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_the_loss_is_float32_under_autocast(model, dtype):
    data = model.data_preprocessor(batch(2))
    with torch.autocast('cpu', dtype):
        logits = model(data['inputs'])
        losses = model.loss(logits, data['data_samples'])
    assert logits.dtype == dtype
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    exact = model.loss(logits.double(), data['data_samples'])
    for name, loss in losses.items():
        torch.testing.assert_close(loss.double(), exact[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('config, tokens, width', [
    (ENCODER, 16, 16),
    (dict(MM_VIT, out_type='featmap'), 16, 24), (dict(MM_VIT, out_type='raw'), 16, 24),
    (dict(MM_VIT, out_type='featmap', with_cls_token=False), 16, 24),
    (TIMM_VIT, 16, 24), (dict(TIMM_VIT, reg_tokens=3), 16, 24), (RESNET, 16, 16)])
def test_background_tokens_are_the_patches_of_any_backbone(config, tokens, width):
    encoder = built(config)
    found = patch_tokens(encoder, torch.randn(2, 3, SIZE, SIZE))
    assert found.shape == (2, tokens, width)


@pytest.mark.parametrize('config', [MM_VIT, TIMM_VIT])
def test_the_object_token_is_the_class_token_after_the_last_norm(config):
    torch.manual_seed(0)
    encoder = built(config)
    images = torch.randn(2, 3, SIZE, SIZE)
    if config is MM_VIT:
        expected = encoder(images)[0]
        whole = built(dict(config, out_type='raw'))
        whole.load_state_dict(encoder.state_dict())
        encoder = whole
    else:
        expected = encoder.timm_model.forward_features(images)[:, 0]
    torch.testing.assert_close(global_token(encoder, images), expected)
    tokens = patch_tokens(encoder, images)
    assert not torch.isclose(tokens, expected[:, None]).all(-1).any()


def test_without_a_class_token_the_object_token_is_the_mean_over_patches():
    images = torch.randn(2, 3, SIZE, SIZE)
    for config in (ENCODER, RESNET, dict(TIMM_VIT, class_token=False, reg_tokens=2,
                                         global_pool='avg', fc_norm=False)):
        encoder = built(config)
        assert not has_class_token(encoder)
        torch.testing.assert_close(
            global_token(encoder, images), patch_tokens(encoder, images).mean(1))
    assert num_prefix_tokens(encoder) == 2


@pytest.mark.parametrize('kinds', [
    (dict(MM_VIT, out_type='featmap'), MM_VIT), (RESNET, RESNET), (TIMM_VIT, ENCODER)])
def test_encoders_of_other_widths_are_projected(kinds):
    model = build(background_encoder=kinds[0], object_encoder=kinds[1],
                  fusion=dict(dim=8, layers=1, heads=2, decoder_channels=(12, 8),
                              with_positions=True)).eval()
    assert scores(model, prepared(model)).shape == (2, 4, 16, 16)


def test_a_background_encoder_that_pools_says_what_to_set():
    with pytest.raises(TypeError, match="out_type='featmap'"):
        build(background_encoder=MM_VIT)


def test_a_token_grid_that_does_not_fit_is_named():
    with pytest.raises(UserValueError, match='starts from 8 x 8 tokens'):
        build(fusion=dict(layers=1, heads=2, decoder_channels=(8,)))
    model = build()
    inputs = prepared(model)
    inputs['background'] = torch.zeros(2, 3, 2 * SIZE, SIZE)
    with pytest.raises(UserValueError, match=r'from 4 x 4 tokens.*\(2, 32, 16\)'):
        model(inputs)


def test_two_backgrounds_and_three_objects_are_no_pairs(model):
    with torch.no_grad(), pytest.raises(
            UserValueError, match='2 backgrounds and 3 objects .* one of a kind'):
        model(dict(prepared(model, count=3), background=torch.zeros(2, 3, SIZE, SIZE)))


@pytest.mark.parametrize('mode, lacking', [
    ('predict', 'background_wh'), ('predict', 'object_wh'), ('loss', 'background_wh')])
def test_what_a_sample_lacks_is_named(model, mode, lacking):
    data = model.data_preprocessor(batch(2))
    kept = {key: value for key, value in data['data_samples'][1].metainfo.items()
            if key != lacking}
    data['data_samples'][1] = PlacementSample(
        metainfo=dict(kept, object_id='7'),
        positives=data['data_samples'][1].positives)
    with pytest.raises(UserKeyError, match=f'from {lacking}, but .* object 7 has only'):
        model(**data, mode=mode)


def test_at_a_fixed_center_the_scale_alone_is_searched():
    """One positive, [10, 20, 20, 30] in 100 x 80, whose center is no cell's center."""
    model = build(test_cfg=dict(fix='center', k=4, window=1, keep_inside=False)).eval()
    sample, = batch(1)['data_samples']
    logits = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    logits[0, 1, 7, 3] = 9.0
    found, = model.predict(logits, [sample.clone()])
    # Column 20 / 100 * 16, row 35 / 80 * 16.
    assert found.cells[:, 1:].tolist() == [[7, 3]] * 4
    torch.testing.assert_close(
        found.scores, logits[0, :, 7, 3].sigmoid().sort(descending=True).values)
    centers = found.boxes_xywh[:, :2] + found.boxes_xywh[:, 2:] / 2
    torch.testing.assert_close(centers, centers.new_tensor([20, 35]).expand(4, 2))
    # Bin 1 of 4 stands for a height of 0.375 * 80.
    torch.testing.assert_close(found.boxes_xywh[:1], sample.positives)
    metric = METRICS.build(dict(type='PlacementIoU', topk=1, thresholds=0.95))
    metric.process({}, [found.to_dict()])
    assert metric.compute_metrics(metric.results)['top1_iou95'] == 1
    model.test_cfg.pop('fix')
    free, = model.predict(logits, [sample.clone()])
    assert free.cells[0].tolist() == [1, 7, 3]
    assert not torch.allclose(free.boxes_xywh[:1], sample.positives)


def test_at_a_fixed_center_the_best_size_that_fits_is_found():
    model = build(test_cfg=dict(fix='center', window=3)).eval()
    sample, = batch(1)['data_samples']
    # The largest, 46.7 wide around 20, leaves the background.
    logits = torch.arange(4.0)[None, :, None, None].expand(1, 4, 16, 16)
    found, = model.predict(logits, [sample.clone()])
    assert found.cells.tolist() == [[2, 7, 3]]
    none = sample.clone()
    none.positives = []
    assert model.predict(logits, [none])[0].boxes_xywh.shape == (0, 4)
    several = batch(2)['data_samples'][1]
    with pytest.raises(UserValueError, match='has 2.*group=False'):
        model.predict(logits, [several])


def test_an_unknown_test_option_is_an_error():
    with pytest.raises(UserValueError, match="fix must be 'center' or None, got 'cen"):
        build(test_cfg=dict(fix='centre'))
    with pytest.raises(UserKeyError, match="unknown key 'widow'.*'window'"):
        build(test_cfg=dict(widow=3))
    for wrong in (dict(k=0), dict(window=2), dict(nms_iou=3)):
        with pytest.raises(UserValueError, match='test_cfg of TopNet: (k|nms_iou)'):
            build(test_cfg=wrong)


@pytest.mark.parametrize('given, message', [
    (dict(image_size=128), 'image_size must be two numbers.* got 128'),
    (dict(grid=dict(size=64)), 'grid: size must be .rows, columns.* size=64')])
def test_one_size_where_two_are_needed_is_an_error(given, message):
    with pytest.raises(UserValueError, match=message):
        build(**given)


@pytest.mark.parametrize('fix', [None, 'center'])
def test_predictions_of_nan_are_an_error(fix):
    model = build(test_cfg=dict(fix=fix)).eval()
    samples = batch(1)['data_samples']
    with pytest.raises(UserValueError, match='scores are NaN'):
        model.predict(torch.full((1, *model.grid.shape), torch.nan), samples)


def test_weights_of_a_file_are_loaded_by_the_init_cfg_of_an_encoder(tmp_path):
    torch.manual_seed(1)
    state = MODELS.build(dict(MM_VIT, img_size=24)).state_dict()
    file = str(tmp_path / 'vit.pth')
    torch.save(state, file)
    model = build(background_encoder=dict(
        MM_VIT, out_type='featmap', init_cfg=dict(type='Pretrained', checkpoint=file)))
    encoder = model.background_encoder
    torch.testing.assert_close(encoder.layers[0].attn.qkv.weight,
                               state['layers.0.attn.qkv.weight'])
    # 3 x 3 positions and the class token's became 4 x 4 and the class token's.
    torch.testing.assert_close(encoder.pos_embed[:, 0], state['pos_embed'][:, 0])


def test_the_preprocessor_normalizes_colors_and_keeps_the_mask_on_request():
    data = batch(2)
    data['inputs']['object'][1][3] = 255
    plain, masked = (PlacementPreprocessor(with_mask=flag)(data)['inputs']
                     for flag in (False, True))
    assert plain['object'].shape[1] == 3
    torch.testing.assert_close(masked['object'][:, :3], plain['object'])
    assert (masked['object'][1, 3] == 1).all()
    red = data['inputs']['background'][0][0, 5, 7].item()
    assert plain['background'][0, 0, 5, 7].item() == pytest.approx(
        (red - 123.675) / 58.395, rel=1e-5)


def test_objects_at_several_scales_are_normalized_as_one_by_one():
    data = batch(2)
    single = PlacementPreprocessor(with_mask=True)(data)['inputs']['object']
    data['inputs']['object'] = [torch.stack([x, x.flip(0)])
                                for x in data['inputs']['object']]
    several = PlacementPreprocessor(with_mask=True)(data)['inputs']['object']
    assert several.shape == (2, 2, 4, SIZE, SIZE)
    torch.testing.assert_close(several[:, 0], single)


def test_images_of_different_sizes_are_an_error():
    data = batch(2)
    data['inputs']['background'][1] = torch.zeros(3, 8, 8, dtype=torch.uint8)
    with pytest.raises(UserValueError, match='inputs.background .*resize'):
        PlacementPreprocessor()(data)


def test_the_first_layer_norms_have_the_epsilon_of_timm():
    norms = [m for m in build().fusion.modules() if isinstance(m, nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {1e-6}
