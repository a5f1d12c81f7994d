"""Phrases of the toy world as items, and the tokenizer file that knows their words."""
import random
import re
from collections import Counter

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmcontrast.datasets.shapes import draw_scene, scene_seed
from mmcontrast.datasets.shapes.vocabulary import ATTRIBUTES
from mmcontrast.datasets.shapes.words import VOCAB_SIZE, WORDS_FILE, train_words
from mmcontrast.errors import UserValueError
from mmcontrast.registry import DATASETS


def dataset(num_images=12, **options):
    return DATASETS.build(
        dict(type='ShapesGrounding', num_images=num_images, **options))


def referred(item):
    return tuple(i for i, thing in enumerate(item['objects']) if thing['referred'])


# Items.

def test_every_expression_of_a_scene_is_an_item_with_its_targets():
    items = list(dataset(split='val', size=64))
    expected = [(i, expression.text, expression.targets) for i in range(12)
                for expression in draw_scene(scene_seed('val', i), 64).referring]
    assert expected == [
        (item['img_id'], item['text'], referred(item)) for item in items]
    assert [item['sentence_id'] for item in items] == list(range(len(items)))
    assert {len(targets) for _, _, targets in expected} >= {0, 1, 2}


def test_an_item_shows_the_scene_as_a_file_of_it_would():
    item, scene = dataset(4)[-1], draw_scene(scene_seed('train', 3))
    np.testing.assert_array_equal(item['img'], scene.image[..., ::-1])
    assert item['img'].flags.c_contiguous
    assert item['height'] == item['width'] == 128
    assert item['img_path'] == 'shapes://train/3'
    for thing, box, mask in zip(item['objects'], scene.boxes_xyxy, scene.masks,
                                strict=True):
        x, y, width, height = thing['bbox']
        assert [x, y, x + width, y + height] == box.tolist()
        decoded = coco_mask.decode(thing['segmentation'])
        np.testing.assert_array_equal(decoded, mask)
        assert thing['area'] == mask.sum()
    assert [tuple(words[i] for words, i in zip(
        ATTRIBUTES.values(), thing['attributes'], strict=True))
        for thing in item['objects']] == [
            (thing.texture, thing.color, thing.shape) for thing in scene.objects]


def test_a_drawn_phrase_is_another_one_at_the_next_visit():
    data = dataset(3, sentences='random', cache=True)
    assert len(data) == 3
    random.seed(0)
    seen = Counter(data[0]['text'] for _ in range(400))
    texts = [e.text for e in draw_scene(scene_seed('train', 0)).referring]
    assert set(seen) == set(texts)
    assert min(seen.values()) > 400 / len(texts) / 2
    # The number of a phrase is that of the same phrase among all.
    everything = {item['sentence_id']: item['text'] for item in dataset(3)}
    for item in data:
        assert everything[item['sentence_id']] == item['text']


def test_kinds_choose_how_many_objects_a_phrase_means():
    counts = {kind: {min(len(referred(item)), 2) for item in dataset(6, kinds=[kind])}
              for kind in ('one', 'many', 'none')}
    assert counts == dict(one={1}, many={2}, none={0})
    every = [len(dataset(6, kinds=[kind])) for kind in counts]
    assert sum(every) == len(dataset(6))
    # A scene whose phrases are of other kinds is no item.
    assert len(dataset(40, kinds=['many'], sentences='random', num_objects=(1, 2))) < 40


def test_a_kept_scene_is_as_it_was_drawn_whatever_a_pipeline_writes():
    kept, drawn = dataset(2, cache=True), dataset(2)
    item = kept[0]
    item['img'][:] = 0
    item['objects'].clear()
    for first, second in zip(kept, drawn, strict=True):
        np.testing.assert_array_equal(first.pop('img'), second.pop('img'))
        assert first == second


@pytest.mark.parametrize('options, words', [
    (dict(sentences='first'), "sentences must be one of ('each', 'random')"),
    (dict(kinds='one'), 'kinds must list one or more of'),
    (dict(kinds=[]), 'kinds must list one or more of'),
    (dict(kinds=['one', 'two']), 'kinds must list one or more of'),
    (dict(num_images=1, kinds=['many'], num_objects=(1, 1)),
     'None of the 1 scenes has a phrase of the kinds')])
def test_options_out_of_range_are_named(options, words):
    with pytest.raises(UserValueError, match=re.escape(words)):
        dataset(**options)


# The tokenizer file.

def test_the_shipped_words_are_those_that_training_gives_again():
    sentencepiece = pytest.importorskip('sentencepiece')
    # Pieces, not bytes: the file also holds the defaults of the library's version.
    shipped, trained = (
        sentencepiece.SentencePieceProcessor(model_proto=content)
        for content in (WORDS_FILE.read_bytes(), train_words()))
    assert [shipped.id_to_piece(i) for i in range(VOCAB_SIZE - 1)] == [
        trained.id_to_piece(i) for i in range(trained.vocab_size())]


def test_every_word_of_an_expression_is_one_known_piece():
    sentencepiece = pytest.importorskip('sentencepiece')
    words = sentencepiece.SentencePieceProcessor(model_file=str(WORDS_FILE))
    assert words.vocab_size() == VOCAB_SIZE - 1
    # Scenes that the file was not trained on.
    texts = [item['text'] for item in dataset(30, split='val', size=32)]
    ids = words.encode(texts)
    assert words.unk_id() not in sum(ids, [])
    assert [len(row) for row in ids] == [len(text.split()) for text in texts]
    assert words.unk_id() not in words.encode('a photo of the heart')
