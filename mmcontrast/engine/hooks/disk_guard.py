"""Stop a run that cannot write its log, and clean up after earlier runs."""
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...io.checkpoint_files import clean_up
from ...io.disk import cannot_write
from ...registry import HOOKS


@HOOKS.register_module()
class DiskGuardHook(Hook):
    """Stop the run when its log file cannot be written; clean up before it starts.

    Python's logging prints a traceback and drops the line, so that a full disk would
    show at the next checkpoint, hours later. Partial files of processes that died, and
    manifests without a checkpoint, are removed from the work dir and named in the log.
    """

    priority = 'VERY_HIGH'
    skip_in_dry_run = True

    def before_run(self, runner: Runner) -> None:
        for handler in list(runner.logger.handlers):
            if isinstance(handler, logging.FileHandler):
                handler.handleError = _stop_the_run(runner.logger, handler)
        if is_main_process():
            removed = ', '.join(path.name for path in clean_up(Path(runner.work_dir)))
            if removed:
                runner.logger.info(f'Removed what an earlier run left: {removed}.')


def _stop_the_run(logger: logging.Logger, handler: logging.FileHandler) -> Callable:
    """What ``handler`` is to call when it cannot write a line."""
    def handle_error(record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            return logging.Handler.handleError(handler, record)
        # What follows goes to the console only.
        logger.removeHandler(handler)
        raise cannot_write(handler.baseFilename, error) from error
    return handle_error
