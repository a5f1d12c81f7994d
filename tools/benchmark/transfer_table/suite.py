"""Read what a transfer suite compares: starts (rows), tasks (columns) and seeds.

A suite is a config file that holds only data. A complete one::

    title = 'PixPro on my images'
    seeds = [0, 1, 2]
    starts = [
        dict(name='random weights'),
        dict(name='PixPro', config='configs/pixpro/mine.py')]
    tasks = [
        dict(name='FCN, 10 % labels', config='my_fcn.py', metric='mIoU')]
"""
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmcontrast.apis.config import UsageError, existing_file
from mmcontrast.errors import closest, did_you_mean


@dataclass(frozen=True)
class Start:
    """A row: the initialization of the backbone before fine-tuning.

    Attributes:
        name: Name in the tables, unique.
        config: Pretraining config, which is trained and exported first.
        checkpoint: Weights of the backbone for ``init_cfg``, instead of a config.
            With neither the backbone starts from random weights.
        options: Overrides of the config, dotted keys.
        task_options: Overrides of the configs of the row's tasks (not of protocols).
        tasks: Names of the tasks of the row; default: all.
        seeds: Those of the tasks' seeds that the row uses; default: all.
    """

    name: str
    config: str | None = None
    checkpoint: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    task_options: Mapping[str, Any] = field(default_factory=dict)
    tasks: Sequence[str] | None = None
    seeds: Sequence[int] | None = None


@dataclass(frozen=True)
class Task:
    """A column: a downstream config, or a protocol for frozen backbones, and a metric.

    Attributes:
        name: Name in the tables, unique.
        metric: Key of the scores, such as 'mIoU' or 'coco/bbox_mAP'.
        config: Config with training and test; takes the backbone through ``init_cfg``.
        protocol: Instead of a config: one of tools/analysis/evaluate_backbone.py, such
            as 'dense-linear'. Its flags are the ``options``.
        network: With a protocol: config whose untrained backbone is used for a start
            from random weights.
        scale: Factor for the metric; 100 for fractions.
        group: Tasks of one group share a table and a plot.
        fraction: Percentage of the labels; tasks of a group that have it are plotted
            as a curve over it.
        options: Overrides of the config, dotted keys; or flags of the protocol.
        seeds: Seeds instead of those of the suite.
        init: Config key of the backbone's ``init_cfg``.
    """

    name: str
    metric: str
    config: str | None = None
    protocol: str | None = None
    network: str | None = None
    scale: float = 1
    group: str = ''
    fraction: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    seeds: Sequence[int] | None = None
    init: str = 'model.backbone.init_cfg'


@dataclass(frozen=True)
class Published:
    """A published figure, listed apart from those that were measured here."""

    row: str
    column: str
    value: float
    source: str


@dataclass(frozen=True)
class TransferSuite:
    """A comparison of starts on tasks, by fine-tuning or frozen protocols.

    Attributes:
        name: Name of the files that are written.
        title: Heading of the page.
        seeds: Seeds of the tasks, the same for each row.
        pretrain_seeds: Seeds of the pretraining, used in turn: with one, all tasks
            share one pretraining; with as many as ``seeds``, each has its own.
        about: Text below the title: what is compared, and how to read it.
        notes: Text below the tables: conclusions.
    """

    name: str
    title: str
    starts: Sequence[Start]
    tasks: Sequence[Task]
    seeds: Sequence[int] = (0, 1, 2)
    pretrain_seeds: Sequence[int] = (0,)
    published: Sequence[Published] = ()
    about: str = ''
    notes: str = ''

    def task_seeds(self, task: Task) -> Sequence[int]:
        return self.seeds if task.seeds is None else task.seeds

    def row_tasks(self, start: Start, seed: int) -> list[Task]:
        """The tasks of a row for a seed, with the overrides of both."""
        if start.seeds is not None and seed not in start.seeds:
            return []
        return [
            task if task.protocol else dataclasses.replace(
                task, options={**task.options, **start.task_options})
            for task in self.tasks if seed in self.task_seeds(task)
            and (start.tasks is None or task.name in start.tasks)]

    def pretrain_seed(self, seed: int) -> int:
        """The seed of the pretraining that the tasks of ``seed`` start from."""
        order = list(self.seeds).index(seed) if seed in self.seeds else 0
        return self.pretrain_seeds[order % len(self.pretrain_seeds)]


