"""Train from a config file."""
import os
from contextlib import nullcontext

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from ..engine.distributed.rank_failures import broadcast_failures
from ..engine.hooks import (
    CheckpointKeysHook,
    ClassCheckHook,
    DiskGuardHook,
    NonFiniteGuardHook,
    StopSignalsHook,
)
from ..engine.runner.reliable_runner import ReliableRunner
from ..engine.runner.run_errors import explained_errors
from ..io.config_types import type_name
from ..io.disk import check_work_dir
from ..io.work_dir_lock import lock_work_dir
from ..registry import RUNNERS
from .config import UsageError, check_config, existing_file, load_config
from .lint.top_level import DEFAULT_HOOKS

# Hooks of every run, by the names with which a config removes them.
_OUR_HOOKS = dict(
    checkpoint_keys=CheckpointKeysHook, class_check=ClassCheckHook,
    disk_guard=DiskGuardHook, nonfinite_guard=NonFiniteGuardHook,
    stop_signals=StopSignalsHook)


@broadcast_failures()
def train(config: str, work_dir: str | None = None, resume: str | None = None,
          amp: bool = False, auto_scale_lr: bool = False,
          cfg_options: dict | None = None, launcher: str = 'none') -> Runner:
    """Train as a config says; the arguments are those of ``tools/train.py``.

    Args:
        config: Config file, or ``mmcontrast::...``.
        work_dir: Where logs and checkpoints go; see :func:`load_config`.
        resume: Checkpoint to resume from, ``'auto'`` for the newest in the work dir.
        amp: Mixed precision.
        auto_scale_lr: Scale the learning rate to the batch size of this run.
        cfg_options: Overrides, dotted keys.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.

    Returns:
        The runner, after its training.

    Raises:
        DiskError: If the work dir or a file in it cannot be written.
        DataError: If data become unreadable during training.
        WorkDirInUse: If another training writes into the work dir.
    """
    cfg = load_config(config, cfg_options, work_dir)
    cfg.launcher = launcher
    if amp:
        enable_amp(cfg)
    if auto_scale_lr:
        enable_auto_scale_lr(cfg)
    weights = cfg.get('load_from')
    if resume is not None:
        cfg.resume = True
        cfg.load_from = None if resume == 'auto' else existing_file(
            resume, 'checkpoint')
    check_config(cfg, 'train')
    check_work_dir(cfg.work_dir)
    # A Runner writes there from the beginning; of several ranks the first one locks.
    with lock_work_dir(cfg.work_dir) if launcher == 'none' else nullcontext():
        runner = build_runner(cfg)
        if resume == 'auto' and isinstance(runner, ReliableRunner):
            # The first start of a job that is always started with --resume.
            runner.begin_with = weights
        with explained_errors(runner):
            runner.train()
    return runner


def build_runner(cfg: Config) -> Runner:
    """Build the runner of a config, adapted to the devices of this machine."""
    notes = fit_to_devices(cfg)
    unwanted = remove_hooks_set_to_none(cfg)
    if cfg.get('default_scope', '') is None:
        # Else that of an earlier Runner in this process would hold.
        DefaultScope._instance_dict.clear()
    runner = (RUNNERS.build(cfg) if 'runner_type' in cfg
              else ReliableRunner.from_cfg(cfg))
    for note in notes:
        runner.logger.info(note)
    for name, hook in _OUR_HOOKS.items():
        # Also for plain mmdet and mmseg configs, which do not name them.
        if name not in unwanted and not any(
                isinstance(present, hook) for present in runner.hooks):
            runner.register_hook(hook())
    return runner


def remove_hooks_set_to_none(cfg: Config) -> set[str]:
    """Let ``default_hooks=dict(NAME=None)`` remove any hook of a base config.

    mmengine raises a bare AssertionError unless NAME is one of its own six.

    Returns:
        The names of those that are not.
    """
    hooks = cfg.get('default_hooks') or {}
    removed = {name for name, hook in hooks.items() if hook is None}
    removed -= set(DEFAULT_HOOKS)
    for name in removed:
        del hooks[name]
    return removed


def enable_amp(cfg: Config) -> None:
    """Mixed precision with dynamic loss scaling.

    Raises:
        UsageError: Without a device that supports it, or if the optimizer wrapper
            cannot be replaced.
    """
    if get_device() in ('cpu', 'mps'):
        raise UsageError(
            f"--amp needs a GPU; the device here is '{get_device()}'. Leave it out.")
    kind = type_name(cfg.optim_wrapper, 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise UsageError(
            f"--amp replaces optim_wrapper.type='OptimWrapper' by 'AmpOptimWrapper', "
            f'but the config has {kind!r}. Set the precision in the config.')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def enable_auto_scale_lr(cfg: Config) -> None:
    """Let the runner scale the learning rate with the batch size.

    Raises:
        UsageError: If the config does not say which batch size its rate is for.
    """
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise UsageError(
            f'--auto-scale-lr: {cfg.filename} has no auto_scale_lr.base_batch_size. '
            'Add auto_scale_lr=dict(base_batch_size=N), N being the images per step '
            'that its learning rate is meant for.')
    cfg.auto_scale_lr.enable = True


def fit_to_devices(cfg: Config) -> list[str]:
    """Adapt a config that assumes GPUs to this machine.

    Returns:
        A sentence for the log on each change.
    """
    notes = []
    several_gpus = cfg.get('launcher', 'none') != 'none' and torch.cuda.is_available()
    if not several_gpus:
        changed = _plain_batch_norm(cfg.get('model', {}))
        if changed:
            notes.append(
                f'SyncBN needs several GPUs: {changed} layer setting(s) in the model '
                'became plain BN for this run.')
    loader = cfg.get('train_dataloader') or {}
    if loader.get('num_workers') == 0:
        # torch rejects the combination, which --cfg-options num_workers=0 leads to.
        loader['persistent_workers'] = False
    if loader.get('pin_memory') and not torch.cuda.is_available():
        loader['pin_memory'] = False
    if cfg.get('launcher') == 'pytorch' and get_device() == 'cpu':
        _train_processes_on_cpu(cfg)
        notes.append('No GPU here: the processes train on the CPU over gloo.')
    return notes


def _plain_batch_norm(node: object) -> int:
    """Turn every SyncBN below ``node`` into 'BN'; returns how many."""
    children = node if isinstance(node, list | tuple) else ()
    changed = 0
    if isinstance(node, dict):
        children = list(dict.values(node))
        if type_name(node) in ('SyncBN', 'SyncBatchNorm'):
            node['type'] = 'BN'
            changed = 1
    return changed + sum(_plain_batch_norm(child) for child in children)


def _train_processes_on_cpu(cfg: Config) -> None:
    """Do without a GPU what mmengine does for each process of a launcher."""
    if not torch.distributed.is_initialized():
        os.environ.setdefault('LOCAL_RANK', '0')
        torch.distributed.init_process_group('gloo')
    cfg.setdefault('model_wrapper_cfg', dict(
        type='MMDistributedDataParallel', broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False)))
    cfg.model_wrapper_cfg['device_ids'] = None
