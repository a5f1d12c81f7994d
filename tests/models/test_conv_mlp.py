import pytest
import torch

from mmcontrast.models.layers import ConvMLP, RowMLP

GELU = dict(type='GELU')


def test_two_layers_carry_the_keys_of_released_pixpro_files():
    names = {name.split('.')[0] for name in ConvMLP(3, 5, 2).state_dict()}
    assert names == {'linear1', 'bn1', 'linear2'}


def test_three_layers_have_a_norm_after_all_but_the_last():
    mlp = ConvMLP(3, 5, 2, num_layers=3, act_cfg=GELU)
    assert {name.split('.')[0] for name in mlp.state_dict()} == {
        'linear1', 'bn1', 'linear2', 'bn2', 'linear3'}
    assert mlp(torch.randn(2, 3, 4, 4)).shape == (2, 2, 4, 4)


def test_rows_are_maps_of_one_pixel():
    maps, rows = (kind(3, 5, 2, num_layers=3, act_cfg=GELU) for kind in (ConvMLP,
                                                                         RowMLP))
    rows.load_state_dict({key: value.flatten(1) if value.ndim == 4 else value
                          for key, value in maps.state_dict().items()})
    x = torch.randn(6, 3)
    torch.testing.assert_close(rows(x), maps(x[:, :, None, None])[:, :, 0, 0])


def test_a_batch_norm_over_rows_may_be_named_like_one_over_maps():
    assert RowMLP(3, 5, 2, norm_cfg=dict(type='BN'))(torch.randn(4, 3)).shape == (4, 2)


def test_drawn_weights_have_the_asked_width_and_no_bias():
    torch.manual_seed(0)
    mlp = RowMLP(256, 512, 256, num_layers=3, init_std=0.02)
    for layer in (mlp.linear1, mlp.linear2, mlp.linear3):
        # 131072 draws or more: the standard error of the width is below 0.0001.
        assert layer.weight.std().item() == pytest.approx(0.02, abs=4e-4)
        assert not layer.bias.any()


def test_no_layer_is_rejected():
    with pytest.raises(ValueError, match='num_layers'):
        ConvMLP(3, 5, 2, num_layers=0)
