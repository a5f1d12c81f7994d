"""Show progress bars, for tools that write many files and for long runs."""
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


def progress_bar(visible: bool = True) -> Progress:
    """Task, bar, count, rate and remaining time."""
    return Progress(
        TextColumn('{task.description:13}'), BarColumn(), MofNCompleteColumn(),
        _RateColumn(), TimeRemainingColumn(), disable=not visible)


def run_bars(visible: bool = True) -> Progress:
    """For runs of minutes: task, bar, count, elapsed and remaining time."""
    return Progress(
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn('left'), TimeRemainingColumn(),
        disable=not visible)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f'{speed:.0f}/s' if speed else '')
