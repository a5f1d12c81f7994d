"""List the runs of a transfer suite, and execute one of them."""
import hashlib
import json
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmcontrast.apis.machine import describe_machine, git_commit
from mmcontrast.apis.options import spell
from mmcontrast.apis.run_files import last_checkpoint, read_scalars, read_scores
from mmcontrast.apis.tool_process import run_tool
from mmcontrast.errors import UserKeyError
from mmcontrast.io.atomic import atomic_write
from transfer_table.suite import Start, Task, TransferSuite

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Run:
    """One pretraining, or one fine-tuning with its test.

    Attributes:
        start: The row.
        task: The column; None for the pretraining of the row.
        seed: Seed of this run.
        folder: Folder of all its files.
        needs: The pretraining whose backbone it starts from.
    """

    start: Start
    task: Task | None
    seed: int
    folder: Path
    needs: 'Run | None' = None

    @property
    def title(self) -> str:
        task = 'pretraining' if self.task is None else self.task.name
        return f'{self.start.name}, {task}, seed {self.seed}'

    @property
    def backbone(self) -> Path:
        """The exported weights of a pretraining."""
        return self.folder / 'backbone.pth'

    @property
    def fingerprint(self) -> str:
        """A hash of the settings of the run and of the pretraining that it needs."""
        job = self.task or self.start
        config = job.config or getattr(job, 'network', None)
        parts = [_settings(config), repr(sorted(job.options.items())), self.seed,
                 self.needs.fingerprint if self.needs else self.start.checkpoint]
        if self.task:
            parts += [self.task.metric, self.task.init, self.task.protocol]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def result(self) -> dict | None:
        """The result, None if the run is not complete with these settings."""
        file = self.folder / 'result.json'
        if not file.is_file():
            return None
        result = json.loads(file.read_text())
        return result if result['fingerprint'] == self.fingerprint else None


def list_runs(suite: TransferSuite, work_dir: Path) -> list[Run]:
    """All runs, each after the pretraining that it needs.

    Ordered by seed, so that an interrupted comparison has complete tables of fewer
    seeds.
    """
    pretrainings: dict[tuple[str, int], Run] = {}
    runs = []
    seeds = dict.fromkeys(
        seed for task in suite.tasks for seed in suite.task_seeds(task))
    for seed in seeds:
        for start in suite.starts:
            tasks = suite.row_tasks(start, seed)
            needs = None
            if start.config and tasks:
                number = suite.pretrain_seed(seed)
                key = start.name, number
                if key not in pretrainings:
                    folder = work_dir / _slug(start.name) / f'pretrain_seed{number}'
                    pretrainings[key] = Run(start, None, number, folder)
                    runs.append(pretrainings[key])
                needs = pretrainings[key]
            runs += [
                Run(start, task, seed, work_dir / _slug(start.name) /
                    f'{_slug(task.name)}_seed{seed}', needs)
                for task in tasks]
    return runs


def execute_run(run: Run, root: Path, threads: int, progress: Progress | None = None,
                keep_weights: bool = False) -> dict:
    """Execute a run, resuming an earlier attempt with the same settings.

    Args:
        root: The checkout.
        threads: Threads of each process.
        keep_weights: Keep the checkpoints of a task after its test.

    Returns:
        The result, which is also in ``folder/result.json``.

    Raises:
        ToolError: If a tool fails.
        KeyError: If the test does not report the metric of the task.
    """
    begin = time.time()
    _prepare(run)
    commands: list[str] = []

    def tool(*command: object):
        command = [str(part) for part in command]
        commands.append(shlex.join(
            ['python', *(part.replace(f'{root}/', '') for part in command)]))
        run_tool(command, root, run.folder / 'log.txt', progress, threads)

    try:
        found = _executor_of(run)(run, tool)
    finally:
        minutes = _add_minutes(run, (time.time() - begin) / 60)
    result = dict(
        start=run.start.name, task=run.task.name if run.task else None, seed=run.seed,
        fingerprint=run.fingerprint, **found,
        minutes=minutes, commands=commands, commit=git_commit(),
        machine=describe_machine(), threads=threads,
        finished=time.strftime('%Y-%m-%d %H:%M'))
    if run.task and not keep_weights:
        for file in run.folder.rglob('*.pth'):
            file.unlink()
    with atomic_write(run.folder / 'result.json') as file:
        file.write(json.dumps(result, indent=1).encode())
    return result


