"""Compare every dict with a ``type`` in a config with the class that it names."""
import inspect
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from types import ModuleType

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.runner import Runner
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.utils.data import DataLoader

from ...errors import closest, did_you_mean, suggest
from ...registry import MissingLibraryError
from . import fields
from .arguments import wrong_arguments, wrong_type
from .fields import OPAQUE, Field, field_of, is_ours
from .imports import broken_imports
from .issue import ConfigIssue, is_typo_of
from .resolve import (
    find,
    find_in_other_registries,
    is_mmcv_operator,
    unknown_type,
)
from .signature import is_placeholder, signature_of
from .source_code import mentions, names_read, reads
from .top_level import (
    DEFAULT_HOOKS,
    former_keys,
    loader_keys,
    loop_class,
    missing_keys,
    misspelled_keys,
    plain_dicts,
    removed_hooks,
    unknown_keys,
)

_RUNNER_VALUES = ('work_dir', 'load_from', 'resume', 'experiment_name', 'launcher',
                  'default_scope')
# Of metainfo; other keys of any name are passed on to visualizers and metrics.
_METAINFO = ('classes', 'palette', 'dataset_type', 'task_name')
# Dicts without a type whose keys are settings that code reads.
_SETTINGS = ('train_cfg', 'test_cfg', 'data_prefix', 'filter_cfg')
_CLIPPERS = dict(norm=clip_grad_norm_, value=clip_grad_value_)
_BUILT = dict(
    dataset=fields.DATASET, sampler=fields.SAMPLER, batch_sampler=fields.BATCH_SAMPLER,
    collate_fn=fields.FUNCTION, worker_init_fn=fields.FUNCTION)


def lint_config(cfg: Config, checks: Sequence[Callable] | None = None
                ) -> list[ConfigIssue]:
    """Find the errors of a config without building anything.

    Unregistered types; arguments that their classes do not take, that are missing or of
    a wrong type; keys that no Runner reads: each with its dotted path and the closest
    name. Imports the libraries that the config names, as a run would.

    Args:
        cfg: The config; its key ``lint`` may be False (nothing is checked) or
            ``dict(skip=[patterns of paths])``.
        checks: Functions that give the issues of a config; default: all.

    Returns:
        The issues in the order of the config; empty if there is none.
    """
    choice = cfg.get('lint', True)
    if choice in (False, None):
        return []
    skipped = choice.get('skip', ()) if isinstance(choice, dict) else ()
    skipped = [skipped] if isinstance(skipped, str) else skipped
    if checks is None:
        linter = Linter(cfg.get('default_scope', 'mmengine'))
        checks = (misspelled_keys, former_keys, missing_keys, plain_dicts,
                  removed_hooks, linter.check)
        if any(broken_imports(cfg)):  # Nothing around them can be read.
            checks = (broken_imports,)
    return [issue for check in checks for issue in check(cfg)
            if not any(_matches(issue.path, pattern) for pattern in skipped)]


def _matches(path: str, pattern: str) -> bool:
    """Whether a ``pattern`` with ``*`` and ``?`` stands for ``path``."""
    # To fnmatch, pipeline[2] is pipeline2.
    return fnmatch(path, pattern.replace('[', '[[]'))


