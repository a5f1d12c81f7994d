"""The encoder of PropVG trained alone, and handed to the whole model."""
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmengine.structures import InstanceData

pytest.importorskip('mmdet')
from mmdet.structures import DetDataSample

from mmcontrast.apis.config import load_config
from mmcontrast.apis.train import train
from mmcontrast.errors import UserValueError
from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.methods.propvg.patch_head import PatchOutputs, PhrasePatchHead
from mmcontrast.methods.propvg.propvg import grounding_targets
from mmcontrast.methods.propvg.targets import GroundingTargets
from mmcontrast.registry import MODELS

FOLDER = Path(__file__).parents[2] / 'configs' / 'propvg'
SEE, = FOLDER.glob('propvg-encoder-attributes*.py')
READ, = FOLDER.glob('propvg-encoder-phrases*.py')
WHOLE, = FOLDER.glob('propvg-corrected_tiny_1xb32*.py')


def test_the_loss_compares_logits_with_covered_shares():
    """Two patches of 4 x 4 pixels: one pixel of the first is meant, all of the second.
    """
    head = PhrasePatchHead(in_channels=2, patch_stride=4)
    mask = torch.zeros(1, 4, 8, dtype=torch.bool)
    mask[:, 0, 0] = mask[:, :, 4:] = True
    targets = GroundingTargets(
        [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.bool)], mask,
        torch.tensor([True]))
    outputs = PatchOutputs(torch.tensor([[[-1.0, 2.0]]]), torch.zeros(1, 2, 1, 2))
    # -share * log(sigmoid(x)) - (1 - share) * log(1 - sigmoid(x))
    wanted = (math.log(1 + math.exp(-1)) + 1 / 16 + math.log(1 + math.exp(2)) - 2) / 2
    assert head.loss(outputs, targets)['loss_patches'].item() == pytest.approx(wanted)


def test_a_token_decides_its_own_patch():
    torch.manual_seed(0)
    head = PhrasePatchHead(in_channels=6, patch_stride=4)
    image = torch.randn(2, 6, 3, 5)
    other = image.clone()
    other[1, :, 2, 4] = torch.randn(6)
    changed = head(image, None, None).logits != head(other, None, None).logits
    assert changed.nonzero().tolist() == [[1, 2, 4]]


def attribute_targets(attributes):
    """Of 2 x 4 patches of 4 pixels, objects on the right half and the left column."""
    boxes = torch.tensor([[0.75, 0.5, 0.5, 1.0], [0.125, 0.5, 0.25, 1.0]])
    return GroundingTargets(
        [boxes], [torch.zeros(2, dtype=torch.bool)], torch.zeros(1, 8, 16),
        torch.tensor([False]), attributes)


def test_attributes_are_classified_from_the_tokens_in_the_box_of_each_object():
    head = PhrasePatchHead(2, 4, attributes=(2, 3), attribute_weight=0.5)
    tokens = torch.zeros(1, 2, 2, 4)
    tokens[0, :, :, 2:] = torch.tensor([1.0, 2.0])[:, None, None]
    weight = torch.tensor([[1.0, 0], [0, 1], [0, 0], [1, 1], [0, 2]])
    head.attribute_linear.weight.data.copy_(weight)
    head.attribute_linear.bias.data.zero_()
    labels = torch.tensor([[1, 2], [0, 0]])
    loss = head.loss(PatchOutputs(torch.zeros(1, 2, 4), tokens),
                     attribute_targets([labels]))['loss_attributes']
    # The right half says (1, 2) and (0, 3, 4), the left column nothing.
    right = math.log(math.exp(1) + math.exp(2)) - 2, math.log(
        1 + math.exp(3) + math.exp(4)) - 4
    wanted = 0.5 * ((right[0] + math.log(2)) / 2 + (right[1] + math.log(3)) / 2)
    assert loss.item() == pytest.approx(wanted)


def test_images_without_objects_have_no_attributes_to_learn():
    """Alone in a batch, and beside others."""
    torch.manual_seed(0)
    head = PhrasePatchHead(2, 4, attributes=(2, 3))
    outputs = PatchOutputs(torch.zeros(1, 2, 4), torch.randn(1, 2, 2, 4))
    empty = InstanceData(bboxes=torch.zeros(0, 4), referred=torch.zeros(0).bool())
    one = InstanceData(bboxes=torch.tensor([[0., 0, 8, 8]]), referred=torch.ones(
        1).bool(), attributes=torch.tensor([[1, 2]]))
    samples = []
    for truth in (one, empty):
        samples.append(DetDataSample(gt_instances=truth))
        samples[-1].gt_mask = torch.zeros(8, 16).bool()
    images = torch.zeros(2, 3, 8, 16)
    targets = grounding_targets(samples, images)
    assert [x.tolist() for x in targets.attributes] == [[[1, 2]], []]
    assert grounding_targets(samples[1:], images).attributes is None
    none = replace(targets, boxes=targets.boxes[1:], masks=targets.masks[1:],
                   attributes=targets.attributes[1:])
    assert head.loss(outputs, none)['loss_attributes'] == 0
    del one.attributes
    assert grounding_targets(samples, images).attributes is None


@pytest.mark.parametrize('attributes', [None, [torch.zeros(2, 1, dtype=torch.int64)]])
def test_objects_without_these_attributes_are_refused(attributes):
    head = PhrasePatchHead(2, 4, attributes=(2, 3))
    outputs = PatchOutputs(torch.zeros(1, 2, 4), torch.zeros(1, 2, 2, 4))
    with pytest.raises(UserValueError, match=r'attributes=\[2, 3\]\) needs objects'):
        head.loss(outputs, attribute_targets(attributes))


def test_each_step_of_the_toy_training_starts_from_the_one_before(tmp_path, monkeypatch
                                                                  ):
    """Under the names and after the epochs that the configs say."""
    monkeypatch.chdir(tmp_path)
    for config, following in ((SEE, READ), (READ, WHOLE)):
        train(str(config), cfg_options={
            'train_dataloader.dataset.num_images': 4, 'train_dataloader.batch_size': 4,
            'visualizer.name': config.stem})
        cfg = load_config(str(following))
        model = MODELS.build(cfg.model)
        model.init_weights()
        trained = read_checkpoint(cfg.pretrained)['state_dict']
        for key, value in model.encoder.state_dict().items():
            assert torch.equal(value, trained[f'encoder.{key}']), key
