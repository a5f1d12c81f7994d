"""A file that is not what its name says is called what it is."""
import gzip
import io
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save

from mmcontrast.errors import UserValueError
from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.io.file_kinds import describe_content
from mmcontrast.models.text.stored_texts import StoredClassTexts

POINTER = (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\n'
           b'size 102502400\n')


def saved(write) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def tar(buffer) -> None:
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        archive.addfile(tarfile.TarInfo('a.pth'))


def zipped(buffer) -> None:
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('readme.txt', 'x')


def script(buffer) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Identity()), buffer)


WEIGHTS = saved(lambda buffer: torch.save({'a': torch.ones(2)}, buffer))
# faults J; the siblings are whatever else gets the name of a checkpoint.
FOREIGN = {
    'lfs.pth': (POINTER, 'a pointer of git-lfs to a file of 102502400 .*git lfs pull'),
    'lfs.safetensors': (POINTER, 'a pointer of git-lfs.*git lfs pull'),
    'lfs.msgpack': (POINTER, 'a pointer of git-lfs.*git lfs pull'),
    'page.pth': (b'\n<!DOCTYPE html>\n<html>', r'a web page \(HTML\).*Download'),
    'bom.pth': (b'\xef\xbb\xbf<HTML lang="en">', 'a web page'),
    'denied.pth': (b'<?xml version="1.0"?>\n<Error>', 'text that begins with .<.xml'),
    'error.pth': (b'{"error": "gone"}', 'text that begins with .*gone.*Download'),
    'code.pth': (b"can't open\nthis file\n", "text that begins with \"can't open"),
    'png.pth': (b'\x89PNG\r\n\x1a\n' + bytes(9), 'a PNG image'),
    'a.pth.gz': (gzip.compress(WEIGHTS), 'compressed by gzip. Unpack'),
    'a.tar': (saved(tar), 'a tar archive. Unpack'),
    'a.zip': (saved(zipped), r'a zip archive of 1 files \(readme.txt\). Unpack'),
    'wide.pth': ('<html>'.encode('utf-16'), 'a web page'),
    'blank.pth': (b' \n', 'nothing but blanks. Download'),
    'heic.pth': (b'\0\0\0\x18ftypheic' + bytes(9), 'a video, or an image'),
    'npz.pth': (saved(lambda buffer: np.savez(buffer, a=np.ones(2))), 'an .npz file'),
    'npy.pth': (saved(lambda buffer: np.save(buffer, np.ones(2))), 'an .npy file'),
    'keras.pth': (b'\x89HDF\r\n\x1a\n' + bytes(9), 'an HDF5 file'),
    'script.pth': (saved(script), 'a TorchScript archive.*torch.jit.load'),
    'pickle.pkl': (pickle.dumps(dict(a=1), 4), 'a pickle of protocol 4 .*executing'),
    'zeros.pth': (bytes(9000), 'nothing but zeros.*broken off'),
    'empty.pth': (b'', 'empty. Download'),
    'torch.safetensors': (WEIGHTS, 'a file of torch.save. Rename it to torch.pth'),
    'safe.bin': (save({'a': torch.ones(2)}), 'a safetensors file. Rename it to safe.s')}


@pytest.mark.parametrize('name', FOREIGN)
def test_the_message_says_what_the_file_is_and_what_to_do(tmp_path, name):
    content, expected = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserValueError, match=f'(?s){name} .*: it is {expected}') as got:
        read_checkpoint(tmp_path / name)
    assert 'which is code and not data' not in str(got.value)


def test_nobody_is_advised_to_execute_unknown_bytes(tmp_path):
    (tmp_path / 'a.pth').write_bytes(b'\x1c\0\0\0TFL3')
    with pytest.raises(UserValueError, match='does not begin as a file of torch.save'
                       ) as got:
        read_checkpoint(tmp_path / 'a.pth')
    assert 'weights_only' not in str(got.value)


def test_a_damaged_checkpoint_is_not_called_something_else(tmp_path):
    legacy = saved(lambda buffer: torch.save(
        {'a': torch.ones(99)}, buffer, _use_new_zipfile_serialization=False))
    for content in (WEIGHTS, WEIGHTS[:200], legacy, legacy[:200], b'\xff\0\x17' * 9):
        (tmp_path / 'a.pth').write_bytes(content)
        assert describe_content(tmp_path / 'a.pth') is None
    assert describe_content(tmp_path / 'none.pth') is None


def test_class_embeddings_that_are_a_pointer_are_called_so(tmp_path):
    # faults J: numpy says that it cannot load pickled data.
    (tmp_path / 'a.npy').write_bytes(POINTER)
    with pytest.raises(UserValueError, match='a.npy is no .npy.*pointer of git-lfs'):
        StoredClassTexts(['a'], tmp_path / 'a.npy')
