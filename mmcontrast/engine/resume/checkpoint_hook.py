"""Remove an old checkpoint once the new one is written, not before."""
from collections import deque

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook


class KeepingCheckpointHook(CheckpointHook):
    """mmengine's hook, but the newest checkpoint is written before the oldest goes.

    mmengine removes first: a run with ``max_keep_ckpts=1`` that is killed while it
    writes loses everything, and one whose disk is full loses its best checkpoint.
    """

    @classmethod
    def like(cls, hook: CheckpointHook) -> 'KeepingCheckpointHook':
        """A hook with the settings of mmengine's."""
        made = cls()
        vars(made).update(vars(hook))
        return made

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
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


def early_stopping_first(hooks: list[Hook]) -> list[Hook]:
    """Hooks in their order, but those that judge a validation before those that save.

    Their counts belong in the checkpoint that is written for a best score.
    """
    first = next((k for k, hook in enumerate(hooks)
                  if isinstance(hook, CheckpointHook)), len(hooks))
    # Stable: judges join the hooks before the first one that saves.
    return sorted(hooks, key=lambda hook: (
        hooks.index(hook) >= first and not isinstance(hook, EarlyStoppingHook)))
