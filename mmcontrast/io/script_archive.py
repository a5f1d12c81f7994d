"""Read the tensors of TorchScript archives as data, without their code.

OpenAI publishes CLIP as such archives. ``torch.jit.load`` would compile and execute
code in the file; here only the pickled attributes are read.
"""
import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor

from .safe_globals import unsafe_file_message

STORAGES = {
    'HalfStorage': torch.float16, 'BFloat16Storage': torch.bfloat16,
    'FloatStorage': torch.float32, 'DoubleStorage': torch.float64,
    'BoolStorage': torch.bool, 'ByteStorage': torch.uint8, 'CharStorage': torch.int8,
    'ShortStorage': torch.int16, 'IntStorage': torch.int32, 'LongStorage': torch.int64}


def is_script_archive(path: str | Path) -> bool:
    """Whether ``path`` is a file of ``torch.jit.save`` rather than ``torch.save``."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith('/constants.pkl') for name in archive.namelist())


def read_script_archive(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a TorchScript archive by their dotted names, on the CPU.

    Parameters, buffers and tensor attributes, as stored; what ``state_dict()`` of the
    module would give, plus its plain tensor attributes.

    Raises:
        ValueError: If the archive is damaged, or its pickle names anything but
            tensors, plain containers and TorchScript's own classes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = _ArchiveUnpickler(archive).load()
            return dict(_named_tensors(root))
    except pickle.UnpicklingError as error:
        raise ValueError(unsafe_file_message(Path(path), error)) from error
    except (zipfile.BadZipFile, EOFError, KeyError, OSError, RuntimeError, TypeError,
            ValueError) as error:
        raise ValueError(
            f'{path} cannot be read as a TorchScript archive ({error}). It '
            'may be truncated: compare its size with the original and copy it '
            'again.') from error


class _Module:
    """A pickled TorchScript object: its attributes, without its class."""

    def __init__(self):
        self.attributes = {}

    def __setstate__(self, attributes: dict) -> None:
        self.attributes = dict(attributes)


class _ArchiveUnpickler(pickle.Unpickler):
    """Unpickler that knows tensors and containers and refuses every other object."""

    def __init__(self, archive: zipfile.ZipFile):
        records = [name for name in archive.namelist() if name.endswith('/data.pkl')]
        if len(records) != 1:
            raise ValueError(f'{len(records)} records named data.pkl, expected one')
        self.archive = archive
        self.folder = records[0].removesuffix('data.pkl')
        self._check_byte_order()
        super().__init__(archive.open(records[0]))

    def find_class(self, module: str, name: str):
        known = {
            ('torch._utils', '_rebuild_tensor_v2'): _tensor,
            ('torch.jit._pickle', 'restore_type_tag'): _first,
            ('collections', 'OrderedDict'): OrderedDict}
        if module == '__torch__' or module.startswith('__torch__.'):
            return _Module
        if module == 'torch' and name in STORAGES:
            return STORAGES[name]
        if module == 'torch.jit._pickle' and name.startswith('build_'):
            return _first
        if (module, name) in known:
            return known[module, name]
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL {module}.{name}')

    def persistent_load(self, key: tuple) -> Tensor:
        """All values of a storage, (size, )."""
        _, dtype, record, _, size = key
        if size == 0:
            return torch.empty(0, dtype=dtype)
        data = self.archive.read(f'{self.folder}data/{record}')
        return torch.frombuffer(bytearray(data), dtype=dtype, count=size)

    def _check_byte_order(self) -> None:
        record = f'{self.folder}byteorder'
        # Archives of torch before 2.1 do not say; they come from little endian.
        order = (self.archive.read(record).decode()
                 if record in self.archive.namelist() else 'little')
        if order != sys.byteorder:
            raise ValueError(f'{order} endian, this machine is {sys.byteorder} endian')


def _tensor(storage: Tensor, offset: int, size: tuple, stride: tuple, *_) -> Tensor:
    return storage.as_strided(size, stride, offset)


def _first(value, *_):
    return value


def _named_tensors(module: _Module, prefix: str = ''):
    for name, value in getattr(module, 'attributes', {}).items():
        if isinstance(value, Tensor):
            yield f'{prefix}{name}', value
        elif isinstance(value, _Module):
            yield from _named_tensors(value, f'{prefix}{name}.')
