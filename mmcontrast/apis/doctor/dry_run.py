"""Run the real model on a few real batches in a temporary folder."""
import copy
import tempfile
import time
import uuid
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook, LoggerHook
from mmengine.runner import Runner
from mmengine.utils import apply_to
from torch import nn
from torch.utils.data import DataLoader

from ...engine.distributed.unwrap import classes_of, unwrap_model
from ...engine.hooks.class_check import check_classes, class_heads
from ...engine.optim.param_groups import unmatched_custom_keys
from ...io.checkpoint import check_matching_keys
from ...io.config_types import PRETRAINED, type_name
from ..loading import read_weights
from ..machine import usable_cores
from ..train import build_runner
from .budget import Budget, OutOfTime
from .estimate import Times, check_disk, peak_memory, report_memory, report_time
from .machine import GIB, check_shared_memory, free_memory
from .report import Report, suppress_output
from .strides import check_feature_strides

# Seconds after which no further batch is loaded, or step made, for the estimate.
MAX_SECONDS = 30
# Samples of the steps that are tried first without a GPU: a large batch may take
# minutes and all memory. Two, so that batch norm has a variance; the optimizer takes
# its memory in the first step, and the last one shows what a sample adds.
_TRIED = (2, 2, 4)


def check_dry_run(report: Report, cfg: Config, checkpoint: str | None, steps: int,
                  budget: Budget | None = None) -> None:
    """Build model and loaders, match a checkpoint, train a few steps, validate a batch.

    A part that fails is a line; the parts that do not need it still run. When the time
    is over, the costs that are known by then are reported.
    """
    budget = budget or Budget(3)
    runner, times, stopped = None, Times(), False
    has_weights = False
    # Loader workers may still write while the folder is deleted.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        with report.section('model'):
            runner = _runner(cfg, folder)
            num = sum(p.numel() for p in runner.model.parameters())
            report.ok(f'{type(unwrap_model(runner.model)).__name__} with '
                      f'{num / 1e6:.1f} million parameters')
            has_weights = _check_init_weights(report, runner.model)
            check_feature_strides(report, runner.model)
        if runner is None:
            return
        path = checkpoint or cfg.get('load_from')
        if path:
            with report.section('checkpoint'):
                _check_checkpoint(report, path, unwrap_model(runner.model))
        try:
            if cfg.get('train_dataloader') is not None:
                with report.section('training'):
                    _train_some(report, runner, cfg, steps, has_weights, times, budget)
            if cfg.get('val_dataloader') is not None:
                with report.section('validation'):
                    _validate_one(report, runner, times)
        except OutOfTime:
            stopped = True
        if times.steps:
            with report.section('cost'):
                check_disk(report, runner, cfg)
                report_memory(report, times)
                report_time(report, runner, cfg, times)
        _stop_workers(runner)
    if stopped:
        raise OutOfTime


def _runner(cfg: Config, folder: str) -> Runner:
    cfg = copy.deepcopy(cfg)
    cfg.work_dir, cfg.launcher = folder, 'none'
    cfg.log_level, cfg.resume, cfg.load_from = 'ERROR', False, None
    # A unique name: mmengine keeps visualizers and loggers by name.
    cfg.experiment_name = f'doctor_{uuid.uuid4().hex[:8]}'
    visualizer = cfg.get('visualizer')
    if visualizer is not None:
        visualizer.vis_backends, visualizer.name = [], cfg.experiment_name
    cfg.exact_resume = False
    runner = build_runner(cfg)
    runner._hooks = [hook for hook in runner.hooks if not is_skipped(hook)]
    return runner


def is_skipped(hook: Hook) -> bool:
    """Whether a hook writes, draws or scores; ours say so themselves."""
    # mmdet, mmseg and mmpretrain have a hook each of which the name ends so.
    return (isinstance(hook, CheckpointHook | EarlyStoppingHook | LoggerHook)
            or getattr(hook, 'skip_in_dry_run', False)
            or type(hook).__name__.endswith('VisualizationHook'))


