"""Schedule the coefficient of momentum encoders."""
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ...models.momentum import MomentumEncoder
from ...registry import HOOKS
from ..optim.schedules import cosine_momentum, momentum_steps


@HOOKS.register_module()
class MomentumHook(Hook):
    """Set ``coefficient`` of every :class:`MomentumEncoder` for the coming step.

    The step is derived from the runner's iteration, so a resumed run continues the
    schedule (the released PixPro code starts over at ``start``). With accumulated
    gradients the average moves once an optimizer step.

    Args:
        start: Coefficient of the first step.
        end: Coefficient at the end of the run.
    """

    priority = 'NORMAL'

    def __init__(self, start: float = 0.99, end: float = 1.0):
        if not 0 <= start <= end <= 1:
            raise ValueError(
                f'MomentumHook: need 0 <= start <= end <= 1, got {start} and {end}.')
        self.start, self.end = start, end

    def before_train(self, runner: Runner):
        self.momentum_encoders = [
            m for m in runner.model.modules() if isinstance(m, MomentumEncoder)
        ]
        if not self.momentum_encoders:
            raise ValueError(
                f'MomentumHook: {type(runner.model).__name__} has no MomentumEncoder; '
                'remove the hook from the config.')
        self.accumulate = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        self.total = max(1, self._total_iters(runner) // self.accumulate)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None):
        step, rest = divmod(runner.iter, self.accumulate)
        coefficient = cosine_momentum(min(step, self.total), self.total,
                                      self.start, self.end)
        for momentum_encoder in self.momentum_encoders:
            momentum_encoder.coefficient = 1.0 if rest else coefficient
        runner.message_hub.update_scalar('train/momentum', coefficient)

    @staticmethod
    def _total_iters(runner: Runner) -> int:
        loader = runner.train_dataloader
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return runner.max_iters
        batch_size = getattr(loader, 'batch_size', None)
        if not batch_size:
            return runner.max_iters
        return momentum_steps(len(loader.dataset), get_world_size(), batch_size,
                              runner.max_epochs)
