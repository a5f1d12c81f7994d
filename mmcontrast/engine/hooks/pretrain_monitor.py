"""Warn when self-supervised features collapse or views never overlap."""
from collections import Counter
from collections.abc import Sequence

from mmengine.dist import get_world_size
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner
from torch import nn

from ...registry import HOOKS
from ...structures.protocols import HasCollapseSigns
from ..distributed.unwrap import unwrap_model

#: The sign of a collapse that every method can report: std of its pixel features.
FEATURE_STD_SIGN = dict(
    below=0.1, means='the features of all pixels are becoming one vector',
    do='Lower the learning rate or lengthen its warm-up, start the momentum nearer to '
       '1, and check that batch norm sees at least some 16 images a step and that the '
       'images differ.')

_KEY = 'pretrain_monitor'


@HOOKS.register_module()
class PretrainMonitorHook(Hook):
    """Warn when features collapse or views never overlap, and log images/s.

    Methods return ``feature_std``, ``no_pair_share`` and ``pairs_per_image`` with their
    losses, and mmengine logs them; this hook reads the logged values, so that no step
    waits for it. It adds ``images_per_second`` (all ranks).

    A method with other signs of a collapse has an attribute ``collapse_signs``: name of
    a scalar to ``dict(below=bound, means=..., do=...)``, the last two being parts of
    the warning.

    Args:
        min_feature_std: Bound of ``feature_std``: 1 for features in all directions, 0
            for collapsed ones.
        patience: Consecutive log intervals below a bound before the warning; the first
            ones of a healthy run may be low.
        bounds: Bounds of other signs, by scalar, instead of those of the method.
    """

    # After IterTimerHook, which it reads; before LoggerHook, which writes.
    priority = 'NORMAL'

    def __init__(self, min_feature_std: float = FEATURE_STD_SIGN['below'],
                 patience: int = 5, bounds: dict[str, float] | None = None) -> None:
        if not 0 <= min_feature_std <= 1:
            raise ValueError(
                'PretrainMonitorHook: min_feature_std must be in [0, 1], got '
                f'{min_feature_std}.')
        if patience < 1:
            raise ValueError(
                f'PretrainMonitorHook: patience must be 1 or more, got {patience}.')
        self.bounds = dict(bounds or {}, feature_std=min_feature_std)
        self.patience = patience
        self._low_intervals: Counter[str] = Counter()
        self._warned: set[str] = set()
        self._saved: dict | None = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint[_KEY] = dict(
            low_intervals=dict(self._low_intervals), said=sorted(self._warned))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._saved = checkpoint.get(_KEY)

    def before_train(self, runner: Runner) -> None:
        # A checkpoint of load_from gives weights, not the counts of another run.
        if self._saved is not None and runner.iter:
            self._low_intervals = Counter(self._saved['low_intervals'])
            self._warned = set(self._saved['said'])
        intervals = [hook.interval for hook in runner.hooks
                     if isinstance(hook, LoggerHook)]
        self.interval = min(intervals, default=10)
        self.signs = self._signs(unwrap_model(runner.model))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                         outputs: dict | None = None) -> None:
        epoch_ends = self._epoch_ends(runner)
        if self.every_n_inner_iters(batch_idx, self.interval) or epoch_ends:
            self._log_speed(runner, data_batch)
            self._check_collapse(runner)
        if epoch_ends:
            self._check_pairs(runner)

    def _epoch_ends(self, runner: Runner) -> bool:
        """Whether a pass over the images ends, in any kind of loop."""
        return (runner.iter + 1) % _length_of_pass(runner) == 0

    def _log_speed(self, runner: Runner, data_batch: dict | Sequence | None) -> None:
        if 'train/time' not in runner.message_hub.log_scalars:
            return
        seconds = runner.message_hub.get_scalar('train/time').mean(self.interval)
        images = _batch_size(data_batch) * get_world_size()
        if images and seconds > 0:
            runner.message_hub.update_scalar(
                'train/images_per_second', images / seconds)

    def _signs(self, model: nn.Module) -> dict[str, dict]:
        """Signs of a collapse, with the bounds of this hook."""
        signs = dict(feature_std=FEATURE_STD_SIGN)
        if isinstance(model, HasCollapseSigns):
            signs |= model.collapse_signs
        unknown = sorted(set(self.bounds) - set(signs))
        if unknown:
            raise ValueError(
                f'PretrainMonitorHook: bounds names {unknown}, but the signs of '
                f'{type(model).__name__} are {sorted(signs)}.')
        return {name: dict(sign, below=self.bounds.get(name, sign['below']))
                for name, sign in signs.items()}

    def _check_collapse(self, runner: Runner) -> None:
        logged = runner.message_hub.log_scalars
        reported = {name: sign for name, sign in self.signs.items()
                    if f'train/{name}' in logged}
        if not reported:
            return self._warn_once(
                runner, 'silent',
                f'{type(runner.model).__name__} reports no {" or ".join(self.signs)}, '
                'so a collapse goes unnoticed; let its loss() return such a scalar.')
        for name, sign in reported.items():
            value = runner.message_hub.get_scalar(f'train/{name}').mean(self.interval)
            low = value < sign['below']
            self._low_intervals[name] = self._low_intervals[name] + 1 if low else 0
            if self._low_intervals[name] >= self.patience:
                self._warn_once(
                    runner, name,
                    f'{name} is {value:.3f} and was below {sign["below"]} for '
                    f'{self.patience} log intervals: {sign["means"]} (collapse). '
                    f'{sign["do"]}')

    def _check_pairs(self, runner: Runner) -> None:
        if 'train/no_pair_share' not in runner.message_hub.log_scalars:
            return
        epoch = _length_of_pass(runner)
        share = runner.message_hub.get_scalar('train/no_pair_share').mean(epoch)
        if share == 1:
            self._warn_once(
                runner, 'pairs',
                f'An epoch of views without overlap: none of its {epoch} '
                'batches had an image with a pair of matching pixels, so nothing was '
                'learned. Raise the lower end of scale of the views, raise the '
                'distance up to which pixels are pairs, or look at the views with '
                'tools/analysis/browse_views.py.')

    def _warn_once(self, runner: Runner, topic: str, message: str) -> None:
        if topic not in self._warned:
            self._warned.add(topic)
            runner.logger.warning(message)


def _length_of_pass(runner: Runner) -> int:
    """Batches of a pass over the images; 1 if they are fewer than a batch."""
    return max(1, len(runner.train_dataloader))


def _batch_size(data_batch: dict | Sequence | None) -> int:
    """Images in what the loader gave; 0 if unknown."""
    if not isinstance(data_batch, dict):
        return 0
    samples = data_batch.get('data_samples')
    inputs = data_batch.get('inputs')
    if samples is not None:
        return len(samples)
    if inputs is None:
        return 0
    # A list of views, each a batch.
    return len(inputs[0] if isinstance(inputs, list | tuple) else inputs)
