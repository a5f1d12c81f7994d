"""Test what all tools share: names, options, help and the error exit."""
import ast
import os
import runpy
import sys
from pathlib import Path

import pytest

from mmcontrast.apis.cli import error_exit, run, tool_parser
from mmcontrast.errors import UserKeyError
from mmcontrast_command import find_tools, main

TOOLS = find_tools()


def help_of(name: str, capsys) -> str:
    with pytest.raises(SystemExit) as end:
        main([*name.split(), '--help'])
    assert not end.value.code
    return capsys.readouterr().out


@pytest.fixture
def command(monkeypatch):
    """The installed command changes argv and path, as a process of its own may."""
    monkeypatch.setattr(sys, 'argv', ['mmcontrast'])
    monkeypatch.setattr(sys, 'path', list(sys.path))


def test_every_script_is_a_command_except_those_of_developers():
    scripts = {path for path in (Path(__file__).parents[2] / 'tools').rglob('*.py')
               if "if __name__ == '__main__':" in path.read_text()}
    assert {path.stem for path in scripts - set(TOOLS.values())} == {
        'setup_env', 'check_links'}
    assert TOOLS['data make-shapes'].name == 'make_shapes.py'


@pytest.mark.parametrize('name', TOOLS)
def test_a_tool_has_a_summary_an_example_and_a_main_that_takes_arguments(name):
    tree = ast.parse(TOOLS[name].read_text())
    summary, *rest = ast.get_docstring(tree).splitlines()
    script = TOOLS[name].relative_to(TOOLS['train'].parents[1])
    assert len(summary) < 88 and summary.endswith('.')
    assert any(f'python {script} ' in line for line in rest)
    functions = {node.name: node for node in tree.body
                 if isinstance(node, ast.FunctionDef)}
    assert [a.arg for a in functions['main'].args.args] == ['argv']


def test_both_spellings_of_a_tool_are_accepted(command, capsys):
    texts = [help_of(name, capsys)
             for name in ('convert inspect-checkpoint', 'convert inspect_checkpoint')]
    assert texts[0] == texts[1]
    assert texts[0].startswith('usage: mmcontrast convert inspect-checkpoint ')
    assert 'mmcontrast convert inspect-checkpoint epoch_100.pth --keys' in texts[0]


def test_an_empty_name_and_a_checkout_without_links_end_in_a_sentence(
        monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit, match="mmcontrast: no tool is called ''; "):
        main([''])
    monkeypatch.setattr('mmcontrast_command.TOOLS', tmp_path / 'tools')
    for words in ([], ['--help'], ['train', 'config.py']):
        with pytest.raises(SystemExit, match='there is no tool in .*core.symlinks'):
            main(words)
    assert main(['--version']) is None and capsys.readouterr().out.strip()


def test_a_script_names_itself(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        runpy.run_path(str(TOOLS['train']))['main'](['--help'])
    text = capsys.readouterr().out
    assert text.startswith('usage: train.py ') and 'python tools/train.py' in text


@pytest.mark.parametrize('name, former, arguments', [
    ('analysis feature-maps', '--beside-random', ['a', 'b', 'c']),
    ('analysis score-slots', '--beside-random', ['a', 'b', '--data', 'c']),
    ('analysis show-slots', '--crop 64', ['a', 'b', 'c']),
    ('analysis clip-maps', '--num-scenes 3', ['a']),
    ('analysis evaluate-backbone', '--pictures x.png',
     ['propagate', 'a', '--data', 'c'])])
def test_former_options_are_accepted_and_not_shown(name, former, arguments, command,
                                                   capsys):
    # It gets past the parser, whose errors have status 2, to the missing file.
    with pytest.raises(SystemExit) as end:
        main([*name.split(), *arguments, *former.split()])
    assert str(end.value.code).startswith(f'mmcontrast {name}: ')
    capsys.readouterr()
    command = [*name.split(), *(arguments[:1] if 'evaluate' in name else [])]
    assert former.split()[0] not in help_of(' '.join(command), capsys)


def test_defaults_worth_showing_are_shown(capsys):
    parser = tool_parser('x/tool.py', 'Do it.\n\n    as written')
    parser.add_argument('--seed', type=int, default=0, help='a number')
    parser.add_argument('--ks', nargs='+', default=[1, 2], help='numbers')
    parser.add_argument('--share', default='50%', help='a share')
    parser.add_argument('--said', default=3, help='default: three')
    for flag in ('--none', '--empty'):
        parser.add_argument(flag, default=None if flag == '--none' else '', help='x')
    parser.add_argument('--flag', action='store_true', help='on')
    text = parser.format_help()
    assert text.startswith('usage: tool.py') and '\n    as written\n' in text
    shown = {line.split()[0]: line for line in text.splitlines()
             if line.startswith('  --')}
    assert shown['--seed'].endswith('a number (default: 0)')
    assert shown['--ks'].endswith('numbers (default: 1 2)')
    assert shown['--share'].endswith('(default: 50%)')
    assert shown['--said'].endswith('default: three')
    for flag in ('--none', '--empty', '--flag'):
        assert 'default' not in shown[flag]


@pytest.mark.parametrize('error, sentence', [
    (FileNotFoundError(2, 'No such file', 'a.pth'), "No such file: 'a.pth'"),
    (UserKeyError('no key a'), 'tool.py: no key a'),
    (ValueError('too small'), 'tool.py: too small'),
    (ImportError('needs x'), 'tool.py: needs x')])
def test_errors_of_the_user_end_in_a_sentence(error, sentence):
    with pytest.raises(SystemExit) as end, error_exit(tool_parser('tool.py', '')):
        raise error
    assert end.value.code.startswith('tool.py: ') and sentence in end.value.code


def test_other_errors_keep_their_traceback():
    parser = tool_parser('tool.py', '')
    with pytest.raises(RuntimeError), error_exit(parser):
        raise RuntimeError('a fault of ours')
    # As of a user's transform; the key alone would tell nothing.
    with pytest.raises(KeyError), error_exit(parser):
        {}['img_shape']
    # From inside a model in training, no sentence tells enough.
    with pytest.raises(ValueError), error_exit(parser, input_errors=()):
        raise ValueError('math domain error')


def test_a_run_without_a_launcher_leaves_the_environment_alone(monkeypatch):
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    parser = tool_parser('train.py', '')
    parser.add_argument('--local_rank', type=int, default=0)
    parser.add_argument('--launcher', default='none')
    seen = []
    run(lambda launcher: seen.append((launcher, os.environ.get('LOCAL_RANK'))), parser,
        ['--local_rank', '3'])
    assert seen == [('none', None)]
    monkeypatch.setenv('LOCAL_RANK', '1')
    run(lambda launcher: seen.append((launcher, os.environ['LOCAL_RANK'])), parser,
        ['--launcher', 'pytorch', '--local_rank', '3'])
    assert seen[1] == ('pytorch', '1')
