"""Check the keys at the top of a config and the dicts that a Runner reads itself."""
import inspect
import re
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

from ...errors import closest, did_you_mean, suggest
from .issue import ConfigIssue, is_typo_of

# Similarity from which an unknown top-level key is a typo of one that the Runner reads.
# None of the configs of mmdet, mmseg and mmpretrain has such a key.
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
    'env_cfg.mp_cfg': ('mp_start_method', 'opencv_num_threads', 'distributed'),
    'custom_imports': ('imports', 'allow_failed_imports'),
    'auto_scale_lr': ('enable', 'base_batch_size'),
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
#: Earlier names of entries of ``default_hooks``.
FORMER_HOOK_KEYS = {'finite_guard': 'nonfinite_guard', 'slot_pictures': 'slot_images'}


def runner_keys() -> set[str]:
    """The keys that a Runner and our tools read."""
    arguments = set(inspect.signature(Runner.__init__).parameters) - {'self'}
    return arguments | READ_ELSEWHERE


def misspelled_keys(config: Config) -> list[ConfigIssue]:
    """Top-level keys that nothing reads and that look like one that is read.

    Other variables are allowed.
    """
    known = runner_keys()
    issues = []
    for key, value in config.items():
        if key not in known and not callable(value):
            near = closest(key, known, cutoff=TYPO)
            if near:
                issues.append(ConfigIssue(
                    key, f'nothing reads the key {key!r}{suggest(near)} A variable of '
                    'your own needs a name that is less similar.'))
    return issues


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
            hint = did_you_mean(str(key), known)
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


def check_options(config: Config, options: dict) -> str | None:
    """Find a typo in ``--cfg-options``: a new key that looks like an existing one.

    Args:
        config: The config before they are merged into it.
        options: Dotted keys and values.

    Returns:
        A sentence on the first typo, None if there is none.
    """
    for dotted in options:
        level = config
        for key in dotted.split('.'):
            if not isinstance(level, dict | Config):
                break
            if key not in level:
                # stage1 beside stage2 is a new key, not a typo.
                near = [name for name in closest(key, level, num=3, cutoff=0.8)
                        if re.sub(r'\d', '', name) != re.sub(r'\d', '', key)]
                if near:
                    return (
                        f'--cfg-options {dotted}: the config has no {key!r} there'
                        f'{suggest(near[:1])} It holds {", ".join(sorted(level))}.')
                break
            level = level[key]
    return None
