"""Long work prints plain lines where the output is no terminal (issue 16, B3)."""
import re
import sys
from pathlib import Path
from time import sleep

import pytest
from rich.progress import Progress

from mmcontrast import progress
from mmcontrast.apis.demo import Demo, StepRunner

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    monkeypatch.setenv('TTY_COMPATIBLE', '0')
    monkeypatch.delenv('FORCE_COLOR', raising=False)


def test_a_line_comes_in_each_interval_and_one_at_the_end(capsys, monkeypatch):
    monkeypatch.setattr(progress, 'INTERVAL', 0.1)
    for _ in progress.track(range(3), 'images'):
        sleep(0.15)
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r'images: 3/3, (\d+/s, )?0:00:00, done', lines[-1])
    assert len(lines) >= 4 and lines[0].startswith('images: 0/3, 0:00:00')
    assert any(line.startswith('images: 2/3') for line in lines)


def test_a_step_that_reports_nothing_is_seen_to_be_running(capsys, monkeypatch):
    monkeypatch.setattr(progress, 'INTERVAL', 0.05)
    with progress.working('fit'):
        sleep(0.2)
        assert capsys.readouterr().out.startswith('fit: 0:00:00\n')
    assert capsys.readouterr().out.endswith('fit: 0:00:00, done\n')


def test_work_that_fails_says_how_far_it_came(capsys):
    with pytest.raises(OSError):
        for number in progress.track(range(9), 'scenes'):
            if number == 4:
                raise OSError
    with progress.run_bars() as bars, pytest.raises(OSError):
        bars.add_task('scenes', total=9, completed=4)
        raise OSError
    assert capsys.readouterr().out.endswith('scenes: 4/9, 0:00:00\n')


def test_an_epoch_that_ends_is_not_the_end_of_the_training(capsys):
    with progress.run_bars() as bars:
        task = bars.add_task('train', total=None)
        for done in (31, 5, 31):
            bars.update(task, completed=done, total=31)
        assert capsys.readouterr().out == ''
        bars.stop_task(task)
        assert re.fullmatch(r'train: 31/31, (\d+/s, )?0:00:00, done\n',
                            capsys.readouterr().out)
    assert capsys.readouterr().out == ''


def test_hidden_progress_is_silent(capsys):
    assert list(progress.track(range(2), 'images', visible=False)) == [0, 1]
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize('is_terminal, kind, color, bars', [
    (True, 'xterm', None, True), (True, 'dumb', None, False),
    (False, 'xterm', '1', False)])
def test_only_a_terminal_that_moves_its_cursor_gets_bars(
        monkeypatch, is_terminal, kind, color, bars):
    monkeypatch.setenv('TERM', kind)
    if color:
        monkeypatch.setenv('FORCE_COLOR', color)
    monkeypatch.delenv('TTY_COMPATIBLE')
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: is_terminal)
    for made in (progress.progress_bar(), progress.run_bars()):
        assert isinstance(made, Progress)
        assert isinstance(made, progress.ProgressLines) != bars


def test_the_demo_prints_how_far_its_step_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, 'INTERVAL', 0.1)
    (tmp_path / 'train.py').write_text(
        "import time\nprint('Iter(train) [ 20/600]  lr: 1', flush=True)\n"
        "time.sleep(0.6)\nprint('Iter(val) [100/100]')\n")
    with progress.run_bars() as bars:
        StepRunner(Demo(tmp_path, tmp_path / 'out', None, [0]), bars)(
            'Pretrain', ['train.py'])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith('Pretrain: 20/600, ') for line in lines)
    assert lines[-1].startswith('Pretrain: 0:00:0') and lines[-1].endswith(', done')


def test_every_tool_shows_its_progress_by_this_module():
    """Bars of rich's own would be silent in a log."""
    files = [path for name in ('mmcontrast', 'tools', 'projects')
             for path in (ROOT / name).rglob('*.py')
             if '.mim' not in path.parts and path.name != 'progress.py']
    made = re.compile(r'rich\.progress import track|\bProgress\(|\btqdm\(|'
                      r'\bProgressBar\(|track_iter_progress')
    assert [str(path) for path in files if made.search(path.read_text())] == []
