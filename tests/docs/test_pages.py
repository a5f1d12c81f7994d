"""The Python blocks of the pages run as they stand, from the checkout."""
import re
from pathlib import Path

import pytest
from mmengine.config import Config
from PIL import Image

import mmcontrast  # noqa: F401  (its config scopes)

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r'```python\n(.*?)```', re.S)
PAGES = sorted([ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')])


def photos(folder: Path):
    folder.mkdir(parents=True)
    for i in range(3):
        Image.new('RGB', (90, 70), (50 * i, 90, 40)).save(folder / f'{i}.jpg')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_code_on_the_page_runs(page, monkeypatch, tmp_path):
    photos(tmp_path / 'data' / 'my_photos')
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(tmp_path)
    for number, block in enumerate(BLOCK.findall(page.read_text())):
        if 'import ' not in block:
            # A config, or a piece of one: reading it fails if it is none.
            file = tmp_path / f'{page.stem}_{number}.py'
            file.write_text(block)
            Config.fromfile(file)
        else:
            exec(compile(block, f'{page.name}, block {number}', 'exec'), {})
