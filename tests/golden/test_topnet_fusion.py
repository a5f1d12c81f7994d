"""TopNet's fusion transformer and decoder against an independent implementation."""
import torch

from mmcontrast.methods.topnet.fusion import PlacementFusion
from tests.helpers.topnet_case import Case


def fusion_net(case: Case) -> PlacementFusion:
    config = case.config
    net = PlacementFusion(
        config['dim'], config['scales'], config['layers'], config['heads'],
        config['mlp_ratio'], config['grid'], config['decoder_channels'])
    missing, unexpected = net.load_state_dict(case.params(), strict=False)
    assert not unexpected
    assert all(key.endswith('num_batches_tracked') for key in missing)
    return net.eval()


def test_tokens_and_logits_are_those_of_the_case():
    case = Case('oracle_fusion_net')
    net = fusion_net(case)
    background, thing = case.input('bg_tokens'), case.input('fg_token')
    with torch.no_grad():
        case.check(dict(tokens=net.fuse(background, thing),
                        logits=net(background, thing)))
