"""PropVG: deformable attention, proposals and mask branch beyond the golden cases."""
import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention

from mmcontrast.methods.propvg.deformable import SampledDeformableAttention
from mmcontrast.methods.propvg.mask_branch import UNetMaskDecoder
from mmcontrast.methods.propvg.proposals import ProposalDecoder

SIZES = [(6, 10), (3, 5)]


def attentions(**options) -> list[MultiScaleDeformableAttention]:
    """Ours and mmcv's, with the same random weights."""
    torch.manual_seed(0)
    options = dict(embed_dims=16, num_heads=4, num_levels=2, num_points=3,
                   dropout=0.0) | options
    pair = [kind(**options, batch_first=True) for kind in
            (SampledDeformableAttention, MultiScaleDeformableAttention)]
    for weight in pair[0].parameters():
        weight.data.normal_(std=0.5)
    pair[1].load_state_dict(pair[0].state_dict())
    return pair


def inputs(batch: int = 2, queries: int = 5) -> dict:
    torch.manual_seed(1)
    shapes = torch.tensor(SIZES)
    areas = shapes.prod(1)
    reference = torch.rand(batch, queries, 1, 2).expand(-1, -1, 2, -1)
    return dict(query=torch.randn(batch, queries, 16),
                value=torch.randn(batch, int(areas.sum()), 16),
                reference_points=reference, spatial_shapes=shapes,
                level_start_index=areas.cumsum(0) - areas)


@pytest.mark.parametrize('masked', [False, True])
def test_gradients_are_those_of_mmcv(masked):
    given = inputs()
    if masked:
        given['key_padding_mask'] = torch.rand(given['value'].shape[:2]) > 0.7
    found = []
    for attention in attentions():
        leaves = [given[k].clone().requires_grad_()
                  for k in ('query', 'value', 'reference_points')]
        output = attention(**given | dict(zip(
            ('query', 'value', 'reference_points'), leaves, strict=True)))
        factors = torch.linspace(-1, 1, output.numel()).view_as(output)
        (output * factors).sum().backward()
        found.append([x.grad for x in [*leaves, *attention.parameters()]])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_points_outside_of_all_maps_give_the_bias_of_the_output_alone():
    given = inputs()
    given['reference_points'] = given['reference_points'] + 100
    attention, _ = attentions()
    expected = given['query'] + attention.output_proj.bias
    torch.testing.assert_close(attention(**given), expected)


@torch.no_grad()
def test_a_point_on_the_center_of_a_cell_reads_that_cell():
    attention, _ = attentions(num_heads=1, num_points=1)
    given = inputs(1, 1)
    attention.sampling_offsets.weight.zero_()
    attention.sampling_offsets.bias.zero_()
    # All attention on the level of 3 x 5 cells, whose cell (row 1, column 3) it is.
    attention.attention_weights.weight.zero_()
    attention.attention_weights.bias.copy_(torch.tensor([-100.0, 100]))
    given['reference_points'] = torch.tensor([3.5 / 5, 1.5 / 3]).expand(1, 1, 2, 2)
    cell = given['value'][:, 60 + 1 * 5 + 3]
    expected = given['query'] + attention.output_proj(attention.value_proj(cell))
    torch.testing.assert_close(attention(**given), expected)


def small_decoder(**options):
    torch.manual_seed(0)
    decoder = ProposalDecoder(**dict(dict(
        channels=16, num_queries=6, num_heads=4, num_levels=2, feedforward=32),
        **options))
    decoder.init_weights()
    return decoder


def maps(batch: int = 2):
    torch.manual_seed(2)
    return [torch.randn(batch, 16, *size) for size in SIZES]


def test_fresh_boxes_are_small_and_lie_around_the_reference_points():
    decoder = small_decoder().eval()
    final = decoder.bbox_embed.layers[-1]
    with torch.no_grad():
        final.weight.zero_()
        final.bias[:2] = 0
        boxes = decoder(maps()).boxes
    assert boxes.shape == (3, 2, 6, 4)
    centers = decoder.reference().clamp(1e-3, 1 - 1e-3).expand(3, 2, -1, -1)
    torch.testing.assert_close(boxes[..., :2], centers)
    # sigmoid(-2)
    torch.testing.assert_close(boxes[..., 2:], torch.full((3, 2, 6, 2), 0.119203))


def test_fresh_samples_lie_in_one_direction_per_head():
    attention = small_decoder().decoder.layers[0].cross_attn
    assert attention.sampling_offsets.weight.abs().sum() == 0
    offsets = attention.sampling_offsets.bias.view(4, 2, 4, 2)
    # Heads look right, down, left and up; the k-th point is k cells away.
    assert offsets[0, 0].round().tolist() == [[1, 0], [2, 0], [3, 0], [4, 0]]
    assert offsets[1, 1].round().tolist() == [[0, 1], [0, 2], [0, 3], [0, 4]]


def test_proposals_of_an_image_do_not_depend_on_the_others():
    decoder, levels = small_decoder().eval(), maps(3)
    joint, alone = decoder(levels), decoder([x[1:2] for x in levels])
    torch.testing.assert_close(joint.boxes[:, 1:2], alone.boxes)
    torch.testing.assert_close(joint.states[1:2], alone.states)


def test_every_parameter_of_the_decoder_gets_a_gradient():
    decoder = small_decoder()
    proposals = decoder(maps())
    sum(x.square().sum() for x in (
        proposals.states, proposals.logits, proposals.boxes)).backward()
    missing = [k for k, p in decoder.named_parameters() if p.grad is None]
    assert not missing


def test_boxes_are_full_precision_under_autocast():
    decoder, levels = small_decoder().eval(), maps()
    expected = decoder(levels).boxes
    with torch.autocast('cpu', torch.bfloat16):
        proposals = decoder([x.bfloat16() for x in levels])
    assert proposals.boxes.dtype == proposals.logits.dtype == torch.float32
    # A pixel of an image of 320.
    assert (proposals.boxes - expected).abs().max() < 1 / 320


@torch.no_grad()
def test_the_mask_of_any_size_is_that_of_the_finest_level():
    decoder = UNetMaskDecoder(channels=8).eval()
    levels = [torch.randn(1, 8, *size) for size in ((20, 12), (10, 6), (5, 3), (3, 2))]
    features, logits = decoder(levels)
    assert features.shape == (1, 8, 20, 12) and logits.shape == (1, 1, 20, 12)
