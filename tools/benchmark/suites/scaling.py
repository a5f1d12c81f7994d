"""Measure how a step of SlotCon scales with images, ranks and slots."""
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from timing.frame import Row, suite
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mmcontrast.methods.slotcon import SlotCon
from mmcontrast.methods.slotcon.alignment import Overlap
from mmcontrast.testing.ranks import on_ranks

from .slotcon_step import BytesSent

_CHANNELS, _SIZE, _STEPS = 256, 64, 4


@dataclass(frozen=True)
class Setting:
    """One point of the table: ranks, pairs of views per rank, prototypes."""

    ranks: int
    images: int
    slots: int

    def __str__(self) -> str:
        return f'{self.ranks} x {self.images} images, K={self.slots}'


SETTINGS = [Setting(ranks, images, 256) for ranks in (1, 2, 4) for images in (4, 8, 16)
            ] + [Setting(2, 8, slots) for slots in (64, 1024)]


@suite('scaling', 'How a step of SlotCon grows with images, ranks and slots')
def scaling(max_ranks: int = 4):
    """ResNet-18, 64-pixel views, real gloo processes with one thread each.

    --max-ranks  skip settings with more processes
    """
    settings = [setting for setting in SETTINGS if setting.ranks <= max_ranks]

    def run() -> Iterator[Row]:
        for setting in settings:
            yield from rows_of(setting)
    return run


def rows_of(setting: Setting) -> Iterator[Row]:
    """Measured on the slowest rank, with the prediction of docs/scaling.md."""
    ranks = on_ranks(setting.ranks, steps_on_rank, setting.images, setting.slots)
    most = {name: max(rank[name] for rank in ranks) for name in ranks[0]}
    keys = most['keys'] * _CHANNELS * 4
    cells = setting.images * 4 * (_SIZE // 16) ** 2     # both views, both branches
    yield Row(f'{setting}: step', most['seconds'], 's')
    yield Row(f'{setting}: gradients sent by a rank', most['gradients'] / 1e6, 'MB',
              target=f'derived: {4 * most["parameters"] / 1e6:.3g}')
    # Each direction tells how many queries and keys it has; the center is K numbers.
    small = 4 * 8 + setting.slots * 4
    derived = keys + small if setting.ranks > 1 else 0
    yield Row(f'{setting}: keys and center sent by a rank', most['others'] / 1e6, 'MB',
              target=f'derived: {derived / 1e6:.3g}')
    yield Row(f'{setting}: logits of a direction', most['logits'] / 1e6, 'MB')
    yield Row(f'{setting}: score maps, raw and aligned (computed)',
              2 * cells * setting.slots * 4 / 1e6, 'MB')
    yield Row(f'{setting}: memory that the steps added', most['memory'] / 1e6, 'MB')


def steps_on_rank(rank: int, images: int, slots: int) -> dict:
    torch.manual_seed(0)
    model = tiny_slotcon(slots)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    module = DistributedDataParallel(_Step(model), broadcast_buffers=False)
    sent = [0]
    module.register_comm_hook(sent, _count_and_average)
    g = torch.Generator().manual_seed(rank)
    views = [torch.randn(images, 3, _SIZE, _SIZE, generator=g) for _ in range(2)]
    took, others, logits = [], BytesSent(), 0
    for _ in range(_STEPS):
        sent[0], others.total = 0, 0
        start = time.perf_counter()
        with others:
            terms = module(views)
        _loss(terms).backward()
        took.append(time.perf_counter() - start)
        logits = max(x.logits.numel() * 4 for x in terms.contrast)
    # Of both directions, so twice the slots of an image.
    keys = 2 * images * terms.monitored['slots_per_image'].item()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return dict(
        seconds=min(took[1:]), gradients=sent[0], others=others.total, logits=logits,
        keys=keys, parameters=trained, memory=(after - before) * 1024)


class _Step(nn.Module):
    """What DDP wraps: the whole loss as one forward."""

    def __init__(self, model: SlotCon):
        super().__init__()
        self.model = model

    def forward(self, views: list[Tensor]):
        box = torch.tensor([[0.1, 0.1, 0.9, 0.9]]).repeat(len(views[0]), 1)
        region = Overlap(box, torch.zeros(len(box), dtype=torch.bool))
        return self.model.terms_of(views, (region, region))


def _loss(terms) -> Tensor:
    return sum(terms.distill) + sum(x.loss for x in terms.contrast)


def _count_and_average(sent: list[int], bucket: torch.distributed.GradBucket
                       ) -> torch.futures.Future[Tensor]:
    buffer = bucket.buffer()
    sent[0] += buffer.numel() * buffer.element_size()
    world = torch.distributed.get_world_size()
    work = torch.distributed.all_reduce(buffer.div_(world), async_op=True)
    return work.get_future().then(lambda future: future.value()[0])


def tiny_slotcon(slots: int) -> SlotCon:
    """ResNet-18 at stride 16 with narrow heads: 64-pixel views give 4 x 4 maps."""
    heads = dict(hidden_channels=256, num_layers=3, norm_cfg=dict(type='BN'))
    model = SlotCon(
        backbone=dict(type='mmpretrain.ResNet', depth=18, strides=(1, 2, 2, 1)),
        projector=dict(type='ConvMLP', out_channels=_CHANNELS, **heads),
        predictor=dict(type='RowMLP', **heads),
        grouping=dict(type='SlotGrouping', num_slots=slots))
    model.train()
    model.momentum.coefficient = 0.99
    return model
