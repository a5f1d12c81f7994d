"""Tell what a file is by its first bytes, where it is not what its name says."""
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

_DOWNLOAD = 'Download the file itself.'
_UNPACK = 'Unpack it and name the file inside.'
# First bytes, what they belong to, what to do.
_MAGIC = (
    (b'\x89PNG\r\n\x1a\n', 'a PNG image', ''), (b'\xff\xd8\xff', 'a JPEG image', ''),
    (b'GIF8', 'a GIF image', ''), (b'%PDF-', 'a PDF document', ''),
    (b'\x1f\x8b', 'compressed by gzip', _UNPACK),
    (b'BZh', 'compressed by bzip2', _UNPACK),
    (b'\xfd7zXZ\0', 'compressed by xz', _UNPACK),
    (b'\x28\xb5\x2f\xfd', 'compressed by zstd', _UNPACK),
    (b'7z\xbc\xaf\x27\x1c', 'a 7z archive', _UNPACK),
    (b'Rar!\x1a\x07', 'a RAR archive', _UNPACK),
    (b'\x89HDF\r\n\x1a\n', 'an HDF5 file, as Keras writes it',
     'Save the weights with torch.save in the library that wrote it.'),
    (b'\x93NUMPY', 'an .npy file of numpy', ''),
    (b'GGUF', 'a GGUF file of llama.cpp', ''),
    (b'SQLite format 3\0', 'an SQLite database', ''),
    (b'PAR1', 'a Parquet table', ''), (b'\x7fELF', 'a program or library', ''),
    (b'MZ', 'a program or library', ''), (b'\x04"M\x18', 'compressed by lz4', _UNPACK))


# Texts that stand in for the file that was meant.
_PAGE = 'a web page (HTML), such as one for an error or a login'
_STAND_INS = {
    b'version https://git-lfs': "a pointer of git-lfs: get the file, 'git lfs pull'",
    **dict.fromkeys((b'<!doctype html', b'<html'), f'{_PAGE}: download the file')}


def stand_in(start: bytes) -> str:
    """What a file is that stands in for the one that was not fetched; '' if it is none.

    Args:
        start: Its first bytes, 64 at least.
    """
    start = start[:64].lstrip(b'\xef\xbb\xbf \t\r\n').lower()
    return next((what for known, what in _STAND_INS.items()
                 if start.startswith(known)), '')


def describe_content(path: str | Path) -> str | None:
    """What a file is and what to do, for a message about one that cannot be read.

    Returns:
        For example ``'it is a PNG image.'``; None if it may be damaged, but is none of
        the kinds that are known here.
    """
    path = Path(path)
    try:
        with open(path, 'rb') as file:
            start = file.read(4096)
        size = path.stat().st_size
        what, advice = (
            _by_magic(start) or _archive(path, start) or _weights(path, start)
            or _text(path, start, size) or ('', ''))
    except OSError:
        return None
    return f'it is {what}. {advice}'.strip() if what else None


def _by_magic(start: bytes) -> tuple[str, str] | None:
    if start[4:8] == b'ftyp':
        return 'a video, or an image in a format of videos (HEIC, AVIF)', ''
    if start[:4] == b'RIFF':
        return 'a WebP image, or a file of sound or video', ''
    return next(((what, advice) for magic, what, advice in _MAGIC
                 if start.startswith(magic)), None)


def _archive(path: Path, start: bytes) -> tuple[str, str] | None:
    if start.startswith(b'PK'):
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            return _zip(archive.namelist(), path)
    with suppress(tarfile.TarError):
        if start[257:262] == b'ustar' and tarfile.is_tarfile(path):
            return 'a tar archive', _UNPACK
    return None


def _zip(names: list[str], path: Path) -> tuple[str, str] | None:
    if any(name.endswith('/constants.pkl') for name in names):
        return ('a TorchScript archive, which holds code',
                'If you trust its author, load it with torch.jit.load and save its '
                "state_dict(): torch.save(model.state_dict(), 'weights.pth').")
    if any(name.endswith('data.pkl') for name in names):
        return (('a file of torch.save', f'Rename it to {path.stem}.pth.')
                if path.suffix in ('.safetensors', '.msgpack') else None)
    if names and all(name.endswith('.npy') for name in names):
        return 'an .npz file of numpy', ''
    shown = ', '.join(names[:3]) + ', ...' * (len(names) > 3)
    return f'a zip archive of {len(names)} files ({shown})', _UNPACK


def _weights(path: Path, start: bytes) -> tuple[str, str] | None:
    """Files of weights with the ending of others."""
    header = int.from_bytes(start[:8], 'little')
    if path.suffix != '.safetensors' and start[8:9] == b'{' and header < 2**27:
        return 'a safetensors file', f'Rename it to {path.stem}.safetensors.'
    # What follows in a file of torch.save before 1.6: its magic number.
    if start[:1] == b'\x80' and start[1] < 6 and start[2:4] != b'\x8a\n':
        return (f'a pickle of protocol {start[1]} that torch reads only by executing '
                'it, and nothing was executed', 'If you trust its author, load it and '
                "save the weights alone: torch.save(weights, 'weights.pth').")
    return None


def _text(path: Path, start: bytes, size: int) -> tuple[str, str] | None:
    if not size:
        return 'empty', 'Download it or copy it again.'
    if not start.strip(b'\0'):
        return ('nothing but zeros' + ' at its start' * (size > len(start)),
                'A download or copy of it was broken off: get it again.')
    wide = start.startswith((b'\xff\xfe', b'\xfe\xff'))
    try:
        text = start.decode('utf-16' if wide else 'utf-8-sig',
                            'strict' if size <= len(start) else 'ignore')
    except UnicodeDecodeError:
        return None
    text = text.strip()
    if not text:
        return 'nothing but blanks', _DOWNLOAD
    if not all(c.isprintable() or c.isspace() for c in text):
        return None
    if text.startswith('version https://git-lfs'):
        wanted = text.partition('\nsize ')[2].split('\n')[0] or '?'
        return (f'a pointer of git-lfs to a file of {wanted} bytes',
                'Get the file itself: git lfs pull in its repository, or download it '
                'from its page.')
    if text[:200].lower().startswith(('<!doctype html', '<html', '<head', '<!--')):
        return _PAGE, _DOWNLOAD
    line = text.split('\n')[0][:60]
    # Servers answer with a line or two where there is no such file.
    is_answer = size < 1000 and path.suffix not in ('.py', '.json', '.yml', '.yaml')
    return f'text that begins with {line!r}', _DOWNLOAD if is_answer else ''