def _train_some(report: Report, runner: Runner, cfg: Config, steps: int,
                has_weights: bool, times: Times, budget: Budget) -> None:
    """Forward, backward and optimizer step on real batches, timed apart from them."""
    with suppress_output():
        runner._train_loop = runner.build_train_loop(runner._train_loop)
    loader = runner.train_dataloader
    times.workers = loader.num_workers
    for sentence in unmatched_custom_keys(runner.model, cfg.optim_wrapper):
        report.warn(sentence)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
    if runner.param_schedulers is not None:
        runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    if has_weights:
        runner._init_model_weights()
    check_classes(runner)
    _count_classes(report, runner)
    for stage in ('before_run', 'before_train', 'before_train_epoch'):
        runner.call_hook(stage)
    runner.model.train()
    size = cfg.train_dataloader.get('batch_size') or 1
    if not torch.cuda.is_available() and size > _TRIED[0]:
        losses = _try_parts(runner, cfg, times, size, budget)
        if losses is not None and not _whole_fits(report, times, size, budget, losses):
            return
    batches = _load_batches(loader, times, max(loader.num_workers, 2),
                            budget.share(0.3, MAX_SECONDS))
    report.ok(f'first batch after {times.first_batch:.1f} s, then '
              f'{times.batch * 1000:.0f} ms a batch (num_workers={loader.num_workers})')
    check_shared_memory(report, _bytes(batches[0]), cfg.train_dataloader)
    losses = _steps(runner, batches, times, steps, budget.share(0.5, MAX_SECONDS))
    _report_losses(report, losses, f'{times.measured} steps')


def _try_parts(runner: Runner, cfg: Config, times: Times, size: int, budget: Budget
               ) -> dict | None:
    """Estimate the step of a whole batch from steps on a few of its samples.

    Returns:
        The losses; None if a few samples cannot be trained, which a whole batch may.
    """
    losses = None
    for count in _TRIED:
        if count >= size or losses is not None and (
                times.steps[0] * count / size > budget.share(0.4, 2 * MAX_SECONDS)):
            break
        part = Times()
        try:
            batches = _load_batches(_part_loader(runner, cfg, count), part, 1, 0)
            memory = peak_memory()
            losses = _steps(runner, batches, part, 1, 0)
        except Exception:
            return losses
        if count > times.tried > 0:
            a_sample = max(peak_memory() - memory, 0) / (count - times.tried)
            times.memory = int(memory + a_sample * (size - times.tried))
        times.steps = [part.steps[0] * size / count]
        times.batch = part.first_batch * size / count / max(
            1, min(times.workers, usable_cores()))
        times.tried, times.measured = count, 0
    return losses


def _part_loader(runner: Runner, cfg: Config, count: int) -> DataLoader:
    """The training loader with a small batch, in this process."""
    settings = {key: value for key, value in cfg.train_dataloader.items()
                if key not in ('prefetch_factor', 'persistent_workers', 'pin_memory')}
    settings |= dict(batch_size=count, num_workers=0,
                     dataset=runner.train_dataloader.dataset)
    return type(runner).build_dataloader(settings, seed=runner.seed)


def _whole_fits(report: Report, times: Times, size: int, budget: Budget, losses: dict
                ) -> bool:
    """Whether steps on whole batches fit into time and memory; reports if not."""
    # Loaded in this process, a first step that warms up, and one that counts.
    needed = 2 * (times.batch * max(1, times.workers) + times.steps[0])
    free = free_memory()
    too_large = free is not None and times.memory and times.memory > free / 2
    if needed < budget.share(0.5, 60 * budget.minutes) and not too_large:
        return True
    _report_losses(report, losses, f'a step on {times.tried} of {size} samples')
    reason = ('memory' if too_large else
              f'the {budget.minutes:g} minutes of the doctor (--minutes)')
    report.ok(f'a step of {size} samples takes about {times.steps[0]:.0f} s on this '
              f'machine; none is made, for {reason}')
    if free is not None and times.memory and times.memory > free:
        report.warn(f'a step of {size} samples takes about {times.memory / GIB:.1f} '
                    f'GiB, {free / GIB:.1f} GiB are free: lower batch_size.')
    return False


def _report_losses(report: Report, losses: dict, what: str) -> None:
    bad = {name: value for name, value in losses.items() if value != value
           or value in (float('inf'), float('-inf'))}
    text = ', '.join(f'{name} {value:.4g}' for name, value in losses.items())
    if bad:
        report.fail(f'after {what} losses are not finite: {text}. Look at the labels '
                    'above, or lower the learning rate.')
    else:
        report.ok(f'{what} forward, backward and of the optimizer: {text}')


