"""The text tower: the same numbers as open_clip's plain one, with less work."""
import math
import sys

import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import QuickGELU, TextTransformer
from torch import nn

from mmcontrast.models.text import CLIPTextEncoder, tokenize
from mmcontrast.models.text.packing import PackedTexts
from mmcontrast.registry import MODELS

SIZES = dict(embed_dims=12, width=16, heads=2, layers=3, context_length=14)
TEXTS = ['wall', 'chest of drawers', 'sky', 'traffic light', '']


def plain_tower(quick_gelu=True):
    """open_clip's module, with positions that matter."""
    torch.manual_seed(0)
    tower = TextTransformer(
        context_length=14, vocab_size=49408, width=16, heads=2, layers=3, output_dim=12,
        act_layer=QuickGELU if quick_gelu else nn.GELU)
    for parameter in tower.parameters():
        nn.init.normal_(parameter, std=0.5)
    return tower.double()


def encoder_like(tower, **changes):
    encoder = CLIPTextEncoder(**SIZES | changes).double()
    encoder.load_state_dict(tower.state_dict())
    return encoder


def plain_embeds(tower, tokens, contexts):
    """Every text whole: start, contexts, rest; one set of contexts at a time."""
    rows = []
    for context in contexts:
        x = tower.token_embedding(tokens)
        x = torch.cat([x[:, :1], context.expand(len(x), -1, -1), x[:, 1:]], dim=1)
        length = x.shape[1]
        x = tower.transformer(x + tower.positional_embedding[:length],
                              attn_mask=tower.attn_mask[:length, :length])
        ends = tokens.argmax(1) + len(context)
        rows.append(tower.ln_final(x)[range(len(x)), ends] @ tower.text_projection)
    return torch.stack(rows)


@pytest.mark.parametrize('quick_gelu', [True, False])
def test_shared_start_changes_neither_embeddings_nor_gradients(quick_gelu):
    tower = plain_tower(quick_gelu)
    encoder = encoder_like(tower, quick_gelu=quick_gelu, frozen=False)
    contexts = torch.randn(2, 4, 16, dtype=torch.double, requires_grad=True)
    tokens = tokenize(TEXTS, 8)
    weight = torch.randn(2, 5, 12, dtype=torch.double)
    grads = []
    for embeds, module in ((encoder(tokens, contexts), encoder),
                           (plain_embeds(tower, tokens, contexts), tower)):
        names, parameters = zip(*module.named_parameters(), strict=True)
        found = torch.autograd.grad((embeds * weight).sum(), [contexts, *parameters])
        grads.append((embeds, dict(zip(('contexts', *names), found, strict=True))))
    torch.testing.assert_close(*grads)


def test_without_contexts_it_is_open_clips_tower():
    tower = plain_tower()
    tokens = tokenize(TEXTS, 14)
    torch.testing.assert_close(encoder_like(tower)(tokens), tower(tokens))


def test_width_and_place_of_the_tokens_do_not_matter():
    encoder = encoder_like(plain_tower())
    narrow, wide = tokenize(TEXTS, 5), tokenize(TEXTS, 77)
    torch.testing.assert_close(encoder(wide), encoder(narrow), rtol=0, atol=0)
    one_by_one = torch.cat([encoder(row[None]) for row in narrow])
    torch.testing.assert_close(encoder(narrow), one_by_one)


def test_truncated_texts_are_those_of_open_clip():
    texts = ['a photo of a small red star', 'heart']
    with pytest.raises(ValueError, match='context_length=6'):
        tokenize(texts, 6)
    with pytest.warns(UserWarning, match='truncated'):
        got = tokenize(texts, 6, truncate=True)
    assert got.equal(SimpleTokenizer()(texts, context_length=6))
    assert tokenize(texts, 20, truncate=True).equal(tokenize(texts, 20))


def test_tokens_changed_in_place_are_noticed():
    encoder = encoder_like(plain_tower())
    tokens = tokenize(['sky', 'wall'], 5)
    before = encoder(tokens)
    tokens.copy_(tokenize(['wall', 'chest of drawers'], 5))
    torch.testing.assert_close(encoder(tokens)[0], before[1])


def test_what_was_packed_in_inference_mode_trains_later():
    encoder = encoder_like(plain_tower(), frozen=False)
    tokens = tokenize(TEXTS, 5)
    with torch.inference_mode():
        encoder(tokens)
    encoder(tokens).sum().backward()
    assert encoder.token_embedding.weight.grad.abs().sum() > 0


