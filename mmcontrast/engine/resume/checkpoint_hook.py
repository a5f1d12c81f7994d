"""Old checkpoints go when the new one is there, not before."""
from collections import deque

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook


class KeepingCheckpointHook(CheckpointHook):
    """mmengine's hook, which removes the oldest checkpoint after it wrote the newest.

    mmengine removes first: a run with ``max_keep_ckpts=1`` that is killed while it
    writes has lost everything, and one whose disk is full has lost its best.
    """

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
        # One of the two, by the number of scores; neither without save_best.
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
        # With the one that is about to go: a resumed run has to know of it.
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
    """A file backend of mmengine that notes what is to be removed.

    Args:
        backend: The one that does the work.
    """

    def __init__(self, backend) -> None:
        self.backend = backend
        self.noted: list[str] = []

    def __getattr__(self, name: str):
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        """Note a file."""
        self.noted.append(path)

    def remove_all(self, but: list[str]) -> None:
        """Remove what was noted, with manifests, but for files written again since."""
        for path in set(self.noted) - set(but):
            for name in (path, f'{path}.json'):
                if self.backend.isfile(name):
                    self.backend.remove(name)
        self.noted.clear()


def arrange_hooks(hooks: list[Hook]) -> None:
    """Fit mmengine's hooks to exact resume, in place.

    :class:`KeepingCheckpointHook` takes the place of ``CheckpointHook``, and hooks that
    judge a validation come before it: what they count belongs into the checkpoint that
    is written for a best score.
    """
    for hook in hooks:
        if type(hook) is CheckpointHook:
            hook.__class__ = KeepingCheckpointHook
    judges = [hook for hook in hooks if isinstance(hook, EarlyStoppingHook)]
    first = next((k for k, hook in enumerate(hooks)
                  if isinstance(hook, CheckpointHook)), None)
    if judges and first is not None:
        before = [hook for hook in hooks[:first] if hook not in judges]
        hooks[:] = before + judges + [
            hook for hook in hooks[first:] if hook not in judges]
