"""Time ReliableRunner against mmengine's Runner: the cost of its guarantees."""
import statistics
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from timing.frame import Row, seconds, suite, time_in_turns
from timing.memory import PeakMemory

from mmcontrast.apis.config import load_config
from mmcontrast.apis.train import build_runner, fit_to_devices

from .views import write_toy_jpegs

_CONFIG = 'mmcontrast::pixpro/pixpro_resnet18_1xb32-coslr-600i_demo.py'
# What keeps the promises; the plain run does without.
_KEEPERS = ('checkpoint_keys', 'disk_guard', 'nonfinite_guard', 'stop_signals')


@suite('trainer', 'The cost of a reliable trainer', threads=1)
def trainer(config: str = _CONFIG, size: int = 96, batch: int = 16, images: int = 64,
            steps: int = 12, workers: int = 0):
    """Complete steps, from the loader to the hooks after the optimizer, in turns.

    The same config, once with mmengine's Runner and only those of our hooks that the
    method needs, once as ``tools/train.py`` runs it. Then both write a checkpoint.

    --config   of a two-view method, iteration-based
    --size     side of the views in pixels
    --batch    batch size
    --images   number of generated scenes, written as JPEGs
    --steps    steps of each runner per run, in turns
    --workers  data loading workers
    """
    folder = tempfile.TemporaryDirectory(prefix='mmcontrast-trainer-')
    write_toy_jpegs(Path(folder.name), images)

    def settings() -> Config:
        return _settings(config, folder.name, size, batch, workers)
    plain = Stepper(Runner.from_cfg(_without_keepers(settings())))
    reliable = Stepper(build_runner(settings()))

    def run() -> Iterator[Row]:
        # A folder by that name lives as long as this function.
        assert Path(folder.name).is_dir()
        found = time_in_turns(
            {'plain': plain.step, 'reliable': reliable.step}, runs=steps
        )
        ours, theirs = (found.times[name] for name in ('reliable', 'plain'))
        yield Row("step with mmengine's Runner", theirs.median * 1e3, 'ms')
        yield Row('step with ReliableRunner', ours.median * 1e3, 'ms')
        yield Row('step, ReliableRunner over Runner', found.ratios['reliable'].median,
                  'x', target='at most 1.02')
        yield Row('added to a step, median of the turns', 1e3 * statistics.median(
            a - b for a, b in zip(ours.values, theirs.values, strict=True)), 'ms')
        yield from _checkpoints(plain, reliable)
    return run


def _checkpoints(plain: 'Stepper', reliable: 'Stepper') -> Iterator[Row]:
    """Time and additional memory of writing a checkpoint."""
    for name, stepper in (("mmengine's Runner", plain), ('ReliableRunner', reliable)):
        took, grown, written = stepper.save()
        target = 'at most 1' if stepper is reliable else ''
        yield Row(f'checkpoint of {name}', took * 1e3, 'ms')
        yield Row(f'memory while {name} writes, in sizes of the file',
                  grown / written, 'x', target=target)
    yield Row('memory of a step, ReliableRunner beyond Runner, in sizes of the file',
              (reliable.memory_of_a_step() - plain.memory_of_a_step()) / written, 'x',
              target='at most 1')


class Stepper:
    """Call the steps of a runner one by one.

    Args:
        runner: Built, iteration-based.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        runner.register_hook(_StopBeforeTheFirstStep(), 'VERY_LOW')
        try:
            runner.train()
        except _Prepared:
            runner._hooks = [hook for hook in runner.hooks
                             if not isinstance(hook, _StopBeforeTheFirstStep)]

    def step(self) -> None:
        loop = self.runner.train_loop
        loop.run_iter(next(loop.dataloader_iterator))

    def save(self) -> tuple[float, int, int]:
        """Seconds, peak of additional memory in bytes, bytes of the file."""
        folder = self.runner.work_dir

        def write() -> None:
            self.runner.save_checkpoint(folder, 'iter_1.pth', by_epoch=False)
        write()
        peak = PeakMemory()
        took = seconds(write)
        grown = peak.beyond()
        return took, grown, (Path(folder) / 'iter_1.pth').stat().st_size

    def memory_of_a_step(self) -> int:
        """Peak memory of a step, in bytes, beyond what is held between steps."""
        peak = PeakMemory()
        self.step()
        return peak.beyond()


class _Prepared(Exception):
    """Raised by the hook below."""


class _StopBeforeTheFirstStep(Hook):
    """Stop the runner before its first step."""

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch=None) -> None:
        raise _Prepared


def _settings(config: str, data: str, size: int, batch: int, workers: int) -> Config:
    cfg = load_config(config, work_dir=tempfile.mkdtemp(dir=data))
    loader = cfg.train_dataloader
    pipeline = loader.dataset.pipeline
    next(step for step in pipeline if 'size' in step).size = size
    loader.dataset = dict(type='UnlabeledImages', data_root=data, pipeline=pipeline)
    loader.update(batch_size=batch, num_workers=workers, persistent_workers=workers > 0)
    cfg.train_cfg.max_iters = 10 ** 6
    cfg.default_hooks.pop('probe', None)
    cfg.log_level = 'ERROR'
    # mmengine keeps both by name, one for all runners.
    cfg.experiment_name = cfg.visualizer.name = str(uuid.uuid4())
    fit_to_devices(cfg)
    return cfg


def _without_keepers(cfg: Config) -> Config:
    for name in _KEEPERS:
        cfg.default_hooks.pop(name, None)
    cfg.default_hooks.checkpoint.pop('backend_args', None)
    return cfg
