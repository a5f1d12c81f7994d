"""Config text is parsed and never executed."""
import http.server
import math
import os
import threading
from functools import partial
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner.checkpoint import CheckpointLoader

from mmcontrast.io.checkpoint import read_checkpoint
from mmcontrast.io.config_text import parse_config_text
from mmcontrast.io.safe_loading import use_safe_loading
from tests.helpers.disk_runs import write_config
from tests.helpers.runs import run

ROOT = Path(__file__).parents[2]


def test_a_dumped_config_comes_back_as_it_was():
    settings = dict(
        model=dict(type='PixPro', backbone=dict(depth=18, out_indices=(3,)), neck=None),
        lr=-1.5e-3, big=float('inf'), low=-float('inf'), flag=True, names=['a', "b'c"],
        one=(1,), nested=[dict(x=1), [2, (3, [4])]], note='line\nnext', empty={},
        odd={'a b': 1, 'c': {'0': 2}}, numbers={'x': {1, 2}})
    assert parse_config_text(Config(settings).pretty_text) == settings
    assert math.isnan(parse_config_text('a = nan')['a'])
    odd = {'not a name': dict(a=1), 'b': 2}
    assert parse_config_text(str(odd)) == odd
    assert parse_config_text('') == {}


@pytest.mark.parametrize('method', ['pixpro', 'slotcon', 'denseclip'])
def test_our_configs_come_back(method):
    path = sorted((ROOT / 'configs' / method).glob('*debug*.py'))[0]
    config = Config.fromfile(path)
    assert parse_config_text(config.pretty_text) == config.to_dict()


@pytest.mark.parametrize('text', [
    "import os; os.system('touch {}')",
    "a = __import__('os').system('touch {}')",
    "a = [dict(b=open('{}', 'w'))]",
    "a = (lambda: open('{}', 'w'))()",
    "a = [open('{}', 'w') for _ in range(1)]",
    "a = dict(**dict(x=open('{}', 'w')))",
    "a = f\"{{open('{}', 'w')}}\"",
    "a = 1 if open('{}', 'w') else 2",
    "a: open('{}', 'w') = 1",
    "open('{}', 'w')",
    "a = float(open('{}', 'w'))",
    "a = dict([('x', open('{}', 'w'))])"])
def test_hostile_text_is_rejected_and_not_executed(tmp_path, text):
    trace = tmp_path / 'trace'
    with pytest.raises(ValueError, match='Line 2 of the config text is not data.*'
                                         'Nothing was executed'):
        parse_config_text('x = 1\n' + text.format(trace))
    assert not trace.exists()


@pytest.mark.parametrize('text', ['a = 2 ** 9 ** 9', 'a.b = 1', 'a = b = 1', 'a = -"x"',
                                  'a = {**{}}', 'a = {[]: 1}', 'a = int("3")',
                                  'del x', 'a = float("x")', 'a = dict({}, {})'])
def test_what_is_not_data_is_named_with_its_line(text):
    with pytest.raises(ValueError, match='Line 3 of the config text is not data'):
        parse_config_text('x = 1\n\n' + text)


@pytest.mark.parametrize('text', ['a = ', 'a = (', '\0', 'a = ' + '(' * 10**5,
                                  '<html>', "a = <class 'int'>"])
def test_what_is_not_even_python_is_rejected(text):
    with pytest.raises(ValueError, match='no config text'):
        parse_config_text(text)


@pytest.fixture
def hostile(tmp_path):
    """A checkpoint with config text in every place that mmengine runs it from."""
    trace = tmp_path / 'trace'
    text = f"__import__('os').system('touch {trace}')"
    torch.save(dict(
        state_dict={'a': torch.ones(1)}, message_hub=dict(runtime_info=dict(cfg=text)),
        meta=dict(epoch=1, iter=2, config=text, cfg=text)), tmp_path / 'hostile.pth')
    use_safe_loading()
    yield tmp_path / 'hostile.pth'
    assert not trace.exists()


@pytest.mark.parametrize(
    'runner_type', ['mmengine.Runner', 'mmcontrast.ReliableRunner']
)
def test_a_resumed_run_does_not_run_the_text_in_its_checkpoint(tmp_path, runner_type):
    options = dict(runner_type=runner_type)
    config, trace = str(write_config(tmp_path, epochs=2)), tmp_path / 'trace'
    run(config, tmp_path / 'a', options)
    checkpoint = read_checkpoint(tmp_path / 'a' / 'epoch_1.pth')
    text = f"__import__('os').system('touch {trace}')"
    checkpoint['meta'].update(config=text, cfg=text)
    checkpoint['message_hub']['runtime_info']['cfg'] = text
    torch.save(checkpoint, tmp_path / 'hostile.pth')
    runner = run(config, tmp_path / 'b', options, resume=str(tmp_path / 'hostile.pth'))
    assert runner.epoch == 2 and runner.iter == 4
    assert (tmp_path / 'b' / 'epoch_2.pth').exists() and not trace.exists()


def test_no_text_that_mmengine_would_run_is_handed_on(hostile):
    # mmengine's resume runs meta['config']; its inferencers run the other two.
    read = CheckpointLoader.load_checkpoint(str(hostile), 'cpu')
    assert read['meta'] == dict(epoch=1, iter=2)
    assert read['message_hub'] == dict(runtime_info={})


def test_text_that_names_another_file_to_run_is_left_out(tmp_path):
    for name, text in (('base', "_base_ = 'evil.py'"), ('data', 'a = 1')):
        torch.save(dict(state_dict={'a': torch.ones(1)}, meta=dict(cfg=text)),
                   tmp_path / f'{name}.pth')
    use_safe_loading()
    assert CheckpointLoader.load_checkpoint(str(tmp_path / 'base.pth'))['meta'] == {}
    kept = CheckpointLoader.load_checkpoint(str(tmp_path / 'data.pth'))
    assert kept['meta'] == dict(cfg='a = 1')


def test_a_downloaded_file_is_data_too(tmp_path, monkeypatch):
    trace, folder = tmp_path / 'trace', tmp_path / 'served'
    folder.mkdir()

    class Payload:
        def __reduce__(self):
            return os.system, (f'touch {trace}',)

    torch.save(dict(state_dict=Payload()), folder / 'evil.pth')
    torch.save(dict(model={'a': torch.ones(1)}), folder / 'good.pth')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    use_safe_loading()
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{server.server_port}'
        good = CheckpointLoader.load_checkpoint(f'{address}/good.pth', 'cpu')
        with pytest.raises(ValueError, match=r'evil.pth holds posix.system'):
            CheckpointLoader.load_checkpoint(f'{address}/evil.pth', 'cpu')
        server.shutdown()
    assert good['state_dict']['a'].tolist() == [1] and not trace.exists()
    assert 'TORCH_FORCE_WEIGHTS_ONLY_LOAD' not in os.environ
