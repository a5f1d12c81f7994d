"""Phrases of PropVG: cleaning, ids, limits, tokenizer files."""
import copy
import pickle
import sys

import pytest
import torch

pytest.importorskip('sentencepiece')
from sentencepiece import SentencePieceTrainer

from mmcontrast.methods.propvg.tokenizer import BEiT3Tokenizer, clean_phrase
from mmcontrast.registry import MODELS
from tests.helpers.propvg_case import FOLDER, Case

TINY = FOLDER / 'tiny.spm'


def test_the_ids_of_the_reference():
    case = Case('text')
    raw = case.meta['inputs']['raw']
    tokenizer = MODELS.build(dict(
        type='BEiT3Tokenizer', model_file=str(TINY),
        max_tokens=case.config['max_token']))
    assert [clean_phrase(text) for text in raw] == case.meta['cleaned']
    ids, padding = tokenizer(raw)
    case.check(dict(ids=ids, padding=padding.long()))
    assert ids.dtype == torch.int64 and padding.dtype == torch.bool
    # One row for every piece but the padding, which the file does not have.
    assert tokenizer.num_ids == case.config['pieces'] + 1


def test_the_number_of_tokens_is_fixed_and_phrases_do_not_depend_on_others():
    tokenizer = BEiT3Tokenizer(TINY, max_tokens=9)
    alone, both = tokenizer(['left']), tokenizer(['left', 'the zebra'])
    assert alone.ids.shape == (1, 9) and torch.equal(both.ids[:1], alone.ids)
    assert alone.ids[0, [0, 2, 3]].tolist() == [0, 2, 1]
    assert (~alone.padding).sum() == 3
    assert tokenizer([]).ids.shape == (0, 9)


def test_a_long_phrase_is_cut_with_one_warning(warned):
    tokenizer = BEiT3Tokenizer(TINY, max_tokens=5)
    tokenizer(['three skateboard guys'])
    assert not warned
    ids = tokenizer(['three skateboard guys left', 'left ' * 40]).ids
    assert torch.equal(ids[0], tokenizer(['three skateboard guys']).ids[0])
    assert ids[:, -1].tolist() == [2, 2]
    tokenizer(['left ' * 40])
    line, = warned
    assert "guys left' has 6 tokens" in line and 'max_tokens=5' in line


def test_a_long_phrase_is_an_error_by_option():
    tokenizer = BEiT3Tokenizer(TINY, max_tokens=5, too_long='error')
    tokenizer(['three skateboard guys'])
    with pytest.raises(ValueError, match=r"guys left' has 6 tokens.*too_long='cut'"):
        tokenizer(['three skateboard guys left'])


@pytest.mark.parametrize('text', ['', '  ', '?!', '"..."', ' - / '])
def test_an_empty_phrase_is_named(text):
    with pytest.raises(ValueError, match='is empty, or nothing but punctuation'):
        BEiT3Tokenizer(TINY)(['left', text])


@pytest.mark.parametrize('texts', ['left', ['left', 3], [None]])
def test_phrases_must_be_strings(texts):
    with pytest.raises(TypeError, match='Phrases must be a list of strings'):
        BEiT3Tokenizer(TINY)(texts)


def test_options_are_checked():
    with pytest.raises(ValueError, match=r"one of \('cut', 'error'\), got 'crop'"):
        BEiT3Tokenizer(TINY, too_long='crop')
    with pytest.raises(ValueError, match='at least 3, got 2'):
        BEiT3Tokenizer(TINY, max_tokens=2)
    for wrong in '20', 20.5:
        with pytest.raises(ValueError, match=f'must be an integer.*got {wrong!r}'):
            BEiT3Tokenizer(TINY, max_tokens=wrong)
    with pytest.raises(ValueError, match='model_file must be the path .*, got 5'):
        BEiT3Tokenizer(5)


def test_half_of_a_character_is_named():
    """As in a command line that is no UTF-8."""
    with pytest.raises(ValueError, match='holds half of a character'):
        BEiT3Tokenizer(TINY)(['red \udce9'])


def test_copies_and_pickles_give_the_same_ids():
    tokenizer = BEiT3Tokenizer(TINY)
    ids = tokenizer(['the zebra']).ids
    for other in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert torch.equal(other(['the zebra']).ids, ids)


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'words.spm').write_bytes(TINY.read_bytes())
    assert BEiT3Tokenizer('~/words.spm')(['left']).ids.shape == (1, 20)


def test_the_file_of_the_toy_world_has_a_name():
    ids, padding = BEiT3Tokenizer('shapes')(['the large red circle on the left'])
    assert (~padding).sum() > 5 and 3 not in ids


def test_a_missing_tokenizer_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No tokenizer file at .*beit3\.spm\. "
                                                r"Get beit3\.spm.*'shapes'"):
        BEiT3Tokenizer(tmp_path / 'beit3.spm')(['left'])


@pytest.mark.parametrize('content, what', [
    (b'', 'it may be damaged|it is empty'), (b'\x89PNG\r\n\x1a\n' + bytes(20), 'a PNG'),
    (b'<html>Not found</html>', 'a web page'), (TINY.read_bytes()[:1000], 'damaged')])
def test_another_file_is_no_tokenizer(content, what, tmp_path):
    path = tmp_path / 'beit3.spm'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='spm is no sentencepiece model') as error:
        BEiT3Tokenizer(path)(['left'])
    assert any(part in str(error.value) for part in what.split('|')), error.value


def test_a_model_with_other_special_pieces_is_rejected(tmp_path):
    path = tmp_path / 't5.spm'
    with open(path, 'wb') as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(['red circle left', 'blue square'] * 20),
            model_writer=file, vocab_size=20, pad_id=0, unk_id=2, bos_id=-1, eos_id=1,
            minloglevel=2)
    with pytest.raises(ValueError, match='unknown piece has the number 2, expected 0'):
        BEiT3Tokenizer(path)(['left'])


def test_the_library_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sentencepiece', None)
    with pytest.raises(ImportError, match="pip install sentencepiece.*'grounding'"):
        BEiT3Tokenizer(TINY)(['left'])
