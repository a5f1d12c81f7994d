"""Tokenize texts with CLIP's byte pair encoding; reject texts that are too long."""
import functools
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ..clip_weights import open_clip


def tokenize(texts: Sequence[str], context_length: int = 77,
             truncate: bool = False) -> Tensor:
    """Token ids of texts: start token, byte pairs, end token, padding.

    Args:
        texts: N texts; letter case and surplus white space do not matter.
        context_length: Ids of a row, start and end token included.
        truncate: Keep the first ``context_length - 1`` ids and the end token of a
            longer text, as open_clip does, and warn once. For captions from the web.

    Returns:
        (N, context_length) int64.

    Raises:
        TypeError: If ``texts`` is one string or contains anything but strings.
        ValueError: If a text is longer and not to be truncated.
    """
    rows = _rows(texts)
    if truncate:
        rows = [_truncated(row, context_length) for row in rows]
    long = [(len(row), text) for row, text in zip(rows, texts, strict=True)
            if len(row) > context_length]
    if long:
        length, text = max(long)
        others = f' ({len(long) - 1} more too long)' if len(long) > 1 else ''
        raise ValueError(
            f'{text[:80]!r}{"..." * (len(text) > 80)} has {length} tokens, start and '
            f'end included; the limit here is context_length={context_length}{others}. '
            'Shorten it, or allow more: CLIP has room for 77, learned contexts '
            'included.')
    ids = torch.zeros(len(rows), context_length, dtype=torch.int64)
    for i, row in enumerate(rows):
        ids[i, :len(row)] = torch.tensor(row)
    return ids


def _truncated(row: list[int], length: int) -> list[int]:
    if len(row) <= length:
        return row
    # The same words each time: Python shows a warning once.
    warnings.warn('Texts that are longer than the context of the text tower are '
                  'truncated, as in open_clip.', stacklevel=3)
    return [*row[:length - 1], row[-1]]


def token_lengths(texts: Sequence[str]) -> list[int]:
    """Tokens of each text, start and end token included."""
    return [len(row) for row in _rows(texts)]


def _rows(texts: Sequence[str]) -> list[list[int]]:
    wrong = [text for text in texts if not isinstance(text, str)]
    if isinstance(texts, str) or wrong:
        raise TypeError(f'texts must be a list of strings, got '
                        f'{repr(texts) if isinstance(texts, str) else wrong[:3]}.')
    tokenizer = _tokenizer()
    return [[tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
            for text in texts]


@functools.cache
def _tokenizer():
    return open_clip().SimpleTokenizer()
