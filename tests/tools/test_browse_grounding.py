"""tools/analysis/browse_grounding.py: samples of phrases as a sheet."""
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmdet')
from mmcontrast.apis.analysis.browse_grounding import browse_grounding  # noqa: E402
from mmcontrast.apis.config import UsageError  # noqa: E402
from mmcontrast.visualization.grounding_samples import draw_annotated  # noqa: E402
from tests.helpers.tiny_propvg import SIZE, batch, sample  # noqa: E402

TOOLS = Path(__file__).parents[2] / 'tools/analysis'
CONFIG = """
default_scope = 'mmcontrast'
val_dataloader = dict(dataset=dict(
    type='ShapesGrounding', num_images=3, split='val', size=64, pipeline=[
        dict(type='LoadGroundingImage'), dict(type='LoadGroundingAnnotations'),
        dict(type='ResizeGrounding', scale=64), dict(type='PackGrounding')]))
train_dataloader = dict(dataset=dict(type='ShapesDataset', num_images=2))
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'shapes.py'
    path.write_text(f'{CONFIG}\nwork_dir = {str(tmp_path / "run")!r}\n')
    return str(path)


def test_the_command_line_draws_the_same_samples_for_a_seed(config, tmp_path,
                                                            monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(TOOLS))
    import browse_grounding as tool
    tool.main([config, '--split', 'val', '--num', '2'])
    sys.modules.pop('browse_grounding')
    written = tmp_path / 'run/phrases_val.png'
    assert f'Wrote {written}' in capsys.readouterr().out
    again = browse_grounding(config, 'val', 2, str(tmp_path / 'again.png'))
    other = browse_grounding(config, 'val', 2, str(tmp_path / 'other.png'), seed=1)
    assert written.read_bytes() == again.read_bytes() != other.read_bytes()


def test_what_is_meant_is_blue_and_has_the_mask():
    # An image of 128 x 96 pixels is drawn at 360 x 270; the box is its right half.
    made = sample([[32, 0, 64, 64], [0, 0, 16, 16]], [True, False])
    pixels = np.asarray(draw_annotated([batch(1)['inputs'][0]], [made]))
    objects, mask = pixels[30:300, 10:370], pixels[30:300, 380:740]
    blue = (objects == (0, 200, 255)).all(2)
    assert blue[:, 178:].any() and not blue[:, :176].any()
    inside = mask[20:250, 200:340].astype(float).mean((0, 1))
    assert inside[2] > 1.3 * inside[0]


def test_phrases_without_target_and_mask_are_drawn():
    made = sample([], [])
    del made.gt_mask
    assert draw_annotated([batch(1)['inputs'][0]], [made]).height > SIZE


@pytest.mark.parametrize(('options', 'message'), [
    (dict(split='train'), 'the train data set gives no phrases with objects'),
    (dict(split='test'), 'has no test_dataloader'),
    (dict(split='dev'), 'must be one of train, val, test, got dev'),
    (dict(split='val', num=0), 'number of samples must be 1 to 100, got 0')])
def test_what_cannot_be_drawn_is_named(config, options, message):
    with pytest.raises(UsageError, match=message):
        browse_grounding(config, **options)


def test_the_sheet_names_the_phrases(config, tmp_path):
    path = browse_grounding(config, 'val', 3, str(tmp_path / 'sheet.png'))
    assert Image.open(path).width > 2 * 360 + 100
