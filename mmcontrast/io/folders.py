"""Walk a folder of the user, and keep what our own tools wrote out of it.

The only place that searches folders for data.
"""
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from mmengine.logging import print_log

from .text_files import display_name

#: Hidden file that names what tools of ours wrote into its folder, one a line.
MARKER = '.mmcontrast-output'
_ALL = '*'
# Thumbnails of Synology, and what macOS adds to archives: hidden, as with a dot.
_HIDDEN = ('@eaDir', '__MACOSX')
# What runs of mmengine draw.
_RUN_FOLDERS = ('vis_data', 'vis_image')


def list_files(folder: str | Path, suffixes: Iterable[str] = ('',),
               recursive: bool = True) -> list[str]:
    """Files below a folder, as sorted relative paths with ``/``.

    Left out are hidden files and folders, what tools of ours wrote (see
    :func:`mark_output`), unless there is nothing else, and files that are no data, such
    as sockets. Links to folders are followed, but not those to a folder above, which
    have no end. A link whose target is gone is listed if its name has a suffix: its
    file is missing. A warning counts what a user may miss.

    Args:
        folder: An existing folder.
        suffixes: Endings to list, in any case.
        recursive: Whether to look into the folders below.
    """
    walk = _Walk(str(folder), tuple(suffix.lower() for suffix in suffixes), recursive)
    files = sorted(walk.files('', _above(str(folder))))
    if not files:
        files, walk.own = sorted(walk.own), []
    for note in walk.notes():
        print_log(f'{display_name(folder)}: {note}', logger='current',
                  level=logging.WARNING)
    return files


def broken_links(folder: str | Path, files: Iterable[str]) -> list[str]:
    """Those of the files of a folder that are links without a target."""
    paths = ((file, os.path.join(folder, file)) for file in files)
    return [file for file, path in paths
            if os.path.islink(path) and not os.path.exists(path)]


def mark_output(*files: str | Path) -> None:
    """Note that a tool wrote these images, so that no data set below them reads them.

    Their names go to the hidden file ``.mmcontrast-output`` beside them. A folder that
    cannot be written is left as it is.
    """
    for file in map(Path, files):
        _mark(file.parent, file.name)


def save_output_image(image, path: str | Path, **options) -> None:
    """Save what a tool drew, a ``PIL.Image``, and mark it as ours.

    Args:
        options: Of ``PIL.Image.Image.save``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    mark_output(path)


def mark_output_folder(folder: str | Path) -> None:
    """The same for all that is, and will be, in a folder and below."""
    _mark(Path(folder), _ALL)


def is_hidden(path: str) -> bool:
    """Whether a relative path is hidden, or in a hidden folder."""
    return any(_is_hidden(part) for part in path.split('/') if part not in ('.', '..'))


class _Walk:
    """One search of a folder, and what it left out."""

    def __init__(self, root: str, suffixes: tuple[str, ...], recursive: bool) -> None:
        self.root, self.suffixes, self.recursive = root, suffixes, recursive
        self.loops: list[str] = []
        self.closed: list[str] = []
        self.dead: list[str] = []
        self.own: list[str] = []

    def files(self, inside: str, above: tuple, ours: bool = False) -> Iterator[str]:
        """Files below the path ``inside``.

        Args:
            above: Identities of the folders above, to see loops.
            ours: Whether a tool of ours wrote everything here.
        """
        folder = os.path.join(self.root, inside)
        try:
            stat = os.stat(folder)
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self.closed.append(f'{inside or "."} ({error.strerror})')
            return
        here = stat.st_dev, stat.st_ino
        if here in above:
            self.loops.append(inside.rstrip('/'))
            return
        marked = _marked(folder) if any(e.name == MARKER for e in entries) else ()
        for entry in entries:
            if _is_hidden(entry.name):
                continue
            path, mine = inside + entry.name, ours or not {
                _ALL, entry.name}.isdisjoint(marked)
            if _is_folder(entry):
                if self.recursive:
                    mine = mine or entry.name in _RUN_FOLDERS
                    yield from self.files(f'{path}/', (*above, here), mine)
            elif entry.name.lower().endswith(self.suffixes) and _may_hold_data(entry):
                if mine:
                    self.own.append(path)
                else:
                    yield path
            elif entry.is_symlink() and not os.path.exists(entry.path):
                self.dead.append(path)

    def notes(self) -> Iterator[str]:
        """What was left out, as sentences."""
        if self.loops:
            yield (f'{len(self.loops)} links lead to a folder above and are not '
                   f'followed, the first: {display_name(self.loops[0])}.')
        if self.closed:
            yield (f'{len(self.closed)} folders could not be opened and are left out, '
                   f'the first: {display_name(self.closed[0])}.')
        if self.dead:
            target = os.readlink(os.path.join(self.root, self.dead[0]))
            yield (f'{len(self.dead)} links have no target, the first: '
                   f'{display_name(self.dead[0])} -> {display_name(target)}. If they '
                   'stand for folders, what was in these is missing.')
        if self.own:
            yield (f'{len(self.own)} files that a tool of mmcontrast or a run wrote '
                   f'are left out, the first: {display_name(self.own[0])}. To read '
                   f'them all the same, name their folder itself, or remove {MARKER} '
                   'there.')


def _above(folder: str) -> tuple[tuple[int, int], ...]:
    """Identities of the folders that hold this one."""
    stats = []
    for parent in Path(folder).resolve().parents:
        with suppress(OSError):
            stats.append(os.stat(parent))
    return tuple((stat.st_dev, stat.st_ino) for stat in stats)


def _is_hidden(name: str) -> bool:
    return name.startswith('.') or name in _HIDDEN


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _may_hold_data(entry: os.DirEntry) -> bool:
    """Whether it is a file or a link without a target; a pipe would never end."""
    with suppress(OSError):
        return entry.is_file() or entry.is_symlink() and not os.path.exists(entry.path)
    return True


def _marked(folder: str) -> set[str]:
    try:
        with open(os.path.join(folder, MARKER), 'rb') as file:
            return {os.fsdecode(line) for line in file.read().split(b'\n') if line}
    except OSError:
        return set()


# What the marker of a folder names, so that it is read once a process.
_noted: dict[str, set[str]] = {}


def _mark(folder: Path, name: str) -> None:
    path = os.path.abspath(folder)
    noted = _noted.setdefault(path, _marked(path))
    if noted.isdisjoint({name, _ALL}):
        noted.add(name)
        # An added line is whole, whoever else adds one at the same time.
        with suppress(OSError), open(os.path.join(path, MARKER), 'ab') as file:
            file.write(os.fsencode(name) + b'\n')
