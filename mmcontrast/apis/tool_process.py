"""Running one of our tools as a user would, from another tool."""
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
        tail: The last lines that it wrote.
    """

    def __init__(self, command: Sequence[str], returncode: int, log: Path,
                 lines: Sequence[str]) -> None:
        self.returncode, self.tail = returncode, ''.join(lines[-25:])
        super().__init__(
            f'{" ".join(command[:2])} ended with status {returncode}; its whole log is '
            f'in {log}.')


def run_tool(command: Sequence[str], root: Path, log: Path,
             progress: Callable[[int, int], None] | None = None,
             threads: int | None = None) -> str:
    """Run ``python COMMAND...`` in a checkout and keep what it writes.

    Args:
        command: File below ``root`` and its arguments.
        root: The checkout; it goes before installed packages.
        log: File for the output, appended to; its folder is made.
        progress: Called with (done, total) of the training, epoch or test that runs.
        threads: Threads of each process; left to torch by default.

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
