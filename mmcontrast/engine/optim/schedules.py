"""Schedule learning rates and momentum as functions of the step.

Source: PixPro (CVPR 2021) and SlotCon (NeurIPS 2022), released code; both share
theirs. DenseCLIP (CVPR 2022), released code, for the polynomial one.
"""
import math
from collections.abc import Sequence

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import INF, _ParamScheduler

from ...errors import UserValueError
from ...registry import PARAM_SCHEDULERS


def cosine_momentum(step: int, total: int, start: float = 0.99, end: float = 1.0
                    ) -> float:
    """Weight of the old value in a momentum average at ``step`` of ``total``.

    Rises from ``start`` at step 0 along half a cosine to ``end`` at step ``total``.
    """
    return end - (end - start) * (math.cos(math.pi * step / total) + 1) / 2


def momentum_steps(num_images: int, world_size: int, batch_size: int, epochs: int
                   ) -> int:
    """Length of the momentum schedule as the released code counts it.

    Real division, so the result is a little larger than the number of iterations when
    the last incomplete batch is dropped; the published schedule has this length.
    """
    return int(num_images / world_size / batch_size * epochs)


def warmup_factor(step: int, warmup: int, multiplier: float = 100.0) -> float:
    """Linear warm-up from 1 / ``multiplier`` at step 0 to 1 at step ``warmup``."""
    return ((multiplier - 1) * step / warmup + 1) / multiplier


def warmup_cosine(step: int, total: int, warmup: int, peak: float,
                  multiplier: float = 100.0, minimum: float = 1e-6) -> float:
    """Linear warm-up to ``peak`` at step ``warmup``, then half a cosine to ``minimum``.

    Args:
        step: Iteration, counted from 0.
        total: Number of iterations of the whole run.
        warmup: Iterations of the warm-up; step ``warmup`` has exactly the peak.
        peak: Largest value.
        multiplier: Step 0 has ``peak / multiplier``.
        minimum: Value at step ``total``.
    """
    if step <= warmup and warmup > 0:
        return peak * warmup_factor(step, warmup, multiplier)
    progress = (step - warmup) / (total - warmup)
    return minimum + (peak - minimum) * (1 + math.cos(math.pi * progress)) / 2


def warmup_steps(step: int, milestones: Sequence[int], warmup: int, peak: float,
                 multiplier: float = 100.0, gamma: float = 0.1) -> float:
    """Linear warm-up to ``peak``, then times ``gamma`` from each milestone on."""
    if step <= warmup and warmup > 0:
        return peak * warmup_factor(step, warmup, multiplier)
    return peak * gamma ** sum(step >= milestone for milestone in milestones)


def warmup_poly(step: int, total: int, warmup: int, peak: float, power: float = 0.9,
                minimum: float = 0.0, warmup_ratio: float = 1e-6) -> float:
    """Polynomial decay from ``peak`` to ``minimum``, times a linear warm-up.

    The formula of mmcv 1.x: during the warm-up the decayed value is multiplied by a
    factor that grows linearly to 1. mmengine's ``LinearLR`` and ``PolyLR`` in sequence
    do not give the same values.

    Args:
        step: Iteration, counted from 0.
        total: Number of iterations of the whole run.
        warmup: Iterations of the warm-up.
        peak: Value at step 0 without warm-up. If it is below ``minimum``, the schedule
            rises: a group with learning rate 0 ends at ``minimum``.
        power: Exponent of the decay.
        minimum: Value at step ``total``.
        warmup_ratio: Factor of the warm-up at step 0.
    """
    value = (peak - minimum) * (1 - step / total) ** power + minimum
    if step < warmup:
        value *= 1 - (1 - step / warmup) * (1 - warmup_ratio)
    return value


def share(length: float | str, total: float) -> float:
    """A length in steps: 60 for 60, and for ``'10%'`` of a run of 600.

    Raises:
        UserValueError: If it is another text.
    """
    if not isinstance(length, str):
        return length
    try:
        number = float(length.removesuffix('%'))
        if not length.endswith('%') or not 0 <= number <= 100:
            raise ValueError
    except ValueError:
        raise UserValueError(
            f"A length must be a number of steps or a share of the run such as '10%', "
            f'got {length!r}.') from None
    return total * number / 100


