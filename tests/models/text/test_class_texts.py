"""ClassTexts: what is embedded, what is kept and dropped, and other vocabularies."""
import copy

import pytest
import torch
from torch import nn

pytest.importorskip('open_clip')
from mmcontrast.models.text import embed_classes, tokenize
from mmcontrast.models.text.class_texts import ClassTexts, mean_by_class
from mmcontrast.models.text.packing import PackedTexts
from mmcontrast.registry import MODELS
from tests.helpers.tiny_denseclip import Calls

NAMES = ('sky', 'a red car', 'tree')
ENCODER = dict(type='CLIPTextEncoder', embed_dims=24, width=16, heads=2, layers=2)


def class_texts(vocabulary=NAMES, encoder=ENCODER, **kwargs) -> ClassTexts:
    torch.manual_seed(0)
    texts = ClassTexts(vocabulary, encoder, **kwargs)
    for parameter in texts.text_encoder.parameters():
        if parameter.ndim == 2:
            # CLIP's start is so small that all texts would be alike.
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    return texts


@torch.no_grad()
def test_without_contexts_it_is_the_zero_shot_classifier_of_clip():
    texts = class_texts([['car', 'auto'], 'sky'], templates='scene')
    wanted = embed_classes(texts.text_encoder, [['car', 'auto'], 'sky'], 'scene')
    torch.testing.assert_close(texts(), wanted)
    assert len(texts.tokens) == 3 * 8


@torch.no_grad()
def test_without_normalization_synonyms_give_their_plain_mean():
    texts = class_texts([['car', 'auto'], 'sky'], normalize=False)
    car, auto, sky = texts.text_encoder(tokenize(['car', 'auto', 'sky']))
    torch.testing.assert_close(texts(), torch.stack([(car + auto) / 2, sky]))


@torch.no_grad()
def test_many_prompts_pass_in_parts_and_give_the_same(monkeypatch):
    texts = class_texts(templates='scene').eval()
    whole = texts()
    monkeypatch.setattr('mmcontrast.models.text.class_texts.BATCH_SIZE', 5)
    texts.eval()
    calls = Calls(texts.text_encoder)
    torch.testing.assert_close(texts(), whole)
    assert calls.count == 5  # 24 prompts


def test_tokens_are_packed_once_a_vocabulary_in_training(monkeypatch):
    packed, pack = [], PackedTexts.of
    monkeypatch.setattr(
        PackedTexts, 'of', lambda tokens: packed.append(len(tokens)) or pack(tokens))
    monkeypatch.setattr('mmcontrast.models.text.class_texts.BATCH_SIZE', 2)
    texts = class_texts(num_contexts=2).train()
    for _ in range(3):
        texts().sum().backward()
        texts(torch.randn(2, 2, 16))
        texts.double().float().to('cpu')
    assert packed == [3]
    texts.set_vocabulary(['sky', 'sea'])
    texts()
    texts()
    assert packed == [3, 2]


def test_means_of_classes_are_those_of_a_loop():
    embeds = torch.randn(2, 6, 5, dtype=torch.double, requires_grad=True)
    counts = [3, 1, 2]
    wanted = torch.stack([part.mean(1) for part in embeds.split(counts, dim=1)], 1)
    found = mean_by_class(embeds, torch.tensor(counts))
    torch.testing.assert_close(found, wanted)
    weight = torch.randn_like(wanted)
    torch.testing.assert_close(torch.autograd.grad((found * weight).sum(), embeds),
                               torch.autograd.grad((wanted * weight).sum(), embeds))


def test_means_of_half_precision_are_accumulated_in_single():
    # A sum in float16 stops at 2048.
    embeds = torch.ones(5000, 1, dtype=torch.half)
    assert mean_by_class(embeds, torch.tensor([4999, 1])).tolist() == [[1], [1]]
    assert mean_by_class(embeds, torch.tensor([4999, 1])).dtype == torch.half


def test_contexts_of_the_caller_replace_the_learned_ones():
    texts = class_texts(num_contexts=2)
    own = torch.randn(3, 2, 16, requires_grad=True)
    found = texts(own)
    assert found.shape == (3, 3, 24) and texts(texts.contexts)[0].equal(texts())
    found.sum().backward()
    assert own.grad.abs().sum() > 0 and texts.contexts.grad is None


def test_the_encoder_has_the_positions_that_contexts_and_texts_need():
    assert class_texts().text_encoder.context_length == 77
    short = class_texts(num_contexts=4, min_text_length=5)
    assert short.text_encoder.context_length == 9
    long = class_texts(['sky', 'a very small red car'], num_contexts=4,
                       min_text_length=5)
    assert long.text_encoder.context_length == 4 + 7


def test_a_built_encoder_is_taken_as_it_is():
    encoder = MODELS.build(dict(ENCODER, frozen=False))
    texts = class_texts(encoder=encoder)
    assert texts.text_encoder is encoder
    assert encoder.text_projection.requires_grad


# What is computed once.

def test_embeddings_are_computed_once_without_gradients_in_eval_mode():
    texts = class_texts(num_contexts=2).eval()
    calls = Calls(texts.text_encoder)
    with torch.no_grad():
        assert texts() is texts()
    assert calls.count == 1
    texts().sum().backward()
    assert calls.count == 2 and texts.contexts.grad.abs().sum() > 0
    texts.train()
    with torch.no_grad():
        texts()
        texts()  # A momentum encoder changes in between.
    assert calls.count == 4


