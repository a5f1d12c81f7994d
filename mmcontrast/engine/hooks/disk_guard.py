"""A run that cannot write its log ends; what died runs left behind goes."""
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...io.checkpoint_files import tidy_up
from ...io.disk import cannot_write
from ...registry import HOOKS


@HOOKS.register_module()
class DiskGuardHook(Hook):
    """End the run when its log file cannot be written, and tidy up before it starts.

    Python's logging prints a traceback and goes on without the line; so a full disk
    would be found out at the next checkpoint, hours later. Half-written files of
    processes that died, and manifests without a checkpoint, are removed from the work
    dir; their names are in the log.
    """

    priority = 'VERY_HIGH'
    skip_in_dry_run = True

    def before_run(self, runner: Runner) -> None:
        for handler in list(runner.logger.handlers):
            if isinstance(handler, logging.FileHandler):
                handler.handleError = _ending_the_run(runner.logger, handler)
        if is_main_process():
            removed = ', '.join(path.name for path in tidy_up(Path(runner.work_dir)))
            if removed:
                runner.logger.info(f'Removed what an earlier run left: {removed}.')


def _ending_the_run(logger: logging.Logger, handler: logging.FileHandler) -> Callable:
    """What ``handler`` calls, from where it could not write a line."""
    def handle_error(record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            return logging.Handler.handleError(handler, record)
        # What is said about the end goes to the console alone.
        logger.removeHandler(handler)
        raise cannot_write(handler.baseFilename, error) from error
    return handle_error
