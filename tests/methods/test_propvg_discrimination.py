"""Refer scoring and target discrimination of PropVG."""
import pytest
import torch

from mmcontrast.methods.propvg.refer_scoring import ContrastiveReferScoring
from mmcontrast.methods.propvg.target_discrimination import (
    TargetDiscrimination,
    pixel_position_code,
)
from tests.helpers.propvg_case import padding_mask

CHANNELS, CORRECTED = 16, dict(sentence_pooling='masked_max', word_pooling='masked')


def refer_scoring(**options) -> ContrastiveReferScoring:
    torch.manual_seed(0)
    return ContrastiveReferScoring(
        CHANNELS, num_layers=1, num_heads=2, feedforward=8, **options).eval()


def target_discrimination(**options) -> TargetDiscrimination:
    torch.manual_seed(0)
    return TargetDiscrimination(
        CHANNELS, num_heads=2, feedforward=8, **options).eval()


def proposals_and_words(num_tokens: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(2, 6, CHANNELS, generator=generator),
            torch.randn(2, 9, CHANNELS, generator=generator)[:, :num_tokens])


@torch.no_grad()
def test_padding_of_the_text_is_ignored_by_the_corrected_poolings_only():
    query, text = proposals_and_words()
    short, long = (padding_mask([5, 5], total) for total in (5, 9))
    corrected, reference = refer_scoring(**CORRECTED), refer_scoring()
    torch.testing.assert_close(corrected(query, text, long),
                               corrected(query, text[:, :5], short))
    assert (reference(query, text, long)
            - reference(query, text[:, :5], short)).abs().max() > 0.01


def test_a_sentence_is_its_last_two_positions_in_the_reference():
    _, text = proposals_and_words(4)
    padding = padding_mask([2, 4], 4)
    padded, whole = refer_scoring().sentence_vector(text, padding)
    assert torch.equal(padded, text[0, 2:].amax(0))
    assert torch.equal(whole, text[1, 3])


def test_the_maximum_over_words_of_the_paper():
    _, text = proposals_and_words(4)
    sentence = refer_scoring(**CORRECTED).sentence_vector(text, padding_mask([2, 4], 4))
    assert torch.equal(sentence, torch.stack([text[0, :2].amax(0), text[1].amax(0)]))


@pytest.mark.parametrize('build, option', [
    (refer_scoring, 'sentence_pooling'), (refer_scoring, 'word_pooling'),
    (target_discrimination, 'pixel_token_layout')])
def test_unknown_options_are_refused_with_a_suggestion(build, option):
    with pytest.raises(ValueError, match=f"{option} must be .* mean 'reference'?"):
        build(**{option: 'referense'})


def maps(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return (torch.randn(2, CHANNELS, size, size, generator=generator),
            torch.rand(2, 1, size, size, generator=generator))


@torch.no_grad()
def test_existence_is_a_product_and_small_maps_count_all_their_pixels():
    net, (query, _), (pixels, mask) = target_discrimination(), proposals_and_words(), (
        maps(2))
    refer = torch.rand(2, 6)
    said = net.mlp(net.read(query, refer, pixels, mask)).sigmoid().flatten()
    expected = said * refer.max(1).values * mask.mean((1, 2, 3))
    torch.testing.assert_close(net(query, refer, pixels, mask), expected)


@torch.no_grad()
def test_training_counts_fewer_pixels_than_evaluation():
    net, (query, _), (pixels, mask) = (
        target_discrimination(top_k=4, train_top_k=1, dropout=0),
        proposals_and_words(), maps(4))
    refer = torch.rand(2, 6)
    ratio = net.train()(query, refer, pixels, mask) / net.eval()(
        query, refer, pixels, mask)
    best = mask.flatten(1).sort(descending=True).values
    torch.testing.assert_close(ratio, best[:, 0] / best[:, :4].mean(1))


def test_gradients_reach_scores_mask_and_features():
    net, (query, _), (pixels, mask) = (
        target_discrimination(), proposals_and_words(), maps(4))
    refer = torch.rand(2, 6)
    given = [x.requires_grad_() for x in (query, refer, pixels, mask)]
    net(*given).sum().backward()
    assert all(x.grad.abs().sum() > 0 for x in given)


@pytest.mark.parametrize('layout, first_token', [
    ('channels_last', lambda pixels: pixels[0, :, 0, 0]),
    ('reference', lambda pixels: pixels[0, 0].flatten()[:CHANNELS])])
def test_a_token_is_a_pixel_or_as_many_values_of_the_first_channel(layout, first_token):
    pixels, _ = maps(6)
    net = target_discrimination(pixel_token_layout=layout)
    # Whatever the strides of the map: reduced precision often leaves it channels-last.
    for given in (pixels, pixels.contiguous(memory_format=torch.channels_last)):
        assert torch.equal(net._pixel_tokens(given)[0, 0], first_token(pixels))


def test_a_position_code_made_for_inference_serves_training():
    pixel_position_code.cache_clear()
    with torch.inference_mode():
        code = pixel_position_code(CHANNELS, 3, 5, torch.device('cpu'))
    assert code.shape == (15, CHANNELS) and not code.is_inference()


@torch.no_grad()
def test_scores_stay_in_float32_inside_of_autocast():
    net, (query, text) = refer_scoring(), proposals_and_words()
    exact = net(query, text, padding_mask([5, 9], 9))
    with torch.autocast('cpu', torch.bfloat16):
        scores = net(query, text, padding_mask([5, 9], 9))
        exists = target_discrimination()(query, scores, *maps(4))
    assert scores.dtype == exists.dtype == torch.float32
    assert (scores - exact).abs().max() < 0.1
