"""The pyramid and the mask branch of PropVG against numbers of the reference."""
import pytest
import torch

from mmcontrast.methods.propvg.mask_branch import UNetMaskDecoder, resize_aligned
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


def mask_decoder(case: Case) -> UNetMaskDecoder:
    """conv1_4 to bn2_2 of the reference are those of fusions 0 to 2."""
    weights = {}
    for key, value in case.params().items():
        name, ending = key.split('.')
        kind, level = name.split('_')
        weights[f'fusions.{4 - int(level)}.{kind}.{ending}'] = value
    decoder = UNetMaskDecoder()
    decoder.load_state_dict(weights | case.extra_params('seg_branch'))
    return decoder


@torch.no_grad()
def test_mask_decoder():
    case = Case('mask_decoder')
    decoder = mask_decoder(case)
    levels = [case.draw(f'unet/f{i}') for i in (3, 2, 1, 0)]
    features, logits = decoder.eval()(levels)
    case.check(dict(feat_eval=features, logits_eval=logits,
                    logits_up=resize_aligned(logits, (64, 64))))
    case.check(dict(logits_train=decoder.train()(levels)[1],
                    bn1_4_running_mean=decoder.fusions[0].bn1.running_mean,
                    bn2_2_running_var=decoder.fusions[2].bn2.running_var))
