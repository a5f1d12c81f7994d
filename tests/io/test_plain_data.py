"""Batches with data samples, written and read as plain data."""
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from mmcontrast.io.plain_data import from_plain, left_out, shallow_copy, to_plain
from mmcontrast.structures import View


def there_and_back(value):
    file = io.BytesIO()
    torch.save(to_plain(value), file)
    file.seek(0)
    # Nothing but tensors and builtin types passes here.
    return from_plain(torch.load(file, weights_only=True))


def sample():
    element = BaseDataElement(metainfo=dict(
        img_path='a.jpg', scale_factor=np.float32(1.5), ori_shape=(4, 5)))
    element.instances = InstanceData(
        boxes=torch.rand(2, 4), names=np.array(['cat', 'dog']))
    element.pixels = PixelData(sem_seg=torch.randint(0, 3, (1, 4, 5)))
    element.views = (View(0, 1, 2, 3, flipped=True), View(1, 1, 5, 5))
    return element


def test_data_samples_come_back_with_class_fields_and_metainfo():
    before, after = sample(), there_and_back(sample())
    assert type(after) is BaseDataElement
    assert after.metainfo == before.metainfo
    assert type(after.metainfo['scale_factor']) is np.float32
    assert type(after.instances) is InstanceData and len(after.instances) == 2
    assert after.instances.names.tolist() == ['cat', 'dog']
    assert type(after.pixels) is PixelData and after.pixels.shape == (4, 5)
    assert after.views == before.views


def test_containers_and_arrays_come_back_as_they_were():
    value = dict(a=[1, (2.5, None, 'x', b'y')], b={3: 'int key', (1, 2): 'tuple key'},
                 c={1, 2}, d=Path('a/b'), f={'__kind__': 'a key of ours'})
    assert there_and_back(value) == value
    array = np.arange(6, dtype='>i2').reshape(2, 3)[:, 1:]
    after = there_and_back(array)
    assert np.array_equal(after, array) and after.dtype == array.dtype


def test_a_small_part_of_a_large_tensor_is_saved_alone():
    part = torch.arange(1000.)[10:12]
    plain = to_plain([part])
    assert plain[0].untyped_storage().nbytes() == 8 and plain[0].tolist() == [10, 11]


def test_a_sample_of_a_class_of_your_own_comes_back_as_its_base():
    class Mine(InstanceData):
        pass
    after = there_and_back(Mine(scores=torch.ones(3)))
    assert type(after) is InstanceData and after.scores.tolist() == [1, 1, 1]


def test_what_is_no_data_is_left_out_by_name():
    plain = to_plain(dict(fine=1, samples=[dict(call=print, lock=object())]))
    assert list(left_out(plain)) == [
        'samples[0].call: builtins.builtin_function_or_method',
        'samples[0].lock: builtins.object']
    assert from_plain(plain) == dict(fine=1, samples=[dict(call=None, lock=None)])


@pytest.mark.parametrize('plain', [
    {'__kind__': 'element', 'class': 'os.system', 'metainfo': {}, 'data': {},
     'properties': []},
    {'__kind__': 'object', 'class': 'Popen', 'arguments': dict(args='true')},
    {'__kind__': 'pickle', 'bytes': b''},
    {'__kind__': 'array', 'dtype': '|O', 'shape': (1,), 'bytes': b'12345678',
     'scalar': False}])
def test_a_file_cannot_name_what_is_made_of_it(plain):
    with pytest.raises(ValueError, match='saved batch'):
        from_plain(plain)


def test_a_shallow_copy_keeps_what_the_model_changes_in_its_samples():
    batch = dict(inputs=[torch.zeros(2)], data_samples=[sample()])
    copy = shallow_copy(batch)
    batch['inputs'][0] = None
    batch['data_samples'][0].set_metainfo(dict(batch_input_shape=(8, 8)))
    batch['data_samples'][0].pixels = PixelData(sem_seg=torch.zeros(1, 8, 8))
    del batch['data_samples'][0].instances
    kept = copy['data_samples'][0]
    assert 'batch_input_shape' not in kept and 'instances' in kept
    assert kept.pixels.shape == (4, 5) and copy['inputs'][0].tolist() == [0, 0]
