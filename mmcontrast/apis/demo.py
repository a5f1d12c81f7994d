"""Run the demo: pretrain, export, fine-tune with and without, and report.

Every step is a command that a user can type; the report lists them.
"""
import re
import shlex
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.fileio import dump
from rich.progress import Progress

from ..datasets.image_lists import list_folder
from ..io.folders import mark_output_folder
from ..progress import run_bars
from ..visualization.demo_report import write_report
from .options import spell
from .run_files import last_checkpoint, read_scalars, read_scores
from .tool_process import ToolError, run_tool

PRETRAIN = 'configs/pixpro/pixpro_resnet18_1xb32-coslr-600i_demo.py'
FINETUNE = 'projects/downstream/mmseg/fcn_r18-d16_1xb8-60it_shapes-things-128x128.py'
# 'val' is for changing the demo; its score comes from 'test' alone.
NUM_TRAIN, NUM_VAL, NUM_TEST = 2000, 100, 500
NUM_LABELED = 5
# Of the pretraining, unless there are fewer images.
BATCH_SIZE = 32


@dataclass
class Demo:
    """Settings and results of the steps.

    Attributes:
        root: Folder with ``configs`` and ``tools``, in which commands run.
        work_dir: Folder of everything that is written.
        data: The user's folder of images, None for the toy world.
        seeds: Seeds of the fine-tuning, the same with and without pretraining.
        commands: (title, command) of every step.
        miou: mIoU in per cent by initialization, one per seed.
    """

    root: Path
    work_dir: Path
    data: Path | None
    seeds: Sequence[int]
    commands: list[tuple[str, str]] = field(default_factory=list)
    miou: dict[str, list[float]] = field(default_factory=dict)

    @property
    def shapes(self) -> Path:
        return self.work_dir / 'shapes'

    @property
    def images(self) -> Path:
        """The folder of the pretraining."""
        return self.data or self.shapes / 'img_dir' / 'train'

    @property
    def backbone(self) -> Path:
        return self.work_dir / 'backbone.pth'


def run_demo(root: str, work_dir: str = 'work_dirs/demo', data: str | None = None,
             seeds: Sequence[int] = (0, 1, 2), pretrain_iters: int | None = None,
             finetune_iters: int | None = None) -> Path:
    """Run all steps and write ``work_dir/report.html``.

    Args:
        root: Folder with ``configs`` and ``tools``: a checkout, or ``.mim`` of a wheel.
        work_dir: Folder of everything that is written.
        data: Folder of images to pretrain on instead of the toy world.
        seeds: Seeds of the fine-tuning runs, for either initialization.
        pretrain_iters, finetune_iters: Iterations; default: those of the configs.

    Returns:
        The report.

    Raises:
        FileNotFoundError: If ``data`` is missing or holds no image.
        ToolError: If a step fails; the end of its log has been printed.
    """
    start = time.time()
    demo = Demo(Path(root).resolve(), Path(work_dir).resolve(),
                None if data is None else Path(data).resolve(), seeds)
    if demo.data is not None:
        list_folder(str(demo.data))     # Raises before any work.
    demo.work_dir.mkdir(parents=True, exist_ok=True)
    mark_output_folder(demo.work_dir)
    with run_bars() as bars:
        runner = StepRunner(demo, bars)
        draw_scenes(demo, runner)
        pretrain(demo, runner, pretrain_iters)
        finetune(demo, runner, finetune_iters)
        draw_images(demo, runner)
    summary = _summary(demo, time.time() - start)
    dump(summary, str(demo.work_dir / 'result.json'), indent=1)
    page = write_report(demo.work_dir, summary)
    print(f'{_sentence(summary)}\nReport: {page}')
    return page


def draw_scenes(demo: Demo, runner: 'StepRunner'):
    runner('Draw the toy world', [
        'tools/data/make_shapes.py', demo.shapes, '--layout', 'mmseg',
        '--train', NUM_TRAIN, '--val', NUM_VAL, '--test', NUM_TEST, '--overwrite'])


def pretrain(demo: Demo, runner: 'StepRunner', iters: int | None):
    options = [spell('train_dataloader.dataset.data_root', str(demo.images))]
    for split in ('train', 'val'):
        for key, folder in dict(img_dir='img_dir', ann_dir='ann_dir_things').items():
            options.append(spell(f'default_hooks.probe.{split}_dataset.{key}',
                                 str(demo.shapes / folder / split)))
    num_images = len(list_folder(str(demo.images))[0])
    if num_images < BATCH_SIZE:
        options.append(f'train_dataloader.batch_size={num_images}')
    if iters:
        # Warm-up, schedule and probe follow.
        options.append(f'train_cfg.max_iters={iters}')
    folder = demo.work_dir / 'pretrain'
    runner('Pretrain a ResNet-18 with PixPro', [
        'tools/train.py', PRETRAIN, '--work-dir', folder, '--cfg-options', *options])
    runner('Export the backbone', [
        'tools/convert/export_backbone.py', PRETRAIN, last_checkpoint(folder),
        demo.backbone, '--to', 'mmseg'])


