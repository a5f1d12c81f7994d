"""The way through a config: every dict with a ``type``, compared with its class."""
from collections.abc import Callable, Iterator
from fnmatch import fnmatch

from mmengine.config import Config
from torch.utils.data import DataLoader

from ...errors import suggest
from . import places
from .arguments import wrong_arguments, wrong_type
from .issue import ConfigIssue, is_typo_of
from .places import OPAQUE, Place, place_of
from .resolve import MissingLibrary, find, find_apart, operator
from .signature import is_placeholder, signature_of
from .sources import names_read, reads, spells
from .top_level import (
    loader_keys,
    loop_class,
    missing_keys,
    misspelled_keys,
    plain_dicts,
    removed_hooks,
    unknown_keys,
)
from .unknown_type import unknown_type

BUILT = {'dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn'}
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
EVALUATORS = ('val_evaluator', 'test_evaluator')
LOOPS = ('train_cfg', 'val_cfg', 'test_cfg')


def lint_config(cfg: Config) -> list[ConfigIssue]:
    """What is wrong with a config, found without building anything.

    Types that nobody registered, arguments that their classes do not take, that are
    missing or of a wrong type, keys that no Runner reads: each with its dotted path and
    the closest name. Imports the libraries that the config names, as a run would.

    Args:
        cfg: The config; its key ``lint`` may be False (nothing is checked) or
            ``dict(skip=[patterns of paths])``.

    Returns:
        The findings in the order of the config; none if all is well.
    """
    choice = cfg.get('lint', True)
    if choice is False:
        return []
    skipped = choice.get('skip', ()) if isinstance(choice, dict) else ()
    found = [*misspelled_keys(cfg), *missing_keys(cfg), *plain_dicts(cfg),
             *removed_hooks(cfg),
             *Walk(cfg.get('default_scope') or 'mmengine').through(cfg)]
    return [issue for issue in found
            if not any(fnmatch(issue.path, pattern) for pattern in skipped)]


