"""Training of PropVG: unusual targets, ranks, padding, half precision."""
import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from mmcontrast.methods.propvg.matching import match, referred_queries
from mmcontrast.methods.propvg.propvg import grounding_targets
from mmcontrast.testing.ranks import on_ranks
from tests.helpers import tiny_propvg
from tests.helpers.tiny_propvg import NUM_QUERIES, SIZE

LEFT, RIGHT = [4, 8, 28, 56], [34, 8, 60, 56]


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def losses_of(model, samples: list) -> dict:
    return model(images(len(samples)), samples, mode='loss')


def test_a_phrase_without_target_is_learned_as_empty_mask_and_absence():
    model = tiny_propvg.build(head=dict(dropout=0)).train()
    samples = [tiny_propvg.sample([LEFT, RIGHT], [False, False])] * 2
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    seen = []
    for _ in range(15):
        outputs = model(images(2), samples)
        losses = model.head.loss(outputs, grounding_targets(samples, images(2)))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        seen.append((outputs.mask_logits.sigmoid().mean().item(),
                     outputs.refer.max().item(), outputs.exists.max().item()))
    first, last = seen[0], seen[-1]
    assert last[0] < 0.8 * first[0]
    assert last[1] < 0.01 < first[1] and last[2] < 0.01 < first[2]


def test_more_objects_than_queries():
    """A referred object that gets no query leaves no trace, but the target exists."""
    model = tiny_propvg.build().train()
    boxes = [[5 * i, 4, 5 * i + 10, 50] for i in range(NUM_QUERIES + 4)]
    samples = [tiny_propvg.sample(boxes, [True] * len(boxes))]
    losses = losses_of(model, samples)
    assert all(loss.isfinite() for loss in losses.values())
    targets = grounding_targets(samples, images(1))
    outputs = model(images(1), samples)
    proposals = outputs.proposals
    matches = match(proposals.logits[-1], proposals.boxes[-1], targets)
    assert referred_queries(matches, targets, NUM_QUERIES).sum() == NUM_QUERIES
    assert targets.exists.tolist() == [True]


@pytest.mark.parametrize('samples', [
    [tiny_propvg.sample([], [])],
    [tiny_propvg.sample([], []), tiny_propvg.sample([LEFT], [True])]])
def test_images_without_objects(samples):
    """Alone, which is also a batch of one, and next to another."""
    model = tiny_propvg.build().train()
    losses = losses_of(model, samples)
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_targets_are_relative_to_the_input():
    samples = [tiny_propvg.sample([LEFT, RIGHT], [False, True]),
               tiny_propvg.sample([], [])]
    targets = grounding_targets(samples, images(2))
    # (4 + 28) / 2 / 64 = 0.25, (28 - 4) / 64 = 0.375
    assert targets.boxes[0][0].tolist() == [0.25, 0.5, 0.375, 0.75]
    assert targets.boxes[1].shape == (0, 4)
    assert targets.exists.tolist() == [True, False]
    assert targets.masks[0].sum() == 26 * 48 and not targets.masks[1].any()


def gradients_of_rank(rank: int) -> dict:
    """Rank 1 has no object at all; no unused parameters are looked for."""
    model = DistributedDataParallel(tiny_propvg.build(head=dict(dropout=0)).train())
    samples = [tiny_propvg.sample([LEFT, RIGHT], [True, False])] if rank == 0 else [
        tiny_propvg.sample([], [])]
    losses = losses_of(model, samples)
    sum(losses.values()).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_a_rank_without_objects_takes_part():
    one, other = on_ranks(2, gradients_of_rank)
    for name, gradient in one.items():
        assert gradient.isfinite().all() and torch.equal(gradient, other[name]), name


@torch.no_grad()
@pytest.mark.parametrize('corrected', [True, False])
def test_padding_of_phrases_changes_scores_of_the_reference_only(corrected):
    poolings = dict(sentence_pooling='masked_max', word_pooling='masked')
    found = []
    # The phrase has five tokens: without padding and with it.
    for max_tokens in (5, 12):
        model = tiny_propvg.build(head=poolings if corrected else {}, tokenizer=dict(
            max_tokens=max_tokens)).eval()
        found += model.ground(images(1), [['the red circle']])[0]
    short, long = found
    torch.testing.assert_close(long.boxes_norm, short.boxes_norm)
    torch.testing.assert_close(long.mask_logits, short.mask_logits)
    difference = (long.scores / short.scores - 1).abs().max()
    assert difference < 1e-5 if corrected else difference > 0.01


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_losses_in_half_precision_are_close_to_those_in_full(dtype):
    model = tiny_propvg.build(head=dict(dropout=0), encoder=dict(drop_path=0)).train()
    samples = tiny_propvg.batch(3)['data_samples']
    exact = losses_of(model, samples)
    with torch.autocast('cpu', dtype):
        outputs = model(images(3), samples)
        losses = losses_of(model, samples)
    for x in (outputs.refer, outputs.exists, outputs.mask_logits,
              outputs.proposals.boxes, *losses.values()):
        assert x.dtype == torch.float32
    for name, loss in losses.items():
        torch.testing.assert_close(loss, exact[name], rtol=0.05, atol=0.02)
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_predictions_under_bfloat16():
    model = tiny_propvg.build().eval()
    phrases = [['the red circle', 'a circle']]
    exact, = model.ground(images(1), phrases)
    with torch.autocast('cpu', torch.bfloat16):
        found, = model.ground(images(1), phrases)
    for one, other in zip(found, exact, strict=True):
        assert one.mask_logits.dtype == one.scores.dtype == torch.float32
        torch.testing.assert_close(one.boxes_norm, other.boxes_norm, rtol=0, atol=0.02)
