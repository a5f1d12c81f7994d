"""Normalising both views on the device."""
import pytest
import torch

from mmcontrast.models.preprocessor import TwoViewPreprocessor


def test_views_are_normalised_per_channel():
    view = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1)
    preprocess = TwoViewPreprocessor(mean=(4, 10, 30), std=(2, 5, 10))
    out = preprocess(dict(inputs=[view, view + 10], data_samples=['sample']))
    assert out['inputs'][0].flatten().tolist() == [3, 2, 0]
    assert out['inputs'][1].flatten().tolist() == [8, 4, 1]
    assert out['inputs'][0].dtype == torch.float32
    assert out['data_samples'] == ['sample']


def test_lists_of_images_are_stacked():
    images = [torch.full((3, 4, 5), k, dtype=torch.uint8) for k in range(2)]
    out = TwoViewPreprocessor()(dict(inputs=[images, images]))['inputs'][1]
    stacked = TwoViewPreprocessor()(dict(inputs=[torch.stack(images)]))['inputs'][0]
    assert out.shape == (2, 3, 4, 5) and out.equal(stacked)


def test_float_views_are_not_changed_in_place():
    view = torch.zeros(1, 3, 2, 2)
    TwoViewPreprocessor()(dict(inputs=[view]))
    assert not view.any()


def test_channels_last_changes_the_layout_and_no_value():
    view = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    plain = TwoViewPreprocessor()(dict(inputs=[view]))['inputs'][0]
    last = TwoViewPreprocessor(channels_last=True)(dict(inputs=[view]))['inputs'][0]
    assert last.equal(plain)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert plain.is_contiguous()


def test_views_follow_the_preprocessor_to_its_device():
    preprocess = TwoViewPreprocessor().to('meta')
    out = preprocess(dict(inputs=[torch.zeros(1, 3, 2, 2, dtype=torch.uint8)]))
    assert out['inputs'][0].device.type == 'meta'


def test_normalisation_leaves_no_trace_in_checkpoints():
    assert not TwoViewPreprocessor().state_dict()


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r'\(N, 3, H, W\), got shape \(2, 1, 4, 4\)'):
        TwoViewPreprocessor()(dict(inputs=[torch.zeros(2, 1, 4, 4)]))
    with pytest.raises(ValueError, match='need three values'):
        TwoViewPreprocessor(mean=(1, 2))
