"""Drawings of annotated and predicted phrases during validation and testing."""
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from PIL import Image

from mmcontrast.engine.runner.reliable_runner import ReliableRunner
from mmcontrast.errors import UserValueError
from mmcontrast.methods.propvg.phrase_images_hook import PhraseImagesHook
from mmcontrast.visualization.grounding_samples import annotated, image_of, predicted
from tests.helpers.tiny_propvg import SIZE, config, sample


def with_predictions(**fields):
    """A sample of an image of 128 x 96 pixels, seen at 64 x 64."""
    made = sample([[4, 8, 30, 40], [32, 32, 64, 64]], [False, True])
    made.pred_instances = InstanceData(
        bboxes=torch.tensor([[60., 40, 128, 96], [0., 0, 50, 50]]),
        scores=torch.tensor([0.8, 0.3]), labels=torch.zeros(2, dtype=torch.int64))
    made.pred_mask = made.gt_mask.clone()
    for key, value in fields.items():
        made.set_field(value, key)
    return made


def test_annotations_are_drawn_in_pixels_of_the_image():
    truth = annotated(with_predictions())
    # Columns times 2, rows times 1.5; only what is referred to.
    assert truth.boxes_xyxy.tolist() == [[64, 48, 128, 96]]
    assert truth.exists and truth.exists_prob is None
    expected = np.zeros((96, 128), bool)
    expected[48:, 64:] = True
    assert (truth.mask == expected).all()


def test_predictions_keep_their_pixels_and_thresholds():
    made = with_predictions(pred_exists=torch.tensor(0.75))
    found = predicted(made, 0.5)
    assert found.boxes_xyxy.tolist() == [[60, 40, 128, 96]] and found.exists
    assert found.exists_prob == 0.75 and len(found.proposal_scores) == 2
    assert found.mask.sum() == 48 * 64
    absent = predicted(made, 0.8125)
    assert not absent.exists and not absent.mask.any() and not len(absent.scores)


def test_samples_without_masks_are_drawn():
    made = with_predictions()
    del made.gt_mask
    assert not annotated(made).mask.any()


def test_the_image_is_that_of_the_input_in_rgb():
    blue = torch.zeros(3, SIZE, SIZE, dtype=torch.uint8)
    blue[0] = 255
    image = image_of(blue, with_predictions())
    assert image.shape == (96, 128, 3) and (image == (0, 0, 255)).all()


def test_validation_and_test_draw_the_same_samples(tmp_path):
    loader = dict(
        batch_size=2, num_workers=0, collate_fn=dict(type='pseudo_collate'),
        sampler=dict(type='DefaultSampler', shuffle=False), dataset=dict(
            type='ShapesGrounding', num_images=4, split='val', size=SIZE, pipeline=[
                dict(type='LoadGroundingImage'), dict(type='LoadGroundingAnnotations'),
                dict(type='ResizeGrounding', scale=SIZE), dict(type='PackGrounding')]))
    runner = ReliableRunner.from_cfg(dict(
        model=config(), work_dir=str(tmp_path), experiment_name='drawn',
        default_scope='mmcontrast', lint=False, default_hooks=dict(logger=None),
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        custom_hooks=[dict(type='PhraseImagesHook', num_images=2, score_thr=0.0,
                           proposals=True)],
        val_dataloader=loader, val_cfg=dict(), val_evaluator=dict(type='GRECMetric'),
        test_dataloader=loader, test_cfg=dict(),
        test_evaluator=dict(type='GRECMetric')))
    runner.val()
    drawn = {path.name for path in tmp_path.rglob('vis_image/*.png')}
    assert len(drawn) == 4 and 'phrase_0_0.png' in drawn
    assert sum(name.startswith('proposals_') for name in drawn) == 2
    first = {path.name: path.read_bytes() for path in tmp_path.rglob('*.png')}
    runner.test()
    assert {path.name: path.read_bytes() for path in tmp_path.rglob('*.png')} == first
    sheet = Image.open(next(tmp_path.rglob('phrase_0_0.png')))
    # The image and two panels of 420 pixels.
    assert sheet.width > 2 * 420


def test_a_number_of_images_below_one_is_refused():
    with pytest.raises(UserValueError, match='num_images must be 1 or more, got 0'):
        PhraseImagesHook(num_images=0)
