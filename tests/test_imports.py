"""Check which way imports run, and that the package stays light."""
import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / 'mmcontrast'
HEAVY = ('mmdet', 'mmseg', 'mmpretrain', 'open_clip', 'diffusers', 'transformers')
#: A folder imports those before it; the files of the root come first.
ORDER = ('', 'structures', 'io', 'datasets', 'models', 'evaluation', 'visualization',
         'engine', 'converters', 'methods', 'apis', 'testing')


@cache
def modules() -> dict[str, Path]:
    """Dotted name of every module of the package to its file."""
    found = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        parts = path.relative_to(ROOT).with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding='utf-8'))


def imports(path: Path, inside_functions: bool = True) -> list[tuple[str, str | None]]:
    """(module, name) of everything that a file imports, relative ones resolved.

    The name is None for ``import module``.
    """
    found = []
    parts = path.relative_to(ROOT).with_suffix('').parts
    tree = parsed(path)
    for node in ast.walk(tree) if inside_functions else tree.body:
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = parts[:len(parts) - node.level] if node.level else ()
            base = '.'.join((*package, *filter(None, [node.module])))
            found += [(base, alias.name) for alias in node.names]
    return found


def defining_module(module: str, name: str | None) -> str:
    """The module behind an import: a package re-exports what its modules define."""
    known = modules()
    if name is None or module not in known:
        return module
    if f'{module}.{name}' in known:
        return f'{module}.{name}'
    if known[module].name == '__init__.py':
        for source, exported in imports(known[module], inside_functions=False):
            if exported == name and source in known:
                return defining_module(source, name)
    return module


@cache
def graph() -> dict[str, set[str]]:
    """Every module to the modules of the package that it imports."""
    return {module: {target for target in (
                defining_module(*found) for found in imports(path))
                     if target in modules() and target != module}
            for module, path in modules().items()}


def folder(module: str) -> str:
    """Top folder of a module; '' for the files of the root."""
    parts = module.split('.')
    is_file = len(parts) == 2 and modules()[module].name != '__init__.py'
    return '' if len(parts) < 2 or is_file else parts[1]


def method(module: str) -> str | None:
    """The method that a module belongs to."""
    parts = module.split('.')
    if parts[1:2] != ['methods'] or len(parts) < 3:
        return None
    return parts[2]


def edges() -> list[tuple[str, str]]:
    return [(module, target) for module, targets in sorted(graph().items())
            for target in sorted(targets)]


def cycles(graph: dict[str, set[str]]) -> set[frozenset]:
    """Groups of modules that import each other, directly or through others."""
    order, seen = [], set()

    def visit(start, neighbors, leave):
        stack = [(start, iter(neighbors(start)))]
        seen.add(start)
        while stack:
            node, rest = stack[-1]
            following = next((n for n in rest if n not in seen), None)
            if following is None:
                leave(node)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(neighbors(following))))

    for node in graph:
        if node not in seen:
            visit(node, graph.__getitem__, order.append)
    importers = {node: [a for a, targets in graph.items() if node in targets]
                 for node in graph}
    seen.clear()
    groups = set()
    for node in reversed(order):
        if node not in seen:
            group = []
            visit(node, importers.__getitem__, group.append)
            if len(group) > 1:
                groups.add(frozenset(group))
    return groups


def test_indirect_cycles_are_found():
    assert cycles({'a': {'b'}, 'b': {'c'}, 'c': {'a'}, 'd': {'a'}, 'e': set()}) == {
        frozenset('abc')}
    assert cycles({'a': {'b', 'c'}, 'b': {'c'}, 'c': set()}) == set()


def test_an_import_leads_to_the_module_that_defines_the_name():
    """The rules below stand on this."""
    assert ('mmcontrast.methods.pixpro.pixpro', 'PixPro') in imports(
        PACKAGE / 'methods/pixpro/__init__.py')
    for module, name, source in (
            ('mmcontrast.datasets', 'UnlabeledImages', 'mmcontrast.datasets.images'),
            ('mmcontrast.datasets', 'images', 'mmcontrast.datasets.images'),
            ('mmcontrast.methods.pixpro', 'PixPro', 'mmcontrast.methods.pixpro.pixpro'),
            ('mmcontrast.registry', 'MODELS', 'mmcontrast.registry'),
            ('mmcontrast.registry', None, 'mmcontrast.registry'),
            ('torch.nn', 'Module', 'torch.nn')):
        assert defining_module(module, name) == source


def test_every_folder_has_its_place_in_the_order():
    assert {folder(module) for module in modules()} == set(ORDER)


def test_a_folder_imports_only_those_before_it():
    wrong = {f'{module} -> {target}' for module, target in edges()
             if ORDER.index(folder(module)) < ORDER.index(folder(target))}
    assert wrong == set()


def test_no_module_imports_its_own_importer():
    assert cycles(graph()) == set()


def test_a_method_imports_no_other_method():
    wrong = [f'{module} -> {target}' for module, target in edges()
             if method(module) and method(target) not in (None, method(module))]
    assert wrong == []


def test_tools_find_methods_by_registries_and_never_by_name():
    """Benchmarks, which measure the parts of one method, are the exception."""
    tools = [path for path in sorted((ROOT / 'tools').rglob('*.py'))
             if 'benchmark' not in path.relative_to(ROOT).parts]
    paths = [path for module, path in modules().items() if folder(module) == 'apis']
    wrong = {f'{path.relative_to(ROOT)}: {target}' for path in (*paths, *tools)
             for target in {defining_module(*found) for found in imports(path)}
             if method(target)}
    for path in (*paths, *tools):
        wrong |= {f'{path.relative_to(ROOT)}: {node.value}'
                  for node in ast.walk(parsed(path))
                  if isinstance(node, ast.Constant) and isinstance(node.value, str)
                  and node.value.startswith('mmcontrast.methods.')}
    assert wrong == set()


def test_shared_folders_import_heavy_libraries_inside_functions_only():
    wrong = [f'{module}: {name}' for module, path in modules().items()
             if folder(module) != 'methods'
             for name, _ in imports(path, inside_functions=False)
             if name.split('.')[0] in HEAVY]
    assert wrong == []


STEPS = dict(
    package='import mmcontrast.registry, mmcontrast.apis',
    # Whatever registry is asked, all methods are imported, and only they.
    lookup='import mmcontrast.registry as r; assert "Unknown" not in r.FUNCTIONS; '
           'r.HOOKS.get("SlotProbeHook"); r.METRICS.get("MultipleChoiceAccuracy")',
    registration='from mmcontrast.utils import register_all_modules as r; r()',
    library='import mmseg')


@pytest.fixture(scope='module')
def loaded() -> dict[str, set]:
    """The heavy libraries that one fresh interpreter holds after each step."""
    pytest.importorskip('mmseg')
    code = 'import sys\n' + '\n'.join(
        f'{step}\nprint("LOADED", {name!r}, *[m for m in {HEAVY} if m in sys.modules])'
        for name, step in STEPS.items())
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                         check=True, cwd=ROOT)
    rows = [line.split() for line in run.stdout.splitlines() if 'LOADED' in line]
    return {name: set(libraries) for _, name, *libraries in rows}


def test_importing_the_package_and_its_functions_loads_no_heavy_library(loaded):
    assert loaded['package'] == set()


def test_looking_a_class_of_a_method_up_loads_no_heavy_library(loaded):
    assert loaded['lookup'] == set()


def test_registering_everything_of_ours_loads_no_heavy_library(loaded):
    assert loaded['registration'] == set()


def test_a_loaded_library_is_seen(loaded):
    assert loaded['library'] == {'mmseg'}
