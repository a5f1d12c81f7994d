"""The DITO detector in use: vocabularies, training, mmdet's conventions, bad input."""
import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')
pytest.importorskip('open_clip')
from mmengine.optim import OptimWrapper

from mmcontrast.structures.protocols import OpenVocabulary, SetsClasses
from tests.helpers.tiny_dito import CLASSES, build, image, sample


@pytest.fixture(scope='module')
def model():
    return build()


def predict(model, *samples, **kwargs):
    model.eval()
    data = dict(inputs=[image() for _ in samples], data_samples=list(samples))
    with torch.no_grad():
        return [found.pred_instances for found in model.test_step(data)]


def test_any_number_of_classes_is_detected_without_training(model):
    model.set_classes('red circle;yellow moon;blue square;green star;pink heart')
    try:
        found, = predict(model, sample())
        assert model.text_embeds().shape == (6, 32)
        assert model._is_base.tolist() == [True, False, True, True, False]
        assert found.labels.max() < 5 and len(found.masks) == len(found) == 20
        assert model.class_names[4] == 'pink heart'
        assert model.trained_class_names == list(CLASSES)
    finally:
        model.set_classes(None)
    assert model.class_names == list(CLASSES)
    assert isinstance(model, OpenVocabulary) and isinstance(model, SetsClasses)


def test_training_compares_with_the_trained_classes_and_testing_with_the_others():
    model = build(test_class_names=['blue square', 'pink heart'])
    assert model.train().text_embeds().shape == (4, 32)
    assert model.eval().text_embeds().shape == (3, 32)
    assert model.class_texts.class_names == ['blue square', 'pink heart']


def test_names_are_base_whatever_their_case_and_underscores():
    model = build(test_class_names=['Red_Circle', ['moon', 'green star'], 'heart'])
    assert model._is_base.tolist() == [True, True, False]
    assert build(base_classes=[])._is_base.tolist() == [False] * 3
    assert build(base_classes=['blue square'])._is_base.tolist() == [False, True, False]


def test_the_class_whose_text_a_region_has_wins():
    model = build(vlm=None).eval()
    text = model.text_embeds()
    logits = model.roi_head.bbox_head.logits(text, text)
    assert logits.argmax(1).tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(logits.diagonal(), torch.full((4,), 100.))


def test_a_learned_background_gets_a_gradient():
    model = build(background=None).train()
    losses = model.loss(image()[None] / 255, [sample()])
    losses['loss_cls'].backward()
    assert model.text_embeds().shape == (4, 32)
    assert model.background.grad.norm() > 0
    assert 'background' in model.state_dict()


def test_the_frozen_copy_changes_scores_only_and_never_trains(model):
    assert not any(p.requires_grad for p in model.vlm.parameters())
    assert not model.train().vlm.training
    state = model.state_dict()
    alone = build(vlm=None)
    alone.load_state_dict({k: v for k, v in state.items() if not k.startswith('vlm.')})
    fused, = predict(model, sample())
    single, = predict(alone, sample())
    assert not torch.equal(fused.scores, single.scores)
    model.roi_head.test_options = type(model.roi_head.test_options)(
        max_per_img=20, base_weight=0.0)
    try:
        unweighted, = predict(model, sample())
    finally:
        model.roi_head.test_options = type(model.roi_head.test_options)(max_per_img=20)
    torch.testing.assert_close(unweighted.scores, single.scores)
    torch.testing.assert_close(unweighted.bboxes, single.bboxes)


def test_text_embeddings_of_a_vocabulary_are_computed_once(model):
    calls = []
    hook = model.class_texts.text_encoder.register_forward_hook(
        lambda *_: calls.append(1))
    model.eval()
    with torch.no_grad():
        for _ in range(3):
            model.test_step(dict(inputs=[image()], data_samples=[sample()]))
    hook.remove()
    assert len(calls) == 1


def test_loops_in_iterations_embed_the_vocabulary_once():
    model, calls = build(), []
    model.class_texts.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    tokens = model.train().class_texts.tokens
    for _ in range(3):
        # As mmengine's loop does before every step.
        model.train().loss(image()[None] / 255, [sample()])
    assert len(calls) == 1 and model.class_texts.tokens is tokens