def _prepare(run: Run) -> None:
    """Create the folder; move aside what other settings left there."""
    note = run.folder / 'settings.txt'
    if run.folder.is_dir() and not (
            note.is_file() and note.read_text() == run.fingerprint):
        run.folder.rename(run.folder.with_name(
            f'{run.folder.name}_before_{time.strftime("%Y%m%d_%H%M%S")}'))
    run.folder.mkdir(parents=True, exist_ok=True)
    note.write_text(run.fingerprint)


def _add_minutes(run: Run, minutes: float) -> float:
    """Minutes of all attempts at a run, including failed ones."""
    note = run.folder / 'minutes.txt'
    total = minutes + (float(note.read_text()) if note.is_file() else 0.)
    note.write_text(f'{total:.3f}')
    return round(total, 2)


def _executor_of(run: Run) -> Callable[[Run, Callable], dict]:
    if run.task is None:
        return _pretrain
    return _evaluate_frozen if run.task.protocol else _fine_tune


def _pretrain(run: Run, tool: Callable) -> dict:
    folder = run.folder / 'train'
    _train(run.start.config, folder, run.seed, run.start.options, tool)
    tool('tools/convert/export_backbone.py', run.start.config, last_checkpoint(folder),
         run.backbone, '--to', 'mmseg')
    return dict(probe=_probe_curves(folder))


def _fine_tune(run: Run, tool: Callable) -> dict:
    task, folder = run.task, run.folder / 'train'
    weights = run.needs.backbone if run.needs else run.start.checkpoint
    init = (f'{task.init}=None' if weights is None
            else spell(f'{task.init}.checkpoint', str(weights)))
    _train(task.config, folder, run.seed, task.options, tool, init)
    tool('tools/test.py', task.config, last_checkpoint(folder), '--work-dir',
         run.folder / 'test', '--cfg-options', f'{task.init}=None',
         *(spell(*option) for option in task.options.items()))
    return _scored(run, read_scores(run.folder / 'test'))


def _evaluate_frozen(run: Run, tool: Callable) -> dict:
    task, file = run.task, run.folder / 'scores.json'
    weights = run.needs.backbone if run.needs else run.start.checkpoint
    backbone = [weights] if weights else [task.network, '--weights', 'random']
    flags = [text for key, value in task.options.items()
             for text in (f'--{key.replace("_", "-")}', value)]
    tool('tools/analysis/evaluate_backbone.py', task.protocol, *backbone, *flags,
         '--seed', run.seed, '--out', file)
    row, = json.loads(file.read_text())['rows'].values()
    return _scored(run, row['scores'])


def _scored(run: Run, scores: dict[str, float]) -> dict:
    task = run.task
    if task.metric not in scores:
        raise UserKeyError(
            f'{run.title}: the test reports no metric {task.metric!r}, only '
            f'{", ".join(sorted(scores))}.')
    return dict(metric=task.metric, value=scores[task.metric] * task.scale,
                scores=scores)


def _train(config: str, folder: Path, seed: int, options: Mapping[str, Any],
           tool: Callable, *more: str) -> None:
    resume = ['--resume'] if (folder / 'last_checkpoint').is_file() else []
    tool('tools/train.py', config, '--work-dir', folder, *resume, '--cfg-options',
         f'randomness.seed={seed}', *more,
         *(spell(*option) for option in options.items()))


def _probe_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) curves of the scores that probes logged during training."""
    return {name: curve for name, curve in read_scalars(folder).items()
            if name.startswith('probe/')}


@cache
def _settings(config: str | None) -> str:
    return '' if config is None else repr(Config.fromfile(config).to_dict())


def _slug(name: str) -> str:
    """A folder name from a table name."""
    return '-'.join(''.join(c if c.isalnum() else ' ' for c in name.lower()).split())
