"""Class embeddings: CLIP's average of prompts, and their cache on disk."""
import logging

import pytest
import torch
from mmengine.logging import MMLogger
from torch.nn.functional import normalize

from mmcontrast.models.text import (
    CLIPTextEncoder,
    EmbeddingCache,
    embed_classes,
    tokenize,
)
from mmcontrast.models.text.class_embeddings import describe_tower

TEMPLATES = ['a {}', 'a photo of the {}.']


def small_encoder(seed=0):
    torch.manual_seed(seed)
    return CLIPTextEncoder(embed_dims=6, width=8, heads=2, layers=2, context_length=12)


@pytest.fixture
def warnings(caplog):
    """Texts of the warnings that mmengine's logger gave."""
    logger = MMLogger.get_instance('text_cache')
    logger.addHandler(caplog.handler)
    yield lambda: [record.getMessage() for record in caplog.records
                   if record.levelno == logging.WARNING]
    logger.removeHandler(caplog.handler)


def test_prompts_are_normalized_averaged_and_normalized_again():
    encoder = small_encoder()
    embeds = embed_classes(encoder, [['sofa', 'couch'], 'sky'], TEMPLATES, batch_size=3)

    def mean(texts):
        rows = [normalize(encoder(tokenize([text], 12))[0], dim=0) for text in texts]
        return normalize(sum(rows) / len(rows), dim=0)
    exact = torch.stack([
        mean(['a sofa', 'a photo of the sofa.', 'a couch', 'a photo of the couch.']),
        mean(['a sky', 'a photo of the sky.'])])
    torch.testing.assert_close(embeds, exact)
    assert not embeds.requires_grad


def test_a_prompt_longer_than_the_tower_is_named():
    with pytest.raises(ValueError, match="'a photo of the chest of drawers.' has 10 "):
        encoder = CLIPTextEncoder(
            embed_dims=6, width=8, heads=2, layers=1, context_length=8)
        embed_classes(encoder, ['sky', 'chest of drawers'], TEMPLATES)


def test_cached_embeddings_are_not_computed_again(tmp_path):
    cache, tower = EmbeddingCache(tmp_path / 'new'), dict(tower='t', weights='w')
    first = cache.fetch(tower, [['sky']], lambda: torch.ones(1, 3))
    again = cache.fetch(tower, [['sky']], lambda: pytest.fail('computed again'))
    assert torch.equal(first, again)
    assert [path.suffix for path in (tmp_path / 'new').iterdir()] == ['.pth']


def test_other_weights_texts_or_activations_are_other_embeddings(tmp_path):
    encoder = small_encoder()
    first = embed_classes(encoder, ['sky', 'road'], cache=tmp_path)
    torch.testing.assert_close(embed_classes(encoder, ['sky', 'road']), first)
    swapped = embed_classes(encoder, ['road', 'sky'], cache=tmp_path)
    torch.testing.assert_close(swapped, first.flip(0))
    with torch.no_grad():
        encoder.ln_final.bias += 0.1
    changed = embed_classes(encoder, ['sky', 'road'], cache=tmp_path)
    torch.testing.assert_close(changed, embed_classes(encoder, ['sky', 'road']))
    assert not torch.allclose(changed, first)
    assert len(list(tmp_path.iterdir())) == 3


def test_the_cache_key_of_a_tower_follows_its_weights():
    encoder = small_encoder()
    same = describe_tower(encoder)
    assert describe_tower(small_encoder()) == same
    assert describe_tower(small_encoder(seed=1)) != same
    assert describe_tower(encoder.half()) != same


@pytest.mark.parametrize('damage', [
    lambda path: path.write_bytes(path.read_bytes()[:200]),
    lambda path: path.write_bytes(b''),
    lambda path: torch.save(dict(key='another', embeddings=torch.zeros(2, 6)), path),
    lambda path: torch.save(dict(torch.load(path), embeddings=torch.zeros(1, 6)), path),
    lambda path: torch.save(dict(torch.load(path), embeddings=torch.full(
        (2, 6), torch.nan)), path)])
def test_a_damaged_file_is_written_anew_with_a_warning(damage, tmp_path, warnings):
    encoder = small_encoder()
    first = embed_classes(encoder, ['sky', 'road'], cache=tmp_path)
    path, = tmp_path.iterdir()
    damage(path)
    torch.testing.assert_close(
        embed_classes(encoder, ['sky', 'road'], cache=tmp_path), first)
    warning, = warnings()
    assert 'computed again' in warning and path.name in warning
    torch.testing.assert_close(torch.load(path)['embeddings'], first)


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path, warnings):
    (tmp_path / 'file').write_text('')
    embeds = embed_classes(small_encoder(), ['sky'], cache=tmp_path / 'file' / 'cache')
    assert embeds.shape == (1, 6)
    warning, = warnings()
    assert 'are not cached' in warning