def test_boxes_come_in_pixels_of_the_original_image(model):
    small, large = sample(), sample()
    large.set_metainfo(dict(scale_factor=(0.5, 0.25), ori_shape=(256, 128)))
    small, large = predict(model, small, large)
    torch.testing.assert_close(large.bboxes / torch.tensor([2., 4., 2., 4.]),
                               small.bboxes)
    assert large.masks.shape[1:] == (256, 128) and small.masks.shape[1:] == (64, 64)


def test_a_few_steps_find_the_object_of_an_image():
    model = build(seed=1, roi_head__mask_head=None, vlm=None).train()
    optimizer = OptimWrapper(torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=3e-3))
    data = dict(inputs=[image()], data_samples=[sample(with_masks=False)])
    for _ in range(40):
        model.train_step(data, optimizer)
    found, = predict(model, sample())
    assert found.labels[0] == 1 and found.scores[0] == found.scores.max()
    left, top, right, bottom = found.bboxes[0].tolist()
    inside = max(0, min(right, 40) - max(left, 8)) * max(
        0, min(bottom, 40) - max(top, 8))
    union = (right - left) * (bottom - top) + 32 * 32 - inside
    assert inside / union > 0.5


def test_an_image_without_objects_trains_and_predicts(model):
    model.train()
    losses = model.loss(image()[None] / 255, [sample((), ())])
    total = sum(losses.values())
    total.backward()
    assert losses['loss_bbox'] == 0 == losses['loss_mask'] == losses['loss_rpn_bbox']
    assert torch.isfinite(total) and losses['loss_cls'] > 0
    model.zero_grad()


def test_mismatched_widths_and_texts_are_named():
    with pytest.raises(ValueError, match='text embeddings have 32 dimensions, '
                                         'roi_head.bbox_head.embed_dims has 16'):
        build(roi_head__bbox_head__embed_dims=16)
    with pytest.raises(ValueError, match='set exactly one of the two'):
        build(text_embeddings='rows.npy')


def test_without_proposals_nothing_is_found(model):
    from mmengine.structures import InstanceData
    given = sample()
    given.proposals = InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0))
    found, = predict(model, given)
    assert len(found) == 0 and found.masks.shape == (0, 64, 64)


def test_a_background_text_without_a_text_encoder_is_named(tmp_path):
    np.save(tmp_path / 'rows.npy', np.zeros((3, 32), np.float32))
    with pytest.raises(ValueError, match='set background to the .npy file'):
        build(text_encoder=None, text_embeddings=str(tmp_path / 'rows.npy'))
    model = build(text_encoder=None, text_embeddings=str(tmp_path / 'rows.npy'),
                  background=None)
    assert model.text_embeds().shape == (4, 32)


def test_an_unknown_option_of_the_heads_is_named():
    with pytest.raises(KeyError, match="train_cfg.rcnn has the unknown key 'num_sampls'"
                                       ".*did you mean 'num_samples'"):
        build(train_cfg__rcnn=dict(num_sampls=3))


def test_a_federated_loss_compares_with_the_drawn_classes_alone():
    names = [f'class {i}' for i in range(40)]
    model = build(class_names=names, roi_head__class_frequency=[1.] * 40,
                  train_cfg__rcnn=dict(num_samples=32, federated_classes=5)).train()
    head, labels = model.roi_head, torch.tensor([3, 7, 40, -1])
    allowed = head._allowed(labels, 40)
    assert allowed.sum() == 6 and allowed[[3, 7, 40]].all()
    assert torch.isfinite(model.loss(image()[None] / 255, [sample()])['loss_cls'])
    with pytest.raises(ValueError, match='set roi_head.class_frequency'):
        build(train_cfg__rcnn=dict(federated_classes=5))
    with pytest.raises(ValueError, match='has 40 numbers, but 3 classes'):
        head._allowed(labels, 3)