class Linter:
    """Checks what a Runner builds from one config.

    Args:
        scope: Its ``default_scope``; None, as in new-style configs, lets each library
            look in its own registries.
    """

    def __init__(self, scope: str | None) -> None:
        self.scope, self.own_scopes = scope or 'mmengine', scope is None
        self._classes: dict[str, list[Callable]] = {}  # by top-level key
        self._settings: list[tuple[str, str, dict]] = []  # path, key, its dict

    def check(self, cfg: Config) -> Iterator[ConfigIssue]:
        """Issues of all fields that a Runner builds."""
        for key, field in (('model', fields.MODEL),
                           ('tta_model', fields.WRAPPED_MODEL),
                           ('visualizer', fields.VISUALIZER),
                           ('log_processor', fields.LOG_PROCESSOR),
                           ('model_wrapper_cfg', fields.WRAPPER),
                           ('strategy', fields.STRATEGY)):
            if cfg.get(key) is not None:
                yield from self._typed(cfg[key], key, field)
        for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            for path, loader in _each(cfg.get(key), key):
                yield from self._loader(loader, path)
        yield from self._items(cfg.get('tta_pipeline'), 'tta_pipeline',
                               fields.TRANSFORM)
        yield from self._items(cfg.get('custom_hooks'), 'custom_hooks', fields.HOOK)
        hooks = cfg.get('default_hooks') or {}
        typed = {name for name, hook in hooks.items()
                 if isinstance(hook, dict) and 'type' in hook}
        for name, hook in hooks.items():
            near = is_typo_of(name, {*DEFAULT_HOOKS, *typed})
            if isinstance(hook, dict) and 'type' not in hook and near:
                yield ConfigIssue(f'default_hooks.{name}', 'the hook has no type'
                                  f'{suggest([near])}')
            elif hook is not None:
                yield from self._typed(hook, f'default_hooks.{name}', fields.HOOK)
        yield from self._optimizers(cfg.get('optim_wrapper'), 'optim_wrapper')
        yield from self._schedulers(cfg.get('param_scheduler'))
        for key in ('val_evaluator', 'test_evaluator'):
            yield from self._evaluator(cfg.get(key), key)
        for key in ('train_cfg', 'val_cfg', 'test_cfg'):
            yield from self._loop(cfg.get(key), key)
        runner = signature_of(Runner)
        for key in _RUNNER_VALUES:
            yield from wrong_type(runner, key, cfg.get(key), Runner, '')
        yield from self._runner_type(cfg)
        yield from self._unread_settings()

    def _typed(self, node: object, path: str, field: Field, scope: str | None = None,
               owners: tuple = ()) -> Iterator[ConfigIssue]:
        """Issues of one dict with a ``type`` and of everything in it."""
        if isinstance(node, list | tuple):
            # MODELS builds a Sequential of a list.
            for item_path, item in _each(node, path):
                yield from self._typed(item, item_path, field, scope, owners)
            return
        if not isinstance(node, dict):
            if isinstance(node, str | int | float):
                yield ConfigIssue(path, f'found {node!r}, expected a dict with a type.')
            return
        scope = node.get('_scope_') or scope or self.scope
        name = node.get('type') or field.default
        if not name:
            yield ConfigIssue(
                path, 'the dict has no type: name the class that it is for.')
            return
        target, issue = self._target(name, path, field, scope, owners)
        if issue is not None:
            yield issue
        if target is None or is_placeholder(target):
            return  # A placeholder says what to install when it is built.
        self._classes.setdefault(path.partition('.')[0], []).append(target)
        yield from wrong_arguments(node, target, path, field, owners,
                                   self._scopes(scope, owners))
        for key, value in node.items():
            if key not in ('type', '_scope_'):
                yield from self._argument(value, f'{path}.{key}', key,
                                          field.registries[0], scope, (*owners, target))

    def _target(self, name: object, path: str, field: Field, scope: str, owners: tuple
                ) -> tuple[Callable | None, ConfigIssue | None]:
        """The class of a type, or the issue with it; None twice if both are unknown."""
        if not isinstance(name, str):
            issue = None if callable(name) else ConfigIssue(
                f'{path}.type', f'found {name!r}, expected a class or a function, or '
                'the name of one.')
            return (None if issue else name), issue
        scopes = self._scopes(scope, owners)
        try:
            target = find(name, field.registries, scopes)
        except MissingLibraryError as error:
            return None, ConfigIssue(
                f'{path}.type', f'{name!r} cannot be found: {error}')
        if target is None and not field.exclusive:
            target = find_in_other_registries(name, scope)
            if target is None and (is_mmcv_operator(name) or mentions(owners, name)):
                return None, None
        if target is None:
            owner = owners[-1] if owners else None
            return None, unknown_type(name, path, field, scopes[-1], owner)
        return target, None

    def _scopes(self, scope: str, owners: tuple) -> list[str]:
        """Where names of an argument of a class are looked up, in order."""
        owner = owners[-1] if owners else None
        library = (getattr(owner, '__module__', None) or '').partition('.')[0]
        # A model of ours looks for its parts among ours, its bases among theirs.
        own = is_ours(owner) or (self.own_scopes and library in MODULE2PACKAGE)
        return [library] * own + [scope]

    def _argument(self, value: object, path: str, key: str, within: str, scope: str,
                  owners: tuple) -> Iterator[ConfigIssue]:
        """Issues of an argument of a class from the registry ``within``."""
        if key == 'metainfo' and isinstance(value, dict):
            self._settings += [(f'{path}.{inner}', inner, value) for inner in value]
        if key == 'data_prefix' and isinstance(value, dict):
            yield from _paths_as_text(value, path)
        if key in OPAQUE:
            return
        if isinstance(value, list | tuple):
            for item_path, item in _each(value, path):
                yield from self._argument(item, item_path, key, within, scope, owners)
        elif isinstance(value, dict):
            if isinstance(value.get('type'), str | ModuleType) or callable(
                    value.get('type')):
                yield from self._typed(value, path, field_of(key, within), scope,
                                       owners)
            elif 'dataset' in value and (
                    'sampler' in value or key.endswith('dataloader')):
                yield from self._loader(value, path, scope)
            else:
                for inner, item in value.items():
                    if _is_settings(path) and item is not None:
                        self._settings.append((f'{path}.{inner}', inner, value))
                    yield from self._argument(item, f'{path}.{inner}', str(inner),
                                              within, scope, owners)

    def _unread_settings(self) -> Iterator[ConfigIssue]:
        """Keys of ``train_cfg``, ``data_prefix``, ``metainfo`` and the like that no
        class reads, if they look like one that is read."""
        for path, key, node in self._settings:
            classes = self._classes[path.partition('.')[0]]
            if isinstance(key, str) and not mentions(classes, key) \
                    and not reads(classes, key):
                known = set(_METAINFO) if '.metainfo.' in path else names_read(classes)
                near = is_typo_of(key, (known | set(node)) - {key}, True)
                if near:
                    yield ConfigIssue(
                        path, f'nothing reads the key {key!r}{suggest([near])}')

    def _items(self, nodes: object, path: str, field: Field) -> Iterator[ConfigIssue]:
        """Issues of one dict with a type, or of a list of them."""
        for item_path, node in _each(nodes, path):
            yield from self._typed(node, item_path, field)

    def _loader(self, loader: object, path: str, scope: str | None = None
               ) -> Iterator[ConfigIssue]:
        """Issues of a dataloader and all that is in it."""
        if not isinstance(loader, dict):
            return
        yield from unknown_keys(loader, loader_keys(), path, 'a dataloader')
        loading = signature_of(DataLoader)
        for key in sorted(set(loading.hints) & set(loader) - set(_BUILT)):
            yield from wrong_type(loading, key, loader[key], DataLoader, path)
        for key in ('dataset', 'sampler'):
            if key not in loader:
                yield ConfigIssue(path, f'a dataloader needs {key!r}; it is not given.')
        if 'batch_size' not in loader and not loader.get('batch_sampler'):
            yield ConfigIssue(path, "a dataloader needs 'batch_size'; it is not given.")
        for key, field in _BUILT.items():
            if isinstance(loader.get(key), dict):
                yield from self._typed(loader[key], f'{path}.{key}', field, scope)

    def _optimizers(self, wrapper: object, path: str) -> Iterator[ConfigIssue]:
        """Issues of one optimizer wrapper, or of a dict of them by name."""
        if not isinstance(wrapper, dict):
            return
        if 'optimizer' not in wrapper and 'type' not in wrapper:
            for name, inner in wrapper.items():
                if isinstance(inner, dict) and name != 'paramwise_cfg':
                    yield from self._optimizers(inner, f'{path}.{name}')
            return
        own = {k: v for k, v in wrapper.items() if k != 'optimizer'}
        yield from self._typed(own, path, fields.OPTIM_WRAPPER)
        yield from _clipping(wrapper.get('clip_grad'), f'{path}.clip_grad')
        name = wrapper.get('constructor', 'DefaultOptimWrapperConstructor')
        yield from self._typed(dict(type=name), f'{path}.constructor',
                               fields.CONSTRUCTOR)
        target, _ = self._target(name, path, fields.CONSTRUCTOR, self.scope, ())
        if inspect.isclass(target):
            yield from _unread_keys(wrapper.get('paramwise_cfg'), target,
                                    f'{path}.paramwise_cfg')
        if isinstance(wrapper.get('optimizer'), dict):
            yield from self._typed(
                wrapper['optimizer'], f'{path}.optimizer', fields.OPTIMIZER)

    def _schedulers(self, schedulers: object) -> Iterator[ConfigIssue]:
        path = 'param_scheduler'
        if isinstance(schedulers, dict) and 'type' not in schedulers:
            for name, inner in schedulers.items():
                yield from self._items(inner, f'{path}.{name}', fields.SCHEDULER)
        else:
            yield from self._items(schedulers, path, fields.SCHEDULER)

    def _evaluator(self, evaluator: object, path: str) -> Iterator[ConfigIssue]:
        if isinstance(evaluator, dict) and 'metrics' in evaluator:
            yield from self._typed(evaluator, path, fields.EVALUATOR)
        else:
            yield from self._items(evaluator, path, fields.METRIC)

    def _loop(self, loop: object, path: str) -> Iterator[ConfigIssue]:
        if not isinstance(loop, dict):
            return
        field = fields.TRAIN_LOOP if path == 'train_cfg' else fields.TEST_LOOP
        if 'type' in loop and 'by_epoch' in loop:
            yield ConfigIssue(path, "it has 'type' and 'by_epoch', of which a Runner "
                              'takes one: leave out by_epoch.')
            loop = {key: value for key, value in loop.items() if key != 'by_epoch'}
        if 'type' in loop:
            yield from self._typed(loop, path, field)
            return
        plain = {key: value for key, value in loop.items() if key != 'by_epoch'}
        if path == 'train_cfg' and 'by_epoch' not in loop:
            yield ConfigIssue(
                path, "train_cfg needs 'by_epoch' (True or False) or a type.")
            return
        yield from wrong_arguments(plain, loop_class(path, loop), path, field, ())

    def _runner_type(self, cfg: Config) -> Iterator[ConfigIssue]:
        name = cfg.get('runner_type')
        if isinstance(name, str):
            _, issue = self._target(name, 'runner_type', fields.RUNNER, self.scope, ())
            if issue is not None:
                yield ConfigIssue('runner_type', issue.message)


