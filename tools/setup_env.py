"""Set up the virtual environment of ``make``, or check an existing interpreter.

    python3 tools/setup_env.py --venv .venv       create, complete, or do nothing
    python  tools/setup_env.py --check            check this interpreter

Uses only the standard library, as it runs before anything is installed. Each step is
a pip call that does nothing if its packages are installed, so that an interrupted
set-up can be continued; a complete one is recognized by a hash of the requirements.
"""
import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / 'requirements'
FITTING_PYTHONS = ((3, 10), (3, 11), (3, 12))
TICK = 30  # seconds between two signs of life
CONSTRAINED = ['-c', str(REQUIREMENTS / 'constraints.txt')]
# Title, what it takes, arguments of pip install. torch comes before onedl-mmcv, which
# compiles against it.
STEPS = (
    ('build tools', 'seconds', ['-r', REQUIREMENTS / 'build.txt']),
    ('PyTorch', 'a download of a few GB', ['-r', REQUIREMENTS / 'torch.txt']),
    ('onedl-mmcv', 'compiles once: about 9 minutes on 2 cores, more for CUDA',
     ['-v', '--no-build-isolation', '-r', REQUIREMENTS / 'mmcv.txt']),
    ('mmengine, mmdetection, mmsegmentation, mmpretrain, open_clip, test tools',
     'a minute or two', ['-r', REQUIREMENTS / 'all.txt']),
    ('mmcontrast itself, editable', 'seconds',
     ['--no-build-isolation', '--no-deps', '-e', ROOT]),
)
# What a log says, and what helps.
ADVICE = (
    (r'Python\.h: No such file',
     'the headers of Python are missing: apt-get install python3-dev'),
    (r'unable to execute|(g\+\+|c\+\+|gcc|cc).{0,40}(not found|No such file|failed: N)',
     'a C++ compiler is missing: apt-get install build-essential'),
    (r'Killed signal|Killed$', 'memory ran out; fewer compilers at once need less: '
     'MAX_JOBS=1 make env'),
    (r'CUDA version .* mismatches', 'nvcc does not fit this PyTorch; operators for the '
     'CPU alone compile without it: CUDA_VISIBLE_DEVICES= make env'),
    (r'No space left on device', 'the disk is full; some 10 GB are needed'),
    (r'No matching distribution|Could not find a version|Max retries|ConnectionError',
     'the package index could not be reached, or lacks a version: check the network'),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--venv', default='.venv', help='folder of the environment')
    parser.add_argument('--check', action='store_true',
                        help='check the running interpreter, install nothing')
    args = parser.parse_args()
    if args.check:
        check_this_python()
    else:
        set_up(Path(args.venv).absolute())


def set_up(venv: Path) -> None:
    """Create ``venv`` with everything in it, or notice that it is there."""
    stamp = venv / '.mmcontrast-complete'
    wanted = fingerprint()
    if stamp.is_file() and stamp.read_text() == wanted and works(venv):
        return
    started = time.monotonic()
    say(f'Setting up {venv} for mmcontrast. It needs a C++ compiler, the network and '
        f'about 15 minutes, once. Details go to {venv / "setup.log"}.')
    create(venv)
    stamp.unlink(missing_ok=True)
    for number, (title, duration, arguments) in enumerate(STEPS, 1):
        say(f'[{number}/{len(STEPS)}] {title} ({duration})')
        install(venv, title, arguments)
    stamp.write_text(wanted)
    say(f'Ready after {clock(time.monotonic() - started)}. To work in it yourself: '
        f'. {venv}/bin/activate')


def fingerprint() -> str:
    """Hash of everything that the environment is made from."""
    digest = hashlib.sha256(str(ROOT).encode())
    for path in sorted(REQUIREMENTS.glob('*.txt')) + [ROOT / 'setup.py']:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def works(venv: Path) -> bool:
    """Whether its interpreter starts; a system upgrade may have taken it away."""
    return version_of(venv / 'bin' / 'python') is not None


def create(venv: Path) -> None:
    """A virtual environment with pip, of a Python that fits."""
    python = venv / 'bin' / 'python'
    there = version_of(python)
    if there is not None and there not in FITTING_PYTHONS:
        sys.exit(f'{venv} holds Python {dotted(there)}, and {fitting()} fits. Remove '
                 'the folder and run make again, or name another: make VENV=.venv2')
    if there is not None and has_pip(python):
        return
    base = fitting_python()
    say(f'Creating it with {base} (Python {dotted(version_of(base))}).')
    ways = ([base, '-m', 'venv', '--clear', venv],
            [base, '-m', 'virtualenv', '--clear', venv])
    errors = [attempt(way) for way in ways if not has_pip(python)]
    if not has_pip(python):
        sys.exit('\n'.join([
            f'{base} cannot create a virtual environment:',
            *(f'  {line}' for error in errors for line in error.splitlines()[-3:]),
            'Debian and Ubuntu keep that apart: apt-get install python3-venv. Or, '
            f'anywhere: {base} -m pip install --user virtualenv. Then run make again.'
        ]))


def attempt(command: list) -> str:
    """Run a command; returns what it said."""
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout


def fitting_python() -> str:
    """An interpreter that fits: the running one first, then those on the path."""
    names = [sys.executable, *(f'python{dotted(v)}' for v in reversed(FITTING_PYTHONS))]
    found = {name: version_of(name) for name in names if shutil.which(name)}
    for name, version in found.items():
        if version in FITTING_PYTHONS:
            return name
    seen = ', '.join(f'{name} is {dotted(v)}' for name, v in found.items() if v)
    sys.exit(f'mmcontrast needs {fitting()}, and found: {seen}. Install one of them '
             '(python3.x must be on the PATH), or name an environment of your own that '
             'has everything: make test PYTHON=/path/to/python')


def version_of(python: object) -> tuple:
    """(major, minor) of an interpreter, None if it does not start."""
    if not shutil.which(str(python)):
        return None
    said = attempt([python, '-c', 'import sys; print(*sys.version_info[:2])']).split()
    return tuple(map(int, said)) if len(said) == 2 and said[0].isdigit() else None


def has_pip(python: Path) -> bool:
    return python.exists() and 'pip ' in attempt([python, '-m', 'pip', '--version'])


def install(venv: Path, title: str, arguments: list) -> None:
    """pip install into ``venv``; signs of life while it runs, advice if it fails."""
    command = [str(venv / 'bin' / 'python'), '-m', 'pip', 'install', '--no-input',
               '--disable-pip-version-check', *CONSTRAINED, *map(str, arguments)]
    log = venv / 'setup.log'
    with log.open('a') as sink:
        sink.write(f'\n$ {" ".join(command)}\n')
        begin = sink.tell()
    with log.open('a') as sink:
        pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink,
                               stderr=subprocess.STDOUT, cwd=ROOT, env=build_settings())
    try:
        wait(pip, log, begin)
    except BaseException:
        pip.terminate()
        pip.wait()
        say('Interrupted. The next make continues with this step.')
        raise
    if pip.returncode:
        text = since(log, begin)
        sys.exit('\n'.join([
            *text.splitlines()[-25:], '',
            f'Installing {title} failed (exit {pip.returncode}); above is the end of '
            f'{log}.', *advice(text),
            'Then run make again: it continues with this step.']))


