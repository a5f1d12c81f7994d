"""Run the real model on a few real batches in a temporary folder."""
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

from ...engine.distributed.unwrap import unwrap_model
from ...engine.hooks.class_check import check_classes, class_heads
from ...engine.optim.param_groups import unmatched_custom_keys
from ...io.checkpoint import check_matching_keys
from ..loading import read_weights
from ..train import build_runner
from .estimate import Times, check_disk, report_memory, report_time
from .machine import check_shared_memory
from .report import Report, suppress_output

# Seconds after which no further batch is loaded, or step made, for the estimate.
MAX_SECONDS = 30


def check_dry_run(report: Report, cfg: Config, checkpoint: str | None, steps: int
                  ) -> None:
    """Build model and loaders, match a checkpoint, train a few steps, validate a batch.

    A part that fails is a line; the parts that do not need it still run.
    """
    runner = times = None
    has_weights = False
    # Loader workers may still write while the folder is deleted.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        with report.section('model'):
            runner = _runner(cfg, folder)
            num = sum(p.numel() for p in runner.model.parameters())
            report.ok(f'{type(unwrap_model(runner.model)).__name__} with '
                      f'{num / 1e6:.1f} million parameters')
            has_weights = _check_init_weights(report, runner.model)
        if runner is None:
            return
        path = checkpoint or cfg.get('load_from')
        if path:
            with report.section('checkpoint'):
                _check_checkpoint(report, path, unwrap_model(runner.model))
        if cfg.get('train_dataloader') is not None:
            with report.section('training'):
                times = _train_some(report, runner, cfg, steps, has_weights)
        if cfg.get('val_dataloader') is not None:
            with report.section('validation'):
                _validate_one(report, runner, times)
        if times is not None:
            with report.section('cost'):
                check_disk(report, runner, cfg)
                report_memory(report)
                report_time(report, runner, cfg, times)
        _stop_workers(runner)


def _runner(cfg: Config, folder: str) -> Runner:
    cfg = Config(cfg.to_dict(), filename=cfg.filename)
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
                has_weights: bool) -> Times:
    """Forward, backward and optimizer step on real batches, timed apart from them."""
    with suppress_output():
        runner._train_loop = runner.build_train_loop(runner._train_loop)
    loader = runner.train_dataloader
    times = Times(loader.num_workers)
    batches = _load_batches(loader, times, max(loader.num_workers, 2))
    report.ok(f'first batch after {times.first_batch:.1f} s, then '
              f'{times.batch * 1000:.0f} ms a batch ({loader.num_workers} workers)')
    check_shared_memory(report, _bytes(batches[0]), cfg.train_dataloader)
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
    losses = _steps(runner, batches, times, steps)
    bad = {name: value for name, value in losses.items() if value != value
           or value in (float('inf'), float('-inf'))}
    text = ', '.join(f'{name} {value:.4g}' for name, value in losses.items())
    if bad:
        report.fail(f'after {len(times.steps)} steps losses are not finite: {text}. '
                    'Look at the labels above, or lower the learning rate.')
    else:
        report.ok(f'{len(times.steps)} steps forward, backward and of the optimizer: '
                  f'{text}')
    return times


def _load_batches(loader, times: Times, num: int) -> list:
    """Load batches, and measure how long they take while nothing else runs."""
    start = time.perf_counter()
    iterator, batches = iter(loader), []
    while len(batches) < num and time.perf_counter() - start < MAX_SECONDS:
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


def _steps(runner: Runner, batches: list, times: Times, num: int) -> dict:
    start, values = time.perf_counter(), {}
    for idx in range(num):
        batch = batches[idx % len(batches)]
        runner.call_hook('before_train_iter', batch_idx=idx, data_batch=batch)
        _synchronize()
        begin = time.perf_counter()
        values = runner.model.train_step(
            apply_to(batch, lambda x: isinstance(x, torch.Tensor), torch.clone),
            optim_wrapper=runner.optim_wrapper)
        _synchronize()
        times.steps.append(time.perf_counter() - begin)
        if idx and time.perf_counter() - start > MAX_SECONDS:
            break
    return {name: value.detach().item() for name, value in values.items()
            if isinstance(value, torch.Tensor) and value.numel() == 1}


def _validate_one(report: Report, runner: Runner, times: Times | None) -> None:
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
    if times is not None:
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
    metainfo = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
    if metainfo.get('classes') and class_heads(runner.model):
        report.ok(f'heads and class list agree: {len(metainfo["classes"])} classes')


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
            if part.get('type') == 'Pretrained']


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
