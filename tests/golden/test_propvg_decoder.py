"""Deformable attention and the proposal decoder against numbers of the reference."""
import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmdet.models.layers import SinePositionalEncoding

from mmcontrast.methods.propvg.deformable import SampledDeformableAttention
from mmcontrast.methods.propvg.proposals import ProposalDecoder
from mmcontrast.testing import fill
from tests.helpers.propvg_case import Case

pytestmark = pytest.mark.usefixtures('nan_weights')


@pytest.mark.parametrize('kind', [SampledDeformableAttention,
                                  MultiScaleDeformableAttention])
@torch.no_grad()
def test_deformable_attention(kind):
    """mmcv's module and ours, on points, boxes and padded values."""
    case = Case('msda')
    attention = kind(batch_first=True).eval()
    attention.load_state_dict(case.params())
    points = fill.rand('propvg/msda/ref2', (2, 6, 2))[:, :, None].expand(-1, -1, 4, -1)
    sides = fill.rand('propvg/msda/wh', (2, 6, 2))[:, :, None].expand(-1, -1, 4, -1)
    shapes = torch.tensor(case.config['levels'])
    areas = shapes.prod(1)
    padded = torch.zeros(2, 128, dtype=torch.bool)
    padded[0, -3:] = True

    def attend(reference, mask=None):
        return attention(
            case.draw('msda/query'), value=case.draw('msda/value'),
            query_pos=case.draw('msda/query_pos'), reference_points=reference,
            spatial_shapes=shapes, key_padding_mask=mask,
            level_start_index=areas.cumsum(0) - areas)
    case.check(dict(out_ref2=attend(points), out_padded=attend(points, padded),
                    out_ref4=attend(torch.cat([points, 0.1 + 0.5 * sides], -1))))


@torch.no_grad()
def test_weights_of_sampled_points():
    case = Case('msda')
    attention = SampledDeformableAttention()
    attention.load_state_dict(case.params())
    query = case.draw('msda/query') + case.draw('msda/query_pos')
    case.check(dict(attention_weights=attention.point_weights(query)))


def our_name(key: str) -> str:
    """Name of the decoder in the reference -> in mmdet."""
    for theirs, ours in (('attentions.0.', 'self_attn.'),
                         ('attentions.1.', 'cross_attn.'), ('ffns.0.', 'ffn.')):
        key = key.replace(theirs, ours)
    return key


def filled_decoder(case: Case) -> ProposalDecoder:
    weights = {our_name(k): v for k, v in case.params().items() if k != 'level_embeds'}
    for module in ('class_embed', 'bbox_embed'):
        weights |= {f'{module}.{k}': v for k, v in case.extra_params(module).items()}
    for query, name in (('query_embed', 'query'), ('query_pos', 'query_pos')):
        weights[f'{query}.weight'] = case.draw(f'dec/{name}')[0]
    decoder = ProposalDecoder().eval()
    decoder.load_state_dict(weights)
    return decoder


@torch.no_grad()
def test_proposal_decoder():
    case = Case('proposal_decoder')
    decoder, states = filled_decoder(case), []
    for layer in decoder.decoder.layers:
        layer.register_forward_hook(lambda _, __, output: states.append(output))
    proposals = decoder([case.draw(f'dec/feat{i}') for i in range(4)])
    case.check(dict(
        inter_states=torch.stack(states), pred_logits=proposals.logits,
        pred_boxes=proposals.boxes,
        init_reference=decoder.reference().expand(2, -1, -1)))
    torch.testing.assert_close(proposals.states, states[-1])


def test_code_of_pixel_positions():
    code = SinePositionalEncoding(128, normalize=True)
    Case('position_codes').check(dict(pos2d=code(torch.zeros(1, 5, 7))))
