"""The encoder of PropVG trained alone, and handed to the whole model."""
import math
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmdet')
from mmcontrast.apis.config import load_config
from mmcontrast.apis.train import train
from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.methods.propvg.patch_head import PhrasePatchHead
from mmcontrast.methods.propvg.targets import GroundingTargets
from mmcontrast.registry import MODELS

FOLDER = Path(__file__).parents[2] / 'configs' / 'propvg'
ENCODER, = FOLDER.glob('propvg-encoder*.py')
TOY, = FOLDER.glob('propvg-corrected_tiny_1xb32*.py')


def test_the_loss_compares_logits_with_covered_shares():
    """Two patches of 4 x 4 pixels: one pixel of the first is meant, all of the second.
    """
    head = PhrasePatchHead(in_channels=2, patch_stride=4)
    mask = torch.zeros(1, 4, 8, dtype=torch.bool)
    mask[:, 0, 0] = mask[:, :, 4:] = True
    targets = GroundingTargets(
        [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.bool)], mask,
        torch.tensor([True]))
    logits = torch.tensor([[[-1.0, 2.0]]])
    # -share * log(sigmoid(x)) - (1 - share) * log(1 - sigmoid(x))
    wanted = (math.log(1 + math.exp(-1)) + 1 / 16 + math.log(1 + math.exp(2)) - 2) / 2
    assert head.loss(logits, targets)['loss_patches'].item() == pytest.approx(wanted)


def test_a_token_decides_its_own_patch():
    torch.manual_seed(0)
    head = PhrasePatchHead(in_channels=6, patch_stride=4)
    image = torch.randn(2, 6, 3, 5)
    other = image.clone()
    other[1, :, 2, 4] = torch.randn(6)
    changed = head(image, None, None) != head(other, None, None)
    assert changed.nonzero().tolist() == [[1, 2, 4]]


def test_the_toy_model_starts_from_the_encoder_trained_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(str(ENCODER), cfg_options={
        'train_dataloader.dataset.num_images': 2, 'train_dataloader.batch_size': 4,
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False})
    cfg = load_config(str(TOY))
    model = MODELS.build(cfg.model)
    model.init_weights()
    trained = read_checkpoint(cfg.pretrained)['state_dict']
    for key, value in model.encoder.state_dict().items():
        assert torch.equal(value, trained[f'encoder.{key}']), key