def _clipping(settings: object, path: str) -> Iterator[ConfigIssue]:
    """Keys of ``clip_grad`` that torch does not take."""
    if not isinstance(settings, dict):
        return
    kind = settings.get('type', 'norm')
    if kind not in _CLIPPERS:
        hint = did_you_mean(str(kind), _CLIPPERS)
        yield ConfigIssue(f'{path}.type', f'found {kind!r}{hint} It may be '
                          f'{" or ".join(_CLIPPERS)}.')
        return
    takes = {'type', '_delete_', *signature_of(_CLIPPERS[kind]).hints} - {'parameters'}
    yield from unknown_keys(settings, takes, path, f'clipping by {kind}')


def _paths_as_text(prefixes: dict, path: str) -> Iterator[ConfigIssue]:
    for key, value in prefixes.items():
        if isinstance(value, int | float | list | tuple):
            yield ConfigIssue(f'{path}.{key}', f'found {value!r} '
                              f'({type(value).__name__}), expected a path in quotes.')


def _unread_keys(settings: object, constructor: Callable, path: str
                 ) -> Iterator[ConfigIssue]:
    """Keys of ``paramwise_cfg`` that no constructor reads, also in ``custom_keys``."""
    if not isinstance(settings, dict):
        return
    custom = settings.get('custom_keys')
    known = names_read([constructor])
    for key in settings:
        # Some upstream configs hold an ineffective _delete.
        if not (key.startswith('_') or key in known or mentions([constructor], key)):
            near = closest(key, known)
            yield ConfigIssue(f'{path}.{key}', f'{constructor.__name__} reads no key '
                              f'{key!r}{suggest(near) or "."}')
    for name, inner in custom.items() if isinstance(custom, dict) else ():
        # Other keys become settings of the parameter group.
        for key in inner if isinstance(inner, dict) else ():
            near = is_typo_of(key, known - set(inner), True)
            if key not in known and near:
                yield ConfigIssue(f'{path}.custom_keys.{name}.{key}',
                                  f'nothing reads the key {key!r}{suggest([near])}')


def _is_settings(path: str) -> bool:
    """Whether the keys of a dict without a type are settings that code reads."""
    return any(part.partition('[')[0] in _SETTINGS
               for part in path.split('.')[1:])


def _each(nodes: object, path: str) -> Iterator[tuple[str, object]]:
    """(path, item) of a list, or of a single value."""
    if isinstance(nodes, list | tuple):
        for i, node in enumerate(nodes):
            yield f'{path}[{i}]', node
    elif nodes is not None:
        yield path, nodes
