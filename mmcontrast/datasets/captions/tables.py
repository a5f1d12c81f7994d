"""Read image-text pairs from CSV and TSV files."""
import csv
import io
import os
from collections.abc import Iterator, Sequence

from mmengine.fileio import exists, get

from ...io.text_files import decode_text
from ..image_lists import IMAGE_SUFFIXES
from .entries import Entry, is_url

#: Names of columns that are recognized in a header, in lower case.
IMAGE_COLUMNS = ('filepath', 'file_path', 'image_path', 'img_path', 'path', 'filename',
                 'file_name', 'image', 'image_url', 'url')
CAPTION_COLUMNS = ('title', 'caption', 'text', 'sentence', 'raw', 'phrase')
# Captions of web pages may be long; csv's own limit is 131,072.
_LONGEST_FIELD = 1 << 27

Column = str | int | None


def read_table(table: str, delimiter: str, image_column: Column = None,
               caption_column: Column = None, quoted: bool = True,
               encoding: str | None = None) -> Iterator[Entry]:
    """The rows of a table with a column of image paths and one of captions.

    Args:
        table: File.
        delimiter: Between columns, ``','`` or a tab.
        image_column, caption_column: Names in the header (the first row), or numbers
            from 0 in a table without header. By default known names
            (``filepath,title`` of open_clip, ``image,caption``, ...); without them, of
            two columns the one with an image suffix or a URL is the image, as in
            CC3M's ``caption<TAB>url``.
        quoted: Whether fields may stand in double quotes (``""`` within one is a
            quote) and may then hold delimiters and line breaks; otherwise quotes are
            letters.
        encoding: Of the file, see :func:`read_captions`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If columns are missing, a quote is not closed, or the file is no
            text. A row with more or fewer fields than the first is a bad pair.
    """
    rows = _rows(table, delimiter, quoted, encoding)
    line, first = next(rows, (1, None))
    if first is None:
        raise ValueError(f'{table} is empty; expected a path and a caption per line.')
    image, caption, has_header = _columns(table, first, image_column, caption_column)
    if not has_header:
        yield _entry(first, image, caption, line, len(first))
    for line, row in rows:
        yield _entry(row, image, caption, line, len(first))


def is_tab_separated(table: str, encoding: str | None = None) -> bool:
    """Whether the first line holds a tab: open_clip's ``.csv`` files often do."""
    return '\t' in io.StringIO(read_captions(table, encoding)).readline()


def read_captions(path: str, encoding: str | None = None) -> str:
    """Text of a file of captions.

    Args:
        encoding: Of the file; by default what a byte order mark says, else UTF-8.

    Raises:
        FileNotFoundError: If there is no such file.
        UserValueError: If it is no such text.
    """
    if not exists(path):
        raise FileNotFoundError(
            f'No file of captions at {path!r} (looked for {os.path.abspath(path)}).')
    return decode_text(get(path), path, encoding, hint=(
        " Or set encoding of the data set, e.g. encoding='latin-1'."))


def _rows(table: str, delimiter: str, quoted: bool, encoding: str | None
          ) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of every row that is not empty."""
    text = io.StringIO(read_captions(table, encoding), newline='')
    reader = csv.reader(text, delimiter=delimiter, strict=quoted, quoting=(
        csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE))
    limit, start = csv.field_size_limit(_LONGEST_FIELD), 1
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
            start = reader.line_num + 1
    except csv.Error as error:
        hint = (' Close the quote that begins in this row, or set quoted=False if '
                'quotes are letters.' if quoted else '')
        raise ValueError(f'{table}, line {start}: {error}.{hint}') from None
    finally:
        csv.field_size_limit(limit)


def _columns(table: str, first: Sequence[str], image: Column, caption: Column
             ) -> tuple[int, int, bool]:
    """Numbers of the two columns, and whether the first row is a header."""
    header = [name.strip().lower() for name in first]
    if image is None and caption is None:
        image, caption = (next((name for name in known if name in header), None)
                          for known in (IMAGE_COLUMNS, CAPTION_COLUMNS))
        if image is None or caption is None:
            return (*_guess(table, first), False)
    if image is None or caption is None:
        raise ValueError('image_column and caption_column belong together; got '
                         f'image_column={image!r}, caption_column={caption!r}.')
    if isinstance(image, int) and isinstance(caption, int):
        if max(image, caption) >= len(first):
            raise ValueError(
                f'{table} has {len(first)} columns; image_column={image} and '
                f'caption_column={caption} count from 0.')
        return image, caption, False
    missing = [name for name in (image, caption)
               if str(name).strip().lower() not in header]
    if missing:
        raise ValueError(f'{table} has no column {missing[0]!r}; its first row is '
                         f'{_shown(first)}. Is the delimiter right?')
    return (*(header.index(name.strip().lower()) for name in (image, caption)), True)


def _guess(table: str, first: Sequence[str]) -> tuple[int, int]:
    """Columns of image and caption of a table of two columns without header."""
    images = [is_url(field) or field.strip().lower().endswith(IMAGE_SUFFIXES)
              for field in first]
    if len(first) == 2 and sum(images) == 1:
        return images.index(True), images.index(False)
    raise ValueError(
        f'{table}: cannot tell which column is the image and which the caption from '
        f'its first row {_shown(first)}. Expected a header such as filepath,title, or '
        'two columns one of which is the path of an image. Set image_column and '
        'caption_column (names in the header, or numbers from 0), or correct format.')


def _shown(row: Sequence[str]) -> list[str]:
    return [field if len(field) <= 40 else f'{field[:37]}...' for field in row[:8]]


def _entry(row: Sequence[str], image: int, caption: int, line: int, width: int
           ) -> Entry:
    """The pair of a row; one of another number of fields than the first is bad."""
    path = row[image].strip() if image < len(row) else None
    if caption >= len(row):
        return Entry(path, None, f'line {line}')
    if len(row) != width:
        # A delimiter in a caption that is not quoted: no field is the whole caption.
        return Entry(path, list(row), f'line {line}: {len(row)} fields, the first row '
                                      f'has {width}')
    return Entry(path, row[caption], f'line {line}')
