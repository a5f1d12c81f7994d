"""The pyramid and the mask branch of PropVG against numbers of the reference."""
import pytest
import torch

from mmcontrast.models.layers import SimpleFeaturePyramid
from tests.helpers.propvg_case import Case

pytestmark = pytest.mark.usefixtures('nan_weights')

# Names of the reference -> ours.
UPSAMPLING = {'fpn1.0': 'p2.up1', 'fpn1.1': 'p2.up1_ln', 'fpn1.3': 'p2.up2',
              'fpn2.0': 'p3.up1'}


def our_name(key: str) -> str:
    parts = key.split('.')
    upsampling = UPSAMPLING.get('.'.join(parts[:2]))
    if upsampling:
        return f'{upsampling}.{parts[-1]}'
    number = 1 if parts[0] == 'lateral_convs' else 2
    kind = 'conv' if parts[2] == 'conv' else 'ln'
    return f'p{int(parts[1]) + 2}.{kind}{number}.{parts[-1]}'


@torch.no_grad()
def test_simple_fpn_with_biases_of_the_transposed_convolutions():
    case = Case('simple_fpn')
    neck = SimpleFeaturePyramid(512, 512, upsample_bias=True)
    neck.load_state_dict({our_name(k): v for k, v in case.params().items()})
    maps = neck(case.draw('neck/x'))
    case.check({f'c{i}': x for i, x in enumerate(maps, 1)})
