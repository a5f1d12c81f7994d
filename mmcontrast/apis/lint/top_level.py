"""Check the keys at the top of a config and the dicts that a Runner reads itself."""
import inspect
from collections.abc import Callable, Iterator

from mmengine.config import Config
from mmengine.runner import (
    EpochBasedTrainLoop,
    IterBasedTrainLoop,
    Runner,
    TestLoop,
    ValLoop,
)
from torch.utils.data import DataLoader

from ...errors import closest, did_you_mean, suggest, within_one_edit
from .arguments import wrong_type
from .fields import FORMER_ARGUMENTS
from .issue import ConfigIssue, is_typo_of
from .signature import signature_of

# Similarity from which an unknown top-level key is a typo of one that the Runner reads,
# as is one within one edit. None of the configs of mmdet, mmseg and mmpretrain has such
# a key.
TYPO = 0.92
# Keys read by mmengine beside the arguments of a Runner, and by our tools.
READ_ELSEWHERE = {
    'auto_scale_lr', 'custom_imports', 'runner_type', 'find_unused_parameters',
    'model_wrapper_cfg', 'sync_bn', 'compile', 'tta_model', 'tta_pipeline', 'strategy',
    'lint', 'exact_resume'}

PLAIN = {
    'randomness': ('seed', 'deterministic', 'diff_rank_seed'),
    'env_cfg': ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit',
                'rank_failures'),
    # Of torch.distributed.init_process_group, and of mmengine's init_dist.
    'env_cfg.dist_cfg': ('backend', 'init_backend', 'port', 'init_method', 'timeout',
                         'world_size', 'rank', 'store', 'group_name', 'pg_options',
                         'device_id'),
    'env_cfg.mp_cfg': ('mp_start_method', 'opencv_num_threads', 'distributed'),
    'custom_imports': ('imports', 'allow_failed_imports'),
    'auto_scale_lr': ('enable', 'base_batch_size'),
    'lint': ('skip',),
}
TOGETHER = (
    ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    ('val_dataloader', 'val_cfg', 'val_evaluator'),
    ('test_dataloader', 'test_cfg', 'test_evaluator'))
LOADER_KEYS = {
    'dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn',
    'num_batch_per_epoch', 'disable_subprocess_warning'}
# mmengine's own; a Runner accepts None for these only.
DEFAULT_HOOKS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler',
                 'checkpoint')
# Keys of mmcv 1.x, and what mmengine reads instead.
FORMER_KEYS = {
    'data': ('train_dataloader', 'val_dataloader', 'test_dataloader'),
    'optimizer': ('optim_wrapper',),
    'optimizer_config': ('optim_wrapper',),
    'fp16': ('optim_wrapper',),
    'lr_config': ('param_scheduler',),
    'momentum_config': ('param_scheduler',),
    'runner': ('train_cfg',),
    'total_epochs': ('train_cfg',),
    'total_iters': ('train_cfg',),
    'workflow': ('train_cfg',),
    'evaluation': ('val_evaluator', 'val_cfg'),
    'checkpoint_config': ('default_hooks.checkpoint',),
    'log_config': ('default_hooks.logger', 'vis_backends'),
    'resume_from': ('resume', 'load_from'),
    'dist_params': ('env_cfg.dist_cfg',),
    'cudnn_benchmark': ('env_cfg.cudnn_benchmark',),
    'mp_start_method': ('env_cfg.mp_cfg',),
    'opencv_num_threads': ('env_cfg.mp_cfg',),
    'seed': ('randomness',),
    'deterministic': ('randomness',),
}
# Also names of variables; they count where the whole config is of mmcv 1.x.
_COMMON_WORDS = ('fp16', 'total_epochs', 'total_iters', 'workflow', 'seed',
                 'cudnn_benchmark', 'mp_start_method', 'opencv_num_threads',
                 'deterministic')
#: Earlier names of entries of ``default_hooks``.
FORMER_HOOK_KEYS = {'finite_guard': 'nonfinite_guard', 'slot_pictures': 'slot_images'}