def finetune(demo: Demo, runner: 'StepRunner', iters: int | None):
    """The same FCN from both initializations; each seed has its own labeled scenes."""
    starts = {
        'random': 'model.backbone.init_cfg=None',
        'pretrained': spell('model.backbone.init_cfg.checkpoint', str(demo.backbone))}
    roots = [spell(f'{split}_dataloader.dataset.data_root', str(demo.shapes))
             for split in ('train', 'val', 'test')]
    for number, seed in enumerate(demo.seeds):
        labeled = range(number * NUM_LABELED, (number + 1) * NUM_LABELED)
        for start, option in starts.items():
            options = [
                option, f'randomness.seed={seed}', *roots,
                spell('train_dataloader.dataset.indices', list(labeled))]
            if iters:
                options += [f'train_cfg.max_iters={iters}',
                            f'train_cfg.val_interval={iters}']
            folder = demo.work_dir / f'finetune_{start}_{seed}'
            runner(f'Fine-tune an FCN, {start} start, seed {seed}', [
                'tools/train.py', FINETUNE, '--work-dir', folder,
                '--cfg-options', *options])
            runner(f'Score it on {NUM_TEST} test scenes', [
                'tools/test.py', FINETUNE, last_checkpoint(folder), '--work-dir',
                folder / 'test', '--cfg-options', roots[-1]])
            demo.miou.setdefault(start, []).append(
                read_scores(folder / 'test')['mIoU'])


def draw_images(demo: Demo, runner: 'StepRunner'):
    runner('Draw matched pixels', [
        'tools/analysis/browse_views.py', PRETRAIN, '--num', 4, '--out',
        demo.work_dir / 'views', '--cfg-options',
        spell('train_dataloader.dataset.data_root', str(demo.images)),
        'train_dataloader.dataset.pipeline.0.size=112'])
    images = demo.data or demo.shapes / 'img_dir' / 'val'
    runner('Draw feature maps', [
        'tools/analysis/feature_maps.py', PRETRAIN, demo.backbone, images,
        '--max-images', 6, '--size', 256, '--baseline', 'random',
        '--out', demo.work_dir / 'feature_maps.png'])


class StepRunner:
    """Run a tool, show its progress, write its output to a log."""

    def __init__(self, demo: Demo, bars: Progress):
        self.demo, self.bars = demo, bars

    def __call__(self, title: str, command: Sequence) -> str:
        """Run and return the output; if the tool fails, print its end and raise."""
        command = [str(part) for part in command]
        self.demo.commands.append((title, shlex.join(self._typed(command))))
        log = self.demo.work_dir / 'logs' / f'{len(self.demo.commands):02}.log'
        log.unlink(missing_ok=True)
        task = self.bars.add_task(title, total=None)
        try:
            output = run_tool(
                command, self.demo.root, log, lambda done, total: self.bars.update(
                    task, completed=done, total=total))
        except ToolError as error:
            self.bars.stop()
            print(f'{error.tail}\n{title} failed: {error}')
            raise
        self.bars.update(task, completed=1, total=1)
        self.bars.stop_task(task)
        return output

    def _typed(self, command: Sequence[str]) -> list[str]:
        """The command as a user would type it, in the checkout or anywhere."""
        if self.demo.root.name != '.mim':
            return ['python', *(
                part.replace(f'{self.demo.root}/', '') for part in command)]
        # An installed package: by the command mmcontrast, with configs by their scope.
        script, *arguments = command
        tool = script.removeprefix('tools/').removesuffix('.py').replace('_', '-')
        return ['mmcontrast', *tool.split('/'), *(
            re.sub('^configs/', 'mmcontrast::', re.sub(
                '^projects/', f'{self.demo.root}/projects/', part))
            for part in arguments)]


def _summary(demo: Demo, took: float) -> dict:
    means = {start: statistics.mean(values) for start, values in demo.miou.items()}
    return dict(
        miou=demo.miou, mean=means, margin=means['pretrained'] - means['random'],
        seeds=list(demo.seeds), minutes=took / 60,
        data='the toy world' if demo.data is None else str(demo.data),
        curves=read_scalars(demo.work_dir / 'pretrain'), commands=demo.commands)


def _sentence(summary: dict) -> str:
    mean, seeds = summary['mean'], ', '.join(map(str, summary['seeds']))
    return (f'mIoU on test scenes: {mean["pretrained"]:.1f} pretrained, '
            f'{mean["random"]:.1f} from random weights '
            f'({summary["margin"]:+.1f}; means over seeds {seeds}; '
            f'{summary["minutes"]:.0f} minutes in all).')