def test_a_frozen_encoder_without_contexts_runs_once_in_training_too():
    texts = class_texts().train()
    calls = Calls(texts.text_encoder)
    weight = torch.ones(24, requires_grad=True)
    with torch.inference_mode():
        texts()
    for _ in range(2):
        (texts() @ weight).sum().backward()
    assert calls.count == 1
    texts.text_encoder.requires_grad_(True)
    texts().sum().backward()
    assert calls.count == 2
    assert texts.text_encoder.text_projection.grad.abs().sum() > 0


@pytest.mark.parametrize('change', [
    lambda texts: texts.train().eval(),
    lambda texts: texts.eval(),
    lambda texts: texts.double(),
    lambda texts: texts.load_state_dict(texts.state_dict()),
    lambda texts: texts.text_encoder.ln_final.load_state_dict(
        texts.text_encoder.ln_final.state_dict()),
    lambda texts: texts.contexts.add_(1),
    lambda texts: nn.Sequential(texts).eval(),
    lambda texts: nn.Sequential(texts).load_state_dict(
        nn.Sequential(texts).state_dict())])
@torch.no_grad()
def test_embeddings_are_dropped_when_they_may_be_stale(change):
    texts = class_texts(num_contexts=2).eval()
    texts()
    change(texts)
    calls = Calls(texts.text_encoder)
    found = texts()
    assert calls.count == 1
    assert found.equal(texts(texts.contexts)[0])


def test_an_optimizer_step_in_eval_mode_changes_the_embeddings():
    texts = class_texts(num_contexts=2).eval()
    optimizer = torch.optim.SGD([texts.contexts], lr=1.)
    with torch.no_grad():
        before = texts()
    texts().sum().backward()
    optimizer.step()
    with torch.no_grad():
        assert not torch.allclose(texts(), before)


@torch.no_grad()
def test_a_copy_keeps_embeddings_of_its_own():
    texts = class_texts(num_contexts=2).eval()
    before = texts()
    other = copy.deepcopy(texts)
    other.contexts.zero_()
    assert not torch.allclose(other(), before) and texts() is before


# Other vocabularies.

@torch.no_grad()
def test_another_vocabulary_for_a_while():
    texts = class_texts(num_contexts=2).eval()
    before, calls = texts(), Calls(texts.text_encoder)
    with texts.temporarily('dog;cat'):
        assert texts.class_names == ['dog', 'cat'] and len(texts) == 2
        assert not texts.is_trained_vocabulary
        assert texts().shape == (2, 24)
    # Both are kept.
    assert texts() is before and texts.is_trained_vocabulary
    with texts.temporarily('dog;cat'):
        texts()
    assert calls.count == 1


def test_the_vocabulary_is_restored_after_an_error():
    texts = class_texts()
    texts.set_vocabulary('dog;cat')
    with pytest.raises(RuntimeError), texts.temporarily(None):
        assert texts.class_names == list(NAMES)
        raise RuntimeError
    assert texts.class_names == ['dog', 'cat']


@torch.no_grad()
def test_a_vocabulary_is_set_for_good_and_the_trained_one_comes_back():
    texts = class_texts().eval()
    before = texts()
    texts.set_vocabulary([['tree', 'oak'], 'sky'])
    tree, sky = texts()
    torch.testing.assert_close(sky, before[0])
    assert not torch.allclose(tree, before[2])
    texts.set_vocabulary(None)
    assert texts().equal(before)


def test_a_vocabulary_that_cannot_be_used_leaves_the_one_before():
    texts = class_texts(num_contexts=2, min_text_length=5)
    for wrong, message in (
            (['a very small red car'], "'a very small red car' has 7 tokens.*=5"),
            ([], 'no class'), (['Sky', 'sky'], "'sky' twice")):
        with pytest.raises(ValueError, match=message):
            texts.set_vocabulary(wrong)
        assert texts.class_names == list(NAMES) and len(texts.tokens) == 3


# What a checkpoint holds.

def test_a_checkpoint_holds_weights_and_the_notes_the_trained_vocabulary():
    texts = class_texts([['car', 'auto'], 'sky'], num_contexts=2).eval()
    with torch.no_grad():
        texts()
    texts.set_vocabulary('dog;cat')
    assert texts.notes == [['car', 'auto'], ['sky']]
    assert texts.state_dict().keys() == {
        'contexts', *(f'text_encoder.{key}' for key in texts.text_encoder.state_dict())}


def test_the_encoder_is_initialized_with_the_model_that_contains_it(monkeypatch):
    from mmengine.model import BaseModule
    model = BaseModule()
    model.class_texts = class_texts(encoder=dict(
        ENCODER, init_cfg=dict(type='CLIPPretrained', checkpoint='weights.pt')))
    state = class_texts().text_encoder.state_dict()
    monkeypatch.setattr('mmcontrast.models.clip_weights.load_clip_state',
                        lambda source: dict(state))
    model.init_weights()
    for key, value in model.class_texts.text_encoder.state_dict().items():
        assert value.equal(state[key])


@torch.no_grad()
def test_the_background_is_embedded_behind_the_classes_and_is_none_of_them():
    texts = class_texts(templates='scene', background='.').eval()
    wanted = embed_classes(texts.text_encoder, [*NAMES, '.'], 'scene')
    torch.testing.assert_close(texts(), wanted)
    assert len(texts) == 3 and texts.class_names == list(NAMES) == [
        name for name, in texts.notes]
    texts.set_vocabulary('moon;')
    torch.testing.assert_close(texts(), embed_classes(
        texts.text_encoder, ['moon', '.'], 'scene'))
