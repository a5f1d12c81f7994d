"""Normalizing both views on the device."""
import pytest
import torch
from mmengine.structures import BaseDataElement
from torch.testing._internal.distributed.fake_pg import FakeStore

from mmcontrast.models.preprocessor import TwoViewPreprocessor


def test_views_are_normalized_per_channel():
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


def test_normalization_leaves_no_trace_in_checkpoints():
    assert not TwoViewPreprocessor().state_dict()


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r'\(N, 3, H, W\), got shape \(2, 1, 4, 4\)'):
        TwoViewPreprocessor()(dict(inputs=[torch.zeros(2, 1, 4, 4)]))
    with pytest.raises(ValueError, match='need three values'):
        TwoViewPreprocessor(mean=(1, 2))


def test_views_that_the_loader_augmented_are_left_as_they_are():
    views = [torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8) for _ in range(2)]
    preprocess = TwoViewPreprocessor(photometric='BYOL')
    plain = TwoViewPreprocessor()(dict(inputs=views))['inputs']

    def seen(photometric_done: bool):
        samples = [
            BaseDataElement(metainfo=dict(photometric_done=photometric_done))
        ] * 4
        data = dict(inputs=views, data_samples=samples)
        return preprocess(data, training=True)['inputs']
    assert all(a.equal(b) for a, b in zip(seen(True), plain, strict=True))
    assert not any(a.equal(b) for a, b in zip(seen(False), plain, strict=True))


def test_photometric_steps_happen_in_training_only():
    views = [torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8) for _ in range(2)]
    preprocess = TwoViewPreprocessor(photometric='BYOL')
    plain = TwoViewPreprocessor()(dict(inputs=views))['inputs']
    for view, expected in zip(preprocess(dict(inputs=views))['inputs'], plain,
                              strict=True):
        assert view.equal(expected)
    torch.manual_seed(0)
    trained = preprocess(dict(inputs=views, data_samples=['s']), training=True)
    assert trained['data_samples'] == ['s']
    for view, expected in zip(trained['inputs'], plain, strict=True):
        assert view.dtype == torch.float32 and not view.equal(expected)


def test_each_view_gets_its_own_steps():
    """Solarising from 0 on inverts every pixel of view 2 alone."""
    views = [torch.full((2, 3, 4, 4), 100, dtype=torch.uint8)] * 2
    preprocess = TwoViewPreprocessor(
        mean=(0, 0, 0), std=(1, 1, 1), channels_last=True,
        photometric=([], [dict(type='ViewSolarize', threshold=0)]))
    first, second = preprocess(dict(inputs=views), training=True)['inputs']
    assert (first == 100).all() and (second == 155).all()
    assert second.is_contiguous(memory_format=torch.channels_last)


def test_the_seed_of_torch_repeats_the_photometric_choices():
    views = [torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)] * 2
    preprocess = TwoViewPreprocessor(photometric='BYOL')
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(preprocess(dict(inputs=views), training=True)['inputs'])
    for once, again, other in zip(*runs, strict=True):
        assert once.equal(again) and not once.equal(other)


def test_lower_precision_around_it_leaves_photometric_work_alone():
    views = [torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)] * 2
    preprocess = TwoViewPreprocessor(photometric='SimCLR')
    torch.manual_seed(0)
    plain = preprocess(dict(inputs=views), training=True)['inputs']
    torch.manual_seed(0)
    with torch.autocast('cpu', torch.bfloat16):
        mixed = preprocess(dict(inputs=views), training=True)['inputs']
    assert all(a.equal(b) and a.dtype == torch.float32
               for a, b in zip(plain, mixed, strict=True))


def test_one_view_for_two_lists_of_steps_is_rejected():
    preprocess = TwoViewPreprocessor(photometric='BYOL')
    view = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match='steps of 2 views, the batch has 1'):
        preprocess(dict(inputs=[view]), training=True)
    with pytest.raises(TypeError, match='ViewRandAugment has no batched form'):
        TwoViewPreprocessor(photometric='RandAug')


def test_two_ranks_augment_as_one_process_does_with_the_joint_batch():
    views = list(torch.randint(0, 256, (2, 4, 3, 8, 8), dtype=torch.uint8))
    preprocess = TwoViewPreprocessor(photometric='BYOL')
    torch.manual_seed(3)
    joint = preprocess(dict(inputs=views), training=True)['inputs']
    ranks = []
    for rank in range(2):
        # No rank speaks to another, so that one process can be each in turn.
        torch.distributed.init_process_group(
            'fake', rank=rank, world_size=2, store=FakeStore())
        try:
            torch.manual_seed(3)
            own = [view.chunk(2)[rank] for view in views]
            ranks.append(preprocess(dict(inputs=own), training=True)['inputs'])
        finally:
            torch.distributed.destroy_process_group()
    for k in range(2):
        assert torch.cat([inputs[k] for inputs in ranks]).equal(joint[k])
