"""List the images that a run could not use."""
import atexit
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import all_reduce, is_main_process, master_only
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from ...datasets.bad_images import ImageStatus, Reason
from ...io.atomic import write_text
from ...io.text_files import display_name
from ...registry import HOOKS
from ..distributed.unwrap import leaf_datasets

_KEY = 'bad_images'


@HOOKS.register_module()
class BadImagesHook(Hook):
    r"""Write ``bad_images.txt`` into the work dir, and log their number at the end.

    Every line is ``path<TAB>reason``, UTF-8; bytes of a name that are no UTF-8 are
    written as ``\xe9``. The file is rewritten whenever a loader finds
    another bad image, and when the process ends for whatever reason. The lists of ranks
    are merged at the end of each epoch and of the run, and before ``CheckpointHook``
    saves at an interval of iterations. Without bad images there is no file. A resumed
    run continues the list of its checkpoint. Image-text pairs that a dataset skips from
    the start are listed, too. Data sets that do not replace bad images are ignored.

    Args:
        file_name: Name of the list in the work dir.
    """

    priority = 'LOW'
    skip_in_dry_run = True

    def __init__(self, file_name: str = 'bad_images.txt') -> None:
        self.file_name = file_name
        self.path: Path | None = None
        self.datasets: list = []
        self.saved: list[dict] | None = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if any(dataset.status.counts()[1] for dataset in self.datasets):
            checkpoint[_KEY] = [
                _status_to_data(dataset.status) for dataset in self.datasets]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self.saved = checkpoint.get(_KEY)

    def before_train(self, runner: Runner) -> None:
        self.datasets = [
            part for part in leaf_datasets(runner.train_dataloader.dataset)
            if hasattr(part, 'status') and hasattr(part, 'bad_images')]
        self.path = Path(runner.work_dir) / self.file_name
        self.news = 0
        self.merge_interval = next(
            (hook.interval for hook in runner.hooks
             if isinstance(hook, CheckpointHook) and not hook.by_epoch), -1)
        # A checkpoint of load_from gives weights, not a list.
        if self.saved is not None and runner.iter:
            for dataset, saved in zip(self.datasets, self.saved, strict=False):
                _restore_status(dataset.status, saved)
        if is_main_process():
            # The list of an earlier run in the same folder; files may be repaired.
            self.path.unlink(missing_ok=True)
        self.write()  # pairs that are skipped from the start
        # A run that fails calls no further hook.
        atexit.register(self.write)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                         outputs=None) -> None:
        news = sum(dataset.status.num_news for dataset in self.datasets)
        if news != self.news:
            self.news = news
            self.write()
        # On all ranks; CheckpointHook comes later, by its priority.
        if self.every_n_train_iters(runner, self.merge_interval):
            self.merge()

    def after_train_epoch(self, runner: Runner) -> None:
        self.merge()

    def merge(self) -> None:
        """Join what the ranks know; all of them must call it."""
        for dataset in self.datasets:
            # A reason has a higher number than untried and good.
            all_reduce(dataset.status.table, op='max')
        self.write()

    def after_train(self, runner: Runner) -> None:
        self.merge()
        atexit.unregister(self.write)
        tried, num_bad = map(sum, zip(
            *(dataset.status.counts() for dataset in self.datasets), strict=True)
        ) if self.datasets else (0, 0)
        skipped = sum(len(getattr(part, 'skipped', ())) for part in self.datasets)
        if skipped:
            runner.logger.warning(
                f'{skipped} image-text pairs without a usable caption were skipped; '
                f'they are listed in {self.path}.')
        if num_bad:
            runner.logger.warning(
                f'{num_bad} of {tried} images could not be used and were replaced by '
                f'others; they are listed in {self.path}.')

    @master_only
    def write(self) -> None:
        """Write the list of what is known now."""
        bad = [line for dataset in self.datasets for line in dataset.bad_images()]
        if not bad:
            return
        text = ''.join(
            f'{display_name(path)}\t{reason.sentence}\n' for path, reason in bad)
        write_text(self.path, text)


def _status_to_data(status: ImageStatus) -> dict:
    """What is known of the images, for a checkpoint: a bit for each, and bad ones."""
    bad = status.bad()
    tried = (status.table != Reason.UNTRIED).numpy()
    return dict(num_images=len(tried), tried=torch.from_numpy(np.packbits(tried)),
                indices=[idx for idx, _ in bad],
                reasons=[int(reason) for _, reason in bad])


def _restore_status(status: ImageStatus, saved: dict) -> None:
    """Restore what a run knew of the same images before it was stopped."""
    if saved['num_images'] == len(status.table):
        tried = np.unpackbits(saved['tried'].cpu().numpy(), count=len(status.table))
        status.table[torch.from_numpy(tried).bool()] = int(Reason.GOOD)
        for idx, reason in zip(saved['indices'], saved['reasons'], strict=True):
            status.set_bad(idx, Reason(reason))
