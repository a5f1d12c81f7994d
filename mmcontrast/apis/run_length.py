"""Let schedules of a config follow the length that the command line gives the run."""
from collections.abc import Iterable

from mmengine.config import Config

_LENGTHS = {'max_iters': False, 'max_epochs': True}


def run_length(config: Config) -> dict[str, int]:
    """The iterations or epochs of a run."""
    train_cfg = config.get('train_cfg') or {}
    return {key: train_cfg[key] for key in _LENGTHS
            if isinstance(train_cfg.get(key), int)}


def follow_run_length(config: Config, before: dict[str, int],
                      options: Iterable[str]) -> None:
    """Move the ends of schedules that were the end of the run.

    ``end`` and ``T_max`` of a config file are those of its ``max_iters``, as numbers:
    an option that shortens the run alone would cut the schedule off.

    Args:
        config: With the options applied; changed in place.
        before: :func:`run_length` without them.
        options: Their dotted keys. Of ``param_scheduler``, they decide instead.
    """
    if any(key.split('.')[0] == 'param_scheduler' for key in options):
        return
    for key, by_epoch in _LENGTHS.items():
        old, new = before.get(key), run_length(config).get(key)
        if old is None or new is None or old == new:
            continue
        for scheduler in _schedulers(config.get('param_scheduler')):
            begin = scheduler.get('begin', 0)
            if bool(scheduler.get('by_epoch', True)) == by_epoch and begin < new:
                if scheduler.get('end') == old:
                    scheduler['end'] = new
                if scheduler.get('T_max') == old - begin:
                    scheduler['T_max'] = new - begin


def _schedulers(config: object) -> Iterable[dict]:
    if isinstance(config, dict) and 'type' not in config:
        # Of several optimizers.
        return [part for group in config.values() for part in _schedulers(group)]
    found = config if isinstance(config, list | tuple) else [config]
    return [part for part in found if isinstance(part, dict)]
