"""Checkpoints of Flax: read as data, written, damaged."""
import msgpack
import numpy as np
import pytest
import torch

from mmcontrast.io.checkpoint import find_state_dict, read_checkpoint
from mmcontrast.io.flax_files import read_flax, write_flax


def flax_array(array, kind=1):
    """As flax.serialization packs a numpy array (kind 1) or scalar (kind 3)."""
    return msgpack.ExtType(kind, msgpack.packb(
        (array.shape, array.dtype.name, array.tobytes()), use_bin_type=True))


def test_arrays_are_read_by_their_paths(tmp_path):
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    (tmp_path / 'a.msgpack').write_bytes(msgpack.packb({
        'conv1': {'kernel': flax_array(kernel), 'note': 'text', 'rate': 0.5},
        'step': flax_array(np.int32(7), kind=3)}))
    tree = read_flax(tmp_path / 'a.msgpack')
    assert list(tree) == ['conv1/kernel', 'step']
    assert torch.equal(tree['conv1/kernel'], torch.from_numpy(kernel))
    assert tree['step'].dtype == torch.int32 and tree['step'].item() == 7


def test_arrays_in_chunks_are_joined(tmp_path):
    whole = np.arange(12, dtype=np.float32)
    chunks = {str(i): flax_array(whole[2 * i:2 * i + 2]) for i in range(6)}
    (tmp_path / 'a.msgpack').write_bytes(msgpack.packb({'table': {
        '__msgpack_chunked_array__': True, 'shape': {'0': 4, '1': 3},
        'chunks': dict(sorted(chunks.items(), reverse=True))}}))
    table = read_flax(tmp_path / 'a.msgpack')['table']
    assert torch.equal(table, torch.arange(12.).reshape(4, 3))


def test_what_is_written_is_read_again(tmp_path):
    tree = {'a/b/kernel': torch.randn(2, 3), 'a/scale': torch.randn(4).bfloat16(),
            'steps': torch.tensor(3), 'none': torch.zeros(0, 2)}
    write_flax(tree, tmp_path / 'a.msgpack')
    checkpoint = read_checkpoint(tmp_path / 'a.msgpack')
    found = find_state_dict(checkpoint, 'a.msgpack')
    assert sorted(found) == sorted(tree)
    for path, value in tree.items():
        assert torch.equal(found[path], value) and found[path].dtype == value.dtype


def test_a_file_that_is_cut_short_is_rejected(tmp_path):
    write_flax({'kernel': torch.randn(8, 8)}, tmp_path / 'a.msgpack')
    content = (tmp_path / 'a.msgpack').read_bytes()
    for size in (0, 10, len(content) - 1):
        (tmp_path / 'b.msgpack').write_bytes(content[:size])
        with pytest.raises(ValueError, match='b.msgpack cannot be read as a Flax'):
            read_flax(tmp_path / 'b.msgpack')


def test_an_array_with_bytes_missing_is_rejected(tmp_path):
    short = msgpack.ExtType(1, msgpack.packb(((3, ), 'float32', b'12345678')))
    (tmp_path / 'a.msgpack').write_bytes(msgpack.packb({'a': short}))
    with pytest.raises(ValueError, match=r'an array of \[3\] float32 has 8 bytes'):
        read_flax(tmp_path / 'a.msgpack')


def test_a_file_without_a_tree_is_rejected(tmp_path):
    (tmp_path / 'a.msgpack').write_bytes(msgpack.packb([1, 2]))
    with pytest.raises(ValueError, match='holds a list, expected a tree'):
        read_flax(tmp_path / 'a.msgpack')
