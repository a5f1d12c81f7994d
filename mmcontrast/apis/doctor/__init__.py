"""Check whether a config will train on this machine, before a long run."""
from mmengine.config import Config

from ...registry import default_scope
from ..config import load_config
from ..lint import lint_config
from ..lint.top_level import leftover_keys, missing_for
from .budget import Budget, OutOfTime
from .data import check_data
from .dry_run import check_dry_run
from .machine import check_devices, check_limits, check_versions
from .report import Report

__all__ = ['Report', 'doctor']


def doctor(config: str, checkpoint: str | None = None, cfg_options: dict | None = None,
           samples: int = 16, steps: int = 4, minutes: float = 3) -> Report:
    """Check everything that a run needs and print the results; write no files.

    Versions, devices and limits; errors of the config; data of each loader; then, in a
    temporary folder, the real model on real batches: keys of the checkpoint, training
    steps, a validation batch, and from them disk space, memory and time of the run.

    Args:
        config: Config file, or ``mmcontrast::...``.
        checkpoint: Weights that must fit; ``load_from`` of the config by default.
        cfg_options: Overrides, dotted keys.
        samples: Images to open of each data set.
        steps: Training steps to time; at least 2, fewer if they take long.
        minutes: Time for all of it. Without a GPU, a batch whose step does not fit is
            estimated from a few of its samples.

    Returns:
        The report; ``report.count('FAIL')`` says how many checks failed.
    """
    report, budget = Report(), Budget(minutes)
    try:
        with budget.enforced():
            _check_all(report, budget, config, checkpoint, cfg_options, samples, steps)
    except OutOfTime:
        report.warn(f'stopped after {minutes:g} minutes: what is not listed above was '
                    'not checked. Give it more --minutes, or fewer --samples.')
    failed, warned = report.count('FAIL'), report.count('WARN')
    print(f'{failed} failed, {warned} warnings, {report.count("OK")} passed')
    return report


def _check_all(report: Report, budget: Budget, config: str, checkpoint: str | None,
               cfg_options: dict | None, samples: int, steps: int) -> None:
    with report.section('versions'):
        check_versions(report)
    with report.section('devices'):
        check_devices(report)
    cfg = None
    with report.section('config'):
        cfg = load_config(config, cfg_options)
        _check_config(report, cfg)
    if cfg is None:
        return
    with report.section('limits'):
        check_limits(report, cfg)
    with default_scope(cfg, 'mmengine'):
        with report.section('data'):
            check_data(report, cfg, max(1, samples), budget)
        if cfg.get('model') is not None:
            check_dry_run(report, cfg, checkpoint, max(2, steps), budget)


def _check_config(report: Report, cfg: Config) -> None:
    issues = [str(issue) for issue in lint_config(cfg)]
    nothing = missing_for(cfg, 'train', 'val', 'test')
    if nothing and not issues:
        issues.append(nothing)
    for issue in issues:
        report.fail(issue)
    for issue in lint_config(cfg, [leftover_keys]):
        report.warn(str(issue))
    if not issues:
        report.ok(f'no errors in {cfg.filename}')
