"""Leave out of a config from a file what would import or execute anything else.

mmengine looks a ``type`` up in its registries, and imports what it does not find there:
``type='subprocess.check_call'`` is data that runs a command once the config is built.
"""
import builtins
import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

from mmengine import registry as roots
from mmengine.config.utils import MODULE2PACKAGE

#: Installed libraries whose registries a config may name.
SCOPES = {'mmcontrast', 'mmengine', 'mmcv', *MODULE2PACKAGE}
# Keys whose text is looked up as a type.
_NAMES = ('type', 'collate_fn', 'worker_init_fn', 'constructor', 'runner_type')
# Keys whose text mmdet and mmpretrain evaluate as Python; of mmcv's nms the type.
_EVALUATED = ('warp_mode', 'dtype')
_SCOPE_KEYS = ('_scope_', 'default_scope')
# No spelling of a call; mmpretrain has types such as 'torchvision/Resize'.
_PLAIN = re.compile(r'[\w./-]*')
_LEFT_OUT = object()


def registered_only(settings: dict) -> tuple[dict, list[str]]:
    """Parsed settings that build registered classes and nothing else.

    A name that leads nowhere stays: building it is an ordinary error.

    Args:
        settings: From :func:`~mmcontrast.io.config_text.parse_config_text`.

    Returns:
        A copy without dicts whose ``type`` lies outside the registries, imports,
        foreign scopes, and text that mmengine would substitute (``{{$HOME:}}``); and
        what was left out, such as ``"model.type='subprocess.check_call'"``.
    """
    left_out: list[str] = []
    return _filtered(settings, '', left_out), left_out


def outside_registries(settings: dict) -> str:
    """What a model of parsed settings would import, as text; '' if nothing."""
    return '; '.join(registered_only({
        key: settings[key] for key in ('default_scope', 'model', 'backbone')
        if key in settings})[1])


def _filtered(value: object, path: str, left_out: list[str]):
    if isinstance(value, str) and '{{' in value:
        left_out.append(f'{path}={value!r}')
        return _LEFT_OUT
    if isinstance(value, list | tuple):
        items = (_filtered(item, f'{path}[{i}]', left_out)
                 for i, item in enumerate(value))
        return type(value)(item for item in items if item is not _LEFT_OUT)
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, item in value.items():
        here = f'{path}.{key}' if path else str(key)
        if not _may_stay(key, item):
            left_out.append(f'{here}={item!r}')
            if key == 'type':
                return _LEFT_OUT
            continue
        item = _filtered(item, here, left_out)
        if item is not _LEFT_OUT:
            kept[key] = item
    return kept


def _may_stay(key: object, value: object) -> bool:
    if isinstance(key, str) and '{{' in key:
        return False
    if key == 'custom_imports':
        return _imports_nothing_new(value)
    if not isinstance(value, str):
        return True
    if key in _SCOPE_KEYS:
        return value in SCOPES or any(r.scope == value for r in _registries())
    if key in _EVALUATED:
        return _is_plain(value)
    return key not in _NAMES or _is_registered(value) or not _leads_anywhere(value)


def _imports_nothing_new(value: object) -> bool:
    names = value.get('imports') if isinstance(value, dict) else value
    names = [names] if isinstance(names, str) else names or []
    return isinstance(names, list | tuple) and all(
        isinstance(name, str) and (name in sys.modules or name in SCOPES)
        for name in names)


def _leads_anywhere(name: str) -> bool:
    """Whether a name that no registry knows would be imported, or is an expression."""
    if not _is_plain(name):
        return True
    first, _, rest = name.partition('.')
    if first not in SCOPES:
        # Their registry module is imported before anything is looked up.
        return hasattr(builtins, name) or _is_module(first)
    if '.' in rest or not rest:
        return True
    return hasattr(sys.modules.get(first), rest) or _is_module(name)


def _is_plain(name: str) -> bool:
    return _PLAIN.fullmatch(name) is not None and '__' not in name


def _is_module(name: str) -> bool:
    try:
        return name in sys.modules or find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _is_registered(name: str) -> bool:
    return _is_held(name) or (_load_registries(name) and _is_held(name))


def _is_held(name: str) -> bool:
    scope, _, own = name.partition('.')
    if not own:
        return any(_knows(registry, name) for registry in _registries())
    if any(registry.scope == scope and _knows(registry, own)
           for registry in _registries()):
        return True
    # The full path of a class, as the dump of a new-style config has it.
    module, _, last = name.rpartition('.')
    found = getattr(sys.modules.get(module), last, None)
    # mmengine registers a SyncBatchNorm of its own for that of torch.
    bases = module.startswith('torch.nn') and inspect.isclass(found)
    return found is not None and any(
        found is held or (bases and inspect.isclass(held) and issubclass(held, found))
        for registry in _registries() for held in registry.module_dict.values())


def _knows(registry: roots.Registry, name: str) -> bool:
    return name in registry.module_dict or name in getattr(registry, '_announced', ())


def _registries() -> Iterator[roots.Registry]:
    """Those of mmengine and, by scope, of the libraries that are imported."""
    for root in vars(roots).values():
        if isinstance(root, roots.Registry):
            yield root
            yield from root.children.values()


def _load_registries(name: str) -> bool:
    """Import the classes of the library that a name begins with, if it is known."""
    scope = name.partition('.')[0]
    if scope == name or scope not in SCOPES or not _is_module(f'{scope}.registry'):
        return False
    try:
        import_module(f'{scope}.registry')
        for registry in list(_registries()):
            if registry.scope == scope:
                registry.import_from_location()
    except Exception:  # It does not work here, whatever the reason.
        return False
    return True
