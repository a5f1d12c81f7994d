"""Read files from zip archives through ``mmengine.fileio``."""
import io
import os
import zipfile

from mmengine.fileio import BaseStorageBackend, register_backend

from ...io.file_kinds import describe_content
from ...io.size_limit import check_size
from .addresses import split_address


def zip_members(archive: str) -> list[str]:
    """Paths of all files in ``archive``, sorted, folders left out.

    Whatever way the archive writes them: ``./p/0.jpg`` and ``p\\0.jpg`` are
    ``p/0.jpg``.
    """
    return sorted(_open(archive)[1])


@register_backend('zip', prefixes='zip', force=True)
class ZipBackend(BaseStorageBackend):
    """Reads ``zip://ARCHIVE@/PATH/INSIDE``; one table of contents per archive.

    An archive is opened on first use. Forked workers share what the main process
    opened (see :class:`_PositionalFile`), spawned ones open it again.
    """

    def get(self, filepath: str) -> bytes:
        archive, inside = split_address(filepath)
        file, members = _open(archive)
        member = members.get(inside) or members.get(_plain(inside))
        if member is None:
            raise FileNotFoundError(f'{archive} holds no file {inside!r}.')
        check_size(f'{inside} in {archive}', member.file_size)
        return file.read(member)

    def exists(self, filepath: str) -> bool:
        archive, inside = split_address(filepath)
        return _plain(inside) in _open(archive)[1]

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        return self.get(filepath).decode(encoding)


class _PositionalFile(io.RawIOBase):
    """A file read with ``pread``: forked processes share it without a race.

    The kernel keeps one read position per open file, and a fork shares it; two
    loaders that seek and read through it would get each other's bytes. Here every
    process keeps its own position.
    """

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self._size = os.fstat(self._fd).st_size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        if base[whence] + offset < 0:
            # zipfile seeks the table of contents from the end and expects this error.
            raise OSError(f'Negative seek position {base[whence] + offset}.')
        self._position = base[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        if size is None or size < 0:
            size = max(self._size - self._position, 0)
        parts = []
        while size and (part := os.pread(self._fd, size, self._position)):
            parts.append(part)
            self._position += len(part)
            size -= len(part)
        return b''.join(parts)

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


_IS_UTF8 = 0x800

# Open archives, and their files by path.
_archives: dict[tuple, tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]] = {}


def _open(archive: str) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    try:
        stat = os.stat(archive)
    except FileNotFoundError:
        raise FileNotFoundError(
            f'No zip archive at {os.path.abspath(archive)}.') from None
    # A file written anew under the same name has another key.
    key = (os.path.abspath(archive), stat.st_mtime_ns, stat.st_size)
    if key not in _archives:
        try:
            file = zipfile.ZipFile(_PositionalFile(archive))
        except zipfile.BadZipFile as error:
            what = describe_content(archive) or f'{error}.'
            raise ValueError(f'{archive} is not a zip archive: {what}') from None
        _archives[key] = file, {
            _plain(_decoded(member)): member for member in file.infolist()
            if not member.filename.endswith(('/', '\\'))}
    return _archives[key]


def _decoded(member: zipfile.ZipInfo) -> str:
    """The name of a member; macOS and others write UTF-8 without saying so."""
    if member.flag_bits & _IS_UTF8 or member.filename.isascii():
        return member.filename
    try:
        return member.filename.encode('cp437').decode()
    except UnicodeError:
        return member.filename


def _plain(name: str) -> str:
    r"""A path in an archive, of Windows or with ``./`` or ``../``, as on Linux."""
    parts = name.replace('\\', '/').split('/')
    return '/'.join(part for part in parts if part not in ('', '.', '..'))
