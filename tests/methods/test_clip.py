"""CLIP's loss, its texts, and its gather between processes."""
import math

import pytest
import torch
from mmengine.structures import BaseDataElement

from mmcontrast.models.text import tokenize
from mmcontrast.registry import MODELS
from mmcontrast.testing.ranks import on_ranks

TEXTS = ('a red star', 'the sky', 'a striped blue circle', 'heart')
TINY = dict(
    embed_dim=16, quick_gelu=True,
    vision_cfg=dict(image_size=32, layers=[1, 1, 1, 1], width=8, head_width=64),
    text_cfg=dict(context_length=12, width=16, heads=2, layers=1))


def tiny_clip(**settings):
    torch.manual_seed(0)
    return MODELS.build(dict(
        type='CLIP', architecture=TINY, zero_init_residual=False) | settings).eval()


def samples(texts=TEXTS):
    return [BaseDataElement(text=text) for text in texts]


def images(count=4):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_two_pairs_cost_what_a_pencil_says():
    clip_class = type(tiny_clip())

    class KnownVectors(clip_class):
        def encode_images(self, images):
            return images

        def encode_texts(self, texts):
            return torch.tensor([[1., 0.], [.6, .8]])

    model = KnownVectors(TINY)
    model.clip.logit_scale.data.fill_(math.log(2))
    losses = model(torch.eye(2), samples(TEXTS[:2]), mode='loss')
    # Cosines times 2: (2, 1.2) for the first image, (0, 1.6) for the second.
    rows = math.log(1 + math.exp(1.2 - 2)) + math.log(1 + math.exp(0 - 1.6))
    columns = math.log(1 + math.exp(0 - 2)) + math.log(1 + math.exp(1.2 - 1.6))
    assert losses['loss_contrastive'].item() == pytest.approx((rows + columns) / 4)
    assert losses['logit_scale'].item() == pytest.approx(2)


def test_the_loss_of_both_towers_is_cross_entropy_in_both_directions():
    model = tiny_clip()
    loss = model(images(), samples(), mode='loss')['loss_contrastive']
    rows = model.encode_images(images()).detach().double().numpy()
    columns = model.encode_texts(TEXTS).detach().double().numpy()
    logits = (rows @ columns.T) / 0.07  # the scale that CLIP starts from
    chosen = [logits[i, i] for i in range(4)]
    by_hand = sum(
        math.log(sum(math.exp(x) for x in line)) - own
        for lines in (logits, logits.T)
        for line, own in zip(lines, chosen, strict=True)) / 8
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)


def test_the_scale_of_the_cosines_stops_at_one_hundred():
    model = tiny_clip()
    model.clip.logit_scale.data.fill_(9.)
    losses = model(images(), samples(), mode='loss')
    assert losses['logit_scale'].item() == pytest.approx(100, rel=1e-5)


def test_texts_without_padding_are_what_open_clip_makes_of_all_positions():
    model = tiny_clip()
    whole = model.clip.encode_text(tokenize(TEXTS, 12), normalize=True)
    torch.testing.assert_close(model.encode_texts(TEXTS), whole)
    torch.testing.assert_close(model.encode_texts(TEXTS[:1]), whole[:1])


def test_a_text_that_is_too_long_is_named_and_not_cut():
    with pytest.raises(ValueError, match='striped.*limit'):
        tiny_clip().encode_texts(['a striped red star ' * 4])


def test_the_answer_is_the_text_with_the_largest_cosine():
    model = tiny_clip()
    cosines = model(images(2)) @ model.encode_texts(TEXTS).T
    best = cosines[0].argmax().item()
    asked = [BaseDataElement(questions={'which': (TEXTS, 0)}),
             BaseDataElement(questions={'pair': (TEXTS[2:], 1), 'one': (TEXTS[:1], 0)})]
    first, second = model(images(2), asked, mode='predict')
    assert first.answers == {'which': best}
    assert second.answers == {'pair': cosines[1, 2:].argmax().item(), 'one': 0}


def test_residual_branches_start_at_zero_by_default():
    for settings, start in ((dict(zero_init_residual=True), 0), ({}, 1)):
        visual = tiny_clip(**settings).clip.visual
        assert (visual.layer4[0].bn3.weight == start).all()
        assert (visual.bn3.weight == 1).all()  # of the stem, no branch


def test_an_unknown_mode_is_named():
    with pytest.raises(ValueError, match="'losses'"):
        tiny_clip()(images(), samples(), mode='losses')


def loss_and_gradients(rank, world_size):
    """Of this rank's share of the batch, gradients averaged over ranks as DDP does."""
    model = tiny_clip()
    share = slice(rank * 4 // world_size, (rank + 1) * 4 // world_size)
    losses = model(images()[share], samples(TEXTS[share]), mode='loss')
    losses['loss_contrastive'].backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    if world_size > 1:
        for gradient in gradients.values():
            torch.distributed.all_reduce(gradient)
            gradient /= world_size
    return losses['loss_contrastive'].detach(), gradients


def test_two_processes_have_the_loss_and_gradients_of_the_joint_batch():
    loss, gradients = loss_and_gradients(0, 1)
    ranks = on_ranks(2, loss_and_gradients, 2)
    torch.testing.assert_close(sum(each for each, _ in ranks) / 2, loss)
    for name, gradient in gradients.items():
        assert gradient.abs().sum() > 0, name
        for _, averaged in ranks:
            torch.testing.assert_close(
                averaged[name], gradient, rtol=1e-3, atol=1e-5, msg=name)
