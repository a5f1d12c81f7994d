import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcontrast.apis.demo import run_demo

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_demo_leaves_one_page_with_its_figures(tmp_path, warm_tools, monkeypatch):
    for split in ('TRAIN', 'VAL', 'TEST'):
        monkeypatch.setattr(f'mmcontrast.apis.demo.NUM_{split}', 8)
    photos = tmp_path / 'photos'
    photos.mkdir()
    for i in range(40):
        pixels = np.random.default_rng(i).integers(0, 255, (80, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f'{i}.jpg')
    page = run_demo(str(ROOT), str(tmp_path / 'demo'), str(photos), seeds=(3,),
                    pretrain_iters=1, finetune_iters=1)
    result = json.loads((tmp_path / 'demo' / 'result.json').read_text())
    text = page.read_text()
    for start in ('random', 'pretrained'):
        assert len(result['miou'][start]) == 1
        assert f'<b>{result["mean"][start]:.1f}</b>' in text
    # Self-contained: images inside, nothing fetched.
    assert text.count('src="data:image/png;base64,') == 6
    assert 'src="http' not in text and 'href=' not in text
    # The commands are those of the steps, in the words of a user in the checkout.
    assert len(result['commands']) == 9
    assert result['commands'][1][1].startswith('python tools/train.py configs/pixpro/')
    assert str(photos) in result['commands'][1][1]


def test_a_missing_folder_stops_the_demo_before_any_work(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere'):
        run_demo(str(ROOT), str(tmp_path / 'demo'), str(tmp_path / 'nowhere'))
    assert not (tmp_path / 'demo').exists()
