"""Remove an old checkpoint once the new one is written, not before."""
import os
from collections import deque
from pathlib import Path

from mmengine import hooks
from mmengine.dist import is_main_process
from mmengine.fileio import get_file_backend
from mmengine.hooks import EarlyStoppingHook, Hook


class CheckpointHook(hooks.CheckpointHook):
    """mmengine's hook, but the newest checkpoint is written before the oldest goes.

    mmengine removes first: a run with ``max_keep_ckpts=1`` that is killed while it
    writes loses everything, and one whose disk is full loses its best checkpoint.
    """

    @classmethod
    def like(cls, hook: hooks.CheckpointHook) -> 'CheckpointHook':
        """A hook with the settings of mmengine's."""
        made = cls()
        vars(made).update(vars(hook))
        return made

    def before_train(self, runner) -> None:
        """Prepare to save, see mmengine; forget files of other folders."""
        resumed_from = getattr(runner, 'resumed_from', None)
        if resumed_from and not _is_in(resumed_from, checkpoint_folder(runner)):
            # Files of those numbers here are another run's.
            runner.message_hub.update_info('keep_ckpt_ids', [])
        super().before_train(runner)
        for key, path in list(runner.message_hub.runtime_info.items()):
            if key.startswith('best_ckpt') and path:
                self._forget_foreign_best(runner, key, path)

    def _forget_foreign_best(self, runner, key: str, path: str) -> None:
        """A best checkpoint of the work dir that this one is a copy of is not ours."""
        if _is_in(path, self.out_dir):
            return
        copied = self.file_backend.join_path(self.out_dir, os.path.basename(path))
        mine = copied if self.file_backend.isfile(copied) else None
        runner.message_hub.update_info(key, mine)
        if key == 'best_ckpt':
            self.best_ckpt_path = mine
        elif hasattr(self, 'best_ckpt_path_dict'):
            self.best_ckpt_path_dict[key.removeprefix('best_ckpt_')] = mine

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        # A validation without a training has no folder to save in.
        if not self.save_best or not hasattr(self, 'file_backend'):
            return
        backend, self.file_backend = self.file_backend, _RemovesLater(self.file_backend)
        try:
            super()._save_best_checkpoint(runner, metrics)
            self._remove_old_bests()
        finally:
            self.file_backend = backend

    def _remove_old_bests(self) -> None:
        if not isinstance(self.file_backend, _RemovesLater):
            return
        # Either of the two, depending on the number of scores.
        bests = list(getattr(self, 'best_ckpt_path_dict', {}).values())
        bests.append(getattr(self, 'best_ckpt_path', None))
        self.file_backend.remove_all(but=bests)

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        # After a new best this one is written again: room is needed.
        self._remove_old_bests()
        limit = self.max_keep_ckpts
        if limit <= 0:
            return super()._save_checkpoint_with_step(runner, step, meta)
        ids = [k for k in self.keep_ckpt_ids if k != step] + [step]
        # Includes the one about to be removed: a resumed run has to know of it.
        runner.message_hub.update_info('keep_ckpt_ids', list(ids))
        self.max_keep_ckpts = -1
        try:
            super()._save_checkpoint_with_step(runner, step, meta)
        finally:
            self.max_keep_ckpts = limit
        for old in ids[:-limit]:
            self._remove(old)
        self.keep_ckpt_ids = deque(ids[-limit:], limit)
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    def _remove(self, step: int) -> None:
        if is_main_process():
            path = self.file_backend.join_path(
                self.out_dir, self.filename_tmpl.format(step))
            for name in (path, f'{path}.json'):
                if self.file_backend.isfile(name):
                    self.file_backend.remove(name)


def checkpoint_folder(runner) -> str:
    """Where the CheckpointHook of a run writes, also before the training begins."""
    hook = next((h for h in runner.hooks if isinstance(h, hooks.CheckpointHook)),
                None)
    out_dir = getattr(hook, 'out_dir', None) or runner.work_dir
    if hasattr(hook, 'file_backend') or out_dir == runner.work_dir:
        return str(out_dir)
    # As mmengine does when training begins.
    return get_file_backend(out_dir, backend_args=hook.backend_args).join_path(
        out_dir, os.path.basename(runner.work_dir.rstrip(os.sep)))


def _is_in(path: str, folder: str) -> bool:
    if '://' in f'{path}{folder}':
        return path.rpartition('/')[0] == folder.rstrip('/')
    return Path(path).resolve().parent == Path(folder).resolve()


class _RemovesLater:
    """A file backend of mmengine that delays the removal of files.

    Args:
        backend: The one that does the work.
    """

    def __init__(self, backend) -> None:
        self.backend = backend
        self.noted: list[str] = []

    def __getattr__(self, name: str):
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        """Note a file to be removed."""
        self.noted.append(path)

    def remove_all(self, but: list[str]) -> None:
        """Remove the noted files with their manifests, except for those in ``but``."""
        for path in set(self.noted) - set(but):
            for name in (path, f'{path}.json'):
                if self.backend.isfile(name):
                    self.backend.remove(name)
        self.noted.clear()


def early_stopping_first(found: list[Hook]) -> list[Hook]:
    """Hooks in their order, but those that judge a validation before those that save.

    Their counts belong in the checkpoint that is written for a best score.
    """
    first = next((k for k, hook in enumerate(found)
                  if isinstance(hook, hooks.CheckpointHook)), len(found))
    # Stable: judges join the hooks before the first one that saves.
    return sorted(found, key=lambda hook: (
        found.index(hook) >= first and not isinstance(hook, EarlyStoppingHook)))