def read_suite(path: str, reduced: bool = False) -> TransferSuite:
    """Read a suite file and check it.

    Args:
        path: A config file, see the top of this module.
        reduced: Take the smaller form: the file's ``reduced``, a dict of the same keys;
            ``starts`` and ``tasks`` are then names to keep, ``start_options`` and
            ``task_options`` are added to the options of all.

    Raises:
        UsageError: If a key is unknown, missing or of the wrong kind, a name occurs
            twice, or there is no reduced form.
        FileNotFoundError: If the file, or a config that it names, is missing.
    """
    file = Config.fromfile(existing_file(path, 'suite'))
    content = file.to_dict()
    small = content.pop('reduced', None)
    name = Path(path).stem
    if reduced:
        if small is None:
            raise UsageError(f'{path} has no reduced form: it sets no `reduced`.')
        content, name = _reduce(content, small, path), f'{name}_reduced'
    for key, kind in (('starts', Start), ('tasks', Task), ('published', Published)):
        content[key] = [_build(kind, item, f'{path}: {key}[{i}]')
                        for i, item in enumerate(content.get(key, ()))]
    suite = _build(TransferSuite, dict(_without_variables(content), name=name), path)
    _check(suite, path)
    return suite


def _build(kind: type, content: Any, where: str) -> Any:
    if not isinstance(content, Mapping):
        raise UsageError(f'{where} must be a dict, got {content!r}.')
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key in content:
        if key not in fields:
            raise UsageError(f'{where}: unknown key {key!r}{did_you_mean(key, fields)} '
                             f'It takes {", ".join(fields)}.')
    missing = [name for name, f in fields.items() if name not in content
               and f.default is f.default_factory is dataclasses.MISSING]
    if missing:
        raise UsageError(f'{where} lacks {" and ".join(missing)}.')
    return kind(**content)


def _without_variables(content: Mapping) -> dict:
    """A suite file may have names of its own, unless they look like typos."""
    known = [f.name for f in dataclasses.fields(TransferSuite)]
    return {key: value for key, value in content.items() if key in known
            or closest(key, known, cutoff=0.75)}


def _reduce(content: dict, small: Mapping, path: str) -> dict:
    small = dict(small)
    for key in ('starts', 'tasks'):
        names = small.pop(key, None)
        items = [item for item in content[key]
                 if names is None or item.get('name') in names]
        lost = set(names or ()) - {item.get('name') for item in items}
        if lost:
            raise UsageError(f'{path}: reduced.{key} names {sorted(lost)}, which {key} '
                             'does not hold.')
        added = small.pop(f'{key[:-1]}_options', {})
        content[key] = [dict(item, options=dict(item.get('options', {}), **added))
                        if 'config' in item else item for item in items]
    return dict(content, **small)


def _check(suite: TransferSuite, path: str) -> None:
    for key, items in (('starts', suite.starts), ('tasks', suite.tasks)):
        names = [item.name for item in items]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(f'{path}: {key} holds {twice} twice.')
        if not names:
            raise UsageError(f'{path}: {key} is empty; a table needs at least one.')
        for item in items:
            for role in ('config', 'network'):
                if getattr(item, role, None) is not None:
                    existing_file(getattr(item, role), f'{key} {item.name!r}: {role}')
    for start in suite.starts:
        if start.config and start.checkpoint:
            raise UsageError(f'{path}: start {start.name!r} has a config and a '
                             'checkpoint; give one of them.')
        unknown = sorted(set(start.tasks or ()) - {task.name for task in suite.tasks})
        if unknown:
            raise UsageError(f'{path}: start {start.name!r} names the tasks {unknown}, '
                             'which the suite does not have.')
    for task in suite.tasks:
        if bool(task.config) == bool(task.protocol):
            raise UsageError(f'{path}: task {task.name!r} must have either a config or '
                             'a protocol.')
        if task.protocol and not task.network:
            raise UsageError(
                f'{path}: task {task.name!r} has a protocol but no network; name a '
                'config whose backbone starts with random weights.')
    for key in ('seeds', 'pretrain_seeds'):
        seeds = getattr(suite, key)
        if not seeds or not all(isinstance(seed, int) for seed in seeds):
            raise UsageError(f'{path}: {key} must be whole numbers, got {seeds!r}.')
