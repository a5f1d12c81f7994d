"""Score maps as the model computes them, and boxes labeled by them."""
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from PIL import Image

from tests.helpers import tiny_denseclip as tiny

pytest.importorskip('mmseg')
pytest.importorskip('mmdet')
from mmcontrast.apis.analysis.score_maps import match_images, score_maps
from mmcontrast.apis.inferencers import open_inferencer
from mmcontrast.apis.inferencers.images import list_images
from mmcontrast.methods.denseclip.detectors import map_scale, relabel
from mmcontrast.registry import MODELS

ROOT = Path(__file__).parents[2]
CONFIG = """
default_scope = 'mmseg'
model = {model}
test_dataloader = dict(dataset=dict(type='BaseSegDataset', pipeline=[
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(96, 64)),
    dict(type='LoadAnnotations'), dict(type='PackSegInputs')]))
"""
DETECTOR = (ROOT / 'configs' / 'denseclip'
            / 'denseclip-det_retinanet-tinyrn_1xb8-6e_shapes_debug.py')


pytestmark = pytest.mark.usefixtures('scope_as_it_was')


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp('maps')
    changes = dict(data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[120.] * 3, std=[60.] * 3, bgr_to_rgb=True,
        # The input of 64 x 96 is padded to 64 x 128.
        test_cfg=dict(size_divisor=64)))
    (root / 'config.py').write_text(CONFIG.format(model=tiny.config(**changes)))
    torch.save(dict(state_dict=tiny.model(**changes).state_dict()), root / 'w.pth')
    noise = np.random.default_rng(0).integers(256, size=(8, 12, 3), dtype=np.uint8)
    for name in ('a.png', 'b.png'):
        Image.fromarray(noise).resize((120, 80)).save(root / name)
        noise = noise[::-1]
    return root


def test_cosines_are_those_of_the_image_conditioned_texts(files):
    inferencer = open_inferencer(str(files / 'config.py'), str(files / 'w.pth'), 'cpu')
    model = inferencer.model
    images = inferencer.inputs(list_images([str(files / f'{x}.png') for x in 'ab']))
    batch = [images[0], images[1]]
    found, shares = match_images(model, batch)
    assert shares == [(1.0, 0.75)] * 2 and found.shape[0] == 2
    # By hand, of the first image alone: RGB, normalized, padded on the right.
    pixels = batch[0].inputs.flip(0).float()
    whole = F.pad((pixels - 120) / 60, (0, 32))[None]
    with torch.no_grad():
        glob, local = model.backbone(whole)[-1]
        visual = torch.cat([glob[:, None], local.flatten(2).mT], 1)
        texts, prompting = model.class_texts, model.prompting
        text = texts.text_encoder(texts.tokens, contexts=texts.contexts)
        text = text + prompting.gamma * prompting.context_decoder(text, visual)
        wanted = torch.cosine_similarity(
            text[0, :, :, None, None], local[0][None], dim=1)
    torch.testing.assert_close(found[0], wanted, atol=1e-5, rtol=1e-4)
    # The correction matters here.
    plain = torch.cosine_similarity(
        model.class_texts()[:, :, None, None], local[0][None], dim=1)
    assert (plain - wanted).abs().max() > 1e-3


@pytest.mark.parametrize('classes, names', [
    (None, 3), ('a single text;', 1), ('a;b;c;d;e', 5)])
def test_sheets_of_any_number_of_texts(files, tmp_path, classes, names):
    found = score_maps(str(files / 'config.py'), str(files / 'w.pth'),
                       [str(files / 'a.png')], str(tmp_path), classes, 'cpu')
    assert [path.name for path in found.files] == ['a.jpg'] and not found.skipped
    tiles = names + 1
    width, height = Image.open(found.files[0]).size
    # Tiles of 280 x 187, and 17 or 34 pixels of text, with gaps of 8.
    assert (width - 8) % 288 == 0 and (height - 34) % (187 + 16 + 17) == 0
    assert (width // 288) * ((height - 34) // 220) >= tiles


def test_sheets_do_not_overwrite_the_images(files, tmp_path):
    Image.new('RGB', (40, 30)).save(tmp_path / 'a.jpg')
    with pytest.raises(ValueError, match='would overwrite a file that is read'):
        score_maps(str(files / 'config.py'), str(files / 'w.pth'), [str(tmp_path)],
                   str(tmp_path), None, 'cpu')


def test_sheets_of_a_detector_and_what_the_tool_says(files, tmp_path, monkeypatch,
                                                     capsys):
    from mmengine.config import Config
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(Config.fromfile(DETECTOR).model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'w.pth')
    (tmp_path / 'cut.png').write_bytes((files / 'a.png').read_bytes()[:300])
    tool = 'tools/analysis/score_maps.py'
    monkeypatch.setattr(sys, 'argv', [
        tool, str(DETECTOR), str(tmp_path / 'w.pth'), str(files / 'b.png'),
        str(tmp_path / 'cut.png'), '--classes', 'a red star;sky', '--device', 'cpu',
        '--limits', '-0.5', '0.5', '--out', str(tmp_path / 'out')])
    runpy.run_path(str(ROOT / tool), run_name='__main__')
    said = capsys.readouterr().out
    assert '1 of 2 images could not be used' in said and 'cut.png: truncated' in said
    assert f'Wrote {tmp_path / "out" / "b.jpg"}' in said
    monkeypatch.setattr(sys, 'argv', [*sys.argv[:-5], '--limits', '0.5', '0.5'])
    with pytest.raises(SystemExit, match='lower limit lie below'):
        runpy.run_path(str(ROOT / tool), run_name='__main__')


# ---- boxes

def instances(boxes: list, scores: list) -> InstanceData:
    return InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(scores), labels=torch.arange(len(boxes)))


def test_a_box_gets_the_text_with_the_highest_mean_inside():
    # Three texts on 8 x 8 cells of 32 pixels; the image was upsampled twice.
    scores = torch.full((3, 8, 8), 0.1)
    scores[2, :4, :4], scores[0, 4:, 4:] = 0.5, 0.5
    scores[1, 0, 0] = 1  # a single hot cell
    scale = map_scale(scores, torch.Size((256, 256)), (2.0, 2.0))
    assert scale.tolist() == [1 / 16] * 4
    found = relabel(instances([[0, 0, 64, 64], [70, 66, 120, 126], [0, 0, 16, 16]],
                              [0.9, 0.8, 0.7]), scores, scale)
    assert found.labels.tolist() == [2, 0, 1]
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.7])


def test_boxes_that_become_one_text_are_suppressed():
    scores = torch.zeros(2, 8, 8)
    scores[1] = 0.2
    boxes = [[0, 0, 64, 64], [2, 0, 64, 64], [66, 66, 128, 128]]
    found = relabel(instances(boxes, [0.5, 0.9, 0.1]), scores,
                    map_scale(scores, torch.Size((256, 256)), (2.0, 2.0)))
    assert found.labels.tolist() == [1, 1]
    assert found.scores.tolist() == pytest.approx([0.9, 0.1])


def test_sides_are_scaled_one_by_one_and_no_box_is_no_error():
    scores = torch.zeros(2, 4, 8)
    assert map_scale(scores, torch.Size((128, 256)), (2.0, 1.0)).tolist() == [
        1 / 16, 1 / 32, 1 / 16, 1 / 32]
    assert len(relabel(instances([], []), scores, torch.ones(4))) == 0
