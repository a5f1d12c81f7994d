"""The progress bar of the tools that write many files."""
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


def progress_bar(visible: bool = True) -> Progress:
    """Task, bar, count, rate and remaining time."""
    return Progress(
        TextColumn('{task.description:13}'), BarColumn(), MofNCompleteColumn(),
        _RateColumn(), TimeRemainingColumn(), disable=not visible)


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f'{speed:.0f}/s' if speed else '')
