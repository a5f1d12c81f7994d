"""Read ``--cfg-options KEY=VALUE``, with values as they were typed."""
import argparse
import copy
import re
from collections.abc import Iterator, Mapping, Sequence

from mmengine.config import Config

from ..errors import UserValueError

_NUMBER = re.compile(
    r'[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?', re.I | re.A)
_NOT_FINITE = re.compile(r'[+-]?(?:inf|infinity|nan)', re.I)
_CLOSED_BY = {'(': ')', '[': ']'}
_DELETE = '_delete_'  # mmengine's key that replaces a dict instead of changing it


class Options(dict):
    """Settings by dotted key.

    Attributes:
        typed: Text of the values that were typed without quotes and are no text, by
            key. It counts where a setting takes text alone: a folder may be called
            2023.
    """

    def __init__(self, options: Mapping[str, object] = (),
                 typed: Mapping[str, str] = ()) -> None:
        super().__init__(options)
        self.typed = dict(typed)

    def read(self, text: str) -> None:
        """Add ``KEY=VALUE``.

        Raises:
            ValueError: If it has no key, or no ``=``.
        """
        key, found, value = text.partition('=')
        # As messages write it: pipeline[2].
        key = re.sub(r'\[(\d+)\]', r'.\1', key.strip())
        if not found or not all(key.split('.')):
            raise ValueError(
                f'{text!r} is not of the form KEY=VALUE. Put a value with blanks in '
                'quotes, "KEY=a b", and other arguments before the options.')
        self[key] = read_value(value)
        self.typed.pop(key, None)
        if not isinstance(self[key], str):
            self.typed[key] = value


class OptionsAction(argparse.Action):
    """The action of ``--cfg-options``, in place of mmengine's ``DictAction``.

    That one deletes all blanks, and knows no way to write a comma or a number as text.
    """

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: Sequence[str], option_string: str | None = None) -> None:
        options = copy.deepcopy(getattr(namespace, self.dest, None)) or Options()
        for text in values:
            try:
                options.read(text)
            except ValueError as error:
                parser.error(f'argument {option_string}: {error}')
        setattr(namespace, self.dest, options)


def read_value(text: str) -> object:
    """The value that ``text`` stands for.

    Args:
        text: In quotes (``'...'`` or ``"..."``) it is the text between them, whatever
            that holds. ``[...]``, ``(...)`` and text with commas outside of brackets
            are lists and tuples of values. Decimal numbers, ``inf``, ``nan``, ``true``,
            ``false`` (in any case) and ``None`` are read as such. All other text is
            taken as it is, blanks included: so are ``2023_01`` and ``007``, which
            Python does not write for a number.
    """
    word = text.strip()
    if word and _end_of_quotes(word, 0) == len(word):
        return word[1:-1]
    if _is_bracketed(word):
        items = [read_value(item) for item in _split(word[1:-1])]
        return tuple(items) if word[0] == '(' else items
    items = _split(word)
    if len(items) > 1 or items and items[0] != word:
        return [read_value(item) for item in items]
    if _NUMBER.fullmatch(word):
        return int(word) if word.lstrip('+-').isdigit() else float(word)
    if _NOT_FINITE.fullmatch(word):
        return float(word)
    if word.lower() in ('true', 'false'):
        return word.lower() == 'true'
    return None if word == 'None' else text


def spell(key: str, value: object) -> str:
    """``KEY=VALUE`` that is read as ``value``; one element of a command line.

    Raises:
        ValueError: If no spelling is, as for a dict.
    """
    text = _spelled(value)
    if repr(read_value(text)) != repr(value):  # As nan is not equal to itself.
        raise ValueError(f'{key}={value!r} cannot be written as an option.')
    return f'{key}={text}'


def merge_options(config: Config, options: Mapping[str, object]) -> None:
    """Set ``options`` in ``config``.

    Raises:
        UserValueError: If a key leads through a value that has no keys.
    """
    for key in options:
        _check_place(config, key, options)
    config.merge_from_dict(copy.deepcopy(dict(options)))


def first_new(config: Config, key: str) -> str:
    """The shortest part of a dotted ``key`` that is not in ``config``; else all."""
    level, parts = config, key.split('.')
    for depth, part in enumerate(parts, 1):
        if isinstance(level, list | tuple):
            level = dict(zip(map(str, range(len(level))), level, strict=True))
        if not isinstance(level, dict | Config) or part not in level:
            return '.'.join(parts[:depth])
        level = level[part]
    return key


def _check_place(config: Config, key: str, options: Mapping[str, object]) -> None:
    """Raise if the value that a part of the ``key`` belongs to has no such part."""
    level, parts = config, key.split('.')
    for depth, part in enumerate(parts):
        parent = '.'.join(parts[:depth])
        level = options.get(parent, level)
        if f'{parent}.{_DELETE}' in options:
            return
        if isinstance(level, list | tuple):
            if not part.isdigit() or int(part) >= len(level):
                raise UserValueError(
                    f'--cfg-options {key}: {parent} is a list of {len(level)}; '
                    f'its items are {parent}.0 to {parent}.{len(level) - 1}, not '
                    f'{part!r}.')
            level = level[int(part)]
        elif isinstance(level, dict | Config):
            level = level[part] if part in level else {}
        else:
            raise UserValueError(
                f'--cfg-options {key}: {parent} is {level!r} and holds no {part!r}. '
                f'Add {parent}.{_DELETE}=True to replace it by a dict.')


def _spelled(value: object) -> str:
    if isinstance(value, str):
        if read_value(value) == value:
            return value
        # The first that the text does not seem to end.
        return next((text for text in (f"'{value}'", f'"{value}"')
                     if read_value(text) == value), value)
    if isinstance(value, list | tuple):
        items = ','.join(f"'{item}'" if isinstance(item, str) and re.search(
            r'[][(),\s]', item) else _spelled(item) for item in value)
        return f'({items})' if isinstance(value, tuple) else f'[{items}]'
    return str(value)


def _split(text: str) -> list[str]:
    """The parts between commas that are outside of brackets, without a last empty one.

    Text with a bracket that is not closed is one part.
    """
    ends = [i for i, char, level in _marks(text) if char == ',' and level == 0]
    starts = [0, *(end + 1 for end in ends)]
    items = [text[start:end].strip()
             for start, end in zip(starts, [*ends, len(text)], strict=True)]
    return items if items[-1] else items[:-1]


def _is_bracketed(text: str) -> bool:
    """Whether the bracket that ``text`` begins with is closed at its end."""
    closed = next((i for i, char, level in _marks(text)
                   if char != ',' and level == 0), None)
    return (bool(text) and closed == len(text) - 1
            and text[-1] == _CLOSED_BY.get(text[0]))


def _marks(text: str) -> Iterator[tuple[int, str, int]]:
    """(position, character, brackets open after it) of each bracket and comma.

    Those in quotes are passed over.
    """
    position = level = 0
    begins = True  # An item; only there a quote is more than an apostrophe.
    while position < len(text):
        char = text[position]
        end = _end_of_quotes(text, position) if begins else 0
        if end:
            position, begins = end, False
            continue
        if char in '([,)]':
            level += (char in '([') - (char in ')]')
            yield position, char, level
        begins = char in '([,' or begins and char.isspace()
        position += 1


def _end_of_quotes(text: str, start: int) -> int:
    """Where the quotes that open at ``start`` end; 0 if there are none."""
    quote = text[start]
    if quote not in '\'"':
        return 0
    closing = re.compile(rf'{quote}(?=\s*(?:[,\])]|$))').search(text, start + 1)
    return closing.end() if closing else 0
