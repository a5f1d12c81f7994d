"""The order of the checks."""
from contextlib import contextmanager

from mmengine.config import Config
from mmengine.registry import DefaultScope

from ..config import load_config
from ..lint import lint_config
from .data import check_data
from .dry_run import check_dry_run
from .machine import check_devices, check_limits, check_versions
from .report import Report


def doctor(config: str, checkpoint: str | None = None, cfg_options: dict | None = None,
           samples: int = 16, steps: int = 4) -> Report:
    """Look at everything that a run needs, print what is found, leave nothing behind.

    Versions, devices and limits; mistakes of the config; data of each loader; then, in
    a temporary folder, the real model on real batches: a checkpoint that fits, the disk
    that its checkpoints take, a training step, a validation batch, memory and time.

    Args:
        config: Config file, or ``mmcontrast::...``.
        checkpoint: Weights that are to fit; ``load_from`` of the config by default.
        cfg_options: Overrides, dotted keys.
        samples: Images to open of each data set.
        steps: Training steps to time; at least 2.

    Returns:
        The report; ``report.count('FAIL')`` says how many checks failed.
    """
    report = Report()
    with report.section('versions'):
        check_versions(report)
    with report.section('devices'):
        check_devices(report)
    cfg = None
    with report.section('config'):
        cfg = load_config(config, cfg_options)
        _check_config(report, cfg)
    if cfg is not None:
        with report.section('limits'):
            check_limits(report, cfg)
        with default_scope(cfg):
            with report.section('data'):
                check_data(report, cfg, max(1, samples))
            check_dry_run(report, cfg, checkpoint, max(2, steps))
    failed, warned = report.count('FAIL'), report.count('WARN')
    print(f'{failed} failed, {warned} to look at, {report.count("OK")} fine')
    return report


def _check_config(report: Report, cfg: Config) -> None:
    issues = lint_config(cfg)
    for issue in issues:
        report.fail(str(issue))
    if not issues:
        report.ok(f'no mistake found in {cfg.filename}')


@contextmanager
def default_scope(cfg: Config):
    """The scope of a config inside, whatever was the default before outside."""
    scope = cfg.get('default_scope') or 'mmengine'
    with DefaultScope.overwrite_default_scope(scope):
        yield
