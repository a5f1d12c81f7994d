"""Run trainings that resume exactly and leave only complete checkpoints behind."""
import copy
import itertools
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path

import mmengine
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.fileio import get_file_backend
from mmengine.fileio.backends import LocalBackend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import HOOKS, LOOPS, Registry
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmengine.runner.checkpoint import (
    find_latest_checkpoint,
    save_checkpoint,
    weights_to_cpu,
)
from mmengine.utils import apply_to, get_git_hash
from torch import nn
from torch.utils.data import DataLoader

from ...datasets.build_errors import explained_build_errors
from ...io.checkpoint import check_training_checkpoint
from ...io.checkpoint_files import clean_up, latest_good_checkpoint
from ...io.checkpoint_writer import write_training_checkpoint
from ...io.config_types import with_names
from ...io.folders import mark_output_folder
from ...io.run_note import begin_run, read_run_note
from ...io.safe_loading import use_safe_loading
from ...io.work_dir_lock import lock_work_dir
from ...registry import RUNNERS
from ..distributed.consistency import check_rank_consistency
from ..distributed.rank_failures import broadcast_failures, start_failure_detection
from ..distributed.unwrap import unwrap_model
from ..optim.param_groups import unmatched_custom_keys
from ..resume.checkpoint_hook import CheckpointHook as KeepingHook
from ..resume.checkpoint_hook import checkpoint_folder, early_stopping_first
from ..resume.loops import EXACT_LOOPS
from ..resume.same_training import check_same_training, names_of
from ..resume.snapshot import KEY, resume_from, take_snapshot
from .run_errors import explained_errors
from .run_lengths import warn_about_lengths

# The default hooks that mmengine adds, unless a config sets them to None.
_OF_MMENGINE = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler',
                'checkpoint')


