"""Read files from zip archives through ``mmengine.fileio``."""
import io
import os
import zipfile

from mmengine.fileio import BaseStorageBackend, register_backend

from .addresses import split_address


def zip_members(archive: str) -> list[str]:
    """Paths of all files in ``archive``, sorted, folders left out."""
    return sorted(m.filename for m in _open(archive).infolist() if not m.is_dir())


@register_backend('zip', prefixes='zip', force=True)
class ZipBackend(BaseStorageBackend):
    """Reads ``zip://ARCHIVE@/PATH/INSIDE``; one table of contents per archive.

    An archive is opened on first use. Forked workers share what the main process
    opened (see :class:`_PositionalFile`), spawned ones open it again.
    """

    def get(self, filepath: str) -> bytes:
        archive, inside = split_address(filepath)
        try:
            return _open(archive).read(inside)
        except KeyError:
            raise FileNotFoundError(f'{archive} holds no file {inside!r}.') from None

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


_archives: dict[tuple, zipfile.ZipFile] = {}


def _open(archive: str) -> zipfile.ZipFile:
    try:
        stat = os.stat(archive)
    except FileNotFoundError:
        raise FileNotFoundError(
            f'No zip archive at {os.path.abspath(archive)}.') from None
    # A file written anew under the same name has another key.
    key = (os.path.abspath(archive), stat.st_mtime_ns, stat.st_size)
    if key not in _archives:
        try:
            _archives[key] = zipfile.ZipFile(_PositionalFile(archive))
        except zipfile.BadZipFile as error:
            raise ValueError(f'{archive} is not a zip archive: {error}.') from None
    return _archives[key]
