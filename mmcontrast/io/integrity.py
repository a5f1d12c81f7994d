"""Check that the bytes of a checkpoint are those that were written."""
import os
import zipfile
from pathlib import Path

from ..errors import UserValueError
from .manifest import Manifest, manifest_path, usable_manifest


class UnreadableFileError(UserValueError):
    """A checkpoint that the system does not let us read."""


def check_undamaged(path: Path) -> None:
    """Compare a checkpoint with its manifest, else with the checksums inside it.

    Raises:
        ValueError: If it is damaged; says what to do.
        OSError: If it cannot be read.
    """
    manifest = usable_manifest(path)
    problem = damage(path, manifest)
    if problem is None:
        return
    if manifest is None:
        raise UserValueError(
            f'{path} is damaged: {problem}. Copy or download it again.')
    raise UserValueError(
        f'{path} is damaged: {problem}. It was epoch {manifest.epoch}, step '
        f'{manifest.step}. Restore it from a copy; --resume without a path takes the '
        'newest undamaged one. If it was changed on purpose, remove '
        f'{manifest_path(path).name}.')


def damage(path: Path, manifest: Manifest | None) -> str | None:
    """What is wrong with the bytes of a file; None if nothing is known to be.

    Formats without checksums (torch before 1.6, safetensors) need a manifest.

    Raises:
        OSError: If it cannot be read.
    """
    if manifest is not None:
        return manifest.mismatch(path)
    if not zipfile.is_zipfile(path):
        return None
    try:
        return _wrong_record(path)
    except OSError:
        raise
    except Exception as error:  # Damaged bytes raise anything.
        return f'its archive cannot be read ({error})'


def unreadable(path: Path, error: OSError) -> str:
    """A sentence without its subject on a file that cannot be read."""
    if path.is_symlink() and not path.exists():
        return f'is a link to {os.readlink(path)}, which is missing'
    return f'cannot be read: {error.strerror or error}'


def _wrong_record(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        for record in archive.infolist():
            # torch.serialization.set_crc32_options(False) leaves them out.
            if record.CRC == 0:
                continue
            # torch compresses no weights; 20 kB may not become 2 GB of zeros.
            if record.file_size > max(2**24, 100 * record.compress_size):
                return (f'its record {record.filename} has {record.compress_size} '
                        f'bytes that unpack to {record.file_size}')
            try:
                with archive.open(record) as file:
                    while file.read(2**20):
                        pass
            except zipfile.BadZipFile:
                return f'the checksum of its record {record.filename} is wrong'
    return None
