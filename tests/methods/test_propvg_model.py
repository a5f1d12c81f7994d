"""PropVG: three forward modes, several phrases of an image, options of prediction."""
import pytest
import torch

from mmcontrast.datasets.grounding import collate_phrases
from mmcontrast.structures.protocols import GroundsPhrases
from tests.helpers import tiny_propvg
from tests.helpers.tiny_propvg import NUM_QUERIES, PHRASES, SIZE


def prepared(model, count: int = 2, training: bool = False) -> dict:
    return model.data_preprocessor(tiny_propvg.batch(count), training)


@pytest.fixture(scope='module')
def model():
    """For tests that change nothing in it."""
    return tiny_propvg.build().eval()


@pytest.mark.parametrize('with_existence', [True, False])
def test_losses_reach_every_parameter(with_existence):
    """So that DistributedDataParallel need not look for unused ones."""
    model = tiny_propvg.build(head=dict(with_existence=with_existence)).train()
    losses = model(**prepared(model, 3), mode='loss')
    sum(losses.values()).backward()
    names = {'loss_det', 'loss_mask', 'loss_refer'}
    assert set(losses) == names | ({'loss_label_nt'} if with_existence else set())
    assert not [name for name, parameter in model.named_parameters()
                if parameter.grad is None]


@torch.no_grad()
def test_predictions_are_in_pixels_of_the_image_the_best_first(model):
    first, second = model(**prepared(model), mode='predict')
    boxes, scores = first.pred_instances.bboxes, first.pred_instances.scores
    outputs = model(**prepared(model))
    assert boxes.shape == (NUM_QUERIES, 4) and scores.shape == (NUM_QUERIES,)
    assert (scores.diff() <= 0).all()
    # The image is 128 x 96, whatever the size of the input.
    x, y, w, h = outputs.proposals.boxes[-1, 0, model.head.scores(outputs)[0].argmax()]
    expected = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2]).clamp(0, 1)
    torch.testing.assert_close(boxes[0], expected * torch.tensor([128., 96, 128, 96]))
    assert first.pred_mask.shape == (SIZE, SIZE) and first.pred_mask.dtype == torch.bool
    assert first.pred_exists.shape == () and 'pred_mask_original' not in second


@torch.no_grad()
def test_without_existence_scores_are_refer_scores():
    model = tiny_propvg.build(head=dict(with_existence=False)).eval()
    sample, _ = model(**prepared(model), mode='predict')
    best = model(**prepared(model)).refer[0].max()
    assert sample.pred_instances.scores[0] == best and 'pred_exists' not in sample


@torch.no_grad()
def test_an_image_that_several_samples_show_is_embedded_once(model):
    """Whichever of the batch are picked out; the first two show one image."""
    alone = tiny_propvg.batch(4)
    alone['inputs'][1] = alone['inputs'][0]
    items = [dict(inputs=image, data_samples=sample) for image, sample in zip(
        *alone.values(), strict=True)]
    alone = model(**model.data_preprocessor(alone))
    batch = model.data_preprocessor(collate_phrases(items))
    counts = []
    hook = model.encoder.vision_embed.proj.register_forward_pre_hook(
        lambda _, args: counts.append(len(args[0])))
    for picked in ([0, 1, 2, 3], [3, 1, 0], [1], [2, 3]):
        outputs = model(batch['inputs'][picked],
                        [batch['data_samples'][i] for i in picked])
        torch.testing.assert_close(outputs.refer, alone.refer[picked])
    hook.remove()
    assert counts == [3, 2, 1, 2]


@torch.no_grad()
def test_existence_scales_the_scores(model):
    outputs = model(**prepared(model))
    torch.testing.assert_close(model.head.scores(outputs),
                               outputs.refer * outputs.exists[:, None])


def test_an_unknown_mode_is_refused(model):
    with pytest.raises(ValueError, match="'loss', 'predict' or 'tensor', got 'val'"):
        model(**prepared(model), mode='val')


@pytest.mark.parametrize('max_batch', [1, 3, 32])
def test_phrases_of_one_image_are_those_of_single_calls(model, max_batch):
    assert isinstance(model, GroundsPhrases)
    images = prepared(model, 3)['inputs']
    phrases = [PHRASES[:3], [], PHRASES[2:]]
    found = model.ground(images, phrases, max_batch)
    assert [len(several) for several in found] == [3, 0, 2]
    for image, texts, several in zip(images, phrases, found, strict=True):
        for text, one in zip(texts, several, strict=True):
            (alone,), = model.ground(image[None], [[text]])
            for field in ('boxes_norm', 'scores', 'exists', 'mask_logits'):
                torch.testing.assert_close(getattr(one, field), getattr(alone, field))
    assert model.ground(images, [[], [], []]) == [[], [], []]


def test_ground_and_predict_agree(model):
    data = prepared(model, 3)
    samples = model(**data, mode='predict')
    found = model.ground(data['inputs'], [[sample.text] for sample in samples])
    for sample, (one,) in zip(samples, found, strict=True):
        order = one.scores.argsort(descending=True)
        torch.testing.assert_close(sample.pred_instances.scores, one.scores[order])
        torch.testing.assert_close(sample.pred_instances.bboxes,
                                   one.boxes(96, 128)[order])
        assert torch.equal(sample.pred_mask, one.mask(SIZE, SIZE))


