"""Check versions, devices, memory and limits of this machine."""
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.config import Config

from ..._compat import NEIGHBORS, find, problem_of
from ..machine import usable_cores
from .report import Report

GIB, MIB = 2 ** 30, 2 ** 20
# mmengine asks for this many open files.
OPEN_FILES = 4096
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def check_versions(report: Report) -> None:
    """Versions of the libraries that mmcontrast needs."""
    found = []
    for neighbor in NEIGHBORS:
        problem = problem_of(neighbor, neighbor.needed)
        if problem:
            report.fail(problem)
            continue
        dist, version = find(neighbor)
        if dist is not None:
            name = neighbor.module
            found.append(f'{name} {version or "from a folder"}'
                         + (f' ({dist})' if dist != name else ''))
    report.ok(', '.join(found))


def check_devices(report: Report) -> None:
    """GPUs and their free memory; processors and main memory."""
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            text = (f'GPU {number}: {torch.cuda.get_device_name(number)}, '
                    f'{free / GIB:.1f} of {total / GIB:.1f} GiB free')
            if free < total / 2:
                report.warn(f'{text}; another process uses the rest (nvidia-smi).')
            else:
                report.ok(text)
    else:
        report.ok('no GPU that torch can use; everything runs on the CPU')
    report.ok(f'{usable_cores()} processor(s) for this process, torch uses '
              f'{torch.get_num_threads()} thread(s); {_memory()}')


def check_limits(report: Report, cfg: Config) -> None:
    """Number of workers against processors; limit of open files."""
    workers = max([loader.get('num_workers', 0) or 0 for _, loader in loaders(cfg)],
                  default=0)
    if workers > usable_cores():
        report.warn(
            f'num_workers={workers}, but this process may use {usable_cores()} '
            'processor(s): they take turns. Set num_workers to that number, or less if '
            'training runs on the CPU too.')
    else:
        report.ok(f'num_workers={workers} for {usable_cores()} processor(s)')
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        report.warn(f'at most {hard} open files are allowed (ulimit -Hn); many workers '
                    f'need more: raise it to {OPEN_FILES}.')
    else:
        report.ok('open files: enough')


def check_shared_memory(report: Report, batch_bytes: int, loader: dict) -> None:
    """Shared memory for the batches that workers prefetch."""
    workers = loader.get('num_workers', 0) or 0
    folder = Path('/dev/shm')
    if not workers or not folder.is_dir():
        return
    needed = batch_bytes * workers * (loader.get('prefetch_factor') or 2)
    free = shutil.disk_usage(folder).free
    text = (f'the workers hold up to {needed / MIB:.0f} MiB of batches ready in shared '
            f'memory ({folder}), {free / MIB:.0f} MiB are free')
    if needed > free:
        report.fail(f'{text}; they die with a bus error. In docker: --shm-size=8g; or '
                    'fewer workers, or a smaller prefetch_factor.')
    elif needed > free / 2:
        report.warn(f'{text}.')
    else:
        report.ok(text)


def loaders(cfg: Config) -> Iterator[tuple[str, dict]]:
    """The dataloaders of a config by name, one each."""
    for name in LOADERS:
        loader = cfg.get(name)
        for part in loader if isinstance(loader, list) else [loader]:
            if isinstance(part, dict):
                yield name, part


def free_memory() -> int | None:
    """Main memory that this process may still take, in bytes; None if unknown."""
    free = _meminfo().get('MemAvailable')
    # In a container the kernel stops the process at this limit.
    limit, used = (_number(f'/sys/fs/cgroup/memory.{name}')
                   for name in ('max', 'current'))
    if limit is not None and used is not None:
        free = min(free or limit, max(0, limit - used))
    return free


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def _meminfo() -> dict[str, int]:
    try:
        lines = Path('/proc/meminfo').read_text().splitlines()
        return {line.split(':')[0]: int(line.split()[1]) * 1024 for line in lines}
    except (OSError, ValueError, IndexError):
        return {}


def _memory() -> str:
    values = _meminfo()
    if 'MemAvailable' not in values:
        return 'main memory unknown'
    return (f'{values["MemAvailable"] / GIB:.1f} of {values["MemTotal"] / GIB:.1f} GiB '
            'main memory free')
