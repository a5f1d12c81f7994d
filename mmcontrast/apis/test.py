"""Test a checkpoint with the metrics of a config."""
from collections.abc import Sequence

from mmengine.config import Config, ConfigDict
from mmengine.evaluator import DumpResults
from mmengine.model import BaseTTAModel
from mmengine.runner import Runner

from ..engine.distributed.rank_failures import broadcast_failures
from ..engine.distributed.unwrap import unwrap_model
from ..io.config_types import type_name
from ..structures.protocols import SetsClasses
from .config import UsageError, check_config, existing_file, load_config
from .lint import lint_config
from .lint.top_level import former_keys
from .loading import load_weights, read_weights
from .train import build_runner
from .vocabulary_report import (
    add_vocabulary_metric,
    log_vocabularies,
    set_vocabularies,
)

PRETRAINING = """\
{name} has no {missing}: it pretrains without labels, so there is no score to compute.
  - See what the backbone learned: python tools/analysis/feature_maps.py {name} {ckpt}
  - Measure it on a task: python tools/convert/export_backbone.py {name} {ckpt} \
backbone.pth --to mmseg, then fine-tune and test a config of projects/downstream."""


@broadcast_failures()
def test(config: str, checkpoint: str, work_dir: str | None = None,
         out: str | None = None, show: bool = False, show_dir: str | None = None,
         wait_time: float = 2, tta: bool = False, classes: str | None = None,
         cfg_options: dict | None = None, launcher: str = 'none',
         kept: str | None = None, before: str | None = None) -> dict:
    """Test as a config says; the arguments are those of ``tools/test.py``.

    Args:
        config: Config file, or ``mmcontrast::...``.
        checkpoint: Weights to test.
        work_dir: Where log and scores go; see :func:`load_config`.
        out: A ``.pkl`` file for all predictions.
        show: Open a window for each drawn image.
        show_dir: Folder for the drawn images.
        wait_time: Seconds for which a window stays open.
        tta: Test-time augmentation, by the config's ``tta_model``, ``tta_pipeline``.
        classes: Other class texts than those of the training, for a model that reads
            them: ``'sky;tree;a red car'``, a text file, or another vocabulary of
            :func:`read_vocabulary`. One for each label of the test set, in order.
        cfg_options: Overrides, dotted keys.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        kept: Classes of the test set, as for ``classes``, that are scored beside the
            trained ones: ``vocabulary/kept/...`` and ``vocabulary/trained/...``, with
            a table in the log. See :func:`set_vocabularies`.
        before: Test this checkpoint too, from before the training, for the table.

    Returns:
        Metric names and values; those of ``before`` under ``before/...``.

    Raises:
        UsageError: If the config has nothing to test with or an option does not fit.
    """
    if before is not None and kept is None:
        raise UsageError('--before compares vocabularies: name classes with --kept.')
    if before is not None:
        existing_file(before, 'checkpoint')
    common = dict(work_dir=work_dir, wait_time=wait_time, tta=tta, classes=classes,
                  kept=kept, cfg_options=cfg_options, launcher=launcher)
    scores = test_once(config, checkpoint, out=out, show=show, show_dir=show_dir,
                       others=[before] if before else [], **common)
    if kept is None:
        return scores
    earlier = {} if before is None else test_once(config, before, **common)
    log_vocabularies(scores, earlier)
    return scores | {f'before/{name}': value for name, value in earlier.items()}


def test_once(config: str, checkpoint: str, work_dir: str | None, wait_time: float,
              tta: bool, classes: str | None, kept: str | None,
              cfg_options: dict | None, launcher: str, out: str | None = None,
              show: bool = False, show_dir: str | None = None,
              others: Sequence[str] = ()) -> dict:
    """Test one checkpoint; see :func:`test`.

    Args:
        others: Checkpoints that are tested next, checked before any time is spent.
    """
    if out is not None and not out.endswith(('.pkl', '.pickle')):
        raise UsageError(f'--out must be a .pkl file, got {out}')
    cfg = load_config(config, cfg_options, work_dir)
    missing = [key for key in ('test_dataloader', 'test_cfg', 'test_evaluator')
               if cfg.get(key) is None]
    if missing and not lint_config(cfg, [former_keys]):
        raise UsageError(PRETRAINING.format(
            name=config, ckpt=checkpoint, missing=' and no '.join(missing)))
    cfg.load_from = existing_file(checkpoint, 'checkpoint')
    cfg.launcher = launcher
    if show or show_dir:
        draw_predictions(cfg, show, show_dir, wait_time)
    if tta:
        augment_at_test_time(cfg)
    if kept is not None:
        add_vocabulary_metric(cfg)
    check_config(cfg)
    runner = build_runner(cfg)
    if classes is not None:
        name_classes(runner, classes)
    if kept is not None:
        set_vocabularies(runner, kept)
    for path in (*others, checkpoint):
        check_weights(runner, path, config)
    if out is not None:
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=out))
    return runner.test()


def check_weights(runner: Runner, checkpoint: str, config: str) -> None:
    """Refuse a checkpoint that lacks weights of the model, which mmengine only logs.

    The Runner loads the tested one again, with what its hooks do to it.

    Raises:
        UsageError: Naming config, checkpoint and missing weights.
    """
    model = unwrap_model(runner.model)
    model = model.module if isinstance(model, BaseTTAModel) else model
    try:
        load_weights(model, read_weights(checkpoint), checkpoint, config)
    except (KeyError, ValueError) as error:
        raise UsageError(str(error)) from error


def draw_predictions(cfg: Config, show: bool, show_dir: str | None,
                     wait_time: float) -> None:
    """Switch on the config's visualization hook."""
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise UsageError(
            '--show and --show-dir need default_hooks.visualization in the config, for '
            "example dict(type='mmseg.SegVisualizationHook').")
    hook.draw = True
    if show:
        hook.show, hook.wait_time = True, wait_time
    if show_dir and type_name(hook) == 'DetVisualizationHook':
        hook.test_out_dir = show_dir
    elif show_dir:
        cfg.visualizer.save_dir = show_dir


def name_classes(runner: Runner, classes: str) -> None:
    """Give the model of a runner other class texts.

    Raises:
        UsageError: If the model reads none, they cannot be used, or their number is not
            that of the labels.
    """
    model = unwrap_model(runner.model)
    if not isinstance(model, SetsClasses):
        raise UsageError(
            f'--classes: {type(model).__name__} reads no class texts; a DenseCLIP '
            'segmentor does.')
    try:
        model.set_classes(classes)
    except ValueError as error:
        raise UsageError(f'--classes: {error}') from error
    dataset = runner.test_loop.dataloader.dataset
    labels = dataset.metainfo.get('classes', ())
    if len(labels) != len(model.class_names):
        raise UsageError(
            f'--classes names {len(model.class_names)} classes '
            f'({", ".join(model.class_names)}), but the test set has {len(labels)} '
            f'labels to compare with: {", ".join(labels)}. Name one text for each, in '
            'this order.')


def augment_at_test_time(cfg: Config) -> None:
    """Wrap the model in ``tta_model`` and replace the innermost test pipeline."""
    missing = [key for key in ('tta_model', 'tta_pipeline') if key not in cfg]
    if missing:
        raise UsageError(f'--tta: the config has no {" and no ".join(missing)}.')
    dataset: ConfigDict = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
