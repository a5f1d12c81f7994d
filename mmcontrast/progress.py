"""Show the progress of long work: bars in a terminal, plain lines everywhere else."""
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Item = TypeVar('Item')
#: Seconds between two lines on work that is not done.
INTERVAL = 30.


def track(items: Iterable[Item], description: str, visible: bool = True
          ) -> Iterator[Item]:
    """Yield ``items`` and show how many are done."""
    with progress_bar(visible) as bar:
        yield from bar.track(items, description=description)


@contextmanager
def working(description: str, visible: bool = True) -> Iterator[None]:
    """Show that work without countable steps is going on, and for how long."""
    with run_bars(visible) as bars:
        task = bars.add_task(description, total=None)
        yield
        bars.update(task, total=1, completed=1)
        bars.stop_task(task)


def progress_bar(visible: bool = True) -> Progress:
    """Task, bar, count, rate and remaining time."""
    return _progress(
        TextColumn('{task.description:13}'), BarColumn(), MofNCompleteColumn(),
        _RateColumn(), TimeRemainingColumn(), visible=visible)


def run_bars(visible: bool = True) -> Progress:
    """For runs of minutes: task, bar, count, elapsed and remaining time."""
    return _progress(
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn('left'), TimeRemainingColumn(),
        visible=visible)


class ProgressLines(Progress):
    """Print a line on each task every 30 seconds, and one when it is done.

    rich draws bars in a terminal and a notebook only; in a log file, under nohup, cron
    or Slurm it is silent until the end. A thread prints the lines, so that they also
    come while a single step takes minutes.
    """

    def __init__(self, *columns: ProgressColumn, **options: Any) -> None:
        super().__init__(*columns, auto_refresh=False, **options)
        self._ended, self._done, self._thread = Event(), set(), None

    def start(self) -> None:
        if not self.disable and self._thread is None:
            self._ended.clear()
            self._thread = Thread(target=self._print_regularly, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the lines, with one on every task that is not done."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None
            self._print_open_tasks()

    def refresh(self) -> None:
        """Nothing is drawn."""

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        if self._tasks[task_id].finished:
            self.stop_task(task_id)

    def stop_task(self, task_id: TaskID) -> None:
        """Print the last line of a task.

        :meth:`update` alone does not end one: a training that has reached 31/31
        continues with its next epoch.
        """
        super().stop_task(task_id)
        if not self.disable and task_id not in self._done:
            self._done.add(task_id)
            self._print(self._tasks[task_id], 'done')

    def _print_regularly(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._print_open_tasks()

    def _print_open_tasks(self) -> None:
        for task in self.tasks:
            if task.id not in self._done:
                self._print(task)

    def _print(self, task: Task, *notes: str) -> None:
        line = ', '.join([*_figures(task), *notes])
        self.console.print(f'{task.description}: {line}', soft_wrap=True, markup=False,
                           highlight=False)


def _progress(*columns: ProgressColumn, visible: bool) -> Progress:
    console = Console()
    # FORCE_COLOR=1 makes rich take a file for a terminal.
    drawn = console.is_jupyter or console.is_interactive and console.file.isatty()
    kind = Progress if drawn else ProgressLines
    return kind(*columns, console=console, disable=not visible)


def _figures(task: Task) -> Iterator[str]:
    """``1200/5000``, ``31/s``, ``0:00:39``, ``0:02:03 left``, as far as known."""
    if task.total is not None and task.total != 1:
        yield f'{task.completed:.0f}/{task.total:.0f}'
    speed = task.finished_speed or task.speed
    if speed and speed >= 1:
        yield f'{speed:.0f}/s'
    yield str(TimeElapsedColumn().render(task))
    if task.time_remaining:
        yield f'{TimeRemainingColumn().render(task)} left'


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f'{speed:.0f}/s' if speed else '')
