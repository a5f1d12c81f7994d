"""Read a file of phrases in any format, which its content tells."""
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ...errors import UserValueError
from ...io.plain_pickle import read_plain_pickle
from ...io.text_files import decode_text
from ..coco_annotations import add_file_names, read_json
from .checks import check_file
from .converted import read_converted, read_groups
from .foreground import checked_coco, objects_of_coco
from .odvg import read_odvg
from .records import GroundingFile
from .refs import read_refs

FORMATS = ('converted', 'refs', 'odvg')
_EXPECTED = """Expected one of
  converted: {SPLIT: [{"image_id", "expressions", ...}]}, files of PropVG's authors
  refs: a list of {"image_id", "ann_id", "sentences"}, also pickled, as refs(unc).p;
    or a COCO file with such a list under "refs"
  odvg: a line of {"filename", "height", "width", "grounding" or "detection"} each"""


def read_grounding(path: str | Path, format: str = 'auto',
                   instances: str | Path | None = None,
                   index: str | Path | None = None, crowds: str = 'drop'
                   ) -> GroundingFile:
    """Read and check a file of phrases; nothing in it is executed.

    Args:
        path: File.
        format: One of :data:`FORMATS`, or 'auto'.
        instances: COCO file of the annotations that a list of refs names.
        index: Of R-RefCOCO's converted file, ``instance_index.json``: which elements
            are about one object.
        crowds: See :func:`~.foreground.read_foreground`.

    Raises:
        FileNotFoundError: If a file does not exist.
        UserValueError: If it is none of the formats, or not the one that is asked for,
            or an entry is wrong; names file and entry.
    """
    if format not in ('auto', *FORMATS):
        raise UserValueError(
            f"format must be 'auto' or one of {list(FORMATS)}, got {format!r}.")
    path = str(path)
    content = _read(path)
    found = _format_of(content)
    if found is None or format not in ('auto', found):
        raise UserValueError(f'{path} is not a file of phrases'
                             f'{_asked(format, found)}. {_what(content)}{_EXPECTED}.')
    for name, given, kind in (('instances', instances, 'refs'),
                              ('index', index, 'converted')):
        if given is not None and found != kind:
            raise UserValueError(f'{name} belongs to files of format {kind!r}; {path} '
                                 f'is {found!r}. Leave {name} out.')
    if found == 'odvg':
        file = read_odvg(content if isinstance(content, list) else [content], path)
    elif found == 'refs':
        file = _with_annotations(content, path, instances, crowds)
    else:
        file = _with_groups(GroundingFile(
            path, 'converted', read_converted(content, path)), index)
    check_file(file)
    return file


def _read(path: str) -> object:
    """Content of a JSON file, a pickle, or JSON lines (a list)."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'No file of phrases at {path}.')
    with open(path, 'rb') as file:
        start = file.read(64)
    # A list or dict of protocol 2 and later, of protocol 0, of protocol 1.
    if start[:1] in (b'\x80', b'(', b'}') or start[:2] in (b']q', b']r', b']('):
        return read_plain_pickle(path)
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        lines = _json_lines(path)
        # Not JSON at all: the message of the reader of JSON fits.
        return read_json(path) if lines is None else lines


def _json_lines(path: Path) -> list | None:
    """Objects of a file with one a line; None if it is no such file.

    Raises:
        UserValueError: If one of several lines is not JSON.
    """
    lines = []
    text = decode_text(path.read_bytes(), str(path))
    # Not splitlines(): U+2028 and others may stand in a phrase.
    for number, line in enumerate(text.split('\n'), start=1):
        if not line.strip():
            continue
        try:
            lines.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            if not lines:
                return None
            raise UserValueError(f'{path}, line {number} is not JSON ({error}): '
                                 f'{line[:60]!r}.') from None
    return lines


def _format_of(content: object) -> str | None:
    if isinstance(content, Mapping):
        if isinstance(content.get('refs'), list):
            return 'refs'
        if 'filename' in content:  # JSON lines of one line
            return 'odvg'
        first = next((entries[0] for entries in content.values()
                      if isinstance(entries, list) and entries), None)
        first = first[0] if isinstance(first, list) and first else first
        return 'converted' if isinstance(first, Mapping) and (
            'expressions' in first) else None
    first = content[0] if isinstance(content, list) and content else None
    if not isinstance(first, Mapping):
        return None
    if 'sentences' in first:
        return 'refs'
    return 'odvg' if 'filename' in first else None


def _asked(format: str, found: str | None) -> str:
    what = '' if format == 'auto' else f' of format {format!r}'
    return what + (f', but of {found!r}' if found else '')


def _what(content: object) -> str:
    """A sentence on files that belong to a benchmark and hold no phrases."""
    if isinstance(content, list):
        return f'It is a list of {len(content)} entries. '
    if not isinstance(content, Mapping):
        return ''
    if isinstance(content.get('annotations'), list):
        return ('It is a COCO file of objects: name the file of refs as ann_file, and '
                'this one as instances. ')
    values = list(content.values())
    if values and all(isinstance(v, Mapping) and 'bbox' in v for v in values):
        return ('It holds foreground objects: name the file of phrases as ann_file, '
                'and this one as foreground. ')
    if values and all(isinstance(v, list) and v and isinstance(v[0], list)
                      for v in values):
        return ('It is an index of groups: name the file of phrases as ann_file, and '
                'this one as index. ')
    return f'It is an object with {", ".join(map(repr, list(content)[:8]))}. '


def _with_annotations(content: object, path: str, instances: str | Path | None,
                      crowds: str) -> GroundingFile:
    """Refs joined with their annotations, of the same file or of another."""
    refs = content['refs'] if isinstance(content, Mapping) else content
    coco, coco_path = content, path
    if instances is not None:
        coco, coco_path = read_json(instances), str(instances)
    elif not isinstance(content, Mapping) or 'annotations' not in content:
        raise UserValueError(
            f'{path} names annotations that are in another file, for the official '
            'benchmarks instances.json in the same folder. Give it: instances=....')
    coco = checked_coco(coco, coco_path)
    add_file_names(coco['images'])
    return GroundingFile(path, 'refs', read_refs(refs, coco, path, coco_path),
                         objects_of_coco(coco, coco_path, crowds))


def _with_groups(file: GroundingFile, index: str | Path | None) -> GroundingFile:
    if index is None:
        return file
    groups = read_groups(read_json(index), file.splits, str(index))
    splits = dict(file.splits)
    for split, numbers in groups.items():
        splits[split] = [
            tuple(replace(record, group_id=number) for record in element)
            for number, element in zip(numbers, splits[split], strict=True)]
    return replace(file, splits=splits)
