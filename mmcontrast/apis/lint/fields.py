"""Describe which registries the fields of a config are built from, and how."""
from collections.abc import Callable
from dataclasses import dataclass, replace

# mmengine's root registries, those that more fields are built from first.
ALL_REGISTRIES = (
    'MODELS', 'TASK_UTILS', 'TRANSFORMS', 'DATASETS', 'METRICS', 'FUNCTIONS',
    'WEIGHT_INITIALIZERS', 'DATA_SAMPLERS', 'HOOKS', 'OPTIMIZERS', 'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS', 'PARAM_SCHEDULERS', 'LOOPS', 'RUNNERS', 'STRATEGIES',
    'VISUALIZERS', 'VISBACKENDS', 'LOG_PROCESSORS', 'EVALUATOR', 'MODEL_WRAPPERS')


@dataclass(frozen=True)
class Field:
    """A field of a config whose value is a dict with a ``type``.

    Attributes:
        registries: Where the type is looked up, in order.
        exclusive: Whether the type must be in the first one.
        added: Arguments that the builder adds, so that they are not missing.
        taken: Keys that the builder removes before it calls the class.
        complete: Whether nobody else adds arguments.
        default: The type if the config gives none; '' if it must.
    """

    registries: tuple[str, ...]
    exclusive: bool = False
    added: frozenset = frozenset()
    taken: frozenset = frozenset()
    complete: bool = True
    default: str = ''


def _only(registry: str, added: str = '', taken: str = '', default: str = '') -> Field:
    return Field((registry,), True, frozenset(added.split()), frozenset(taken.split()),
                 default=default)


def _prefer(*first: str) -> tuple[str, ...]:
    return first + tuple(name for name in ALL_REGISTRIES if name not in first)


MODEL = Field(_prefer('MODELS'), added=frozenset(['data_preprocessor']))
WRAPPED_MODEL = replace(MODEL, added=frozenset(['module', 'data_preprocessor']))
DATASET = _only('DATASETS')
TRANSFORM = _only('TRANSFORMS')
SAMPLER = _only('DATA_SAMPLERS', added='dataset seed')
BATCH_SAMPLER = _only('DATA_SAMPLERS', added='sampler batch_size')
FUNCTION = Field(('FUNCTIONS',), True, complete=False)
HOOK = _only('HOOKS', taken='priority')
METRIC = _only('METRICS')
EVALUATOR = _only('EVALUATOR', default='Evaluator')
SCHEDULER = _only('PARAM_SCHEDULERS', added='optimizer',
                  taken='convert_to_iter_based epoch_length')
OPTIMIZER = Field(('OPTIMIZERS',), True, complete=False)
OPTIM_WRAPPER = _only('OPTIM_WRAPPERS', added='optimizer',
                      taken='constructor paramwise_cfg', default='OptimWrapper')
CONSTRUCTOR = _only('OPTIM_WRAPPER_CONSTRUCTORS',
                    added='optim_wrapper_cfg paramwise_cfg')
RUNNER = _only('RUNNERS')
VISUALIZER = _only('VISUALIZERS', added='name save_dir')
VISBACKEND = _only('VISBACKENDS', added='save_dir', taken='name')
LOG_PROCESSOR = _only('LOG_PROCESSORS', default='LogProcessor')
WRAPPER = _only('MODEL_WRAPPERS', added='module device_ids',
                default='MMDistributedDataParallel')
STRATEGY = _only('STRATEGIES', added='work_dir auto_scale_lr experiment_name')
TRAIN_LOOP = _only('LOOPS', added='runner dataloader')
TEST_LOOP = _only('LOOPS', added='runner dataloader evaluator')
INITIALIZER = Field(
    ('WEIGHT_INITIALIZERS', *ALL_REGISTRIES), taken=frozenset(['override']))
OVERRIDE = replace(INITIALIZER, taken=frozenset(['name']))

# Names of mmcv 1.x, mmdet 2.x and mmseg 0.x, and what replaced them.
FORMER_ARGUMENTS = {
    'samples_per_gpu': 'batch_size', 'workers_per_gpu': 'num_workers',
    'img_prefix': 'data_prefix', 'seg_prefix': 'data_prefix', 'img_dir': 'data_prefix',
    'ann_dir': 'data_prefix'}
FORMER_TYPES = {
    'Collect': 'PackDetInputs or PackSegInputs',
    'DefaultFormatBundle': 'PackDetInputs or PackSegInputs',
    'ImageToTensor': 'PackDetInputs or PackSegInputs',
    'MultiScaleFlipAug': 'TestTimeAug'}

# By key, on any level. Layers are built with sizes and flags of their caller.
_LAYER = Field(_prefer('MODELS'), complete=False)
BY_KEY = {
    'pipeline': TRANSFORM, 'vis_backends': VISBACKEND, 'init_cfg': INITIALIZER,
    'override': OVERRIDE,
    'norm_cfg': replace(_LAYER, taken=frozenset(['requires_grad'])),
    'conv_cfg': _LAYER, 'act_cfg': _LAYER, 'upsample_cfg': _LAYER,
}

# By the registry of the class that the field is an argument of.
WITHIN = {
    'MODELS': Field(_prefer('MODELS', 'TASK_UTILS', 'TRANSFORMS')),
    'TASK_UTILS': Field(_prefer('TASK_UTILS', 'MODELS')),
    'DATASETS': Field(_prefer('DATASETS', 'TRANSFORMS')),
    'TRANSFORMS': Field(_prefer('TRANSFORMS', 'DATASETS')),
    'DATA_SAMPLERS': Field(_prefer('DATA_SAMPLERS', 'TRANSFORMS')),
    'METRICS': Field(_prefer('METRICS', 'TASK_UTILS')),
    'EVALUATOR': METRIC,
    'HOOKS': Field(_prefer('HOOKS', 'DATASETS', 'METRICS', 'MODELS')),
}

# Data and storage settings, which are not built.
OPAQUE = ('metainfo', 'backend_args', 'file_client_args', 'meta_keys', 'palette',
          'palette_to_id', 'dataset_meta')


# Endings of keys of OpenMMLab models that always hold a registered type. Under other
# keys their code also takes words that only it knows.
_BUILT_KEYS = (
    'backbone', 'neck', 'head', 'data_preprocessor', 'assigner', 'sampler',
    'bbox_coder', 'anchor_generator', 'prior_generator', 'norm_cfg', 'conv_cfg',
    'act_cfg', 'init_cfg', 'dataset', 'bbox_roi_extractor', 'mask_roi_extractor')


def must_be_registered(key: str, owner: Callable | None) -> bool:
    """Whether the type below ``key`` of class ``owner`` cannot be a word of its code.

    Classes of ours build every dict with a type from a registry.
    """
    return (owner is None or is_ours(owner) or key in BY_KEY
            or key.endswith(_BUILT_KEYS) or key.startswith('loss'))


def is_ours(target: Callable) -> bool:
    return (getattr(target, '__module__', None) or '').startswith('mmcontrast.')


def field_of(key: str, within: str) -> Field:
    """The field ``key`` of a class from the registry ``within``."""
    if key in BY_KEY:
        return BY_KEY[key]
    if key.endswith(('norm_cfg', 'norm_layer')):
        return BY_KEY['norm_cfg']
    if key.endswith(('conv_cfg', 'act_cfg', 'upsample_cfg')):
        return _LAYER
    return WITHIN.get(within, Field(ALL_REGISTRIES))
