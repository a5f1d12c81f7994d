"""What may stand where in a config: registries, and what builders add or take out."""
from dataclasses import dataclass, replace

from .resolve import ALL_KINDS


@dataclass(frozen=True)
class Place:
    """A place in a config where a dict with a ``type`` stands.

    Attributes:
        kinds: Registries that are asked, in order.
        only: Whether the first one is the only one.
        added: Arguments that the builder adds, so that they are not missing.
        taken: Keys that the builder takes out before it calls the class.
        complete: Whether nobody else adds arguments.
        default: Name of the type where the config gives none; '' if it must.
    """

    kinds: tuple[str, ...]
    only: bool = False
    added: frozenset = frozenset()
    taken: frozenset = frozenset()
    complete: bool = True
    default: str = ''


def _only(kind: str, added: str = '', taken: str = '', default: str = '') -> Place:
    return Place((kind,), True, frozenset(added.split()), frozenset(taken.split()),
                 default=default)


def prefer(*kinds: str) -> tuple[str, ...]:
    return kinds + tuple(kind for kind in ALL_KINDS if kind not in kinds)


MODEL = Place(prefer('MODELS'), added=frozenset(['data_preprocessor']))
WRAPPED_MODEL = replace(MODEL, added=frozenset(['module', 'data_preprocessor']))
DATASET = _only('DATASETS')
TRANSFORM = _only('TRANSFORMS')
SAMPLER = _only('DATA_SAMPLERS', added='dataset seed')
BATCH_SAMPLER = _only('DATA_SAMPLERS', added='sampler batch_size')
FUNCTION = Place(('FUNCTIONS',), True, complete=False)
HOOK = _only('HOOKS', taken='priority')
METRIC = _only('METRICS')
EVALUATOR = _only('EVALUATOR', default='Evaluator')
SCHEDULER = _only('PARAM_SCHEDULERS', added='optimizer',
                  taken='convert_to_iter_based epoch_length')
OPTIMIZER = Place(('OPTIMIZERS',), True, complete=False)
OPTIM_WRAPPER = _only('OPTIM_WRAPPERS', added='optimizer',
                      taken='constructor paramwise_cfg', default='OptimWrapper')
CONSTRUCTOR = _only('OPTIM_WRAPPER_CONSTRUCTORS',
                    added='optim_wrapper_cfg paramwise_cfg')
VISUALIZER = _only('VISUALIZERS', added='name save_dir')
VISBACKEND = _only('VISBACKENDS', added='save_dir', taken='name')
LOG_PROCESSOR = _only('LOG_PROCESSORS', default='LogProcessor')
WRAPPER = _only('MODEL_WRAPPERS', added='module device_ids',
                default='MMDistributedDataParallel')
STRATEGY = _only('STRATEGIES', added='work_dir auto_scale_lr experiment_name')
TRAIN_LOOP = _only('LOOPS', added='runner dataloader')
TEST_LOOP = _only('LOOPS', added='runner dataloader evaluator')
INITIALIZER = Place(('WEIGHT_INITIALIZERS', *ALL_KINDS), taken=frozenset(['override']))
OVERRIDE = replace(INITIALIZER, taken=frozenset(['name']))

# By key, wherever it stands. Layers are built with sizes and flags of their caller.
_LAYER = Place(prefer('MODELS'), complete=False)
BY_KEY = {
    'pipeline': TRANSFORM, 'vis_backends': VISBACKEND, 'init_cfg': INITIALIZER,
    'override': OVERRIDE,
    'norm_cfg': replace(_LAYER, taken=frozenset(['requires_grad'])),
    'conv_cfg': _LAYER, 'act_cfg': _LAYER, 'upsample_cfg': _LAYER,
}

# By the registry of what it stands in.
WITHIN = {
    'MODELS': Place(prefer('MODELS', 'TASK_UTILS', 'TRANSFORMS')),
    'TASK_UTILS': Place(prefer('TASK_UTILS', 'MODELS')),
    'DATASETS': Place(prefer('DATASETS', 'TRANSFORMS')),
    'TRANSFORMS': Place(prefer('TRANSFORMS', 'DATASETS')),
    'DATA_SAMPLERS': Place(prefer('DATA_SAMPLERS', 'TRANSFORMS')),
    'METRICS': Place(prefer('METRICS', 'TASK_UTILS')),
    'EVALUATOR': METRIC,
    'HOOKS': Place(prefer('HOOKS', 'DATASETS', 'METRICS', 'MODELS')),
}

# Data and settings of storage, not things to build.
OPAQUE = ('metainfo', 'backend_args', 'file_client_args', 'meta_keys', 'palette',
          'palette_to_id', 'dataset_meta')


# Parts of a model whose type must be known; others may be words that its code knows.
PARTS = ('backbone', 'neck', 'head', 'data_preprocessor', 'assigner', 'sampler',
         'bbox_coder', 'anchor_generator', 'prior_generator', 'norm_cfg', 'conv_cfg',
         'act_cfg', 'init_cfg', 'dataset', 'bbox_roi_extractor', 'mask_roi_extractor')


def must_be_known(key: str) -> bool:
    """Whether what stands below ``key`` cannot be anything but a registered type."""
    return key.endswith(PARTS) or key.startswith('loss') or key in BY_KEY


def place_of(key: str, within: str) -> Place:
    """The place of a dict with a ``type`` below ``key`` of something registered."""
    if key in BY_KEY:
        return BY_KEY[key]
    if key.endswith('norm_cfg'):
        return BY_KEY['norm_cfg']
    if key.endswith(('conv_cfg', 'act_cfg', 'upsample_cfg')):
        return _LAYER
    return WITHIN.get(within, Place(ALL_KINDS))
