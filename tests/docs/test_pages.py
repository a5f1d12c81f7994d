"""The Python blocks of the pages run as they stand, from the checkout."""
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmcontrast.registry import MODELS

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r'```python\n(.*?)```', re.S)
PAGES = sorted([ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')])


def photos(folder: Path):
    folder.mkdir(parents=True)
    for i in range(3):
        Image.new('RGB', (90, 70), (50 * i, 90, 40)).save(folder / f'{i}.jpg')


def trained(folder: Path, name: str):
    """An image, and a checkpoint where training leaves it."""
    Image.new('RGB', (90, 70), (50, 90, 40)).save(folder / 'photo.jpg')
    cfg = Config.fromfile(ROOT / 'configs' / 'denseclip' / f'{name}.py')
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model)
    path = folder / 'work_dirs' / name / 'iter_100.pth'
    path.parent.mkdir(parents=True)
    torch.save(dict(state_dict=model.state_dict()), path)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_code_on_the_page_runs(page, monkeypatch, tmp_path):
    photos(tmp_path / 'data' / 'my_photos')
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    if page.stem in ('denseclip', 'inference'):
        trained(tmp_path, 'denseclip-seg_fpn-tinyrn_1xb4-100it_shapes-pairs-256x256')
    monkeypatch.chdir(tmp_path)
    for number, block in enumerate(BLOCK.findall(page.read_text())):
        if 'import ' not in block:
            # A config, or a piece of one: reading it fails if it is none.
            file = tmp_path / f'{page.stem}_{number}.py'
            file.write_text(block)
            Config.fromfile(file)
        else:
            exec(compile(block, f'{page.name}, block {number}', 'exec'), {})
