"""Time parts of SlotCon against a literal implementation of its description."""
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.model.utils import revert_sync_batchnorm
from timing.frame import Row, suite, time_in_turns
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmcontrast.apis.config import load_config
from mmcontrast.apis.train import fit_to_devices
from mmcontrast.methods.slotcon import SlotGrouping
from mmcontrast.methods.slotcon.alignment import Aligner, Overlap
from mmcontrast.methods.slotcon.losses import distillation, slot_contrast, update_center
from mmcontrast.registry import MODELS
from mmcontrast.testing.ranks import on_ranks

from . import slotcon_as_written as written

_CONFIG = 'mmcontrast::slotcon/slotcon_resnet50_8xb64-coslr-800e_coco.py'
_RELEASED = 'the released SlotCon code'
_CHANNELS, _CELLS, _PRESENT = 256, 7, 12


@suite('slotcon_step', 'SlotCon: its parts against a literal implementation',
       threads=0)
def slotcon_step(images: int = 64, turns: int = 7, step_images: int = 4,
                 step_size: int = 224):
    """Grouping, alignment, losses at 7 x 7 maps and 256 channels; a complete step.

    --images       N, pairs of views
    --turns        turns of each comparison within a run
    --step-images  pairs of views of the complete step with ResNet-50
    --step-size    side of its views in pixels
    """
    batches = {slots: Batch.draw(images, slots) for slots in (256, 2048)}
    step = Step(step_images, step_size)

    def run() -> Iterator[Row]:
        for slots, batch in batches.items():
            yield from part_rows(f'K={slots}', batch, turns)
        for slots in batches:
            yield from exchange_rows(f'K={slots}', images, slots)
        yield from step_rows(step, max(2, turns // 3))
    return run


@dataclass
class Batch:
    """Projector maps of both views in both branches, and where the views overlap.

    Attributes:
        maps: (student 1, student 2, teacher 1, teacher 2), (N, C, 7, 7) each. Every
            image shows a dozen prototypes, as trained ones do.
        overlaps: The region of view 1 and of view 2.
    """

    maps: list[Tensor]
    prototypes: Tensor
    overlaps: list[Overlap]
    predictor: nn.Module

    @classmethod
    def draw(cls, images: int, slots: int, seed: int = 0) -> 'Batch':
        prototypes = torch.randn(
            slots, _CHANNELS, generator=torch.Generator().manual_seed(slots))
        g = torch.Generator().manual_seed(seed)
        shown = torch.randint(slots, (images, _PRESENT), generator=g)
        pixels = torch.randint(_PRESENT, (images, _CELLS ** 2), generator=g)
        clean = prototypes[shown.gather(1, pixels)].mT.unflatten(2, (_CELLS, _CELLS))
        maps = [clean + 0.3 * torch.randn(clean.shape, generator=g) for _ in range(4)]
        corners = torch.rand(2, images, 2, generator=g) * 0.4
        overlaps = [
            Overlap(torch.cat([c, c + 0.5], 1), torch.rand(images, generator=g) < 0.5)
            for c in corners]
        predictor = nn.Sequential(
            nn.Linear(_CHANNELS, 4096), nn.BatchNorm1d(4096), nn.GELU(),
            nn.Linear(4096, _CHANNELS))
        return cls(maps, prototypes, overlaps, predictor)

    def grouping(self) -> SlotGrouping:
        module = SlotGrouping(_CHANNELS, len(self.prototypes))
        module.prototypes.data.copy_(self.prototypes)
        return module


def part_rows(name: str, batch: Batch, turns: int) -> Iterator[Row]:
    for title, functions, target in (
            ('alignment, forward and backward, one view', alignment(batch),
             'at least 4'),
            ('grouping, alignment and losses, forward and backward',
             own_parts(batch), 'at least 2' if name == 'K=2048' else '')):
        found = time_in_turns(functions, turns)
        for who in functions:
            yield Row(f'{name}: {title}, {who}',
                      [v * 1e3 for v in found.times[who].values], 'ms')
        yield Row(f'{name}: {title}, as written / ours',
                  found.ratios['as written'].values, 'x', target=target)


def alignment(batch: Batch) -> dict[str, Callable]:
    with torch.no_grad():
        scores = written.group(batch.maps[0], batch.prototypes)[1]
    last = scores.permute(0, 2, 3, 1).contiguous()
    overlap = batch.overlaps[0]

    def ours():
        x = last.detach().requires_grad_()
        Aligner(overlap, _CELLS, _CELLS)(x).backward(last)

    def as_written():
        x = scores.detach().requires_grad_()
        written.align(x, overlap.boxes, overlap.flipped).backward(scores)

    return {'ours': ours, 'as written': as_written}


def own_parts(batch: Batch) -> dict[str, Callable]:
    """Both implementations without the predictor's matrix products, which are equal."""
    center = torch.zeros(1, len(batch.prototypes))
    grouping, identity = batch.grouping(), nn.Identity()

    def students() -> list[Tensor]:
        return [x.detach().requires_grad_() for x in batch.maps[:2]]

    def ours():
        def group(module, maps):
            scores = [module(x) for x in maps]
            slots = [module.present_slots(*x) for x in zip(maps, scores, strict=True)]
            return scores, [a(s) for a, s in zip(aligners, scores, strict=True)], slots
        aligners = [Aligner(o, _CELLS, _CELLS) for o in batch.overlaps]
        _, student, queries = group(grouping, students())
        with torch.no_grad():
            scores, teacher, keys = group(grouping, batch.maps[2:])
        loss = sum(distillation(student[i], teacher[1 - i], center) for i in range(2))
        update_center(center.clone(), scores)
        contrast = slot_contrast(
            [(queries[0], keys[1]), (queries[1], keys[0])], identity)
        (loss + sum(x.loss for x in contrast)).backward()

    def as_written():
        def group(maps):
            slots, dots = zip(*(written.group(x, prototypes) for x in maps),
                              strict=True)
            return slots, dots, [
                written.align(d, o.boxes, o.flipped)
                for d, o in zip(dots, batch.overlaps, strict=True)]
        prototypes = batch.prototypes.detach().requires_grad_()
        queries, query_dots, student = group(students())
        with torch.no_grad():
            keys, key_dots, teacher = group(batch.maps[2:])
        loss = sum(written.distill(student[i], teacher[1 - i], center)
                   for i in range(2))
        rows = torch.cat(key_dots).permute(0, 2, 3, 1).flatten(0, 2)
        center * 0.9 + rows.mean(0) * 0.1
        loss = loss + sum(
            written.contrast(queries[i], keys[1 - i], query_dots[i], key_dots[1 - i],
                             identity)[0] for i in range(2))
        loss.backward()

    return {'ours': ours, 'as written': as_written}


def exchange_rows(name: str, images: int, slots: int) -> Iterator[Row]:
    """Two gloo processes: what a rank sends for the slot contrast, and the logits."""
    found = on_ranks(2, exchange_on_rank, images // 2, slots)
    ours, as_written = (max(rank[who] for rank in found)
                        for who in ('ours', 'as_written'))
    yield Row(f'{name}: sent by each of two ranks, ours', ours / 1e6, 'MB')
    yield Row(f'{name}: sent by each of two ranks, as written', as_written / 1e6, 'MB')
    yield Row(f'{name}: sent, ours / as written', 100 * ours / as_written, '%',
              target='at most 5 %')
    yield Row(f'{name}: largest difference of a logit',
              max(rank['difference'] for rank in found), '')


@torch.no_grad()
def exchange_on_rank(rank: int, images: int, slots: int) -> dict:
    batch = Batch.draw(images, slots, seed=rank)
    grouping, identity = batch.grouping(), nn.Identity()
    scores = [grouping(x) for x in batch.maps]
    slots_of = [grouping.present_slots(*x)
                for x in zip(batch.maps, scores, strict=True)]
    with BytesSent() as ours:
        mine = slot_contrast(
            [(slots_of[0], slots_of[3]), (slots_of[1], slots_of[2])], identity)
    vectors, dots = zip(*(written.group(x, batch.prototypes) for x in batch.maps),
                        strict=True)
    with BytesSent() as as_written:
        theirs = [written.contrast(vectors[q], vectors[k], dots[q], dots[k], identity)
                  for q, k in ((0, 3), (1, 2))]
    difference = max((a.logits - b[1]).abs().max().item()
                     for a, b in zip(mine, theirs, strict=True))
    return dict(ours=ours.total, as_written=as_written.total, difference=difference)


class BytesSent(TorchDispatchMode):
    """Count the bytes that this rank passes to collectives.

    An all-gather sends its input, an all-reduce its tensor.
    """

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == 'c10d':
            # c10d.allgather_(outputs, inputs, ...), c10d.allreduce_(tensors, ...)
            sent = args[1] if 'gather' in str(function) else args[0]
            for tensor in [sent] if isinstance(sent, Tensor) else sent:
                self.total += tensor.numel() * tensor.element_size()
        return function(*args, **(kwargs or {}))


class Step:
    """One batch and the published model, for a step and its network passes."""

    def __init__(self, images: int, size: int):
        torch.manual_seed(0)
        cfg = load_config(_CONFIG)
        fit_to_devices(cfg)
        self.model = revert_sync_batchnorm(MODELS.build(cfg.model))
        self.model.init_weights()
        self.model.train()
        self.model.momentum.coefficient = 0.99
        self.views = [torch.randn(images, 3, size, size) for _ in range(2)]
        box = torch.tensor([[0.1, 0.1, 0.9, 0.9]]).repeat(images, 1)
        self.overlaps = (Overlap(box, torch.zeros(images, dtype=torch.bool)),) * 2

    def whole(self):
        self.model.zero_grad(set_to_none=False)
        losses = self.model.losses_of(self.views, self.overlaps)
        (losses['loss_distill'] + losses['loss_slot']).backward()

    def passes(self):
        """Backbone, projector, predictor: both views and branches, with backward."""
        model, momentum_encoder = self.model, self.model.momentum
        model.zero_grad(set_to_none=False)
        maps = [model.projector(model.backbone(view)[-1]) for view in self.views]
        with torch.no_grad():
            for view in self.views:
                momentum_encoder.projector(momentum_encoder.backbone(view)[-1])
        rows = [model.predictor(F.adaptive_avg_pool2d(x, 4).flatten(2).mT.flatten(0, 1))
                for x in maps]
        sum(x.mean() for x in rows).backward()


def step_rows(step: Step, turns: int) -> Iterator[Row]:
    found = time_in_turns(dict(passes=step.passes, step=step.whole), turns)
    yield Row('model passes only (both branches, projector, predictor), forward and '
              'backward',
              found.times['passes'].values, 's')
    yield Row('whole step without the optimizer', found.times['step'].values, 's',
              reference=f'3.36 s (fastest 3.24) with LARS at 2 x 4 x 224, {_RELEASED}')
    yield Row('whole step / model passes', found.ratios['step'].values, 'x')
