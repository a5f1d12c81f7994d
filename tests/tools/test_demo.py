import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcontrast.apis.demo import Demo, StepRunner, pretrain, run_demo
from mmcontrast.apis.options import Options
from mmcontrast.progress import run_bars

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_demo_leaves_one_page_with_its_figures(tmp_path, warm_tools, monkeypatch,
                                                   capsys):
    for split in ('TRAIN', 'VAL', 'TEST'):
        monkeypatch.setattr(f'mmcontrast.apis.demo.NUM_{split}', 8)
    # issue 16: fewer images than a batch, a blank and an umlaut in the path.
    photos = tmp_path / 'meine Bilder ü'
    photos.mkdir()
    for i in range(12):
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
    # And it says how far it is, as its output is no terminal.
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(': ')[0] for line in lines if line.endswith(', done')] == [
        title for title, _ in result['commands']]


@pytest.mark.parametrize('folder, expected', [
    ('checkout', 'python tools/data/make_it.py configs/a.py projects/b.py x'),
    ('.mim', 'mmcontrast data make-it mmcontrast::a.py {root}/projects/b.py x')])
def test_the_report_lists_what_a_user_can_type(tmp_path, capsys, folder, expected):
    root = tmp_path / folder
    (root / 'tools/data').mkdir(parents=True)
    (root / 'tools/data/make_it.py').write_text('')
    demo = Demo(root, tmp_path / 'out', None, [0])
    with run_bars() as bars:
        StepRunner(demo, bars)('Make it', [
            'tools/data/make_it.py', 'configs/a.py', 'projects/b.py', 'x'])
    assert demo.commands == [('Make it', expected.format(root=root))]


def test_a_missing_folder_stops_the_demo_before_any_work(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere'):
        run_demo(str(ROOT), str(tmp_path / 'demo'), str(tmp_path / 'nowhere'))
    assert not (tmp_path / 'demo').exists()


def test_paths_of_any_name_reach_the_steps(tmp_path):
    """faults A: blanks were cut out, commas made lists, 2023 a number."""
    photos = tmp_path / '2023, (1) my pictures'
    photos.mkdir()
    Image.new('RGB', (8, 8)).save(photos / '0.png')
    commands = []

    def first_step(title, command):
        commands.append(list(map(str, command)))
        raise StopIteration

    demo = Demo(ROOT, tmp_path / 'a, b', photos, seeds=(0,))
    with pytest.raises(StopIteration):
        pretrain(demo, first_step, None)
    options, command = Options(), commands[0]
    for text in command[command.index('--cfg-options') + 1:]:
        options.read(text)
    assert options['train_dataloader.dataset.data_root'] == str(photos)
    assert options['default_hooks.probe.val_dataset.img_dir'] == str(
        tmp_path / 'a, b/shapes/img_dir/val')
