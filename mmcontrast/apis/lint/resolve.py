"""Find the class that a type in a config names, or say why there is none."""
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from mmengine import registry as roots
from mmengine.registry import Registry

from ..._compat import NEIGHBORS
from ...errors import closest
from ...registry import OWN_CLASS, MissingLibraryError, similar_names
from .fields import ALL_REGISTRIES, FORMER_TYPES, Field, must_be_registered
from .issue import ConfigIssue


def find(name: str, registries: Sequence[str], scopes: Sequence[str]
         ) -> Callable | None:
    """The class or function called ``name`` in the first registry that has one.

    Raises:
        MissingLibraryError: If ``name`` is one of ours that needs a library, or its
            scope is not installed.
    """
    missing = None
    for registry in registries:
        for scope in scopes:
            try:
                found = _registry(registry, scope).get(name)
            except MissingLibraryError as error:
                missing, found = error, None
            except (RuntimeError, KeyError):
                found = None
            if found is not None:
                return found
    if missing is not None:
        raise missing
    return None


def find_in_other_registries(name: str, scope: str) -> Callable | None:
    """``name`` in a registry that a library keeps outside mmengine's tree."""
    try:
        module = import_module(f'{scope}.registry')
    except ImportError:
        return None
    for registry in vars(module).values():
        if isinstance(registry, Registry) and registry.parent is None \
                and name in registry.module_dict:
            return registry.module_dict[name]
    return None


def is_mmcv_operator(name: str) -> bool:
    """Whether mmcv's operators have this name; mmdet builds some from there."""
    try:
        return hasattr(import_module('mmcv.ops'), name)
    except ImportError:
        return False


def unknown_type(name: str, path: str, field: Field, scope: str,
                 owner: Callable | None = None) -> ConfigIssue | None:
    """The issue that no registry has the type ``name`` at ``path``.

    Args:
        owner: The class whose argument it is.

    Returns:
        None where it may be a word that only the code of ``owner`` knows.
    """
    registry = _registry(field.registries[0], scope)
    near = similar_names(registry, name, num=1)
    for library in ('mmcontrast', *(one.module for one in NEIGHBORS)):
        # A type of a library that is not imported yet.
        if not near and library != scope and _has(field.registries[0], library, name):
            near = [f'{library}.{name}']
    for library in ('mmcontrast', *(one.module for one in NEIGHBORS)):
        if not near and library != scope and '.' not in name:
            near = [f'{library}.{one}' for one in _similar(field, library, name)]
    key = path.rpartition('.')[2].partition('[')[0]
    if not (field.exclusive or near or must_be_registered(key, owner)):
        return None
    hint = _hint(name, near, field, scope)
    return ConfigIssue(
        f'{path}.type', f'{name!r} is not in the {scope}::{registry.name} registry'
        + (f': {hint}' if hint else '.') + f' {OWN_CLASS}')


def _similar(field: Field, library: str, name: str) -> list[str]:
    try:
        known = _registry(field.registries[0], library).module_dict
    except MissingLibraryError:
        return []
    return closest(name, known, cutoff=0.85)


def _has(registry: str, library: str, name: str) -> bool:
    try:
        return find(name, (registry,), (library,)) is not None
    except MissingLibraryError:
        return False


def _hint(name: str, near: list[str], field: Field, scope: str) -> str:
    file = _defining_file(name, field.registries[0], scope)
    if file:
        module = file.removesuffix('.py').replace('/', '.')
        return (f'{file} defines it, but is not imported here; it may need a library '
                f'that is missing: python -c "import {module}" says which.')
    if name in FORMER_TYPES:
        return f'it is now {FORMER_TYPES[name]}.'
    if near:
        library, _, bare = near[0].rpartition('.')
        hint = f'did you mean {near[0]!r}?'
        return hint + (f' Or set default_scope={library!r}.'
                       if library and bare == name else '')
    holder = _registry_with(name, scope) if field.exclusive else None
    return f'it is one of the {holder}, which cannot be used here.' if holder else ''


def _registry(name: str, scope: str) -> Registry:
    """The registry that a config of this default scope uses.

    Raises:
        MissingLibraryError: If the library of the scope is not installed.
    """
    root = getattr(roots, name)
    if scope == root.scope:
        return root
    try:
        import_module(f'{scope}.registry')
    except ImportError as error:
        raise MissingLibraryError(
            f'the scope {scope!r} is a library that cannot be imported here: {error}. '
            'Install it, or correct the scope.') from error
    child = root._search_child(scope)
    return root if child is None else child  # an empty one is falsy


def _defining_file(name: str, registry: str, scope: str) -> str | None:
    """File of a library that defines a class of this name, registered or not."""
    try:
        root = Path(import_module(scope).__file__).parent
    except (ImportError, TypeError):
        return None
    pattern = re.compile(rf'^\s*class {re.escape(name.rpartition(".")[2])}\b', re.M)
    folders = tuple(location.replace('.', '/')
                    for location in _registry(registry, scope)._locations)
    for file in sorted(root.rglob('*.py')):
        path = str(file.relative_to(root.parent))
        if path.startswith(folders) and pattern.search(
                file.read_text(encoding='utf-8', errors='ignore')):
            return path
    return None


def _registry_with(name: str, scope: str) -> str | None:
    """The registry that holds ``name``, for a name in a wrong field."""
    for registry in ALL_REGISTRIES:
        try:
            if find(name, (registry,), [scope]) is not None:
                return registry
        except MissingLibraryError:
            return None
    return None
