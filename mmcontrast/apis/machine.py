"""Describe the machine and the commit that a result was measured with."""
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import torch

_PACKAGES = ('torch', 'torchvision', 'onedl-mmengine', 'mmengine', 'onedl-mmcv', 'mmcv',
             'numpy', 'pillow', 'opencv-python', 'opencv-python-headless')


def describe_machine() -> dict:
    """Hardware, threads, load and versions that a timing depends on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    load = os.getloadavg()[0] if hasattr(os, 'getloadavg') else float('nan')
    return dict(
        cpu=_cpu_name(), cores=usable_cores(),
        torch_threads=torch.get_num_threads(), load_average=round(load, 1),
        omp_wait_policy=os.environ.get('OMP_WAIT_POLICY', ''), gpu=gpu,
        system=platform.platform(), python=platform.python_version(),
        packages=_versions())


def git_commit() -> str:
    """Short hash of the commit, marked if files differ from it."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ['git', 'describe', '--always', '--dirty=, with changed files',
             '--exclude=*'],
            cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 'unknown (not a git checkout)'
    return found.stdout.strip()


def _cpu_name() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(':', 1)[1].strip() for line in lines if 'model name' in line]
    return names[0] if names else platform.processor() or platform.machine()


def usable_cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
