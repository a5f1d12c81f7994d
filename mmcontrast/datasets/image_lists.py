"""List the images of a folder, zip, lmdb, text list or COCO file.

Each function returns a list of ``dict(img_path=...)`` in a fixed order, with an integer
``label`` where requested.
"""
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence

from mmengine.fileio import exists, get_file_backend, isdir, join_path

from ..io.folders import broken_links, is_hidden, list_files
from ..io.text_files import read_text, split_lines
from .coco_annotations import add_file_names
from .storage.addresses import archive_address, archive_scheme
from .storage.lmdb_backend import lmdb_keys
from .storage.zip_backend import zip_members

IMAGE_SUFFIXES = (
    '.jpg', '.jpeg', '.png', '.webp', '.bmp', '.ppm', '.pgm', '.tif', '.tiff')
_SUFFIX = rf'(?:{"|".join(map(re.escape, IMAGE_SUFFIXES))})'
_SEPARATOR = r'(?:\s+|\s*[,;]\s*)'
# In a list: the end of a path with something behind it; any path and a label; a label
# and a path.
_PATH_FIRST = re.compile(rf'{_SUFFIX}["\']?(?={_SEPARATOR}\S)', re.IGNORECASE)
_ANY_PATH_FIRST = re.compile(rf'(.*\S){_SEPARATOR}(-?\d+)')
_LABEL_FIRST = re.compile(
    rf'["\']?(-?\d+)["\']?{_SEPARATOR}(.*{_SUFFIX}["\']?)', re.IGNORECASE)
_HEADER = re.compile(
    r'"?(?:path|file_?(?:path|name)?|(?:image|img)(?:_?(?:path|file|name))?|name|label|'
    r'class|target|id|split|index)(?:_?id)?"?', re.IGNORECASE)
_IS_IMAGE = re.compile(rf'.*{_SUFFIX}["\']?', re.IGNORECASE)


def list_folder(folder: str, suffixes: Sequence[str] = IMAGE_SUFFIXES,
                with_label: bool = False) -> tuple[list[dict], list[str]]:
    """All images under ``folder``, recursively, sorted by path.

    Hidden files and folders, and pictures that our tools wrote, are left out; links
    whose target is gone are listed, see :func:`~mmcontrast.io.folders.list_files`.

    Returns:
        The images, and with ``with_label`` the class names: the sorted names of the
        folders right below ``folder``, as in ImageNet.

    Raises:
        FileNotFoundError: If the folder is missing or holds no image, or all images are
            links without a target.
    """
    if not exists(folder):
        raise FileNotFoundError(
            f'No folder {folder!r} (looked for {os.path.abspath(folder)}). Set '
            'data_root and data_prefix of the data set to the folder of your images.')
    if not isdir(folder):
        raise FileNotFoundError(
            f'{folder!r} is a file, not a folder. data_root takes a folder or a .zip '
            'archive; a list of images goes to ann_file.')
    if '://' in folder:
        files = get_file_backend(folder).list_dir_or_file(
            folder, list_dir=False, recursive=True)
        paths = _only_images(files, suffixes, folder)
    else:
        paths = list_files(folder, suffixes)
        files = paths or list_files(folder)
        broken = broken_links(folder, files)
        if broken and len(broken) == len(files):
            target = os.readlink(os.path.join(folder, broken[0]))
            raise FileNotFoundError(
                f'All {len(broken)} {"images" if paths else "files"} in {folder} are '
                f'links whose target is gone, e.g. {broken[0]} -> {target}. Put it '
                'back (is its disk mounted?).')
        paths = paths or _only_images(files, suffixes, folder)
    return _with_classes(paths, folder, with_label, lambda p: join_path(folder, p))


def list_archive(archive: str, inside: str = '',
                 suffixes: Sequence[str] = IMAGE_SUFFIXES, with_label: bool = False
                 ) -> tuple[list[dict], list[str]]:
    """All images of a zip or lmdb below the path ``inside``, as :func:`list_folder`.

    Keys of an lmdb are paths, its values encoded files.
    """
    if archive_scheme(archive) == 'zip':
        members = zip_members(archive)
    else:
        members = lmdb_keys(archive)
    given = f'{inside.strip("/")}/'
    inside = ''.join(f'{part}/' for part in inside.split('/') if part not in ('', '.'))
    if inside and any(member.startswith(given) for member in members):
        inside = given  # Keys of an lmdb may begin with './'.
    below = (m.removeprefix(inside) for m in members if m.startswith(inside))
    paths = _only_images(below, suffixes, f'{archive}@/{inside}')
    return _with_classes(
        paths, archive, with_label, lambda p: archive_address(archive, inside + p))


def read_text_list(list_file: str, locate: Callable[[str], str],
                   with_label: bool = False,
                   exists: Callable[[str], bool] = lambda path: False) -> list[dict]:
    """Images listed in a text file, one ``path[<TAB>label]`` per line.

    Lists of other tools are read, too: ``path label`` with a blank, comma or semicolon
    between them, ``label path``, ``image mask``, a header, paths in quotes. Paths may
    hold blanks themselves; where a line can be read in two ways, the file that exists
    decides. What is no label is ignored unless ``with_label`` asks for one.

    Args:
        list_file: Text, see :func:`~mmcontrast.io.text_files.decode_text`. Empty lines
            and comments (``# ...``) are skipped.
        locate: Makes the full path out of a path in the list.
        with_label: Whether every line must carry an integer label.
        exists: Whether there is a file at a full path.
    """
    images, known = [], set()
    # File names need not be text.
    lines = split_lines(_text(list_file, errors='surrogateescape'))
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith('#') and not _IS_IMAGE.match(line):
            continue
        if not images and _is_header(line) and not exists(locate(line)):
            continue
        path, label = _choose(line, known, locate, exists)
        image = dict(img_path=locate(path))
        if with_label:
            image['label'] = _label(label, list_file, number)
        images.append(image)
    if not images:
        raise ValueError(f'{list_file} names no image; expected one path per line.')
    return images


