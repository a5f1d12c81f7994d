"""Drawings of crops and matched pixels."""
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from mmcontrast.apis.analysis.browse_views import _nearest, _pairs, browse_views
from mmcontrast.apis.config import UsageError
from mmcontrast.structures import View
from mmcontrast.visualization.correspondence import (
    VIEW_COLORS,
    draw_correspondence,
    draw_crops,
)
from tests.helpers.processes import run_python

ROOT = Path(__file__).parents[2]
GRAY = Image.new('RGB', (100, 100), (90, 90, 90))


def test_line_joins_the_matched_points():
    # Images of 200 px with 50 between, the second 20 lower, no matches elsewhere.
    sheet = np.array(draw_correspondence(
        GRAY, GRAY, [(10, 50)], [(90, 80)], side=200, gap=50, drop=20)).astype(int)
    assert sheet.shape == (220, 450, 3)
    start, end = np.array([20, 100]), np.array([250 + 180, 20 + 160])
    colored = np.ptp(sheet, axis=-1) > 40  # neither gray nor white
    for share in (0, 0.2, 0.45, 0.8, 1):
        x, y = (start + share * (end - start)).round().astype(int)
        assert colored[y - 2:y + 3, x - 2:x + 3].any(), share
    for x in range(450):
        y = round(start[1] + (x - start[0]) / (end[0] - start[0]) * (end[1] - start[1]))
        colored[max(y - 6, 0):y + 7, x] = False
    # Inside of the frames and between them nothing else is drawn.
    assert not colored[6:194, 6:194].any() and not colored[26:214, 256:444].any()
    assert not colored[:, 200:250].any()


def test_lines_are_thinned_evenly_and_colors_follow_the_place():
    points = np.stack([np.linspace(5, 95, 300), np.full(300, 30)], 1)
    sheet = np.array(draw_correspondence(
        GRAY, GRAY, points, points, side=100, gap=10, drop=0, max_lines=5)).astype(int)
    row = sheet[30, 8:92]
    # Red to the left, green in the middle, violet to the right; thinned to 5 dots.
    assert row[:4, 0].max() > 150 and row[-4:, 2].max() > 120
    dots = np.abs(np.diff((row.sum(-1) > 700).astype(int))).sum()
    assert dots <= 5 * 4


def test_images_without_matches_stay_as_they_are():
    sheet = np.array(draw_correspondence(GRAY, GRAY, [], [], side=100, gap=10))
    assert (sheet[10:90, 10:90] == 90).all()
    with pytest.raises(ValueError, match='got 1 in image 1 and 0 in image 2'):
        draw_correspondence(GRAY, GRAY, [(1, 1)], [])


def test_frames_lie_on_the_crop_edges():
    sheet = np.array(draw_crops(GRAY, [(10, 20, 60, 90), (40, 0, 100, 50)], 200))
    first, second = (ImageColor.getrgb(color) for color in VIEW_COLORS)
    assert tuple(sheet[100, 20]) == tuple(sheet[178, 60]) == first
    assert tuple(sheet[60, 199]) == tuple(sheet[0, 150]) == second
    assert tuple(sheet[100, 18]) == (90, 90, 90)


def test_nearest_pair_of_a_mirrored_view_is_the_mirrored_cell():
    plain = View(0, 0, 60, 60, False, 100, 100)
    mirrored = View(0, 0, 60, 60, True, 100, 100)
    pairs = _pairs((plain, mirrored), (3, 3), 0.7)
    cells, nearest = _nearest(pairs, (plain, mirrored), (3, 3))
    assert cells.tolist() == list(range(9))
    assert nearest.tolist() == [2, 1, 0, 5, 4, 3, 8, 7, 6]


CONFIG = """
_base_ = '{root}/configs/_base_/datasets/shapes_two_views.py'
default_scope = 'mmcontrast'
model = dict(backbone=dict(type='mmpretrain.ResNet', depth=18),
             loss=dict(type='PairConsistencyLoss', pos_ratio=0.7))
"""


def test_tool_writes_one_sheet_per_image(tmp_path):
    config = tmp_path / 'toy.py'
    config.write_text(CONFIG.format(root=ROOT))
    files = browse_views(str(config), num=3, out=str(tmp_path / 'a'))
    again = browse_views(str(config), num=3, out=str(tmp_path / 'b'))
    assert len(files) == len({file.name for file in files}) == 3
    for one, other in zip(files, again, strict=True):  # the same seed
        assert one.read_bytes() == other.read_bytes()


def test_views_are_drawn_as_the_network_sees_them(tmp_path):
    """A recipe that turns all to gray; a broken file is passed over."""
    Image.new('RGB', (90, 80), (200, 30, 60)).save(tmp_path / 'a.jpg')
    (tmp_path / 'b.jpg').write_bytes(b'nothing')
    config = tmp_path / 'folder.py'
    config.write_text(f"""
_base_ = '{ROOT}/configs/_base_/datasets/two_views.py'
default_scope = 'mmcontrast'
gray = [dict(type='ViewGrayscale', prob=1.0)]
model = dict(data_preprocessor=dict(
    type='TwoViewPreprocessor', photometric=[gray, []]))
train_dataloader = dict(dataset=dict(data_root='{tmp_path}', max_bad_share=0.9))
""")
    for file in browse_views(str(config), num=2, out=str(tmp_path / 'out'),
                             map_size=(2, 2)):
        views = np.array(Image.open(file)).astype(int)
        color = np.abs(views - [200, 30, 60]).max(-1) < 12
        luma = np.abs(views - 84).max(-1) < 12   # 0.299 R + 0.587 G + 0.114 B
        assert color.sum() > 5000 and luma.sum() > 5000


def test_tool_says_what_is_missing(tmp_path):
    config = tmp_path / 'plain.py'
    config.write_text("default_scope = 'mmcontrast'\n"
                      'train_dataloader = dict(dataset=dict(pipeline=[]))\n')
    with pytest.raises(UsageError, match='no TwoViews in train_dataloader'):
        browse_views(str(config))
    config.write_text(CONFIG.format(root=ROOT).split('model')[0])
    with pytest.raises(UsageError, match='no model.backbone.*--map-size'):
        browse_views(str(config))
    done = run_python(
        [sys.executable, ROOT / 'tools/analysis/browse_views.py', tmp_path / 'none.py'],
        capture_output=True, text=True)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'none.py' in done.stderr
