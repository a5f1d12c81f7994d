"""Register the classes that a config can name, as children of mmengine's registries.

A config finds our classes without an import line: each registry lists the packages
(``locations``) that are imported at the first lookup. A class that needs another
library is only announced there (:meth:`Registry.announce`) and imported when a config
names it. An unknown name is an error that suggests similar ones.
"""
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module

from mmengine import registry as roots
from mmengine.utils import get_object_from_string

from .errors import UserKeyError, closest, suggest

#: Earlier names of our types, which configs of users and in checkpoints still hold.
FORMER_NAMES = {
    'CentreCrops': 'CenterCrops',
    'FiniteGuardHook': 'NonFiniteGuardHook',
    'SlotPicturesHook': 'SlotImagesHook',
    'TrustedRunner': 'ReliableRunner',
    'UnlabelledImages': 'UnlabeledImages',
}

OWN_CLASS = ("A class of your own is found once its module is in the config: "
             "custom_imports=dict(imports=['my_module']).")


class UnknownTypeError(UserKeyError):
    """A config names a type that no registry holds."""


class MissingLibraryError(UnknownTypeError):
    """A type needs a library that cannot be imported here."""


class Registry(roots.Registry):
    """mmengine's registry, whose lookup errors suggest similar names."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._announced = {}

    def announce(self, module: str, *names: str) -> None:
        """Note that ``module`` registers ``names``, without importing it yet.

        For classes of ours that are built on mmdet, mmseg or another heavy library, so
        that the rest works where it is not installed.
        """
        self._announced.update(dict.fromkeys(names, module))

    def get(self, key: str):
        """Look ``key`` up here, in the parent registry or in the scope that it names.

        Raises:
            UnknownTypeError: If there is none. The message suggests similar names, or
                says how to install the library that the class needs.
        """
        found = super().get(key)
        if found is None:
            key = self._current_name(key)
            self._import_announced(key)
            found = super().get(key)
        if found is None and '.' in key:
            # Of a full name, mmcontrast.models.X, mmengine's root asks for models.X.
            name = key.removeprefix(f'{self.scope}.')
            found = get_object_from_string(f'{self.scope}.{name}')
        if found is None:
            raise self._unknown(key)
        return found

    def _current_name(self, key: str) -> str:
        scope, name = self.split_scope_key(key)
        if scope not in (None, self.scope) or name not in FORMER_NAMES:
            return key
        return f'{self.scope}.{FORMER_NAMES[name]}'

    def _import_announced(self, key: str) -> None:
        scope, name = self.split_scope_key(key)
        if scope in (None, self.scope) and name in self._announced:
            try:
                import_module(self._announced[name])
            except ImportError as error:
                library = error.name or self._announced[name]
                raise _missing(name, library, error) from error

    @contextmanager
    def switch_scope_and_registry(self, scope: str | None):
        """This registry, unless a config's ``_scope_`` names another one.

        mmengine lets the default scope of the last Runner decide, so that a model of
        ours would not find its own parts in a config, or a process, of mmdet's.
        """
        if scope in (None, self.scope):
            yield self
        else:
            with super().switch_scope_and_registry(scope) as registry:
                yield registry

    def __contains__(self, key: str) -> bool:
        try:
            return self.get(key) is not None
        except UnknownTypeError:
            return False

    def _unknown(self, key: str) -> UnknownTypeError:
        scope = self.split_scope_key(key)[0] or self.scope
        if scope != self.scope:
            try:
                import_module(f'{scope}.registry')
            except ImportError as error:
                return _missing(key, scope, error)
        near = similar_names(self, key, num=3)
        held = ', '.join(sorted(self.module_dict)) or 'nothing of ours'
        return UnknownTypeError(
            f'{key!r} is not in the {scope}::{self.name} registry'
            f'{suggest(near) or f": it holds {held}."} {OWN_CLASS}')


@contextmanager
def default_scope(config: Mapping, otherwise: str) -> Iterator[None]:
    """Inside, types without a scope are looked up as the Runner of a config does it.

    Independent of the default scope that an earlier Runner left. New-style configs have
    ``default_scope=None``: each library looks in its own registries.

    Args:
        otherwise: The scope of a config that names none.
    """
    scope = config.get('default_scope', otherwise)
    kept = roots.DefaultScope._instance_dict.copy()
    if scope is None:
        roots.DefaultScope._instance_dict.clear()
    try:
        with roots.DefaultScope.overwrite_default_scope(scope):
            yield
    finally:
        roots.DefaultScope._instance_dict = kept


def class_of(kind: str | Callable, registry: roots.Registry) -> Callable:
    """The class or function that a ``type`` means, which may be one itself."""
    return registry.get(kind) if isinstance(kind, str) else kind


def similar_names(registry: roots.Registry, name: str, num: int) -> list[str]:
    """What a config may write in place of a misspelled type, the most similar first.

    Names of the registry and its root come before those of other libraries, which are
    listed with their scope: 'MaskRCNN' without its scope leads to 'mmdet.MaskRCNN'.
    """
    own = {*registry.root.module_dict, *registry.module_dict,
           *getattr(registry, '_announced', ())}
    scoped = {f'{scope}.{held}' for scope, child in registry.root.children.items()
              if child is not registry for held in child.module_dict}
    by_class_name = {full.partition('.')[2]: full for full in sorted(scoped)}
    near = [by_class_name[name]] if name in by_class_name else []
    near += closest(name, own, num, cutoff=0.7)
    near += closest(name, scoped, num, cutoff=0.8)
    near += [by_class_name[held] for held in closest(
        name.rpartition('.')[2], by_class_name, num, cutoff=0.8)]
    return list(dict.fromkeys(near))[:num]


def _missing(name: str, library: str, error: ImportError) -> MissingLibraryError:
    from ._compat import NEIGHBORS, install_command
    how = 'Install it, or correct the scope before the dot.'
    module = library.partition('.')[0]
    if module in {neighbor.module for neighbor in NEIGHBORS}:
        how = f'Run: {install_command(module)}'
    return MissingLibraryError(
        f'{name!r} needs {library}, which cannot be imported here: {error}. {how}')


def _child(name: str, parent: roots.Registry, *locations: str) -> Registry:
    return Registry(
        name, parent=parent, scope='mmcontrast',
        locations=[f'mmcontrast.{location}' for location in (*locations, 'methods')])


# Models: networks, losses, preprocessors.
MODELS = _child('model', roots.MODELS, 'models')
MODEL_WRAPPERS = _child('model wrapper', roots.MODEL_WRAPPERS, 'models')
WEIGHT_INITIALIZERS = _child('weight initializer', roots.WEIGHT_INITIALIZERS, 'models')
TASK_UTILS = _child('task util', roots.TASK_UTILS, 'models')

# Data.
DATASETS = _child('dataset', roots.DATASETS, 'datasets')
TRANSFORMS = _child('transform', roots.TRANSFORMS, 'datasets.transforms')
DATA_SAMPLERS = _child('data sampler', roots.DATA_SAMPLERS, 'datasets')
FUNCTIONS = _child('function', roots.FUNCTIONS, 'datasets', 'engine')

# Training. The Runner asks every one of these for a child of the config's scope.
RUNNERS = _child('runner', roots.RUNNERS, 'engine')
LOOPS = _child('loop', roots.LOOPS, 'engine')
HOOKS = _child('hook', roots.HOOKS, 'engine')
OPTIMIZERS = _child('optimizer', roots.OPTIMIZERS, 'engine')
OPTIM_WRAPPERS = _child('optimizer wrapper', roots.OPTIM_WRAPPERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', roots.OPTIM_WRAPPER_CONSTRUCTORS, 'engine')
PARAM_SCHEDULERS = _child('parameter scheduler', roots.PARAM_SCHEDULERS, 'engine')
LOG_PROCESSORS = _child('log processor', roots.LOG_PROCESSORS, 'engine')

# Evaluation and visualization.
METRICS = _child('metric', roots.METRICS, 'evaluation')
EVALUATOR = _child('evaluator', roots.EVALUATOR, 'evaluation')
VISUALIZERS = _child('visualizer', roots.VISUALIZERS, 'visualization')
VISBACKENDS = _child('visualization backend', roots.VISBACKENDS, 'visualization')
INFERENCERS = _child('inferencer', roots.INFERENCERS, 'apis.inferencers')
