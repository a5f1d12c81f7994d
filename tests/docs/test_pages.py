"""The Python blocks of the pages run as they stand, from the checkout."""
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmcontrast.registry import MODELS
from tests.helpers.tiny_topnet import rgba, scene

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r'```python\n(.*?)```', re.S)
PAGES = sorted([ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')])


def photos(folder: Path):
    folder.mkdir(parents=True)
    for i in range(3):
        Image.new('RGB', (90, 70), (50 * i, 90, 40)).save(folder / f'{i}.jpg')


def trained(folder: Path, name: str, scope: str, last: str):
    """A checkpoint where training leaves it."""
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(cfg.model)
    path = folder / 'work_dirs' / Path(name).name / last
    path.parent.mkdir(parents=True)
    torch.save(dict(state_dict=model.state_dict()), path)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_code_on_the_page_runs(page, monkeypatch, tmp_path):
    photos(tmp_path / 'data' / 'my_photos')
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    if page.stem in ('denseclip', 'inference'):
        Image.new('RGB', (90, 70), (50, 90, 40)).save(tmp_path / 'photo.jpg')
        trained(tmp_path, 'denseclip/denseclip-seg_fpn-tinyrn_1xb4-100it_shapes-pairs-'
                '256x256', 'mmseg', 'iter_100.pth')
    if page.stem in ('topnet', 'topnet_data'):
        Image.fromarray(scene(640, 480)).save(tmp_path / 'scene.jpg')
        Image.fromarray(rgba()).save(tmp_path / 'cup.png')
        trained(tmp_path, 'topnet/topnet_tinyrn_1xb32-10e_shapes-128x128', 'mmcontrast',
                'epoch_10.pth')
    monkeypatch.chdir(tmp_path)
    for number, block in enumerate(BLOCK.findall(page.read_text())):
        if 'import ' not in block:
            # A config, or a piece of one: reading it fails if it is none.
            file = tmp_path / f'{page.stem}_{number}.py'
            file.write_text(block)
            Config.fromfile(file)
        else:
            exec(compile(block, f'{page.name}, block {number}', 'exec'), {})
