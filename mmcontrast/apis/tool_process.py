"""Run one of our tools in a process of its own, as from the command line."""
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# 'Iter(train) [ 20/300]', 'Epoch(train) [3][20/31]'
_ITERATION = re.compile(r'\((?:train|val|test)\) +(?:\[ *\d+\])?\[ *(\d+)/(\d+)\]')


class ToolError(RuntimeError):
    """A tool ended with an error.

    Attributes:
        returncode: Its exit status; negative for a signal.
        tail: The last lines of its output.
    """

    def __init__(self, command: Sequence[str], returncode: int, log: Path,
                 lines: Sequence[str]) -> None:
        self.returncode, self.tail = returncode, ''.join(lines[-25:])
        super().__init__(
            f'{" ".join(command[:2])} ended with status {returncode}; its log is '
            f'{log}.')


def run_tool(command: Sequence[str], root: Path, log: Path,
             progress: Callable[[int, int], None] | None = None,
             threads: int | None = None) -> str:
    """Run ``python COMMAND...`` in a folder and log its output.

    Args:
        command: File below ``root`` and its arguments.
        root: Folder to run in, put first on the path: a checkout, or ``.mim``.
        log: File that the output is appended to; its folder is created.
        progress: Called with (done, total) iterations of the training, epoch or test.
        threads: Threads of each process; default: torch's.

    Returns:
        The output.

    Raises:
        ToolError: If the tool fails.
    """
    environment = dict(
        os.environ, OMP_WAIT_POLICY='passive', PYTHONWARNINGS='ignore',
        PYTHONUNBUFFERED='1', PYTHONPATH=os.pathsep.join(
            [str(root), os.environ.get('PYTHONPATH', '')]))
    if threads is not None:
        environment['OMP_NUM_THREADS'] = str(threads)
    log.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    with subprocess.Popen(
            [sys.executable, *command], cwd=root, text=True, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            errors='replace') as process, log.open('a', buffering=1) as file:
        for line in process.stdout:
            lines.append(line)
            file.write(line)
            found = progress and _ITERATION.search(line)
            if found:
                progress(int(found[1]), int(found[2]))
    if process.returncode:
        raise ToolError(command, process.returncode, log, lines)
    return ''.join(lines)
