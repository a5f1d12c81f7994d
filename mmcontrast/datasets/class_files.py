"""Read class names from a file: lines, JSON, YAML or a table.

What a file cannot be read as without doubt is refused by name: a bracket or a number
among the class texts of a model shows in its scores alone.
"""
import ast
import csv
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import yaml
from mmengine.logging import print_log

from ..errors import UserValueError
from ..io.text_files import read_text, split_lines

#: A class: its name, or its name and synonyms.
Entry = str | Sequence[str]

_EXPECTED = ('Expected one class a line, synonyms after semicolons, or a JSON list of '
             'names')
_KEYS = ('classes', 'class_names', 'names', 'categories', 'thing_classes', 'labels')
_NAME_COLUMNS = ('name', 'names', 'class', 'class_name', 'classes', 'category', 'label',
                 'display_name')
_ID_COLUMNS = ('id', 'idx', 'index', 'label_id', 'class_id', 'category_id', 'number',
               'no', '#', 'label')
_NUMBER_FIRST = re.compile(r'[\[(]?(\d+)(\s*[:,;.)\]=\t-]\s*|\s+)(.*\S)')
_NUMBER_LAST = re.compile(r'(.*[^\s:,;=])(\s*[:,;=\t]\s*|\s+)(\d+)')
_CODE = re.compile(r'^<|^//|[{}]|[\[(=]$|^[\])],?$')
_COLOR = re.compile(r'(.*\D)?(\b\d+[\s,;]+){2}\d+(\D.*)?')
_WORDNET = re.compile(r'n\d{8}')


def read_class_file(path: str | Path) -> list[Entry]:
    """Classes of a file, in the order of their labels.

    Args:
        path: Text with a class a line (``sofa; couch`` for synonyms, ``#`` begins a
            comment; numbered lines count from 0 or 1), a JSON or YAML list, or mapping
            with ``classes``, ``names`` or COCO's ``categories``, or a table (``.csv``,
            ``.tsv``) with a column of names.

    Raises:
        UserValueError: If it is something else; names the file and the line.
    """
    path, text = str(path), read_text(path)
    suffix = os.path.splitext(path)[1].lower()
    if suffix in ('.yaml', '.yml'):
        return _parse_yaml(text, path)
    if suffix == '.json' or _is_bracketed(text):
        return parse_json(text, path)
    lines = [line.strip() for line in split_lines(text)]
    lines = [line for line in lines if line and not line.startswith('#')]
    if suffix in ('.csv', '.tsv') or lines and _has_header(lines[0]):
        return _parse_table(lines, path, suffix)
    return parse_lines(lines, path)


def parse_json(text: str, place: str) -> list[Entry]:
    """Classes of a JSON text, or of a list as Python writes it.

    Args:
        place: What messages call it.

    Raises:
        UserValueError: If it is neither, or holds no class list.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        try:
            content = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            _refuse(place, f'is not valid JSON ({error})')
    return _from_content(content, place)


def _is_bracketed(text: str) -> bool:
    text = text.strip()
    return text[:1] + text[-1:] in ('[]', '{}')


def _parse_yaml(text: str, place: str) -> list[Entry]:
    try:
        return _from_content(yaml.safe_load(text), place)
    except (yaml.YAMLError, RecursionError) as error:
        _refuse(place, f'is not valid YAML ({" ".join(str(error).split())[:120]})')


def _from_content(content, place: str) -> list[Entry]:
    """Classes of parsed JSON or YAML."""
    if isinstance(content, Mapping):
        lowered = {str(key).lower(): value for key, value in content.items()}
        key = next((key for key in _KEYS
                    if isinstance(lowered.get(key), list | Mapping)), None)
        if key:
            return _from_content(lowered[key], place)
        return _from_numbered(content, place)
    if not isinstance(content, Sequence) or isinstance(content, str):
        _refuse(place, f'holds {type(content).__name__}, no list of classes')
    if content and all(isinstance(entry, Mapping) for entry in content):
        return _from_categories(content, place)
    return list(content)


def _from_categories(content: Sequence[Mapping], place: str) -> list[Entry]:
    """Names of COCO's categories, in the order of their ids."""
    if not all(isinstance(entry.get('name'), str) for entry in content):
        _refuse(place, f"holds objects without a 'name', such as {content[0]!r}")
    if all(isinstance(entry.get('id'), int) for entry in content):
        content = sorted(content, key=lambda entry: entry['id'])
    return [entry['name'] for entry in content]


def _from_numbered(content: Mapping, place: str) -> list[Entry]:
    """Names of a mapping from numbers, or to numbers."""
    pairs = [(str(key), value) for key, value in content.items()]
    if pairs and all(isinstance(value, int) for _, value in pairs):
        pairs = [(str(value), key) for key, value in pairs]
    if not pairs or not all(number.isdecimal() for number, _ in pairs):
        keys = ', '.join(repr(key) for key, _ in pairs[:6])
        _refuse(place, f'is a mapping with {keys or "no keys"}, none of them '
                       f'{" or ".join(map(repr, _KEYS[:4]))}')
    pairs.sort(key=lambda pair: int(pair[0]))
    _check_counting([int(number) for number, _ in pairs], place)
    # ImageNet's {"0": ["n01440764", "tench"]}.
    return [[name for name in value if not _WORDNET.fullmatch(str(name))]
            if isinstance(value, list) else value for _, value in pairs]