@torch.no_grad()
def test_masks_at_the_size_of_the_image(model, monkeypatch):
    data = prepared(model)
    data['data_samples'][1].gt_mask_original = torch.zeros(96, 128, dtype=torch.bool)
    first, second = model(**data, mode='predict')
    assert 'pred_mask_original' not in first
    # Nearest: every second pixel along x; along y, 64 rows become 96.
    assert torch.equal(second.pred_mask_original[::3, ::2], second.pred_mask[::2])
    monkeypatch.setitem(model.test_cfg, 'rescale', True)
    monkeypatch.setitem(model.test_cfg, 'mask_resize', 'logits')
    smooth = model(**prepared(model), mode='predict')[0].pred_mask_original
    found = model.ground(data['inputs'][:1], [[PHRASES[0]]])[0][0]
    assert torch.equal(smooth, found.mask(96, 128, resize='logits'))


@torch.no_grad()
def test_the_mask_is_emptied_where_nothing_is_found_if_asked(model, monkeypatch):
    monkeypatch.setitem(model.test_cfg, 'mask_thr', 0.0)
    monkeypatch.setitem(model.test_cfg, 'score_thr', 1.0)
    assert all(sample.pred_mask.all() for sample in
               model(**prepared(model), mode='predict'))
    monkeypatch.setitem(model.test_cfg, 'empty_mask', True)
    assert not any(sample.pred_mask.any() for sample in
                   model(**prepared(model), mode='predict'))
    monkeypatch.setitem(model.test_cfg, 'score_thr', 0.0)
    assert all(sample.pred_mask.all() for sample in
               model(**prepared(model), mode='predict'))


@torch.no_grad()
def test_nms_keeps_the_best_of_boxes_that_overlap(model, monkeypatch):
    everything, _ = model(**prepared(model), mode='predict')
    monkeypatch.setitem(model.test_cfg, 'nms_iou', 0.0)
    kept, _ = model(**prepared(model), mode='predict')
    boxes, scores = kept.pred_instances.bboxes, kept.pred_instances.scores
    assert scores[0] == everything.pred_instances.scores[0]
    assert 0 < len(boxes) < NUM_QUERIES
    inner = (torch.minimum(boxes[:, None, 2:], boxes[:, 2:])
             - torch.maximum(boxes[:, None, :2], boxes[:, :2])).clamp(min=0).prod(-1)
    assert inner.triu(1).max() == 0


@pytest.mark.parametrize('given, message', [
    (dict(scor_thr=0.5), "unknown key 'scor_thr': did you mean 'score_thr'?"),
    (dict(mask_resize='logit'), 'mask_resize must be one of'),
    (dict(score_thr=70), 'score_thr must lie in [0, 1], got 70'),
    (dict(nms_iou=-0.5), 'nms_iou must lie in [0, 1], got -0.5'),
    (dict(score_thr=None), 'score_thr must lie in [0, 1], got None'),
    (dict(mask_thr=float('nan')), 'mask_thr must lie in [0, 1], got nan'),
    (dict(nms_iou='x'), "nms_iou must lie in [0, 1], got 'x'")])
def test_an_unknown_test_option_is_refused(given, message):
    with pytest.raises((KeyError, ValueError)) as error:
        tiny_propvg.build(test_cfg=given)
    assert message in str(error.value)


@pytest.mark.parametrize('field, value, message', [
    ('text', None, "no phrase: PropVG reads it from the metainfo 'text'"),
    ('img_shape', (48, 64), r'\(48, 64\) was padded to \(64, 64\)'),
    ('text', '?!', 'is empty, or nothing but punctuation')])
def test_samples_that_do_not_fit_are_refused(model, field, value, message):
    data = prepared(model)
    sample = data['data_samples'][0]
    sample.pop(field)
    if value:
        sample.set_metainfo({field: value})
    with pytest.raises(ValueError, match=message):
        model(**data, mode='predict')


def test_a_vocabulary_that_is_larger_than_the_text_table_is_named():
    model = tiny_propvg.build(encoder=dict(vocab_size=5))
    with pytest.raises(ValueError, match='has 5 rows: set vocab_size .* to the 221 of'):
        model(**prepared(model))


@pytest.mark.parametrize('part, given, message', [
    ('head', dict(num_queries=0), 'num_queries of PropVGHead must be an integer, 1 or'),
    ('head', dict(num_queries='6'), "1 or more, got '6'"),
    ('head', dict(existence_top_k=0), 'existence_top_k of PropVGHead must be'),
    ('head', dict(num_heads=3), 'channels=16 is not a multiple of num_heads=3'),
    ('encoder', dict(patch_size=0), 'not a multiple of patch_size=0')])
def test_impossible_sizes_are_named(part, given, message):
    with pytest.raises(ValueError, match=message):
        tiny_propvg.build(**{part: given})


@pytest.mark.parametrize('patch_size', [8, 16])
def test_images_of_another_size_and_patches_of_another_size(patch_size):
    model = tiny_propvg.build(encoder=dict(patch_size=patch_size)).eval()
    found, = model.ground(torch.randn(1, 3, 32, 96), [PHRASES[:2]])
    assert all(one.mask_logits.shape == (32, 96) for one in found)
