"""Register timing suites, run them several times and summarize their rows.

A suite is a function that prepares its data once and returns a second function, which
is called once per run and yields rows. A suite is one file in
``tools/benchmark/suites/``. A complete example::

    import torch
    from timing.frame import Row, seconds, suite

    @suite('sums', 'Adding up numbers', threads=1)
    def sums(count: int = 10**6):
        numbers = torch.rand(count)

        def run():
            took = seconds(numbers.sum, repeats=20)
            yield Row('torch.sum', took * 1e3, 'ms', reference='released code: 0.1 ms')
        return run

``python tools/benchmark/run.py sums --runs 5 --count 1000`` runs it: keyword arguments
of the suite become options of the command. A first run warms up and does not count.
Rows of the same name are collected over the runs; median, minimum and maximum are kept.
Functions to be compared are timed with :func:`time_in_turns`.
"""
import inspect
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from mmcontrast.errors import UserKeyError
from mmcontrast.progress import run_bars

SUITES: dict[str, 'Suite'] = {}


@dataclass(frozen=True)
class Row:
    """One measured number of one run.

    Attributes:
        name: What was measured; rows of one name are collected over the runs.
        value: The number, or several taken within one run.
        unit: ``'images/s'``, ``'ms'``, ``'x'`` for a ratio.
        reference: A figure from elsewhere to compare with, and its source. The report
            says that it was not measured here.
        target: What this project aims at, as text, such as ``'at most 1.5'``.
    """

    name: str
    value: float | Sequence[float]
    unit: str
    reference: str = ''
    target: str = ''


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of a list of numbers, and the numbers."""

    median: float
    least: float
    greatest: float
    values: list[float]

    @classmethod
    def of(cls, values: Iterable[float]) -> 'Spread':
        values = [float(value) for value in values]
        if not values:
            raise ValueError('no number to take the median of.')
        return cls(statistics.median(values), min(values), max(values), values)


@dataclass(frozen=True)
class Measure:
    """One row, summarized over all runs."""

    name: str
    unit: str
    spread: Spread
    reference: str = ''
    target: str = ''


@dataclass(frozen=True)
class Suite:
    """A registered timing suite.

    Attributes:
        prepare: Called once with the options; returns the function of one run.
        threads: Default number of torch threads; 0 for all cores.
    """

    name: str
    title: str
    prepare: Callable[..., Callable[[], Iterator[Row]]]
    threads: int = 1

    def options(self) -> dict[str, inspect.Parameter]:
        """Keyword arguments of the suite, by name."""
        return dict(inspect.signature(self.prepare).parameters)


@dataclass(frozen=True)
class Comparison:
    """The result of :func:`time_in_turns`.

    Attributes:
        times: Seconds per call of each function.
        ratios: Time over the first function's time in the same turn, so that a machine
            that slows down for a while does not bias the result.
    """

    times: dict[str, Spread]
    ratios: dict[str, Spread] = field(default_factory=dict)


def suite(name: str, title: str, threads: int = 1) -> Callable:
    """Register a suite under the name that ``tools/benchmark/run.py`` takes.

    Raises:
        ValueError: If another suite has the name.
    """
    def register(prepare: Callable) -> Callable:
        if name in SUITES and SUITES[name].prepare.__module__ != prepare.__module__:
            raise ValueError(
                f'{SUITES[name].prepare.__module__} registers a suite {name!r} '
                f'already; give the one in {prepare.__module__} another name.')
        SUITES[name] = Suite(name, title, prepare, threads)
        return prepare
    return register


def run_suite(name: str, runs: int = 5, progress: bool = True,
              **options) -> list[Measure]:
    """Prepare a suite, warm up with one run, then measure ``runs`` times.

    Args:
        options: Keyword arguments of the suite.

    Returns:
        One :class:`Measure` for every row name, in the order of the first run.

    Raises:
        ValueError: If ``runs`` is not positive, or nothing was measured.
        KeyError: If there is no such suite.
    """
    if runs < 1:
        raise ValueError(f'runs must be at least 1, got {runs}.')
    if name not in SUITES:
        raise UserKeyError(f'no suite {name!r}; there are {sorted(SUITES)}.')
    found: dict[str, list[Row]] = {}
    with run_bars(progress) as bar:
        task = bar.add_task(f'{name}: set-up', total=runs + 1)
        run = SUITES[name].prepare(**options)
        for turn in range(runs + 1):
            label = f'run {turn}' if turn else 'warm-up'
            for row in run():
                bar.update(task, description=f'{name}: {label}, {row.name}')
                if turn:
                    found.setdefault(row.name, []).append(row)
            bar.advance(task)
    if not found:
        raise ValueError(f'suite {name!r} yielded no row.')
    return [_measure(rows) for rows in found.values()]


def time_in_turns(functions: Mapping[str, Callable[[], object]], runs: int = 7,
                  warmup: int = 1, repeats: int = 1) -> Comparison:
    """Time several functions in turns: A B A B, not A A B B.

    Args:
        functions: Functions by name; the others are compared with the first.
        runs: Turns that count, after ``warmup`` turns that do not.
        repeats: Calls within one measurement, for functions of microseconds.

    Returns:
        Times in seconds per call, and ratios to the first, turn by turn.

    Raises:
        ValueError: If there is no function.
    """
    if not functions:
        raise ValueError('time_in_turns needs at least one function.')
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(warmup + runs):
        for name, function in functions.items():
            took = seconds(function, repeats)
            if turn >= warmup:
                times[name].append(took)
    base = next(iter(times.values()))
    return Comparison(
        {name: Spread.of(took) for name, took in times.items()},
        {name: Spread.of(mine / its for mine, its in zip(took, base, strict=True))
         for name, took in times.items()})


def seconds(function: Callable[[], object], repeats: int = 1) -> float:
    """Wall-clock seconds per call, including work queued on a GPU."""
    _wait_for_device()
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    _wait_for_device()
    return (time.perf_counter() - start) / repeats


def _wait_for_device() -> None:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _measure(rows: list[Row]) -> Measure:
    first = rows[0]
    values = [value for row in rows for value in
              (row.value if isinstance(row.value, Sequence) else [row.value])]
    return Measure(
        first.name, first.unit, Spread.of(values), first.reference, first.target)