@RUNNERS.register_module()
class ReliableRunner(Runner):
    """mmengine's Runner, with exact resume and atomic checkpoints. Same arguments.

    A run that was killed at any iteration and is resumed ends with the weights and the
    log of the uninterrupted run, see docs/resume.md. Checkpoints are atomic, have a
    manifest and mmengine's layout; a run resumes from the newest undamaged one, and
    nothing in it is executed.

    In any config, also of mmdet and mmseg::

        custom_imports = dict(imports=['mmcontrast'])
        runner_type = 'mmcontrast.ReliableRunner'

    ``exact_resume=False`` in the config leaves loops and data loading to mmengine.

    Attributes:
        begin_with: Weights to load if ``resume=True`` finds no checkpoint; mmengine has
            one ``load_from`` for both.
        resumed_from: The checkpoint that the run was resumed from; None if it was not.
    """

    begin_with: str | None = None
    resumed_from: str | None = None

    def __init__(self, *args, **kwargs) -> None:
        use_safe_loading()
        self._snapshot: dict | None = None
        self._trains, self._run_id = False, ''
        if isinstance(kwargs.get('cfg'), Config):
            kwargs['cfg'] = with_names(kwargs['cfg'])
        super().__init__(*args, **kwargs)

    @property
    def exact(self) -> bool:
        """Whether exact resume is on (the default)."""
        return bool(self.cfg.get('exact_resume', True))

    @cached_property
    def _cfg_text(self) -> str:
        # Kept, as formatting it takes a third of a second at every checkpoint.
        return self.cfg.pretty_text

    @property
    def detects_rank_failures(self) -> bool:
        """Whether ranks are compared and their failures detected (the default)."""
        return self.distributed and bool(
            self.cfg.get('env_cfg', {}).get('rank_failures', True))

    def setup_env(self, env_cfg: dict) -> None:
        """Set up the processes as mmengine does and start to detect rank failures."""
        super().setup_env(env_cfg)
        if self.detects_rank_failures:
            start_failure_detection()

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build the logger, see mmengine; it takes any file name, and is no data set.
        """
        # mmengine names runs by the second, and would give this one the logger and the
        # message hub of a run that began in the same second in this process.
        name = self._experiment_name
        numbers = itertools.count(2)
        while MMLogger.check_instance_created(self._experiment_name):
            self._experiment_name = f'{name}_{next(numbers)}'
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if reconfigure := getattr(handler.stream, 'reconfigure', None):
                reconfigure(errors='backslashreplace')
        if is_main_process():
            mark_output_folder(self.log_dir)
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None,
                   model: nn.Module) -> nn.Module:
        """Compare the model across ranks, then wrap it as mmengine does."""
        if self.detects_rank_failures:
            check_rank_consistency(self._cfg_text, model)
        return super().wrap_model(model_wrapper_cfg, model)

    def train(self) -> nn.Module:
        """Train, see mmengine; errors are explained and reach the other ranks."""
        failures = broadcast_failures() if self.detects_rank_failures else nullcontext()
        with failures, explained_errors(self):
            # Rank 0 writes.
            with lock_work_dir(self.work_dir) if is_main_process() else nullcontext():
                self._trains = True
                return super().train()

    def register_hook(self, hook: Hook | dict, priority=None) -> None:
        """Register a hook, see mmengine; ours replaces a configured CheckpointHook."""
        if isinstance(hook, dict) and _class_of(hook, HOOKS) is CheckpointHook:
            hook = dict(hook, type=KeepingHook)
        elif type(hook) is CheckpointHook:
            hook = KeepingHook.like(hook)
        super().register_hook(hook, priority)

    def register_hooks(self, default_hooks=None, custom_hooks=None) -> None:
        """Register hooks, see mmengine."""
        super().register_hooks(default_hooks, custom_hooks)
        self._hooks = early_stopping_first(self._hooks)

    def build_optim_wrapper(self, optim_wrapper):
        """Build the optimizer wrapper, see mmengine; warns of keys without effect."""
        for sentence in unmatched_custom_keys(self.model, optim_wrapper):
            self.logger.warning(sentence)
        return super().build_optim_wrapper(optim_wrapper)

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        """Register hooks, see mmengine; None removes one of any name."""
        if hooks is not None:
            hooks = {name: hook for name, hook in hooks.items()
                     if hook is not None or name in _OF_MMENGINE}
        super().register_default_hooks(hooks)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the training loop; ours replace the two of mmengine."""
        exact = EXACT_LOOPS.get(_loop_class(loop)) if self.exact else None
        if exact is None:
            return super().build_train_loop(loop)
        settings = {key: copy.deepcopy(value) for key, value in loop.items()
                    if key not in ('type', 'by_epoch', '_scope_')}
        return exact(runner=self, dataloader=self._train_dataloader, **settings)

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, *args, **kwargs) -> DataLoader:
        """Build a loader, see mmengine; its config may be inherited by scope."""
        if isinstance(dataloader, dict):
            dataloader = copy.copy(dataloader)  # mmengine copies the rest.
            drop_function_scopes(dataloader)
            with explained_build_errors(dataloader.get('dataset')):
                return Runner.build_dataloader(dataloader, *args, **kwargs)
        return Runner.build_dataloader(dataloader, *args, **kwargs)

    def load_or_resume(self) -> None:
        """Load or resume; 'auto' takes the newest undamaged checkpoint."""
        if self._has_loaded or not self._resume or self._load_from is not None:
            self._begin_run(
                self.resumed_from or (self._load_from if self._resume else None))
            return super().load_or_resume()
        found = [self._newest_checkpoint() if is_main_process() else None]
        broadcast_object_list(found)
        note = read_run_note(self.work_dir) if found[0] and is_main_process() else None
        if note:
            self._run_id = note.run  # It goes on.
        else:
            self._begin_run(found[0])
        if found[0]:
            self.logger.info(
                f'Resuming from {found[0]}, the newest undamaged checkpoint.')
            self.resume(found[0])
        else:
            self.logger.info(
                f'No checkpoint in {self.work_dir} to resume from: starting from the '
                'beginning.')
            self._resume, self._load_from = False, self.begin_with
            super().load_or_resume()
        # A test after the training takes the final weights.
        self._has_loaded = True

    def _newest_checkpoint(self) -> str:
        folder = checkpoint_folder(self)
        remote = '://' in folder
        good = latest_good_checkpoint(self.work_dir, None if remote else folder)
        if good is not None:
            return str(good)
        # A checkpoint in other storage can only be found in mmengine's note. That of
        # a copied work dir may name one of the original.
        noted = find_latest_checkpoint(self.work_dir) or ''
        own = not remote or noted.startswith(f'{folder.rstrip("/")}/')
        return noted if '://' in noted and own else ''

    def _begin_run(self, begun_from: str | None) -> None:
        """Note that the last run in this work dir is this one."""
        if self._trains and not self._run_id and is_main_process():
            self._run_id = begin_run(
                self.work_dir, self.cfg.filename or '', begun_from or '').run

    def resume(self, filename: str, resume_optimizer: bool = True,
               resume_param_scheduler: bool = True,
               map_location: str | Callable = 'default') -> None:
        """Resume from a checkpoint; see mmengine for the arguments."""
        self.resumed_from = str(filename)
        super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)
        # The message hub came with the text of the run that is resumed.
        self.message_hub.update_info('cfg', self._cfg_text)
        if self.exact:
            resume_from(self, self._snapshot)
        self._snapshot = None

    def call_hook(self, fn_name: str, **kwargs) -> None:
        """Call a method of all hooks, after checks of the run as it is now."""
        if fn_name == 'after_load_checkpoint' and self.resumed_from:
            check_training_checkpoint(kwargs['checkpoint'], self.resumed_from)
            check_same_training(self, kwargs['checkpoint'], self.resumed_from)
        if fn_name == 'before_train':
            warn_about_lengths(self)
        super().call_hook(fn_name, **kwargs)

    def load_checkpoint(self, *args, **kwargs) -> dict:
        """Load weights; see mmengine for the arguments."""
        checkpoint = super().load_checkpoint(*args, **kwargs)
        self._snapshot = checkpoint.pop(KEY, None)
        return checkpoint

    def save_checkpoint(self, out_dir: str, filename: str,
                        file_client_args: dict | None = None,
                        save_optimizer: bool = True, save_param_scheduler: bool = True,
                        meta: dict | None = None, by_epoch: bool = True,
                        backend_args: dict | None = None) -> None:
        """Save a checkpoint in mmengine's layout; see there for the arguments.

        All ranks must call it, each with its RNG state. With ``save_optimizer`` or
        ``save_param_scheduler`` off the file is for its weights only and holds no RNG
        state, so that one rank alone may write it.
        """
        meta = self._complete_meta(meta, by_epoch)
        extra = {}
        if self.distributed and save_optimizer and save_param_scheduler:
            # Ranks have buffers of their own; what follows runs on one rank.
            self.call_hook('before_collect_checkpoint', step=meta['iter'])
        if self.exact and save_optimizer and save_param_scheduler:
            extra[KEY] = take_snapshot(self, meta['epoch'], meta['iter'])
        if not is_main_process():
            return
        checkpoint = self._collect(meta, save_optimizer, save_param_scheduler)
        checkpoint |= {key: value for key, value in extra.items() if value is not None}
        self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        backend = get_file_backend(out_dir, backend_args=backend_args)
        if file_client_args is None and isinstance(backend, LocalBackend):
            write_training_checkpoint(
                checkpoint, Path(out_dir) / filename, epoch=meta['epoch'],
                step=meta['iter'], config_text=meta['cfg'], run=self._run_id)
            clean_up(out_dir)
        else:
            save_checkpoint(checkpoint, backend.join_path(out_dir, filename),
                            file_client_args=file_client_args,
                            backend_args=backend_args)

    def _complete_meta(self, meta: dict | None, by_epoch: bool) -> dict:
        if not isinstance(meta, dict | None):
            raise TypeError(f'meta must be a dict or None, got {type(meta).__name__}.')
        # Hooks save before the loop counts the epoch or iteration that they follow.
        counts = (dict(epoch=self.epoch + 1, iter=self.iter) if by_epoch
                  else dict(epoch=self.epoch, iter=self.iter + 1))
        meta = counts | (meta or {}) | dict(
            cfg=self._cfg_text, seed=self.seed,
            experiment_name=self.experiment_name, run=self._run_id,
            **names_of(self),
            time=time.strftime('%Y%m%d_%H%M%S'),
            mmengine_version=mmengine.__version__ + get_git_hash())
        if hasattr(self.train_dataloader.dataset, 'metainfo'):
            meta['dataset_meta'] = self.train_dataloader.dataset.metainfo
        return meta

    def _collect(self, meta: dict, save_optimizer: bool,
                 save_param_scheduler: bool) -> dict:
        """The part of a checkpoint that mmengine writes."""
        checkpoint = dict(
            meta=meta, state_dict=weights_to_cpu(unwrap_model(self.model).state_dict()),
            message_hub=_to_cpu(self.message_hub.state_dict()))
        if save_optimizer:
            if not isinstance(self.optim_wrapper, OptimWrapper | OptimWrapperDict):
                raise TypeError(
                    'save_checkpoint needs a built optimizer wrapper, found '
                    f'{type(self.optim_wrapper).__name__}; save during training, or '
                    'with save_optimizer=False.')
            checkpoint['optimizer'] = _to_cpu(self.optim_wrapper.state_dict())
        schedulers = self.param_schedulers
        if save_param_scheduler and isinstance(schedulers, dict):
            checkpoint['param_schedulers'] = {
                name: [part.state_dict() for part in parts]
                for name, parts in schedulers.items()}
        elif save_param_scheduler and schedulers is not None:
            checkpoint['param_schedulers'] = [part.state_dict() for part in schedulers]
        return checkpoint


