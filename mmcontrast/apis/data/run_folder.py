"""Check the output folder of a tool, and remove what an earlier run wrote there."""
import fcntl
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...errors import UserValueError
from ...io.atomic import remove_partial_files, write_text
from ...io.folders import mark_output_folder

SKIPPED = 'skipped.txt'
# Names that unique_stem gives, and COCO's.
_NAME = re.compile(r'([A-Za-z0-9_-]+-[0-9a-f]{8}|[0-9]{12,})\.[a-z]+')


@dataclass(frozen=True)
class RunFolder:
    """The output folder of a tool, which may hold an earlier run of it, or nothing.

    Hidden files, such as those of a file browser, are neither looked at nor removed.

    Attributes:
        path: The folder.
        tool: The tool, for messages and the first line of ``skipped.txt``.
        files: Name of a file in the folder -> function that tells by the content
            whether the tool wrote it.
        folders: Names of folders in it. Their files have names of ``unique_stem``,
            or COCO's.
    """

    path: Path
    tool: str
    files: Mapping[str, Callable[[Path], bool]]
    folders: tuple[str, ...]

    def check(self, **sources: str | Path | None) -> None:
        """Check that nobody else keeps anything in the folder.

        Args:
            sources: Files and folders that the tool reads, by argument.

        Raises:
            FileExistsError: If it is a file, or holds something that the tool did not
                write.
            UserValueError: If a source lies in it.
        """
        if self.path.is_file():
            raise FileExistsError(f'{self.path} is a file; give the name of a folder.')
        for name, source in sources.items():
            inside = source and Path(source).expanduser().resolve()
            if inside and self.path.resolve() in (inside, *inside.parents):
                raise UserValueError(
                    f'{name}: {source} lies in the output folder {self.path}, where it '
                    'could be replaced. Give another output folder.')
        foreign = next(self._foreign(), None)
        if foreign:
            raise FileExistsError(
                f'{self.path} holds {foreign}, which {self.tool} did not write; give '
                'another folder.')

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out, by the hidden file ``.lock``; it stays there.

        Raises:
            FileExistsError: If another process is in.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / '.lock', 'ab') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FileExistsError(
                    f'Another process of {self.tool} writes to {self.path}; wait for '
                    'its end, or give another folder.') from None
            except OSError:
                pass  # The file system has no locks.
            yield

    def create(self) -> None:
        """Make the folders, and remove unfinished files of processes that died."""
        for folder in (self.path, *(self.path / name for name in self.folders)):
            folder.mkdir(parents=True, exist_ok=True)
            remove_partial_files(folder)
        mark_output_folder(self.path)

    def clear(self, listed: Iterable[str]) -> None:
        """Remove a run; :meth:`check` comes before.

        Args:
            listed: Files that the run lists, relative to the folder. Others in the
                folders stay.
        """
        for name in listed:
            folder, _, file = name.rpartition('/')
            if folder in self.folders and _NAME.fullmatch(file):
                (self.path / name).unlink(missing_ok=True)
        # What tells that the folder is ours comes last.
        for name in (SKIPPED, *self.files):
            (self.path / name).unlink(missing_ok=True)

    def write_skipped(self, reasons: Counter, lines: Iterable[str]) -> None:
        """Write ``skipped.txt``: the number of each reason, then a line for each."""
        counts = [f'# {count} x {reason}' for reason, count in reasons.most_common()]
        text = '\n'.join([self._first_line, *counts, *lines]) + '\n'
        # Names of files need not be valid text.
        write_text(self.path / SKIPPED, text.encode(errors='backslashreplace').decode())

    @property
    def _first_line(self) -> str:
        return f'# What {self.tool} could not use.'

    def _foreign(self) -> Iterator[str]:
        """What somebody else put there."""
        known, is_run = {**self.files, SKIPPED: self._is_list}, False
        for entry in _visible(self.path):
            if entry.name in self.folders and entry.is_dir():
                continue
            if not (entry.name in known and entry.is_file()
                    and known[entry.name](Path(entry.path))):
                yield entry.name
            is_run = True
        for folder in self.folders:
            for entry in _visible(self.path / folder):
                if not (is_run and entry.is_file() and _NAME.fullmatch(entry.name)):
                    yield f'{folder}/{entry.name}'

    def _is_list(self, path: Path) -> bool:
        with open(path, 'rb') as file:
            return file.readline().decode(errors='replace').rstrip() == self._first_line


def check_same_settings(old: Mapping, new: Mapping, what: str,
                        also: Iterable[str] = ()) -> None:
    """Check that a run was started with the same settings.

    Args:
        old: As they were read from JSON.
        new: Of this call.
        what: Subject of the message: what holds the run and what it is.
        also: Further differences, as parts of a sentence.

    Raises:
        FileExistsError: With everything that differs.
    """
    differ = []
    for key, value in json.loads(json.dumps(new)).items():
        if old.get(key) != value:
            differ.append(
                f'the content of {key.removesuffix("_sha256")} changed'
                if key.endswith('_sha256') else
                f'{key} was {old.get(key)!r} and is {value!r}')
    differ += also
    if differ:
        raise FileExistsError(
            f'{what}: {"; ".join(differ)}. Use the same to resume it, give another '
            'folder, or --overwrite (overwrite=True) to start again.')


def _visible(folder: Path) -> list[os.DirEntry]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith('.')]
