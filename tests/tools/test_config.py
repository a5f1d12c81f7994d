"""Test which configs the tools find, and what they say of those they do not find."""
import pytest
import torch

from mmcontrast.apis import export_backbone
from mmcontrast.apis.config import load_config, read_config
from mmcontrast.apis.convert.official import convert_official

PIXPRO = 'mmcontrast::pixpro/pixpro_resnet18_1xb32-coslr-4e_shapes_debug.py'


def test_a_config_of_the_package_is_named_by_its_scope():
    assert read_config(PIXPRO).model.type == 'PixPro'


@pytest.mark.parametrize('path, words', [
    (PIXPRO.replace('shapes', 'shape'), f'did you mean {PIXPRO!r}'),
    ('mmcontrast::nothing_like_it.py', 'no config in'),
    ('mmcontrats::pixpro/some.py', 'no package mmcontrats'),
    ('no/such/folder/some.py', 'no folder no/such/folder')])
def test_a_config_that_is_not_there_is_one_sentence(path, words):
    with pytest.raises(FileNotFoundError, match='does not exist') as end:
        load_config(path)
    assert str(end.value).startswith(f'config {path} does')
    assert words in str(end.value)


def test_converters_take_configs_of_the_package(tmp_path):
    file = tmp_path / 'other.pth'
    torch.save(dict(state_dict={'head.weight': torch.zeros(1)}), file)
    with pytest.raises(KeyError, match='no weight of the online backbone'):
        export_backbone(PIXPRO, file, tmp_path / 'out.pth', 'mmdet')
    with pytest.raises(FileNotFoundError, match='did you mean'):
        convert_official('pixpro', file, tmp_path / 'out.pth', PIXPRO + 'y')