class _WarmupLR(LRSchedulerMixin, _ParamScheduler):
    """Learning rate per iteration from a closed formula.

    Lengths are epochs in the config (``by_epoch=True, convert_to_iter_based=True``) or
    iterations (``by_epoch=False``).
    """

    # Arguments counted in epochs that the conversion turns into iterations.
    _lengths = ('warmup',)

    def _get_value(self) -> list[float]:
        return [self._value(peak) for peak in self.base_values]

    @staticmethod
    def _length(length: float | str, begin: int = 0, end: float = INF, **_) -> float:
        if isinstance(length, str) and end == INF:
            raise UserValueError(
                f'A warmup of {length!r} of the run needs its end; a runner fills it '
                'in.')
        return int(share(length, end - begin)) if isinstance(length, str) else length

    @classmethod
    def build_iter_from_epoch(cls, *args, begin: int = 0, end: int = INF,
                              by_epoch: bool = True, epoch_length: int | None = None,
                              **kwargs):
        """Build from a config whose lengths are epochs of ``epoch_length`` steps."""
        if not by_epoch or not epoch_length:
            raise ValueError(
                f'{cls.__name__}: convert_to_iter_based=True needs by_epoch=True and a '
                f'training set of at least one batch, got by_epoch={by_epoch}, '
                f'{epoch_length} batches an epoch.')
        for name in cls._lengths:
            if name in kwargs:
                kwargs[name] = _times(kwargs[name], epoch_length)
        end = end if end == INF else int(end * epoch_length)
        return cls(*args, begin=int(begin * epoch_length), end=end, by_epoch=False,
                   **kwargs)


def _times(length, epoch_length: int):
    if isinstance(length, str):
        return length  # A share, of whatever unit.
    if isinstance(length, Sequence):
        return [int(x * epoch_length) for x in length]
    return int(length * epoch_length)


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(_WarmupLR):
    """Linear warm-up, then half a cosine, as PixPro and SlotCon train.

    mmengine's ``LinearLR`` + ``CosineAnnealingLR`` reach the peak one step early when
    they are converted from epochs, because the warm-up must end at step T *inclusive*.

    Args:
        optimizer: Wrapped optimizer.
        warmup: Length of the warm-up in epochs, or parts of one, or iterations, see
            ``by_epoch``; or a share of the run, ``'10%'``.
        multiplier: The first step uses peak / multiplier.
        eta_min: Learning rate at the end.
        end: Length of the whole run; the runner fills it in.
    """

    def __init__(self, optimizer, *args, warmup: float | str = 5,
                 multiplier: float = 100.0, eta_min: float = 1e-6, **kwargs):
        self.warmup = self._length(warmup, **kwargs)
        self.multiplier, self.eta_min = multiplier, eta_min
        super().__init__(optimizer, *args, **kwargs)
        if self.warmup >= self.end - self.begin:
            raise UserValueError(
                f'WarmupCosineLR: the warm-up of {self.warmup} steps does not fit into '
                f'a run of {self.end - self.begin}; train longer, or set a smaller '
                'param_scheduler.warmup, which is in the unit of the config (epochs '
                'with by_epoch=True).')

    def _value(self, peak: float) -> float:
        return warmup_cosine(self.last_step, self.end - self.begin, self.warmup, peak,
                             self.multiplier, self.eta_min)


@PARAM_SCHEDULERS.register_module()
class WarmupStepLR(_WarmupLR):
    """Linear warm-up, then a drop by ``gamma`` at each milestone.

    Args:
        optimizer: Wrapped optimizer.
        milestones: Where the rate drops, in epochs or iterations, see ``by_epoch``.
        warmup, multiplier: As in :class:`WarmupCosineLR`.
        gamma: Factor of each drop.
    """

    _lengths = ('warmup', 'milestones')

    def __init__(self, optimizer, *args, milestones: Sequence[int] = (120, 160, 200),
                 warmup: float | str = 5, multiplier: float = 100.0, gamma: float = 0.1,
                 **kwargs):
        self.milestones = list(milestones)
        self.warmup = self._length(warmup, **kwargs)
        self.multiplier, self.gamma = multiplier, gamma
        super().__init__(optimizer, *args, **kwargs)

    def _value(self, peak: float) -> float:
        return warmup_steps(self.last_step, self.milestones, self.warmup, peak,
                            self.multiplier, self.gamma)


@PARAM_SCHEDULERS.register_module()
class WarmupPolyLR(_WarmupLR):
    """Polynomial decay with a linear warm-up, as DenseCLIP trains: :func:`warmup_poly`.

    Args:
        optimizer: Wrapped optimizer.
        warmup: Length of the warm-up in epochs, or parts of one, or iterations, see
            ``by_epoch``; or a share of the run, ``'10%'``.
        warmup_ratio: Factor of the first step.
        power: Of the decay.
        eta_min: Learning rate at the end, of every parameter group.
        end: Length of the whole run; the runner fills it in.
    """

    def __init__(self, optimizer, *args, warmup: float | str = 1500,
                 warmup_ratio: float = 1e-6, power: float = 0.9, eta_min: float = 1e-6,
                 **kwargs):
        self.warmup = self._length(warmup, **kwargs)
        self.warmup_ratio = warmup_ratio
        self.power, self.eta_min = power, eta_min
        super().__init__(optimizer, *args, **kwargs)

    def _value(self, peak: float) -> float:
        return warmup_poly(self.last_step, self.end - self.begin, self.warmup, peak,
                           self.power, self.eta_min, self.warmup_ratio)
