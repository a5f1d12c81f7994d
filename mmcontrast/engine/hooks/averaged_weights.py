"""Whose weights are in the model just now: its own, or the averaged ones."""
from mmengine.hooks import EMAHook
from mmengine.runner import Runner


class AveragedWeights:
    """Knows whether an ``EMAHook`` has put its averages into the model.

    The hook swaps them in for a validation; those of some libraries validate twice in
    one, with the averages and without.

    Args:
        hook: Its swaps are counted from now on.
    """

    def __init__(self, hook: EMAHook) -> None:
        self._inside, self._swap = False, hook._swap_ema_parameters
        hook._swap_ema_parameters = self

    def __call__(self) -> None:
        self._swap()
        self._inside = not self._inside

    def take_out(self) -> None:
        """Give the model its own weights back."""
        if self._inside:
            self()


def averaged_weights(runner: Runner) -> list[AveragedWeights]:
    """Those of all hooks of a run, in their order; to be called outside a validation.
    """
    hooks = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    return [hook._swap_ema_parameters
            if isinstance(hook._swap_ema_parameters, AveragedWeights)
            else AveragedWeights(hook) for hook in hooks]
