"""From a name in a config to the class that it stands for."""
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from mmengine import registry as roots
from mmengine.registry import Registry

from ...registry import UnknownTypeError, similar_names

# Where a name may be looked for, the likeliest first.
ALL_KINDS = ('MODELS', 'TASK_UTILS', 'TRANSFORMS', 'DATASETS', 'METRICS', 'FUNCTIONS',
             'WEIGHT_INITIALIZERS', 'DATA_SAMPLERS', 'HOOKS', 'OPTIMIZERS',
             'OPTIM_WRAPPERS', 'OPTIM_WRAPPER_CONSTRUCTORS', 'PARAM_SCHEDULERS',
             'LOOPS', 'RUNNERS', 'STRATEGIES', 'VISUALIZERS', 'VISBACKENDS',
             'LOG_PROCESSORS', 'EVALUATOR', 'MODEL_WRAPPERS')


class MissingLibrary(ImportError):
    """A scope whose library cannot be imported; the text says what to do."""


def registry_in(kind: str, scope: str) -> Registry:
    """The registry of a kind that a config of this default scope asks.

    Raises:
        MissingLibrary: If there is no such library here.
    """
    root = getattr(roots, kind)
    if scope == root.scope:
        return root
    try:
        import_module(f'{scope}.registry')
    except ImportError as error:
        raise MissingLibrary(
            f'the scope {scope!r} stands for a library that cannot be imported here: '
            f'{error}. Install it, or correct the scope.') from error
    child = root._search_child(scope)
    return root if child is None else child  # an empty one is falsy


def find(name: str, kinds: Sequence[str], scopes: Sequence[str]) -> Callable | None:
    """The class or function called ``name`` in the first registry that has one.

    Raises:
        MissingLibrary: If ``name`` is one of ours that needs a library, or its scope is
            not there.
    """
    missing = None
    for kind in kinds:
        for scope in scopes:
            try:
                found = registry_in(kind, scope).get(name)
            except UnknownTypeError as error:
                if 'cannot be imported' in str(error):
                    missing = MissingLibrary(str(error))
                found = None
            except (RuntimeError, KeyError):
                found = None
            if found is not None:
                return found
    if missing is not None:
        raise missing
    return None


def find_apart(name: str, scope: str) -> Callable | None:
    """``name`` in a registry that a library keeps apart from mmengine's tree."""
    try:
        module = import_module(f'{scope}.registry')
    except ImportError:
        return None
    for registry in vars(module).values():
        if isinstance(registry, Registry) and registry.parent is None \
                and name in registry.module_dict:
            return registry.module_dict[name]
    return None


def defining_file(name: str, kind: str, scope: str) -> str | None:
    """File of a library that defines a class of this name, registered or not."""
    try:
        root = Path(import_module(scope).__file__).parent
    except (ImportError, TypeError):
        return None
    pattern = re.compile(rf'^\s*class {re.escape(name.rpartition(".")[2])}\b', re.M)
    places = [place.replace('.', '/') for place in registry_in(kind, scope)._locations]
    for file in sorted(root.rglob('*.py')):
        path = str(file.relative_to(root.parent))
        if path.startswith(tuple(places)) and pattern.search(
                file.read_text(encoding='utf-8', errors='ignore')):
            return path
    return None


def kind_holding(name: str, scopes: Sequence[str]) -> str | None:
    """The kind under which ``name`` is registered, for a name in a wrong place."""
    for kind in ALL_KINDS:
        try:
            if find(name, (kind,), scopes) is not None:
                return kind
        except MissingLibrary:
            return None
    return None


def operator(name: str) -> bool:
    """Whether mmcv's operators have this name, which mmdet takes from there."""
    try:
        return hasattr(import_module('mmcv.ops'), name)
    except ImportError:
        return False


def similar(name: str, kind: str, scope: str) -> str | None:
    """The registered type that is most similar to ``name``, if any is."""
    try:
        registry = registry_in(kind, scope)
    except MissingLibrary:
        return None
    return next(iter(similar_names(registry, name, num=1)), None)
