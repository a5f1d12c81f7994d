"""Fixtures of many test modules, and how the tests are dealt out to two workers."""
import os

# Before torch is imported: workers share the cores, and with one thread each a number
# is the same on machines of one core and of many.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
# Compiled once, not in every process. A folder a worker: numba's cache mixes signatures
# up where two processes compile two of them for one function at the same moment.
os.environ.setdefault('NUMBA_CACHE_DIR', os.path.join(
    os.path.dirname(__file__), '../.pytest_cache/numba',
    os.environ.get('PYTEST_XDIST_WORKER', 'main')))

import gc  # noqa: E402
import logging  # noqa: E402
import multiprocessing.process  # noqa: E402
import subprocess  # noqa: E402
from types import SimpleNamespace  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from mmengine.registry import DefaultScope  # noqa: E402
from mmengine.runner import Runner  # noqa: E402
from mmengine.visualization import Visualizer  # noqa: E402

from tests.helpers import processes  # noqa: E402

# Files whose tests start ranks, fill disks, send signals or measure time: one worker
# takes them one after the other. They come first, then those with slow tests.
EXCLUSIVE = (
    'tests/engine/test_disk_trouble.py', 'tests/engine/test_exact_resume.py',
    'tests/engine/test_rank_failures.py', 'tests/engine/test_shard_position.py',
    'tests/engine/test_stop_signals.py', 'tests/io/test_checkpoint_files.py',
    'tests/datasets/test_shards.py', 'tests/models/test_contrastive_loss.py',
    'tests/tools/test_trainer_suite.py')


@pytest.fixture
def scope_as_it_was():
    """A Runner sets a global default scope; the next test must not inherit it."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture(autouse=True)
def no_visualizer_of_a_deleted_folder():
    """mmengine keeps visualizers by name; the folder of a test that passed is gone."""
    kinds = [Visualizer]
    for kind in kinds:
        kinds += kind.__subclasses__()
        for name, visualizer in list(kind._instance_dict.items()):
            folders = [backend._save_dir for backend in
                       getattr(visualizer, '_vis_backends', {}).values()]
            if not all(folder and os.path.isdir(folder) for folder in folders):
                del kind._instance_dict[name]


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


@pytest.fixture
def warned():
    """The warnings of a test, a list of sentences."""
    logger, handler = MMLogger.get_current_instance(), Lines()
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


# What draws weights in torch.nn.init.
DRAWING = ('kaiming_normal_', 'kaiming_uniform_', 'normal_', 'trunc_normal_',
           'uniform_', 'xavier_normal_', 'xavier_uniform_')


@pytest.fixture(scope='module')
def nan_weights():
    """Networks do not draw weights that the test fills: a tenth of its time.

    A weight that it forgets is NaN.
    """
    def blank(tensor, *_, **__):
        tensor.data.fill_(float('nan'))
        return tensor

    with pytest.MonkeyPatch.context() as patch:
        for name in DRAWING:
            patch.setattr(torch.nn.init, name, blank)
        yield


@pytest.fixture
def warm_tools(monkeypatch):
    """Tools that other tools start find their libraries imported."""
    monkeypatch.setattr('mmcontrast.apis.tool_process.subprocess', SimpleNamespace(
        Popen=processes.Popen, PIPE=subprocess.PIPE, STDOUT=subprocess.STDOUT))


# make test-fast: no marks to forget, what is slow is left where it begins.

def pytest_addoption(parser):
    parser.addoption(
        '--fast', action='store_true', help='leave out slow tests and those of whole '
        'networks, and skip others where they start a process or a training')


@pytest.fixture(scope='session', autouse=True)
def nothing_slow(request):
    """With ``--fast``, starting a process or a training skips the test."""
    with pytest.MonkeyPatch.context() as patch:
        if request.config.getoption('--fast'):
            patch.setattr(subprocess.Popen, '__init__', _skip('starts a process'))
            patch.setattr(multiprocessing.process.BaseProcess, 'start',
                          _skip('starts a process'))
            patch.setattr(Runner, 'train', _skip('trains'))
        yield


def _skip(reason: str):
    def skip(*_, **__):
        pytest.skip(reason)
    return skip


# pytest-xdist: a worker takes whole files.

def pytest_collection_modifyitems(config, items):
    if config.getoption('--fast'):
        # Networks that a test fills are whole ones.
        slow = [item for item in items if item.get_closest_marker('slow')
                or 'nan_weights' in item.fixturenames]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]
    if hasattr(config, 'workerinput'):
        slow_files = {item.path for item in items if item.get_closest_marker('slow')}
        items.sort(key=lambda item: (
            item.nodeid.partition('::')[0] not in EXCLUSIVE,
            item.path not in slow_files))


def pytest_collection_finish():
    # Libraries and tests stay: looking for garbage need not pass over them each time.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):

        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition('::')[0]
            if path in EXCLUSIVE:
                return 'exclusive'
            # Cases of a method share drawn weights (mmcontrast.testing.fill).
            if path.startswith('tests/golden/test_denseclip'):
                return 'tests/golden/denseclip'
            return path

    return ByFile(config, log)