def _load_batches(loader: DataLoader, times: Times, num: int, seconds: float) -> list:
    """Load batches, and measure how long they take while nothing else runs."""
    start = time.perf_counter()
    iterator, batches = iter(loader), []
    while len(batches) < num and (
            not batches or time.perf_counter() - start < seconds):
        batch = next(iterator, None)
        if batch is None:
            break
        batches.append(batch)
        if len(batches) == 1:
            times.first_batch = time.perf_counter() - start
    if not batches:
        raise ValueError(
            'the training loader gives no batch: there are fewer samples than '
            'batch_size, and drop_last is on. Lower batch_size.')
    times.batch = (time.perf_counter() - start) / len(batches)
    return batches[:2]


def _steps(runner: Runner, batches: list, times: Times, num: int, seconds: float
           ) -> dict:
    start, values, measured = time.perf_counter(), {}, []
    for idx in range(num):
        batch = batches[idx % len(batches)]
        runner.call_hook('before_train_iter', batch_idx=idx, data_batch=batch)
        _synchronize()
        begin = time.perf_counter()
        values = runner.model.train_step(
            apply_to(batch, lambda x: isinstance(x, torch.Tensor), torch.clone),
            optim_wrapper=runner.optim_wrapper)
        _synchronize()
        measured.append(time.perf_counter() - begin)
        times.steps, times.measured = list(measured), len(measured)
        if time.perf_counter() - start + measured[-1] > seconds:
            break
    return {name: value.detach().item() for name, value in values.items()
            if isinstance(value, torch.Tensor) and value.numel() == 1}


def _validate_one(report: Report, runner: Runner, times: Times) -> None:
    with suppress_output():
        loop = runner.val_loop
    check_classes(runner)
    begin = time.perf_counter()
    batch = next(iter(loop.dataloader), None)
    if batch is None:
        raise ValueError('the validation loader gives no batch; its data set is empty.')
    loaded = time.perf_counter()
    runner.model.eval()
    with torch.no_grad():
        outputs = runner.model.val_step(batch)
        _synchronize()
    done = time.perf_counter()
    loop.evaluator.process(data_samples=outputs, data_batch=batch)
    metrics = ', '.join(type(metric).__name__ for metric in loop.evaluator.metrics)
    report.ok(f'one batch of {len(outputs)} predicted in {done - loaded:.2f} s, taken '
              f'by {metrics}')
    times.validation = len(loop.dataloader) * max(
        done - loaded, (loaded - begin) / max(1, loop.dataloader.num_workers))


def _check_checkpoint(report: Report, path: str, model: nn.Module) -> None:
    if '://' in path:
        report.warn(f'{path} will be downloaded when the run starts and is not '
                    'checked; download it and name the file.')
        return
    state = read_weights(path)
    message = check_matching_keys(state, model, path)
    if message:
        report.warn(message)
    else:
        report.ok(f'{path}: all {len(state)} weights fit')


def _count_classes(report: Report, runner: Runner) -> None:
    classes = classes_of(runner.train_dataloader.dataset)
    if classes and class_heads(runner.model):
        report.ok(f'heads and class list agree: {len(classes)} classes')


def _check_init_weights(report: Report, model: nn.Module) -> bool:
    """Whether all files that ``init_cfg`` reads weights from exist."""
    sources = {str(part['checkpoint']) for module in model.modules()
               for part in _pretrained(module)}
    for source in sorted(sources):
        if '://' in source:
            report.warn(f'{source} (init_cfg) will be downloaded when the run starts; '
                        'without network, download it elsewhere and name the file.')
        elif not Path(source).expanduser().is_file():
            report.fail(f'{source} (init_cfg) does not exist: name a file that does, '
                        'or None for random weights. Training is tried without it.')
    return all('://' not in source and Path(source).expanduser().is_file()
               for source in sources)


def _pretrained(module: nn.Module) -> list[dict]:
    init = getattr(module, 'init_cfg', None) or []
    return [part for part in ([init] if isinstance(init, dict) else init)
            if type_name(part) in PRETRAINED]


def _bytes(batch: object) -> int:
    total = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal total
        total += tensor.nbytes
        return tensor
    apply_to(batch, lambda x: isinstance(x, torch.Tensor), count)
    return total


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _stop_workers(runner: Runner) -> None:
    """Drop the iterators, which ends persistent workers."""
    for name in ('train', 'val'):
        loader = getattr(getattr(runner, f'_{name}_loop', None), 'dataloader', None)
        if getattr(loader, '_iterator', None) is not None:
            loader._iterator = None
