"""Which way imports run, and how light the package is."""
import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / 'mmcontrast'
HEAVY = ('mmdet', 'mmseg', 'mmpretrain', 'open_clip', 'diffusers', 'transformers')
METHODS = {path.name for path in (PACKAGE / 'methods').iterdir()
           if (path / '__init__.py').exists()}
FILES = sorted(PACKAGE.rglob('*.py'))


def imported(path: Path, inside_functions: bool = True) -> set:
    """Dotted names of everything that a file imports, relative ones resolved."""
    names = set()
    parts = ('mmcontrast', *path.relative_to(PACKAGE).with_suffix('').parts)
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if inside_functions else tree.body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = parts[:len(parts) - node.level] if node.level else ()
            base = '.'.join((*package, *filter(None, [node.module])))
            names.add(base)
            names.update(f'{base}.{alias.name}' for alias in node.names)
    return names


def methods_in(names: set) -> set:
    split = [name.split('.') for name in names]
    return {parts[2] for parts in split
            if parts[:2] == ['mmcontrast', 'methods'] and len(parts) > 2}


def test_relative_imports_are_resolved():
    """The rules below stand on this."""
    names = imported(PACKAGE / 'methods' / '__init__.py')
    assert 'mmcontrast.methods.pixpro' in names
    assert 'mmcontrast.datasets.images' in imported(PACKAGE / 'datasets/__init__.py')


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    """Shared folders import no method, a method imports no other method."""
    place = path.relative_to(PACKAGE).parts
    if place == ('methods', '__init__.py'):
        return  # lists the methods, so that the registry finds them
    own = {place[1]} if place[0] == 'methods' else set()
    # What a tool calls may reach for the method that it was asked for, when asked.
    names = imported(path, inside_functions=place[0] != 'apis')
    assert methods_in(names) & METHODS <= own
    if not own:
        assert 'mmcontrast.methods' not in names


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_shared_folders_import_heavy_libraries_inside_functions_only(path):
    if path.relative_to(PACKAGE).parts[0] == 'methods':
        return
    top = {name.split('.')[0] for name in imported(path, inside_functions=False)}
    assert not top & set(HEAVY)


def loaded_after(statement: str) -> set:
    """The heavy libraries that a fresh interpreter holds after a statement."""
    code = f'{statement}; import sys; print(*[m for m in {HEAVY} if m in sys.modules])'
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                         check=True, cwd=PACKAGE.parent)
    return set(run.stdout.split('\n')[-2].split())


def test_a_loaded_library_is_seen():
    pytest.importorskip('mmseg')
    assert loaded_after('import mmseg') == {'mmseg'}


def test_importing_the_package_loads_no_heavy_library():
    assert loaded_after('import mmcontrast, mmcontrast.registry') == set()


def test_registering_everything_of_ours_loads_no_heavy_library():
    statement = 'from mmcontrast.utils import register_all_modules as r; r()'
    assert loaded_after(statement) == set()
