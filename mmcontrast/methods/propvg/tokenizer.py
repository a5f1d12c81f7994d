"""Tokenize phrases for BEiT-3 with a sentencepiece model."""
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.logging import print_log
from torch import Tensor

from ...datasets import shapes
from ...errors import UserValueError
from ...io.file_kinds import describe_content
from ...registry import MODELS

# Ids of XLM-RoBERTa. Pieces follow by their number in the file plus one.
BEGIN, PAD, END, UNKNOWN = 0, 1, 2, 3
#: What ``too_long`` may say.
TOO_LONG = ('cut', 'error')
#: Tokenizer files that come with mmcontrast, by name.
SHIPPED = {'shapes': Path(shapes.__file__).with_name('words.spm')}
# The reference deletes and replaces these after lower-casing.
_CLEANED = str.maketrans('-/', '  ', '.,\'!?"()*#:;')


class TextTokens(NamedTuple):
    """Phrases as token ids.

    Attributes:
        ids: (B, T) int64.
        padding: (B, T) bool, True = padding.
    """

    ids: Tensor
    padding: Tensor

    def to(self, device: str | torch.device) -> 'TextTokens':
        """The same on another device."""
        return TextTokens(self.ids.to(device), self.padding.to(device))


@MODELS.register_module()
class BEiT3Tokenizer:
    """Turn phrases into ids of BEiT-3's vocabulary.

    Phrases are cleaned (:func:`clean_phrase`), split into pieces by a sentencepiece
    model, enclosed in start and end token and padded to a fixed length. The file is
    read at the first phrase. It needs the library sentencepiece.

    Args:
        model_file: ``beit3.spm`` of the BEiT-3 release, or another sentencepiece model
            with the unknown piece first; ``~`` is expanded. ``'shapes'`` is that of the
            toy world.
        max_tokens: T, start and end token included. Released weights need the length
            that they were trained with: 20 (RefCOCO, RefCOCO+, RefCOCOg) or 50.
        too_long: What happens to longer phrases: 'cut', with one warning, as the
            reference does it silently, or 'error'.

    Raises:
        ValueError: If ``max_tokens`` leaves no room for a piece, or ``too_long`` is
            another word.
    """

    def __init__(self, model_file: str | Path, max_tokens: int = 20,
                 too_long: str = 'cut') -> None:
        if not isinstance(max_tokens, int) or max_tokens < 3:
            raise UserValueError('max_tokens counts start and end token and must be an '
                                 f'integer, at least 3, got {max_tokens!r}.')
        if not isinstance(model_file, str | Path):
            raise UserValueError('model_file must be the path of a sentencepiece model '
                                 f'such as beit3.spm, got {model_file!r}.')
        if too_long not in TOO_LONG:
            raise UserValueError(
                f'too_long must be one of {TOO_LONG}, got {too_long!r}.')
        self.model_file, self.max_tokens = model_file, max_tokens
        self.too_long = too_long
        self._has_warned = False

    def __call__(self, texts: Sequence[str]) -> TextTokens:
        """Tokenize B phrases, on the CPU.

        Raises:
            TypeError: If ``texts`` is one string or contains anything but strings.
            ValueError: If nothing is left of a phrase after cleaning, one is too long
                and ``too_long='error'``, or the file is no fitting sentencepiece model.
            FileNotFoundError: If there is no such file.
            ImportError: If sentencepiece is not installed.
        """
        rows = [self._row(text) for text in _checked(texts)]
        ids = torch.full((len(rows), self.max_tokens), PAD)
        for i, row in enumerate(rows):
            ids[i, :len(row)] = torch.tensor(row)
        return TextTokens(ids, ids == PAD)

    @property
    def num_ids(self) -> int:
        """Rows that the text table needs at least."""
        return self.processor.get_piece_size() + 1

    @cached_property
    def processor(self):
        """The sentencepiece model of the file."""
        return read_sentencepiece(self.model_file)

    def _row(self, text: str) -> list[int]:
        """Ids of a phrase from start to end token."""
        if any('\ud800' <= sign <= '\udfff' for sign in text):
            raise UserValueError(f'The phrase {text!r:.90} holds half of a character, '
                                 'or bytes that are no UTF-8: write it again.')
        pieces = self.processor.encode(clean_phrase(text))
        if not pieces:
            raise UserValueError(
                f'The phrase {text!r} is empty, or nothing but punctuation: name the '
                'object to look for.')
        ids = [piece + 1 if piece else UNKNOWN for piece in pieces]
        if len(ids) > self.max_tokens - 2:
            self._complain(text, len(ids) + 2)
        return [BEGIN, *ids[:self.max_tokens - 2], END]

    def _complain(self, text: str, length: int) -> None:
        shown = f'{text[:80]!r}{"..." * (len(text) > 80)}'
        found = (f'The phrase {shown} has {length} tokens, start and end included; the '
                 f'limit is max_tokens={self.max_tokens}.')
        if self.too_long == 'error':
            raise UserValueError(f"{found} Shorten it, or set too_long='cut'.")
        if not self._has_warned:
            self._has_warned = True
            print_log(f'{found} Its end is cut off, and that of other long phrases, '
                      "without further warnings; too_long='error' rejects them.",
                      logger='current', level=logging.WARNING)


def clean_phrase(text: str) -> str:
    """Lower-case a phrase and remove punctuation, as for the released weights.

    ``. , ' ! ? " ( ) * # : ;`` are deleted, ``-`` and ``/`` become spaces; other signs
    and double spaces stay.
    """
    return text.lower().translate(_CLEANED)


def read_sentencepiece(model_file: str | Path):
    """Read a sentencepiece model.

    Args:
        model_file: A path, or a name in :data:`SHIPPED`.

    Returns:
        A ``sentencepiece.SentencePieceProcessor``.

    Raises:
        ImportError: If sentencepiece is not installed.
        FileNotFoundError: If there is no such file.
        ValueError: If it is no sentencepiece model, or one with other special pieces.
    """
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise ImportError(
            'BEiT3Tokenizer needs sentencepiece: pip install sentencepiece. It is in '
            "mmcontrast's extra 'grounding'.") from error
    path = SHIPPED.get(str(model_file), Path(model_file).expanduser())
    if not path.is_file():
        raise FileNotFoundError(
            f'No tokenizer file at {path}. Get beit3.spm of the BEiT-3 release and set '
            'model_file of the tokenizer to its path; models of the toy world take '
            f'{", ".join(map(repr, SHIPPED))}.')
    content = path.read_bytes()
    try:
        processor = SentencePieceProcessor(model_proto=content)
    except RuntimeError as error:
        raise _no_model(path) from error
    # An empty file is a model without pieces.
    if not content:
        raise _no_model(path)
    if processor.unk_id() != 0:
        raise UserValueError(
            f'{path}: the unknown piece has the number {processor.unk_id()}, expected '
            '0 as in beit3.spm and other files of XLM-RoBERTa. All ids would be '
            'shifted.')
    return processor


def _no_model(path: Path) -> UserValueError:
    what = describe_content(path) or 'it may be damaged.'
    return UserValueError(f'{path} is no sentencepiece model such as beit3.spm: {what}')


def _checked(texts: Sequence[str]) -> Sequence[str]:
    wrong = [text for text in texts if not isinstance(text, str)]
    if isinstance(texts, str) or wrong:
        raise TypeError('Phrases must be a list of strings, got '
                        f'{repr(texts) if isinstance(texts, str) else wrong[:3]}.')
    return texts
