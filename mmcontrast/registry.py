"""Registries of mmcontrast: children of mmengine's roots.

A config finds our classes without an import line: each registry lists the packages
(``locations``) that are imported the first time a name is asked for. A class that needs
another library is only announced there (:meth:`Registry.announce`) and imported when a
config names it. A name that nobody registered is an error that says which names come
close.
"""
import difflib
from contextlib import contextmanager
from importlib import import_module

from mmengine import registry as roots

#: Earlier names of our types, which configs of users and in checkpoints still hold.
FORMER_NAMES = {
    'CentreCrops': 'CenterCrops',
    'FiniteGuardHook': 'NonFiniteGuardHook',
    'SlotPicturesHook': 'SlotImagesHook',
    'TrustedRunner': 'ReliableRunner',
    'UnlabelledImages': 'UnlabeledImages',
}


class UnknownTypeError(KeyError):
    """A config names a type that no registry holds."""

    def __str__(self) -> str:
        # KeyError shows its text quoted and escaped; this one is read by people.
        return self.args[0]


class Registry(roots.Registry):
    """mmengine's registry, with a did-you-mean instead of a bare miss."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._announced = {}

    def announce(self, module: str, *names: str) -> None:
        """Say that ``module`` registers ``names``, without importing it yet.

        For classes of ours that are built on mmdet, mmseg or another heavy library, so
        that the rest works where it is missing.
        """
        self._announced.update(dict.fromkeys(names, module))

    def get(self, key: str):
        """The class or function registered as ``key``, here, above or in its scope.

        Raises:
            UnknownTypeError: If there is none. The message names the closest ones, or
                the library that a class of ours needs.
        """
        key = self._current_name(key)
        found = super().get(key)
        if found is None:
            self._import_announced(key)
            found = super().get(key)
        if found is None:
            raise UnknownTypeError(self._describe_miss(key))
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
                raise UnknownTypeError(
                    f'{name!r} needs {library}, which cannot be imported here: '
                    f'{error}. {_how_to_install(library)}') from error

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

    def _describe_miss(self, key: str) -> str:
        scope = self.split_scope_key(key)[0] or self.scope
        if scope != self.scope:
            try:
                import_module(f'{scope}.registry')
            except ImportError as error:
                return (f'{key!r} needs {scope}, which cannot be imported here: '
                        f'{error}. {_how_to_install(scope)}')
        miss = f'{key!r} is not in the {scope}::{self.name} registry'
        names = self._names_by_lower_case()
        close = difflib.get_close_matches(key.lower(), names, n=3, cutoff=0.7)
        if close:
            hint = f'did you mean {" or ".join(repr(names[name]) for name in close)}?'
        else:
            held = ', '.join(sorted(self.module_dict)) or 'nothing of ours'
            hint = f'it holds {held}.'
        return (f'{miss}: {hint} A class of your own is found once its module stands '
                "in the config: custom_imports=dict(imports=['my_module']).")

    def _names_by_lower_case(self) -> dict:
        """What a config may write here, keyed by what a typo is compared with.

        Another library's class is also listed without its scope, so that a bare
        'MaskRCNN' leads to 'mmdet.MaskRCNN'; our own names take precedence.
        """
        names = {}
        for scope, child in self.root.children.items():
            for name in child.module_dict:
                names[f'{scope}.{name}'.lower()] = f'{scope}.{name}'
                names.setdefault(name.lower(), f'{scope}.{name}')
        for registry in (self.root, self):
            names.update({name.lower(): name for name in registry.module_dict})
        names.update({name.lower(): name for name in self._announced})
        return names


def _how_to_install(module: str | None) -> str:
    from ._compat import NEIGHBORS, command
    for neighbor in NEIGHBORS:
        if neighbor.module == (module or '').partition('.')[0]:
            return f'Run: {command(neighbor, neighbor.dists[0])}'
    return 'Install it, or correct the scope before the dot.'


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

# Evaluation and pictures.
METRICS = _child('metric', roots.METRICS, 'evaluation')
EVALUATOR = _child('evaluator', roots.EVALUATOR, 'evaluation')
VISUALIZERS = _child('visualizer', roots.VISUALIZERS, 'visualization')
VISBACKENDS = _child('visualization backend', roots.VISBACKENDS, 'visualization')
