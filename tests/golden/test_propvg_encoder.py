"""BEiT-3 against the numbers of the reference."""
import pytest
import torch

from mmcontrast.methods.propvg.beit3 import BEiT3
from mmcontrast.methods.propvg.beit3_weights import PATCHES, POSITIONS, BEiT3Pretrained
from mmcontrast.testing import fill
from tests.helpers.propvg_case import Case, padding_mask

pytestmark = pytest.mark.usefixtures('nan_weights')


def weights_of(case: Case) -> dict:
    weights = case.params('beit3.')
    del weights['vision_embed.mask_token']
    return weights


@torch.no_grad()
def test_joint_image_only_and_text_only_encoding():
    case = Case('beit3_tiny')
    config = case.config
    model = BEiT3(config['img_size'], config['patch'], config['dim'], config['layers'],
                  config['heads'], 4 * config['dim'], config['vocab']).eval()
    model.load_state_dict(weights_of(case))
    images = fill.randn('propvg/beit3/img', (2, 3, 64, 64))
    ids = (fill.rand('propvg/beit3/ids', (2, 10)) * config['vocab']).long()
    padding = padding_mask([4, 10], 10)
    joint = model(images, ids, padding)
    vision = model._vision_tokens(model.embed_images(images))
    text = model._text_tokens(ids, padding)
    image_only, _ = model.encoder(vision, text[:, :0], padding[:, :0])
    _, text_only = model.encoder(vision[:, :0], text, padding)
    case.check(dict(img_feat=joint.image.flatten(2).mT, text_feat=joint.text,
                    cls_feat=joint.cls, image_only=image_only, text_only=text_only))


@pytest.mark.parametrize('size, patch, outputs', [
    (64, 16, dict(pos_A=POSITIONS)),
    (448, 32, dict(proj_pos_A=POSITIONS, proj=PATCHES))])
def test_a_pretrained_file_is_interpolated_to_other_sizes(size, patch, outputs,
                                                          tmp_path):
    case = Case('beit3_resize_weights')
    dims = case.config['dim']
    file = tmp_path / 'beit3_tiny_patch16_224.zip'
    torch.save(dict(model=case.params()), file)
    model = BEiT3(size, patch, dims, depth=1, num_heads=2, feedforward=4 * dims,
                  vocab_size=50)
    BEiT3Pretrained(file)(model)
    state = model.state_dict()
    case.check({name: state[key] for name, key in outputs.items()})
    text = case.params()['beit3.text_embed.weight']
    assert torch.equal(state['text_embed.weight'], text)
