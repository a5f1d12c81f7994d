"""Describe a training checkpoint in a manifest beside it: size, hash, versions."""
import dataclasses
import functools
import hashlib
import json
import logging
import platform
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from mmengine.logging import print_log

from .._compat import NEIGHBORS, find
from ..version import __version__
from .atomic import write_text

# Bytes; the text of a config is a few thousand.
_LARGEST = 2**26


@dataclass(frozen=True)
class Manifest:
    """Description of a checkpoint file.

    Attributes:
        file: Its name, without folder.
        bytes: Its size.
        sha256: Hash of its content, in hexadecimal.
        epoch, step: Epochs and iterations trained when it was written.
        versions: Python and the libraries that wrote it, by name.
        config: Text of the config; parse it with
            :func:`~mmcontrast.io.config_text.parse_config_text`, never run it.
        written: When, ISO 8601 in UTC.
        run: Id of the run, see :class:`~mmcontrast.io.run_note.RunNote`; empty if it
            is not known.
    """

    file: str
    bytes: int
    sha256: str
    epoch: int
    step: int
    versions: dict
    config: str
    written: str = ''
    run: str = ''

    def mismatch(self, path: Path) -> str | None:
        """How the file at ``path`` differs from the one described; None if not."""
        size = path.stat().st_size
        if size != self.bytes:
            return f'it has {size} bytes, its manifest says {self.bytes}'
        if file_sha256(path) != self.sha256:
            return 'its content does not match the hash in its manifest'
        return None


def manifest_path(checkpoint: str | Path) -> Path:
    """``epoch_3.pth.json`` for ``epoch_3.pth``."""
    return Path(f'{checkpoint}.json')


def write_manifest(manifest: Manifest, checkpoint: str | Path) -> None:
    """Write the manifest of a checkpoint beside it, atomically."""
    written = datetime.now(timezone.utc).isoformat(timespec='seconds')
    content = dataclasses.asdict(dataclasses.replace(manifest, written=written))
    write_text(manifest_path(checkpoint), json.dumps(content, indent=2))


def read_manifest(checkpoint: str | Path) -> Manifest | None:
    """The manifest of a checkpoint, None if it has none.

    Raises:
        ValueError: If there is one that is not valid or cannot be read.
    """
    path = manifest_path(checkpoint)
    if not path.is_file():
        return None
    fields = {field.name: field.type for field in dataclasses.fields(Manifest)}
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise ValueError(f'it has {size} bytes')
        content = json.loads(path.read_bytes())
        # A later version may write more than this one knows.
        manifest = Manifest(**{k: v for k, v in content.items() if k in fields})
        wrong = [name for name, kind in fields.items()
                 if type(getattr(manifest, name)) is not kind]
        if wrong:
            raise TypeError(f'{", ".join(wrong)} of the wrong type')
    except OSError as error:
        raise ValueError(f'{path} cannot be read ({error.strerror}).') from error
    # Brackets may be nested deeper than Python's stack.
    except (ValueError, TypeError, AttributeError, RecursionError, MemoryError
            ) as error:
        raise ValueError(f'{path} is no manifest of a checkpoint ({error}).') from error
    return manifest


def usable_manifest(checkpoint: str | Path) -> Manifest | None:
    """The manifest of a checkpoint; None, with a warning, if it cannot be used."""
    try:
        return read_manifest(checkpoint)
    except ValueError as error:
        print_log(f'{error} {Path(checkpoint).name} is checked without it.',
                  logger='current', level=logging.WARNING)
        return None


def remove_manifest(checkpoint: str | Path) -> None:
    """Remove the manifest of a checkpoint that is about to be replaced.

    A file of that name that is no manifest stays.
    """
    with suppress(ValueError, OSError):
        if read_manifest(checkpoint):
            manifest_path(checkpoint).unlink()


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python, mmcontrast and the installed OpenMMLab libraries."""
    found = {n.module: find(n)[1] for n in NEIGHBORS}
    return dict(python=platform.python_version(), mmcontrast=__version__,
                numpy=metadata.version('numpy'),
                **{module: version for module, version in found.items() if version})


def file_sha256(path: str | Path) -> str:
    """Hash of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open(Path(path).expanduser(), 'rb') as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