def drop_function_scopes(loader: dict) -> None:
    """Remove ``_scope_`` from the configs of a loader's functions.

    mmengine adds the key to whatever a config inherits by scope, as with
    ``_base_ = 'mmcontrast::...'``, and then passes it on as an argument that no
    function takes. The functions are found without it.

    Args:
        loader: Gets new configs of the functions; the old ones are not changed.
    """
    for key in ('collate_fn', 'worker_init_fn'):
        if isinstance(loader.get(key), dict) and '_scope_' in loader[key]:
            loader[key] = {name: value for name, value in loader[key].items()
                           if name != '_scope_'}


def _loop_class(loop: BaseLoop | dict) -> type | None:
    """Which class a config of a training loop means; None if it is built already."""
    if not isinstance(loop, dict):
        return None
    if loop.get('type') is None:
        return EpochBasedTrainLoop if loop['by_epoch'] else IterBasedTrainLoop
    if 'by_epoch' in loop:
        return None  # mmengine reports that both are given.
    return _class_of(loop, LOOPS)


def _class_of(cfg: dict, registry: Registry) -> type | None:
    """The class that the type of a config names."""
    kind = cfg.get('type')
    if not isinstance(kind, str):
        return kind
    with registry.switch_scope_and_registry(cfg.get('_scope_')) as scoped:
        return scoped.get(kind)


def _to_cpu(state):
    return apply_to(state, lambda part: hasattr(part, 'cpu'), lambda part: part.cpu())