def runner_keys() -> set[str]:
    """The keys that a Runner and our tools read."""
    arguments = set(inspect.signature(Runner.__init__).parameters) - {'self'}
    return arguments | READ_ELSEWHERE


def misspelled_keys(config: Config) -> list[ConfigIssue]:
    """Top-level keys that nothing reads and that look like one that is read.

    Other variables are allowed, and so are those whose value is part of the rest.
    """
    known = runner_keys() | {'_base_'}
    issues = []
    for key, value in config.items():
        if key not in known and key not in FORMER_KEYS and not callable(value):
            near = closest(key, known, cutoff=TYPO) or within_one_edit(key, known)
            if near and not _is_used(value, config, key) \
                    and _could_be(near[0], value, config):
                issues.append(ConfigIssue(
                    key, f'nothing reads the key {key!r}{suggest(near[:1])} A variable '
                    'of your own needs a name that is less similar.'))
    return issues


def former_keys(config: Config) -> list[ConfigIssue]:
    """Keys of mmcv 1.x in a config that lacks what replaced them."""
    found = [key for key, successors in FORMER_KEYS.items()
             if config.get(key) is not None
             and not any(_has(config, path) for path in successors)]
    if not {'data', 'optimizer', 'runner'} & set(found):
        found = [key for key in found if key not in _COMMON_WORDS]
    return [_former(key) for key in config if key in found]


def leftover_keys(config: Config) -> list[ConfigIssue]:
    """Keys of mmcv 1.x beside what replaced them: no error, but nothing reads them.

    Some configs of mmpretrain hold such keys.
    """
    errors = {issue.path for issue in former_keys(config)}
    return [_former(key) for key, value in config.items()
            if key in FORMER_KEYS and key not in (*_COMMON_WORDS, *errors)
            and value is not None and not _is_used(value, config, key)]


def _former(key: str) -> ConfigIssue:
    return ConfigIssue(
        key, 'a key of mmcv 1.x, which nothing reads; it is now '
        f'{", ".join(FORMER_KEYS[key])}, see "Migrate from MMCV" in the docs of '
        'mmengine.')


def _has(config: Config, path: str) -> bool:
    node = config
    for key in path.split('.'):
        node = node.get(key) if isinstance(node, dict | Config) else None
    return node is not None


def _is_used(value: object, config: Config, key: str) -> bool:
    """Whether a value, or its name as that of an argument, is also part of another.

    Then it is a variable. A child config may change the one without the other.
    """
    is_long = isinstance(value, dict | list | tuple) and bool(value)
    return any(path.endswith(f'.{key}') or is_long and inner == value
               for name, other in config.items() if name != key
               for path, inner in _leaves(other, name))


def _could_be(key: str, value: object, config: Config) -> bool:
    """Whether the top-level ``key`` takes such a ``value``: mode='bilinear' is no
    misspelled model, text_cfg=dict(width=64) no test_cfg."""
    runner = signature_of(Runner)
    if key in runner.hints and any(wrong_type(runner, key, value, Runner, '')):
        return False
    if not isinstance(value, dict):
        # The other types of the annotations can be anything in a config.
        return value is None or isinstance(value, bool) or key not in (*PLAIN, 'model')
    if key == 'train_cfg':
        takes = {'type', 'by_epoch', *signature_of(EpochBasedTrainLoop).hints,
                 *signature_of(IterBasedTrainLoop).hints}
    elif key in ('val_cfg', 'test_cfg'):
        takes = {'type', *signature_of(loop_class(key, value)).hints}
    elif key.endswith('_dataloader'):
        takes = loader_keys()
    else:
        takes = {'model': ('type',), **PLAIN}.get(key, value)
    return not value or any(
        name in takes or name in (config.get(key) or ()) for name in value)


def plain_dicts(config: Config) -> Iterator[ConfigIssue]:
    """Unknown keys of the dicts that a Runner reads itself."""
    for path, known in PLAIN.items():
        node = config
        for key in path.split('.'):
            node = node.get(key) if isinstance(node, dict | Config) else None
        if isinstance(node, dict):
            yield from unknown_keys(node, known, path, f'{path} of a Runner')