def wait(process: subprocess.Popen, log: Path, begin: int) -> None:
    """Until the process ends, print every TICK seconds where it is."""
    started = time.monotonic()
    while True:
        try:
            process.wait(timeout=TICK)
            return
        except subprocess.TimeoutExpired:
            say(f'      {clock(time.monotonic() - started)}  {progress(log, begin)}')


def progress(log: Path, begin: int) -> str:
    """'compiled 57 of 130 files', or the last thing that pip said."""
    for line in reversed(since(log, begin).splitlines()):
        compiled = re.match(r'\s*\[(\d+)/(\d+)\]', line)
        if compiled:
            return f'compiled {compiled[1]} of {compiled[2]} files'
        if line.strip():
            return line.strip()[:90]
    return 'starting'


def since(log: Path, begin: int) -> str:
    """What was written to the log after byte ``begin``."""
    return log.read_bytes()[begin:].decode(errors='replace')


def build_settings() -> dict:
    """Environment of a compile: no debug symbols, no more jobs than memory holds."""
    settings = dict(os.environ, PIP_NO_INPUT='1')
    settings.setdefault('CFLAGS', '-g0')
    memory_gb = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    jobs = min(os.cpu_count() or 1, int(memory_gb / 2))
    settings.setdefault('MAX_JOBS', str(max(jobs, 1)))
    if not shutil.which('nvcc') and not Path('/usr/local/cuda/bin/nvcc').exists():
        # A GPU without its compiler: onedl-mmcv would ask for nvcc and give up.
        settings.setdefault('CUDA_VISIBLE_DEVICES', '')
    return settings


def advice(log: str) -> list:
    return [f'Likely: {hint}.' for pattern, hint in ADVICE
            if re.search(pattern, log, re.MULTILINE | re.IGNORECASE)]


def check_this_python() -> None:
    """Stop with a list of what is missing or does not fit; silent if all does."""
    if sys.version_info[:2] not in FITTING_PYTHONS:
        sys.exit(f'{sys.executable} is Python {dotted(sys.version_info[:2])}, and '
                 f'{fitting()} fits. Name another, or leave PYTHON= out.')
    problems = []
    pip = f'{sys.executable} -m pip install'
    compat = load_compat()
    for neighbor in compat.NEIGHBORS:
        needed = neighbor.module != 'open_clip'
        problem = compat.problem_of(neighbor, needed)
        problems.append(problem.replace('pip install', pip))
    names = {'PIL': 'pillow', 'xdist': 'pytest-xdist'}
    for module in ('numpy', 'PIL', 'rich', 'setuptools', 'pytest', 'xdist', 'ruff',
                   'tensorboard'):
        if importlib.util.find_spec(module) is None:
            name = names.get(module, module)
            problems.append(f'{name} is not installed; run: {pip} {name}')
    problems = [problem for problem in problems if problem]
    if problems:
        sys.exit('\n  '.join([
            f'{sys.executable} is used as it is, and does not fit:', *problems,
            'Or leave PYTHON= out: make then sets up its own environment in .venv.']))


def load_compat() -> object:
    """mmcontrast/_compat.py alone: the package would import what may be missing."""
    path = ROOT / 'mmcontrast' / '_compat.py'
    spec = importlib.util.spec_from_file_location('mmcontrast_compat', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def fitting() -> str:
    return f'Python {dotted(FITTING_PYTHONS[0])} to {dotted(FITTING_PYTHONS[-1])}'


def dotted(version: tuple) -> str:
    return '.'.join(map(str, version))


def clock(seconds: float) -> str:
    return f'{int(seconds) // 60} min {int(seconds) % 60:02d} s'


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
