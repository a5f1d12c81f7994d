"""Registries of mmcontrast: children of mmengine's roots.

A config finds our classes without an import line: each registry lists the packages
(``locations``) that are imported the first time a name is asked for.
"""
from mmengine.registry import (
    DATA_SAMPLERS as ROOT_DATA_SAMPLERS,
)
from mmengine.registry import (
    DATASETS as ROOT_DATASETS,
)
from mmengine.registry import (
    EVALUATOR as ROOT_EVALUATOR,
)
from mmengine.registry import (
    FUNCTIONS as ROOT_FUNCTIONS,
)
from mmengine.registry import (
    HOOKS as ROOT_HOOKS,
)
from mmengine.registry import (
    METRICS as ROOT_METRICS,
)
from mmengine.registry import (
    MODELS as ROOT_MODELS,
)
from mmengine.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS as ROOT_OPTIM_WRAPPER_CONSTRUCTORS,
)
from mmengine.registry import (
    OPTIMIZERS as ROOT_OPTIMIZERS,
)
from mmengine.registry import (
    PARAM_SCHEDULERS as ROOT_PARAM_SCHEDULERS,
)
from mmengine.registry import (
    TRANSFORMS as ROOT_TRANSFORMS,
)
from mmengine.registry import (
    VISUALIZERS as ROOT_VISUALIZERS,
)
from mmengine.registry import (
    Registry,
)


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return Registry(
        name, parent=parent, scope='mmcontrast',
        locations=[f'mmcontrast.{location}' for location in locations])


# Models: networks, losses, preprocessors.
MODELS = _child('model', ROOT_MODELS, 'models', 'methods')

# Data.
DATASETS = _child('dataset', ROOT_DATASETS, 'datasets')
TRANSFORMS = _child('transform', ROOT_TRANSFORMS, 'datasets.transforms')
DATA_SAMPLERS = _child('data sampler', ROOT_DATA_SAMPLERS, 'datasets')
FUNCTIONS = _child('function', ROOT_FUNCTIONS, 'datasets', 'engine')

# Training.
HOOKS = _child('hook', ROOT_HOOKS, 'engine')
OPTIMIZERS = _child('optimizer', ROOT_OPTIMIZERS, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', ROOT_OPTIM_WRAPPER_CONSTRUCTORS, 'engine')
PARAM_SCHEDULERS = _child('parameter scheduler', ROOT_PARAM_SCHEDULERS, 'engine')

# Evaluation and pictures.
METRICS = _child('metric', ROOT_METRICS, 'evaluation')
EVALUATOR = _child('evaluator', ROOT_EVALUATOR, 'evaluation')
VISUALIZERS = _child('visualizer', ROOT_VISUALIZERS, 'visualization')