def _choose(line: str, known: set[str], locate: Callable[[str], str],
            exists: Callable[[str], bool]) -> tuple[str, str]:
    """Path and label of a line, in the reading whose file exists, else in the first.

    Args:
        known: Readings that were right for other lines, so that one look at the disk
            is enough for a long list; added to.
    """
    readings = list(_readings(line))
    if len(readings) > 1:
        # Both 'img 0.jpg' and '7 img.jpg' end like a path: look each time.
        sure = set() if _IS_IMAGE.fullmatch(line) else known
        for way, path, label in readings:
            if way in sure or exists(locate(path)):
                known.add(way)
                return path, label
    return readings[0][1:]


def _readings(line: str) -> Iterator[tuple[str, str, str]]:
    """Ways to read a line of a list: (name of the way, path, label)."""
    if '\t' in line:
        path, _, label = line.rpartition('\t')
        if _IS_IMAGE.fullmatch(path):
            yield 'tab', _unquoted(path), label
        yield 'columns', *_by_columns(line, '\t')
        return
    whole = 'whole', _unquoted(line), ''
    is_image = _IS_IMAGE.fullmatch(line)
    ends = [match.end() for match in _PATH_FIRST.finditer(line)]
    if is_image or not ends:
        yield whole
    for end in reversed(ends):
        yield 'path first', _unquoted(line[:end]), line[end:].lstrip(' ,;')
    if is_image and (match := _LABEL_FIRST.fullmatch(line)):
        yield 'label first', _unquoted(match[2]), match[1]
    elif not is_image and ends:
        yield whole
    elif not is_image and (match := _ANY_PATH_FIRST.fullmatch(line)):
        yield 'any path first', _unquoted(match[1]), match[2]
    for separator in ',;':
        if line.count(separator) > 1:
            yield f'columns {separator}', *_by_columns(line, separator)


def _by_columns(line: str, separator: str) -> tuple[str, str]:
    """The first image of a line of columns, and the last of the others, its label."""
    columns = [column.strip() for column in line.split(separator)]
    is_image = [bool(_IS_IMAGE.fullmatch(column)) for column in columns]
    if any(is_image):
        return _unquoted(columns.pop(is_image.index(True))), columns[-1]
    path, _, label = line.rpartition(separator)
    return _unquoted(path), label


def _is_header(line: str) -> bool:
    columns = [column.strip() for column in re.split('[,;\t]', line)]
    if len(columns) > 1:
        # Such as 'image,breed'.
        return any(map(_HEADER.fullmatch, columns)) and not (
            _IS_IMAGE.match(line) or any(map(str.isdecimal, columns)))
    return all(map(_HEADER.fullmatch, line.split()))


def _unquoted(path: str) -> str:
    path = path.strip()
    quoted = len(path) > 1 and path[0] == path[-1] and path[0] in '"\''
    return path[1:-1] if quoted else path


def read_coco_images(ann_file: str, locate: Callable[[str], str]) -> list[dict]:
    """The images of a COCO annotation file; its annotations are not read.

    Raises:
        ValueError: If the file is not a COCO file or lists no image.
    """
    text = _text(ann_file)
    try:
        images = json.loads(text)['images']
        add_file_names(images)
        names = [image['file_name'] for image in images]
        if wrong := [name for name in names if not isinstance(name, str)]:
            raise TypeError(f'file_name {wrong[0]!r}')
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{ann_file} is not a COCO file: expected JSON with a list 'images' whose "
            f"entries have a 'file_name', got {type(error).__name__}: {error}."
        ) from None
    if not names:
        raise ValueError(f"{ann_file} lists no image: its 'images' is empty.")
    return [dict(img_path=locate(name)) for name in names]


def _only_images(paths, suffixes, where: str) -> list[str]:
    suffixes = tuple(s.lower() for s in suffixes)
    paths = list(paths)
    images = [path for path in paths
              if path.lower().endswith(suffixes) and not is_hidden(path)]
    if not images:
        raise FileNotFoundError(
            f'No image in {where}: none of its {len(paths)} files ends in '
            f'{" ".join(suffixes)} (upper or lower case).')
    return sorted(images)


def _with_classes(paths: list[str], where: str, with_label: bool,
                  locate: Callable[[str], str]) -> tuple[list[dict], list[str]]:
    if not with_label:
        return [dict(img_path=locate(path)) for path in paths], []
    loose = [path for path in paths if '/' not in path]
    if loose:
        raise ValueError(
            f'with_label=True takes the folders below {where} as classes, but '
            f'{len(loose)} images are in none of them, e.g. {loose[0]!r}.')
    names = [path.split('/')[0] for path in paths]
    classes = sorted(set(names))
    label_of = {name: label for label, name in enumerate(classes)}
    return [dict(img_path=locate(path), label=label_of[name])
            for path, name in zip(paths, names, strict=True)], classes


def _text(path: str, errors: str = 'strict') -> str:
    if not exists(path):
        raise FileNotFoundError(
            f'No list of images at {path!r} (looked for {os.path.abspath(path)}).')
    return read_text(path, errors=errors)


def _label(text: str, list_file: str, number: int) -> int:
    try:
        return int(_unquoted(text.split(' #')[0]))
    except ValueError:
        raise ValueError(
            f'{list_file}, line {number}: with_label=True expects '
            f'PATH<TAB>INTEGER, got label {text[:60]!r}.') from None