def test_a_frozen_tower_builds_gradients_for_the_contexts_alone():
    encoder = encoder_like(plain_tower())
    contexts = torch.randn(1, 4, 16, dtype=torch.double, requires_grad=True)
    embeds = encoder(tokenize(TEXTS, 6), contexts)
    leaves, todo = [], [embeds.grad_fn]
    while todo:
        for node, _ in todo.pop().next_functions:
            if node is not None:
                leaves += [node.variable] if hasattr(node, 'variable') else []
                todo.append(node)
    assert {id(leaf) for leaf in leaves} == {id(contexts)}
    assert not encoder(tokenize(TEXTS, 6)).requires_grad


def test_packed_texts_hold_own_tokens_only():
    texts = PackedTexts.of(torch.tensor([[7, 3, 9, 0], [7, 9, 0, 0], [7, 1, 2, 9]]))
    assert texts.ids.tolist() == [3, 9, 9, 1, 2, 9]
    assert texts.positions.tolist() == [0, 1, 0, 0, 1, 2]
    assert texts.ends.tolist() == [1, 2, 5]
    assert texts.cells.tolist() == [0, 1, 3, 6, 7, 8]
    assert texts.table[texts.cells].tolist() == [0, 1, 2, 3, 4, 5]
    assert (texts.num_texts, texts.longest) == (3, 3)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_stays_close(dtype):
    tower = plain_tower()
    encoder = encoder_like(tower)
    contexts = torch.randn(1, 4, 16, dtype=torch.double)
    exact = encoder(tokenize(TEXTS, 6), contexts)
    half = encoder.to(dtype)(tokenize(TEXTS, 6), contexts.to(dtype))
    assert half.dtype == dtype
    cosine = nn.functional.cosine_similarity(half.double(), exact, dim=-1)
    assert cosine.min() > 0.999


def test_autocast_computes_in_bfloat16_and_trains():
    encoder = encoder_like(plain_tower(), frozen=False).float()
    contexts = torch.randn(2, 4, 16, requires_grad=True)
    exact = encoder(tokenize(TEXTS, 6), contexts)
    with torch.autocast('cpu', torch.bfloat16):
        embeds = encoder(tokenize(TEXTS, 6), contexts)
    assert embeds.dtype == torch.bfloat16
    cosine = nn.functional.cosine_similarity(embeds.float(), exact, dim=-1)
    assert cosine.min() > 0.999
    embeds.float().sum().backward()
    assert contexts.grad.isfinite().all()


def test_without_open_clip_its_pip_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'open_clip', None)
    with pytest.raises(ImportError, match='pip install open_clip_torch'):
        CLIPTextEncoder(**SIZES)


def test_the_config_names_it_and_a_tower_gives_its_sizes():
    encoder = MODELS.build(dict(
        type='CLIPTextEncoder', tower='ViT-B-32', context_length=13))
    state = {key: tuple(value.shape) for key, value in encoder.state_dict().items()}
    assert len(state) == 149
    assert state['positional_embedding'] == (13, 512)
    assert state['text_projection'] == (512, 512)
    assert (encoder.embed_dims, encoder.width, encoder.context_length) == (512, 512, 13)


@pytest.mark.parametrize('changes, message', [
    (dict(tower='RN5O'), "knows no tower 'RN5O': did you mean .*'RN50'"),
    (dict(tower='RN50', embed_dims=512), r'embed_dims=512 \(it has 1024\)'),
    (dict(tower='RN50', context_length=78), r'context_length=78 \(it has 77 positions'),
    (dict(tower='roberta-ViT-B-32'), "hf_model_name': 'roberta-base'"),
    (dict(tower='coca_ViT-B-32'), "embed_cls': True"),
    (dict(width=10, heads=4), 'width=10 .* heads=4: expected a multiple')])
def test_towers_that_cannot_be_built_say_why(changes, message):
    with pytest.raises(ValueError, match=message):
        CLIPTextEncoder(**changes)


@pytest.mark.parametrize('tokens, contexts, message', [
    ((2, 77), (1, 4, 8), r'contexts must be \(B, N, 16\).* got \(1, 4, 8\)'),
    ((2, 77), (4, 16), r'contexts must be \(B, N, 16\).* got \(4, 16\)'),
    ((2, 77), (1, 12, 16), '12 contexts and the 3 tokens .* need 15 positions, .* 14'),
    ((0, 77), None, r'at least one text .* got \(0, 77\)'),
    ((77,), None, r'tokens must be \(K, L\) .* got \(77,\)')])
def test_inputs_that_do_not_fit_are_named(tokens, contexts, message):
    ids = tokenize(['wall', 'sky']).flatten()[:math.prod(tokens)].view(tokens)
    contexts = None if contexts is None else torch.zeros(contexts)
    with pytest.raises(ValueError, match=message):
        CLIPTextEncoder(**SIZES)(ids, contexts)