def test_raw_outputs_have_a_row_for_each_proposal(model):
    model.eval()
    with torch.no_grad():
        rois, logits, deltas = model(image()[None] / 255, [sample()], mode='tensor')
    assert rois.shape[1] == 5 and logits.shape == (len(rois), 4)
    assert deltas.shape == (len(rois), 4)


def test_proposals_of_the_caller_are_used(model):
    from mmengine.structures import InstanceData
    given = sample()
    given.proposals = InstanceData(bboxes=torch.tensor([[8., 8., 40., 40.]]),
                                   scores=torch.ones(1))
    found, = predict(model, given)
    assert len(found) == 3  # one box, every class


@pytest.mark.parametrize('num_images', [1, 2])
def test_a_batch_gives_what_its_images_give(model, num_images):
    single, = predict(model, sample())
    for found in predict(model, *[sample() for _ in range(num_images)]):
        torch.testing.assert_close(found.bboxes, single.bboxes, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(found.scores, single.scores, rtol=1e-4, atol=1e-6)




@pytest.mark.parametrize(('key', 'value', 'message'), [
    ('test_cfg__rcnn', dict(base_weight=5.0), 'test_cfg.rcnn.base_weight must be a '
                                              'number from 0 to 1, got 5.0'),
    ('test_cfg__rcnn', dict(max_per_img=-1), 'an integer of 1 or more, got -1'),
    ('test_cfg__rcnn', dict(max_per_img=True), 'an integer of 1 or more, got True'),
    ('test_cfg__rcnn', dict(renormalize='False'), "True or False, got 'False'"),
    ('test_cfg__rcnn', dict(score_thr=float('nan')), 'from 0 to 1, got nan'),
    ('test_cfg__rcnn', dict(vlm_temperature=0), 'test_cfg.rcnn.vlm_temperature'),
    ('test_cfg__rpn', dict(nms_pre=0), 'test_cfg.rpn.nms_pre'),
    ('train_cfg__rpn', dict(center_pos_iou_thr='0.3'), "from 0 to 1, got '0.3'"),
    ('train_cfg__rcnn', dict(positive_fraction=3), 'train_cfg.rcnn.positive_fraction'),
    ('roi_head__bbox_head__temperature_scale', 0, 'temperature_scale'),
    ('rpn_head__anchor_scale', 0, 'anchor_scale'),
    ('backbone__shift', 2.5, 'shift must be an integer'),
    ('background', 5, 'background must be a text')])
def test_a_value_out_of_range_is_named(key, value, message):
    with pytest.raises(ValueError, match=message):
        build(**{key: value})


def test_an_unknown_part_of_the_options_is_named():
    with pytest.raises(KeyError, match="test_cfg has the unknown key 'rcn'"
                                       ".*did you mean 'rcnn'"):
        build(test_cfg__rcn=dict(score_thr=0.1))
    with pytest.raises(KeyError, match="train_cfg has the unknown key 'rnn'"):
        build(train_cfg__rnn=dict())


def test_an_embedding_of_the_background_belongs_to_stored_embeddings():
    with pytest.raises(ValueError, match="'x.npy' is a file of an embedding"):
        build(background='x.npy')


def test_a_base_class_that_is_neither_trained_nor_tested_is_named():
    with pytest.raises(ValueError, match="'red circel' is neither trained nor tested"
                                         ".*did you mean 'red circle'"):
        build(base_classes=['blue square', 'red circel'])
    model = build(base_classes=['pink heart'], test_class_names='pink heart;moon')
    assert model._is_base.tolist() == [True, False]


@pytest.mark.parametrize(('key', 'value', 'message'), [
    ('strides', (8, 16, 32), 'roi_head.strides is 8, 16, 32, but neck gives maps of '
                             'stride'),
    ('vlm_stride', 16, 'roi_head.vlm_stride is 16, but vlm gives maps of stride 8')])
def test_crops_of_another_stride_than_the_maps_have_are_named(key, value, message):
    with pytest.raises(ValueError, match=message):
        build(**{f'roi_head__{key}': value})
