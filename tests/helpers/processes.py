"""Run tools and Python programs without paying for their imports again.

:func:`run_python` takes the place of :func:`subprocess.run` in tests: same arguments,
same answer, a fraction of a second instead of ten seconds. :func:`call_tool` runs a
script in this very process. That a tool starts in a new interpreter is worth one test.
"""
import atexit
import gc
import io
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing import process, util
from pathlib import Path
from types import ModuleType

from mmcontrast.testing.processes import warm_context
from tests.helpers import shortcuts  # noqa: F401

ROOT = Path(__file__).parents[2]


def run_python(command, *, cwd=None, env=None, preexec_fn=None, timeout=None,
               check=False, capture_output=False, stdout=None, stderr=None, stdin=None,
               text=True) -> subprocess.CompletedProcess:
    """Run ``[sys.executable, FILE | -m MODULE | -c CODE, ARGUMENTS...]``.

    Args:
        command: As for :func:`subprocess.run`; ``-W ignore`` may come first.
        cwd: Folder to run in.
        env: The whole environment; PYTHONPATH and PYTHONWARNINGS are followed.
        preexec_fn: Called first; must be importable or a partial of such a function.
        timeout: Seconds, after which the process is killed.
        check: Whether an exit status other than 0 raises.
        capture_output, stdout, stderr, stdin, text: Output is text and always caught;
            ``stderr=subprocess.STDOUT`` is the only one that counts.

    Returns:
        With ``returncode``, ``stdout`` and ``stderr``.
    """
    program, *arguments = map(str, command)
    assert program == sys.executable and text
    together = stderr == subprocess.STDOUT
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / 'out', Path(folder) / 'err'
        child = warm_context().Process(target=_main, args=(
            arguments, os.fspath(cwd or os.getcwd()), dict(env or os.environ), str(out),
            str(out if together else err), preexec_fn))
        child.start()
        child.join(timeout)
        if child.exitcode is None:
            child.kill()
            child.join()
            raise subprocess.TimeoutExpired(command, timeout)
        done = subprocess.CompletedProcess(
            command, child.exitcode, out.read_text(errors='replace'),
            None if together else err.read_text(errors='replace'))
    if check:
        done.check_returncode()
    return done


def call_tool(path, *arguments, cwd=ROOT) -> subprocess.CompletedProcess:
    """Run a script in this process, as ``python PATH ARGUMENTS...`` below ``cwd``."""
    out, err = io.StringIO(), io.StringIO()
    argv, folder = sys.argv, os.getcwd()
    sys.argv, status = [str(path), *map(str, arguments)], 0
    os.chdir(cwd)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            try:
                runpy.run_path(str(path), run_name='__main__')
            except SystemExit as end:
                status = _status_of_exit(end)
    finally:
        sys.argv = argv
        os.chdir(folder)
    return subprocess.CompletedProcess(
        [str(path), *arguments], status, out.getvalue(), err.getvalue())


class Popen:
    """What :class:`subprocess.Popen` is to a caller that reads output to its end."""

    def __init__(self, command, **kwargs):
        for name in ('errors', 'bufsize'):
            kwargs.pop(name, None)
        done = run_python(command, **kwargs)
        self.returncode, self.stdout = done.returncode, io.StringIO(done.stdout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def _main(arguments: list, cwd: str, env: dict, out: str, err: str, before) -> None:
    """In the forked process: become ``python ARGUMENTS...`` and end as it ends."""
    _redirect(out, err)
    os.chdir(cwd)
    _take_environment(env)
    # The server's own exit functions, and that this is a child, are not the program's.
    atexit._clear()
    atexit.register(util._exit_function)
    process.current_process().name = 'MainProcess'
    multiprocessing.set_start_method(None, force=True)  # Its loaders fork.
    process._parent_process = None
    if before is not None:
        before()
    gc.freeze()     # The imported libraries, see tests/conftest.py.
    os._exit(_status_of(arguments))


def _redirect(out: str, err: str) -> None:
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
    for number, path, mode in ((0, os.devnull, os.O_RDONLY), (1, out, flags),
                               (2, err, flags)):
        file = os.open(path, mode, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, 'w', closefd=False)
    sys.stderr = open(2, 'w', buffering=1, closefd=False)


def _take_environment(env: dict) -> None:
    old = _split_path(os.environ)
    os.environ.clear()
    os.environ.update({key: str(value) for key, value in env.items()})
    sys.path[:] = _split_path(env) + [
        path for path in sys.path if path not in ('', *old)]
    if 'OMP_NUM_THREADS' in env and 'torch' in sys.modules:
        sys.modules['torch'].set_num_threads(int(env['OMP_NUM_THREADS']))
    if env.get('PYTHONWARNINGS') == 'ignore':
        warnings.simplefilter('ignore')


def _split_path(env) -> list[str]:
    return [path for path in env.get('PYTHONPATH', '').split(os.pathsep) if path]


def _status_of(arguments: list) -> int:
    """Run the program, print what ends it, and give its exit status."""
    status = 0
    try:
        _run(arguments)
    except SystemExit as end:
        status = _status_of_exit(end)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        status = status or 120
    return status


def _status_of_exit(end: SystemExit) -> int:
    """As the interpreter has it: a message is printed and stands for 1."""
    if isinstance(end.code, int | None):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def _run(arguments: list) -> None:
    if arguments[0] == '-W':
        warnings.simplefilter(arguments[1])
        arguments = arguments[2:]
    kind, *rest = arguments
    if kind == '-c':
        code, *rest = rest
        sys.argv = ['-c', *rest]
        sys.path.insert(0, '')
        main = sys.modules['__main__'] = ModuleType('__main__')
        exec(compile(code, '<string>', 'exec'), vars(main))
    elif kind == '-m':
        name, *rest = rest
        sys.argv = [name, *rest]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(name, run_name='__main__', alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, os.path.dirname(os.path.abspath(kind)))
        runpy.run_path(kind, run_name='__main__')
