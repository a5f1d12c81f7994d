"""Execute the missing runs of a transfer suite, several in parallel."""
import os
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import Progress

from mmcontrast.apis.tool_process import ToolError
from mmcontrast.progress import run_bars
from transfer_table.runs import Run, execute_run


@dataclass
class Outcome:
    """The state of all runs after a call.

    Attributes:
        done: Runs that are complete, from this or an earlier call.
        failed: Runs that failed in this call, and why.
        left: Runs that were not started: the time was over, or what they need failed.
    """

    done: list[Run] = field(default_factory=list)
    failed: dict[Run, str] = field(default_factory=dict)
    left: list[Run] = field(default_factory=list)


def execute(runs: Sequence[Run], root: Path, jobs: int = 1,
            minutes: float | None = None, keep_weights: bool = False,
            visible: bool = True) -> Outcome:
    """Execute the runs that are not complete yet.

    Args:
        runs: From :func:`list_runs`.
        root: The checkout.
        jobs: Parallel runs; they share the cores.
        minutes: No run starts later than this.
        keep_weights: See :func:`execute_run`.
        visible: Show a progress bar for all runs and one for each active run.
    """
    outcome = Outcome(done=[run for run in runs if run.result() is not None])
    waiting = [run for run in runs if run not in outcome.done]
    threads = max(1, (os.cpu_count() or 1) // jobs)
    until = None if minutes is None else time.monotonic() + 60 * minutes
    active: dict[Future, Run] = {}
    with run_bars(visible) as bars, ThreadPoolExecutor(jobs) as pool:
        total = bars.add_task(
            'all runs', total=len(runs), completed=len(outcome.done))
        while True:
            ready = [run for run in waiting
                     if run.needs is None or run.needs in outcome.done]
            late = until is not None and time.monotonic() > until
            for run in [] if late else ready[:jobs - len(active)]:
                waiting.remove(run)
                active[pool.submit(
                    _with_bar, run, root, threads, bars, keep_weights)] = run
            if not active:
                break
            for future in wait(active, return_when=FIRST_COMPLETED).done:
                _note(active.pop(future), future, outcome, bars)
                bars.update(total, completed=len(outcome.done))
    outcome.left = waiting
    return outcome


def _with_bar(run: Run, root: Path, threads: int, bars: Progress,
              keep_weights: bool) -> None:
    task = bars.add_task(run.title, total=None)
    try:
        execute_run(run, root, threads, lambda done, total: bars.update(
            task, completed=done, total=total), keep_weights)
    finally:
        bars.remove_task(task)


def _note(run: Run, future: Future, outcome: Outcome, bars: Progress) -> None:
    error = future.exception()
    if error is None:
        outcome.done.append(run)
        result = run.result()
        score = f' {result["metric"]} {result["value"]:.2f},' if run.task else ''
        bars.console.print(f'{run.title}:{score} {result["minutes"]:.1f} min')
    elif isinstance(error, ToolError | FileNotFoundError | KeyError):
        tail = getattr(error, 'tail', '')
        outcome.failed[run] = f'{error.args[0]}\n{tail}'
        bars.console.print(f'{run.title} failed: {error.args[0]}', markup=False)
    else:
        raise error