def unknown_keys(node: dict, known, path: str, who: str) -> Iterator[ConfigIssue]:
    """An issue for each key of ``node`` that is not in ``known``."""
    for key in node:
        if key not in known:
            former = FORMER_ARGUMENTS.get(key)
            hint = (suggest([former]) if former in known
                    else did_you_mean(str(key), known))
            yield ConfigIssue(f'{path}.{key}', f'{who} has no {key!r}{hint} It takes '
                              f'{", ".join(sorted(known))}.')


def loader_keys() -> set[str]:
    names = set(inspect.signature(DataLoader.__init__).parameters)
    return names - {'self'} | LOADER_KEYS


def loop_class(name: str, cfg: dict) -> Callable | None:
    """The loop that mmengine builds where ``train_cfg`` and the like name no type."""
    if name == 'train_cfg':
        return EpochBasedTrainLoop if cfg.get('by_epoch') else IterBasedTrainLoop
    return ValLoop if name == 'val_cfg' else TestLoop


def missing_for(config: Config, *stages: str) -> str | None:
    """Say so if a config has nothing for any of the ``stages`` (train, val, test)."""
    groups = [group for group in TOGETHER if group[0].partition('_')[0] in stages]
    if 'runner_type' in config or any(
            config.get(key) is not None for group in groups for key in group):
        return None
    keys = ', '.join(key for group in groups for key in group)
    verbs = ' or '.join({'val': 'validate'}.get(stage, stage) for stage in stages)
    return f'{config.filename} has nothing to {verbs}: it defines none of {keys}.'


def without_effect(config: Config, dotted: str) -> str | None:
    """Say so if a ``dotted`` key belongs to a variable, which nothing reads any more.

    Its value was inserted where the config uses it when the file was read.
    """
    variable = dotted.partition('.')[0]
    if variable not in config or variable in runner_keys():
        return None
    value = config[variable]
    # Any 3 may be another number: only those of the same name count.
    is_number = isinstance(value, int | float)
    places = [path for key in config if key in runner_keys()
              for path, inner in _leaves(config[key], key) if value and inner == value
              and (not is_number or path.endswith(f'.{variable}'))]
    return (f'--cfg-options {dotted} changes a variable of the config, whose value was '
            'inserted where it is used before. Change '
            + (', '.join(places[:6]) or 'the settings that use it') + ' instead.')


def _leaves(node: object, path: str) -> Iterator[tuple[str, object]]:
    """(dotted path, value) of a value and of all in it."""
    yield path, node
    items = node.items() if isinstance(node, dict) else (
        enumerate(node) if isinstance(node, list | tuple) else ())
    for key, inner in items:
        yield from _leaves(inner, f'{path}.{key}')


def missing_keys(config: Config) -> Iterator[ConfigIssue]:
    """Keys without which a Runner does not start."""
    if config.get('model') is None:
        yield ConfigIssue('model', 'the config has no model; a Runner needs one.')
    for group in TOGETHER if 'runner_type' not in config else ():
        missing = [key for key in group if config.get(key) is None]
        if missing and len(missing) < len(group):
            yield ConfigIssue(missing[0], f'{", ".join(group)} go together; missing '
                              f'(or None): {", ".join(missing)}.')


def removed_hooks(config: Config) -> Iterator[ConfigIssue]:
    """``default_hooks=dict(NAME=None)`` for a NAME that looks like another one."""
    hooks = config.get('default_hooks') or {}
    known = {name for name, hook in hooks.items() if hook is not None}
    known |= {*DEFAULT_HOOKS, *FORMER_HOOK_KEYS.values()}
    for name, hook in hooks.items():
        near = is_typo_of(name, known | set(FORMER_HOOK_KEYS))
        if hook is None and name not in known and near:
            yield ConfigIssue(
                f'default_hooks.{name}', 'it is None, which removes a hook of a base '
                f'config{suggest([FORMER_HOOK_KEYS.get(near, near)])}')
