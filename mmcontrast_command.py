"""Run the tools of mmcontrast by name: the installed command ``mmcontrast``.

This module stands beside the package because ``import mmcontrast`` loads torch, which
``mmcontrast --help`` shall not wait for. Tools are found as files: every script in
``tools/`` and its folders is a command, described by the first line of its docstring.
"""
import ast
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

PACKAGE = Path(__file__).with_name('mmcontrast')
#: A link to the checkout (also of an editable install), or files in a wheel.
TOOLS = PACKAGE / '.mim' / 'tools'
#: Folders of tools, and what they are for; '' stands for ``tools/`` itself.
PURPOSES = {
    '': 'Train and use a model', 'data': 'Prepare data',
    'convert': 'Convert checkpoints', 'analysis': 'Inspect and evaluate',
    'benchmark': 'Measure'}
#: Scripts for work on mmcontrast itself.
DEVELOPER_SCRIPTS = ('check_links', 'setup_env')
USAGE = """\
usage: mmcontrast TOOL [arguments]
       mmcontrast TOOL --help

Each tool takes the arguments of the script of its name in tools/. A config is a file,
or one of the package: mmcontrast::pixpro/NAME.py. On several GPUs:
torchrun --nproc-per-node N -m mmcontrast train CONFIG --launcher pytorch
"""


def main(argv: Sequence[str] | None = None) -> int | None:
    """Run ``mmcontrast ARGV...``; returns the exit status of the tool."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] in (['-V'], ['--version']):
        print(runpy.run_path(str(PACKAGE / 'version.py'))['__version__'])
        return None
    tools = find_tools()
    if not tools:
        sys.exit(f'mmcontrast: there is no tool in {TOOLS}. In a checkout that is a '
                 'link to tools/, which git writes with core.symlinks=true only: clone '
                 'again with it, or run python tools/NAME.py.')
    if not words or words[0] in ('-h', '--help', 'help'):
        print(f'{USAGE}\n{overview(tools)}')
        return None
    group = {name: script for name, script in tools.items()
             if name.split()[0] == _spelled(words[0])}
    if group and _spelled(words[0]) in PURPOSES and (
            len(words) == 1 or words[1] in ('-h', '--help')):
        print(overview(group))
        return None
    for length in (1, 2):
        name = ' '.join(map(_spelled, words[:length]))
        if name in tools:
            return run_tool(name, tools[name], words[length:])
    sys.exit(_unknown(words, group, tools))


def find_tools() -> dict[str, Path]:
    """The scripts by the names of their commands, such as ``data make-shapes``."""
    folder, tools = TOOLS.resolve(), {}
    for purpose in PURPOSES:
        for script in sorted((folder / purpose).glob('*.py')):
            if script.stem not in DEVELOPER_SCRIPTS:
                tools[f'{purpose} {_spelled(script.stem)}'.lstrip()] = script
    return tools


def overview(tools: dict[str, Path]) -> str:
    """A line on each tool, by purpose."""
    lines, width = [], max(map(len, tools))
    for purpose, title in PURPOSES.items():
        group = [name for name in tools if name.rpartition(' ')[0] == purpose]
        lines += [f'{title}:' for _ in group[:1]]
        lines += [f'  {name:{width}}  {_summary(tools[name])}' for name in group]
        lines += ['' for _ in group[:1]]
    return '\n'.join(lines[:-1])


def run_tool(name: str, script: Path, arguments: Sequence[str]) -> int | None:
    """Run a script as ``python SCRIPT ARGUMENTS`` would; returns its exit status."""
    sys.argv = [f'mmcontrast {name}', *arguments]
    sys.path.insert(0, str(script.parent))
    try:
        run = runpy.run_path(str(script))['main']
    except ImportError as error:
        if error.name:
            raise
        # Versions that do not fit; the message says what to install.
        sys.exit(f'mmcontrast: {error}')
    return run(arguments)


def _spelled(word: str) -> str:
    return word.replace('_', '-')


def _summary(script: Path) -> str:
    return ast.get_docstring(ast.parse(script.read_text())).splitlines()[0]


def _unknown(words: Sequence[str], group: dict[str, Path], tools: dict[str, Path]
             ) -> str:
    """A sentence on a name that no tool has."""
    errors = runpy.run_path(str(PACKAGE / 'errors.py'))
    name = ' '.join(map(_spelled, words[:2 if group else 1]))
    known = {tool.split()[-1]: tool for tool in tools} | {tool: tool for tool in tools}
    close = dict.fromkeys(known[found] for found in errors['closest'](name, known))
    hint = errors['suggest'](close) or '; mmcontrast --help lists all.'
    return f'mmcontrast: no tool is called {name!r}{hint}'


if __name__ == '__main__':
    sys.exit(main())
