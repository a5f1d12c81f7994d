"""Read files from lmdb databases through ``mmengine.fileio``."""
import os

from mmengine.fileio import BaseStorageBackend, register_backend

from ...io.size_limit import check_size
from .addresses import split_address


def lmdb_keys(database: str) -> list[str]:
    """All keys of ``database`` in the order of their bytes.

    Keys are paths, which need not be UTF-8.

    Raises:
        ValueError: If it is no database.
    """
    with _open(database).begin() as view:
        return list(map(os.fsdecode, view.cursor().iternext(values=False)))


@register_backend('lmdb_images', prefixes='lmdb', force=True)
class LmdbImagesBackend(BaseStorageBackend):
    """Reads ``lmdb://DATABASE@/KEY``; every process opens the database itself."""

    def get(self, filepath: str) -> bytes:
        database, key = split_address(filepath)
        with _open(database).begin(buffers=True) as view:
            value = view.get(os.fsencode(key))
            if value is None:
                raise FileNotFoundError(f'{database} holds no key {key!r}.')
            check_size(f'{key} in {database}', len(value))
            return bytes(value)

    def exists(self, filepath: str) -> bool:
        database, key = split_address(filepath)
        with _open(database).begin(buffers=True) as view:
            return view.get(os.fsencode(key)) is not None

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        return self.get(filepath).decode(encoding)


def import_lmdb():
    """The library, or a sentence that says how to get it."""
    try:
        import lmdb
    except ImportError:
        raise ImportError(
            'Reading and writing .lmdb needs the library lmdb: pip install lmdb'
        ) from None
    return lmdb


_databases: dict[str, tuple] = {}


def _open(database: str):
    lmdb = import_lmdb()
    path = os.path.abspath(database)
    file = os.path.join(path, 'data.mdb') if os.path.isdir(path) else path
    try:
        stat = os.stat(file)
    except FileNotFoundError:
        raise FileNotFoundError(f'No lmdb database at {path}: there is no '
                                f'{os.path.basename(file)}.') from None
    version = (stat.st_mtime_ns, stat.st_size)
    known, environment = _databases.get(path, (None, None))
    if known == version:
        return environment
    if environment is not None:  # written anew under the same name
        _databases.pop(path)[1].close()
    try:
        # No lock file: the folder may be read-only, and nobody writes during a run.
        environment = lmdb.open(
            path, subdir=os.path.isdir(path), readonly=True, lock=False,
            readahead=False, create=False)
    except lmdb.Error as error:
        raise ValueError(f'{database} cannot be opened as an lmdb database: '
                         f'{error}.') from None
    _databases[path] = (version, environment)
    return environment


def _close_all() -> None:
    while _databases:
        _databases.popitem()[1][1].close()


# An open database does not survive a fork; both processes open it again when they read.
os.register_at_fork(before=_close_all)