class Walk:
    """One walk through a config.

    Args:
        scope: Its ``default_scope``.
    """

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.met: dict[str, list[Callable]] = {}  # by top-level key
        self.loose: list[tuple[str, str, dict]] = []  # path, key, its dict

    def through(self, cfg: Config) -> Iterator[ConfigIssue]:
        """Findings of all places that a Runner builds."""
        for key, place in (('model', places.MODEL),
                           ('tta_model', places.WRAPPED_MODEL),
                           ('visualizer', places.VISUALIZER),
                           ('log_processor', places.LOG_PROCESSOR),
                           ('model_wrapper_cfg', places.WRAPPER),
                           ('strategy', places.STRATEGY)):
            if cfg.get(key) is not None:
                yield from self.typed(cfg[key], key, place)
        for key in LOADERS:
            for path, loader in _each(cfg.get(key), key):
                yield from self.loader(loader, path)
        yield from self.items(cfg.get('tta_pipeline'), 'tta_pipeline', places.TRANSFORM)
        yield from self.items(cfg.get('custom_hooks'), 'custom_hooks', places.HOOK)
        for name, hook in (cfg.get('default_hooks') or {}).items():
            if hook is not None:
                yield from self.typed(hook, f'default_hooks.{name}', places.HOOK)
        yield from self.optimizers(cfg.get('optim_wrapper'), 'optim_wrapper')
        yield from self.schedulers(cfg.get('param_scheduler'))
        for key in EVALUATORS:
            yield from self.evaluator(cfg.get(key), key)
        for key in LOOPS:
            yield from self.loop(cfg.get(key), key)
        yield from self.runner_type(cfg)
        yield from self.unread()

    def typed(self, node: object, path: str, place: Place, scope: str | None = None,
              chain: tuple = ()) -> Iterator[ConfigIssue]:
        """Findings of one dict with a ``type`` and of all below it."""
        if isinstance(node, list | tuple):
            # MODELS builds a Sequential of a list.
            for item_path, item in _each(node, path):
                yield from self.typed(item, item_path, place, scope, chain)
            return
        if not isinstance(node, dict):
            if isinstance(node, str | int | float):
                yield ConfigIssue(path, f'found {node!r}, expected a dict with a type.')
            return
        scope = node.get('_scope_') or scope or self.scope
        name = node.get('type') or place.default
        if not name:
            yield ConfigIssue(
                path, 'the dict has no type: name the class that it is for.'
            )
            return
        if not isinstance(name, str):
            target = name if callable(name) else None
        else:
            # A model of ours looks for its parts among ours, its bases among theirs.
            scopes = (['mmcontrast'] if chain and _ours(chain[-1]) else []) + [scope]
            try:
                target = find(name, place.kinds, scopes)
            except MissingLibrary as error:
                yield ConfigIssue(f'{path}.type', f'{name!r} cannot be found: {error}')
                return
            if target is None and not place.only:
                target = find_apart(name, scope)
                if target is None and (operator(name) or spells(chain, name)):
                    return
            if target is None:
                issue = unknown_type(name, path, place, scopes[-1])
                if issue is not None:
                    yield issue
                return
        if target is None or is_placeholder(target):
            return  # The latter says what to install when it is built.
        kind = place.kinds[0]
        self.met.setdefault(path.partition('.')[0], []).append(target)
        yield from wrong_arguments(node, target, path, place, chain)
        for key, value in node.items():
            if key not in ('type', '_scope_'):
                yield from self.below(value, f'{path}.{key}', key, kind, scope,
                                      (*chain, target))

    def below(self, value: object, path: str, key: str, kind: str, scope: str,
              chain: tuple) -> Iterator[ConfigIssue]:
        """Findings of an argument of something registered."""
        if key in OPAQUE:
            return
        if isinstance(value, list | tuple):
            for item_path, item in _each(value, path):
                yield from self.below(item, item_path, key, kind, scope, chain)
        elif isinstance(value, dict):
            if 'type' in value and (isinstance(value['type'], str)
                                    or callable(value['type'])):
                yield from self.typed(value, path, place_of(key, kind), scope, chain)
            elif 'dataset' in value and (
                    'sampler' in value or key.endswith('dataloader')):
                yield from self.loader(value, path, scope)
            else:
                for inner, item in value.items():
                    if _is_settings(path) and item is not None:
                        self.loose.append((f'{path}.{inner}', inner, value))
                    yield from self.below(item, f'{path}.{inner}', str(inner), kind,
                                          scope, chain)

    def unread(self) -> Iterator[ConfigIssue]:
        """Keys of ``train_cfg``, ``test_cfg`` and ``paramwise_cfg`` that no class
        reads, where one of them reads a name that looks the same."""
        for path, key, node in self.loose:
            classes = self.met[path.partition('.')[0]]
            if isinstance(key, str) and not spells(classes, key) \
                    and not reads(classes, key):
                near = is_typo_of(key, names_read(classes) - set(node))
                if near:
                    yield ConfigIssue(
                        path, f'nothing reads the key {key!r}{suggest([near])}'
                    )

    def items(self, nodes: object, path: str, place: Place) -> Iterator[ConfigIssue]:
        for item_path, node in _each(nodes, path):
            yield from self.typed(node, item_path, place)

    def loader(self, loader: object, path: str, scope: str | None = None
               ) -> Iterator[ConfigIssue]:
        """Findings of a dataloader and all that is in it."""
        if not isinstance(loader, dict):
            return
        yield from unknown_keys(loader, loader_keys(), path, 'a dataloader')
        loading = signature_of(DataLoader)
        for key in set(loading.hints) & set(loader) - BUILT:
            yield from wrong_type(loading, key, loader[key], DataLoader, path)
        for key in ('dataset', 'sampler'):
            if key not in loader:
                yield ConfigIssue(path, f'a dataloader needs {key!r}; it is not given.')
        if 'batch_size' not in loader and not loader.get('batch_sampler'):
            yield ConfigIssue(path, "a dataloader needs 'batch_size'; it is not given.")
        for key, place in (('dataset', places.DATASET), ('sampler', places.SAMPLER),
                           ('batch_sampler', places.BATCH_SAMPLER),
                           ('collate_fn', places.FUNCTION),
                           ('worker_init_fn', places.FUNCTION)):
            if isinstance(loader.get(key), dict):
                yield from self.typed(loader[key], f'{path}.{key}', place, scope)

    def optimizers(self, wrapper: object, path: str) -> Iterator[ConfigIssue]:
        """Findings of one optimizer wrapper, or of a dict of them by name."""
        if not isinstance(wrapper, dict):
            return
        if 'optimizer' not in wrapper and 'type' not in wrapper:
            for name, inner in wrapper.items():
                if isinstance(inner, dict) and name != 'paramwise_cfg':
                    yield from self.optimizers(inner, f'{path}.{name}')
            return
        own = {k: v for k, v in wrapper.items() if k != 'optimizer'}
        yield from self.typed(own, path, places.OPTIM_WRAPPER)
        yield from self.constructor(wrapper, path)
        if isinstance(wrapper.get('optimizer'), dict):
            yield from self.typed(
                wrapper['optimizer'], f'{path}.optimizer', places.OPTIMIZER)

    def constructor(self, wrapper: dict, path: str) -> Iterator[ConfigIssue]:
        name = wrapper.get('constructor', 'DefaultOptimWrapperConstructor')
        yield from self.typed(dict(type=name), f'{path}.constructor',
                              places.CONSTRUCTOR)

    def schedulers(self, schedulers: object) -> Iterator[ConfigIssue]:
        path = 'param_scheduler'
        if isinstance(schedulers, dict) and 'type' not in schedulers:
            for name, inner in schedulers.items():
                yield from self.items(inner, f'{path}.{name}', places.SCHEDULER)
        else:
            yield from self.items(schedulers, path, places.SCHEDULER)

    def evaluator(self, evaluator: object, path: str) -> Iterator[ConfigIssue]:
        if isinstance(evaluator, dict) and 'metrics' in evaluator:
            yield from self.typed(evaluator, path, places.EVALUATOR)
        else:
            yield from self.items(evaluator, path, places.METRIC)

    def loop(self, loop: object, path: str) -> Iterator[ConfigIssue]:
        if not isinstance(loop, dict):
            return
        place = places.TRAIN_LOOP if path == 'train_cfg' else places.TEST_LOOP
        if 'type' in loop and 'by_epoch' in loop:
            yield ConfigIssue(
                path,
                "it has 'type' and 'by_epoch', of which a Runner takes "
                'one: leave out by_epoch.',
            )
            loop = {key: value for key, value in loop.items() if key != 'by_epoch'}
        if 'type' in loop:
            yield from self.typed(loop, path, place)
            return
        plain = {key: value for key, value in loop.items() if key != 'by_epoch'}
        if path == 'train_cfg' and 'by_epoch' not in loop:
            yield ConfigIssue(
                path, "train_cfg needs 'by_epoch' (True or False) or a type."
            )
            return
        yield from wrong_arguments(plain, loop_class(path, loop), path, place, ())

    def runner_type(self, cfg: Config) -> Iterator[ConfigIssue]:
        name = cfg.get('runner_type')
        if isinstance(name, str):
            place = Place(('RUNNERS',), True)
            try:
                found = find(name, place.kinds, [self.scope])
            except MissingLibrary as error:
                yield ConfigIssue('runner_type', str(error))
                return
            if found is None:
                yield unknown_type(name, '', place, self.scope)


def _is_settings(path: str) -> bool:
    """Whether a dict without a type is read key by key."""
    return any(part.partition('[')[0] in ('train_cfg', 'test_cfg', 'paramwise_cfg')
               for part in path.split('.')[1:]) and 'custom_keys' not in path


def _ours(target: Callable) -> bool:
    return (getattr(target, '__module__', None) or '').startswith('mmcontrast.')


def _each(nodes: object, path: str) -> Iterator[tuple[str, object]]:
    """(path, item) of a list, or the thing itself."""
    if isinstance(nodes, list | tuple):
        for i, node in enumerate(nodes):
            yield f'{path}[{i}]', node
    elif nodes is not None:
        yield path, nodes