def _has_header(line: str) -> bool:
    """Whether a line names columns: one of numbers and one of names."""
    columns = [column.strip().strip('"').lower() for column in re.split('[,;\t]', line)]
    return len(columns) > 1 and not (
        {*columns}.isdisjoint(_NAME_COLUMNS) or {*columns}.isdisjoint(_ID_COLUMNS))


def _parse_table(lines: Sequence[str], place: str, suffix: str) -> list[Entry]:
    first = lines[0] if lines else ''
    delimiter = max('\t' if suffix == '.tsv' else ',', '\t', ',', ';', key=first.count)
    try:
        rows = [[field.strip() for field in row]
                for row in csv.reader(lines, delimiter=delimiter, strict=True)]
    except csv.Error as error:
        _refuse(place, f'is no table ({error})')
    header = [name.lower() for name in rows[0]] if rows else []
    # A column called label may hold either.
    names = next((header.index(n) for n in _NAME_COLUMNS if n in header), None)
    numbers = next((header.index(n) for n in _ID_COLUMNS if n in header
                    and header.index(n) != names), None)
    if names is None:
        if {len(row) for row in rows} <= {1}:
            return parse_lines([row[0] for row in rows], place)
        if {len(row) for row in rows} == {2} and all(row[0].isdecimal()
                                                     for row in rows):
            names, numbers, rows = 1, 0, [[], *rows]
        else:
            _refuse(place, f'has the columns {rows[0]}, none of which is called '
                           f'{", ".join(_NAME_COLUMNS[:4])}')
    rows = rows[1:]
    if any(len(row) <= max(names, numbers or 0) for row in rows):
        _refuse(place, 'has a row with fewer columns than its header')
    if numbers is not None:
        if not all(row[numbers].isdecimal() for row in rows):
            _refuse(place, f'has a column {header[numbers]!r} that holds no numbers')
        rows.sort(key=lambda row: int(row[numbers]))
        _check_counting([int(row[numbers]) for row in rows], place)
    return [row[names].split(';') for row in rows]


def parse_lines(lines: list[str], place: str) -> list[Entry]:
    """Classes of lines, each its name and synonyms, without empty lines and comments.

    Raises:
        UserValueError: If they are something else.
    """
    for line in lines:
        if _CODE.search(line):
            _refuse(place, f'has the line {line[:60]!r}, as in code or XML')
    for bullet in ('- ', '* '):  # YAML, Markdown
        if lines and all(line.startswith(bullet) for line in lines):
            lines = [line[2:].strip() for line in lines]
    if lines and all(map(_COLOR.fullmatch, lines)):
        _refuse(place, f'has numbers in all lines, such as colors: {lines[0][:60]!r}')
    if lines and all(re.fullmatch(r'"[^"]+",?|\'[^\']+\',?', line) for line in lines):
        lines = [line.rstrip(',')[1:-1] for line in lines]
    lines = _without_numbers(lines, place)
    if any('\t' in line for line in lines):
        line = next(line for line in lines if '\t' in line)
        _refuse(place, f'has columns: {line[:60]!r}')
    if len(lines) == 1 and ',' in lines[0] and ';' not in lines[0]:
        _refuse(place, f'has a single line with commas: {lines[0][:60]!r}')
    entries = [[name.strip() for name in line.rstrip('; ').split(';')]
               for line in lines]
    if len(entries) == 1 and len(entries[0]) > 2:
        print_log(
            f'{place} has one line, which is read as one class, {entries[0][0]!r}, with'
            f' {len(entries[0]) - 1} synonyms. For several classes, write one a line.',
            logger='current', level=logging.WARNING)
    return entries


def _without_numbers(lines: list[str], place: str) -> list[str]:
    """Lines without numbers, before or behind all of them, that count the classes."""
    if lines and all(_WORDNET.match(line) for line in lines):
        return [_WORDNET.sub('', line, count=1).strip(' ,:\t') for line in lines]
    found = [_NUMBER_FIRST.fullmatch(line) for line in lines]
    if found and all(found):
        numbers, names = [int(m[1]) for m in found], [m[3] for m in found]
        marked = not all(m[2].isspace() and '\t' not in m[2] for m in found)
        if _counts(numbers) and (marked or len(lines) > 1):
            return names
        if marked or len(lines) > 1 and numbers == sorted(set(numbers)):
            _check_counting(numbers, place)
    found = [_NUMBER_LAST.fullmatch(line) for line in lines]
    if len(lines) > 1 and all(found):
        names = [match[1] for match in found]
        # Not 'class 0', 'class 1'.
        if _counts([int(m[3]) for m in found]) and len({*names}) == len(names):
            return names
    return lines


def _counts(numbers: Sequence[int]) -> bool:
    return [*numbers] in (list(range(len(numbers))), list(range(1, len(numbers) + 1)))


def _check_counting(numbers: Sequence[int], place: str) -> None:
    if not _counts(numbers):
        shown = ', '.join(map(str, numbers[:6]))
        _refuse(place, f'numbers its classes {shown}{", ..." * (len(numbers) > 6)}, '
                       'while labels count 0, 1, 2: which label a class has cannot be '
                       'told')


def _refuse(place: str, problem: str) -> NoReturn:
    raise UserValueError(f'{place} is no class list: it {problem}. {_EXPECTED}, '
                         'in the order of the labels.')
