"""Report the scores of a trained and of a kept vocabulary, before and after training.

Both are parts of the labels of one test set, so that each class competes with all.
"""
from collections.abc import Mapping, Sequence

from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from ..datasets.open_vocabulary import plain_name
from ..engine.distributed.unwrap import unwrap_model
from ..io.config_types import type_name
from ..models.text.vocabulary import class_list
from ..structures.protocols import OpenVocabulary
from .config import UsageError

#: Prefix of the scores of both vocabularies.
PREFIX = 'vocabulary'
_COCO_OPTIONS = ('ann_file', 'metric', 'sort_categories', 'backend_args')
# Metrics of configs, the grouped one of each, and the options that both have.
_GROUPED = dict(
    CocoMetric=('GroupedCocoMetric', _COCO_OPTIONS),
    OVCocoMetric=('GroupedCocoMetric', _COCO_OPTIONS),
    GroupedCocoMetric=('GroupedCocoMetric', (*_COCO_OPTIONS, 'max_dets')),
    IoUMetric=('GroupedIoUMetric', ('ignore_index', 'nan_to_num')),
    GroupedIoUMetric=('GroupedIoUMetric', ('ignore_index', 'nan_to_num')))


def add_vocabulary_metric(cfg: Config) -> None:
    """Add a metric for groups of classes to the test evaluator of a config.

    It reads what the config's own COCO or IoU metric reads; that one stays.

    Raises:
        UsageError: If the config has no metric of which there is a grouped one.
    """
    metrics = cfg.test_evaluator
    metrics = list(metrics) if isinstance(metrics, Sequence) else [metrics]
    names = [type_name(metric) for metric in metrics]
    for name, metric in zip(names, metrics, strict=True):
        if name in _GROUPED:
            kind, options = _GROUPED[name]
            cfg.test_evaluator = [*metrics, ConfigDict(
                type=f'mmcontrast.{kind}', prefix=PREFIX, groups={},
                **{key: metric[key] for key in options if key in metric})]
            return
    raise UsageError(f'--kept needs one of {", ".join(_GROUPED)} in test_evaluator; '
                     f'the config has {", ".join(names)}.')


def set_vocabularies(runner: Runner, kept: str) -> None:
    """Score the kept classes and, as the trained ones, others of the test set.

    Trained are, of the other classes, those of the model's training if it notes them
    (a detector of any vocabulary), else all. Classes of the training are found by their
    names and synonyms, whatever their case and underscores; those that are not labels
    of the test set are named in the log.

    Args:
        runner: Of a config that :func:`add_vocabulary_metric` prepared.
        kept: ``'cat;dog'``, a text file, or the name of a dataset.

    Raises:
        UsageError: If a name is not a class of the test set, or none is left.
    """
    labels = list(runner.test_loop.dataloader.dataset.metainfo.get('classes', ()))
    by_name = {plain_name(label).lower(): label for label in labels}

    def folded(names: Sequence[str]) -> list[str]:
        return [plain_name(name).lower() for name in names]

    try:
        wanted = folded(class_list(kept))
    except ValueError as error:
        raise UsageError(f'--kept: {error}') from error
    unknown = [name for name in wanted if name not in by_name]
    if unknown:
        raise UsageError(f'--kept: the test set has no class {unknown[0]!r}; it has '
                         f'{", ".join(labels)}.')
    trained = list(by_name)
    model = unwrap_model(runner.model)
    if isinstance(model, OpenVocabulary):
        trained = _labels_of([folded(names) for names in _synonyms(model)], trained)
    trained = [name for name in trained if name not in wanted]
    if not trained:
        raise UsageError('--kept names all classes that were trained; nothing is left '
                         'to compare them with.')
    groups = {group: [by_name[name] for name in names]
              for group, names in (('trained', trained), ('kept', wanted))}
    for metric in runner.test_evaluator.metrics:
        if metric.prefix == PREFIX:
            metric.groups = groups


def _synonyms(model: OpenVocabulary) -> Sequence[Sequence[str]]:
    """The names of each trained class; a class without synonyms has one."""
    texts = getattr(model, 'class_texts', None)
    vocabulary = getattr(texts, 'trained_vocabulary', None)
    return [[name] for name in model.trained_class_names] if vocabulary is None else (
        vocabulary.synonyms)


def _labels_of(trained: Sequence[Sequence[str]], labels: Sequence[str]) -> list[str]:
    """Labels that were trained, by any of their names; warns about other classes."""
    without = [names[0] for names in trained if not set(names) & set(labels)]
    if without:
        listed = ', '.join(without[:10]) + (', ...' if len(without) > 10 else '')
        MMLogger.get_current_instance().warning(
            f'{len(without)} of the {len(trained)} trained classes are not labels of '
            f'the test set and have no scores: {listed}.')
    learned = {name for names in trained for name in names}
    return [label for label in labels if label in learned]


def log_vocabularies(after: Mapping[str, float], before: Mapping[str, float]) -> None:
    """Write a table of both vocabularies to the log: before, after, change.

    Args:
        after: Scores of the tested checkpoint.
        before: Those of the earlier one; may be empty.
    """
    MMLogger.get_current_instance().info('\n' + table(after, before))


def table(after: Mapping[str, float], before: Mapping[str, float]) -> str:
    """Lines of the scores whose names begin with ``vocabulary/``."""
    columns = ('before', 'after', 'change') if before else ('score',)
    lines = [f'{"vocabulary":<11}{"":<16}' + ''.join(f'{c:>10}' for c in columns)]
    for group in ('trained', 'kept'):
        start = f'{PREFIX}/{group}/'
        for name in after:
            if name.startswith(start):
                values = [after[name]]
                if before:
                    values = [before[name], after[name], after[name] - before[name]]
                cells = [f'{value:>{"+" if k == 2 else ""}10.4f}'
                         for k, value in enumerate(values)]
                lines.append(f'{group:<11}{name.removeprefix(start):<16}'
                             + ''.join(cells))
    return '\n'.join(lines)
