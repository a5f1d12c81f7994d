"""Time a training step of PixPro against its network passes alone."""
import time
from collections.abc import Callable, Iterator

import torch
from timing.frame import Comparison, Row, Spread, suite, time_in_turns
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmcontrast.apis.config import load_config
from mmcontrast.apis.train import fit_to_devices
from mmcontrast.engine import LARS, two_groups
from mmcontrast.methods.pixpro.pairs import pooled_keys
from mmcontrast.registry import MODELS

_CONFIG = 'mmcontrast::pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k.py'
_RELEASED = 'the released PixPro code'


@suite('pixpro_step', 'PixPro: a training step against its network passes',
       threads=0)
def pixpro_step(config: str = _CONFIG, images: int = 4, size: int = 224,
                turns: int = 3):
    """Two views, float32: forward, backward, momentum update and LARS.

    --config  of PixPro; the bounds are of its ResNet-50
    --images  batch size
    --size    side of the views in pixels
    --turns   turns of each comparison within a run
    """
    step = Step(config, images, size)

    def run() -> Iterator[Row]:
        whole = time_in_turns(dict(passes=step.passes, step=step.whole), turns)
        yield row('model passes only (online forward and backward, momentum forward)',
                  whole.times['passes'], 's')
        yield row('whole step', whole.times['step'], 's',
                  reference=f'2.44 s (fastest 2.31) at 2 x 4 x 224, {_RELEASED}')
        yield row('whole step / model passes', whole.ratios['step'], 'x')
        yield from own_part_rows(step, whole, turns)
        yield from update_rows(
            'momentum', step.momentum_functions(), 7, '9.0 ms for ResNet-50 alone')
        yield from update_rows(
            'LARS', step.lars_functions(), 7, '49 ms for ResNet-50 alone')
        yield from fine_map_rows()
    return run


class Step:
    """One batch, one model, and the parts of a step as functions."""

    def __init__(self, config: str, images: int, size: int):
        torch.manual_seed(0)
        cfg = load_config(config)
        fit_to_devices(cfg)
        self.model = MODELS.build(cfg.model)
        self.model.init_weights()
        self.model.train()
        self.model.momentum.coefficient = 0.99
        self.views = [torch.randn(images, 3, size, size) for _ in range(2)]
        box = torch.tensor([[0.0, 0.0, 0.7, 0.7]]).repeat(images, 1)
        self.coords = box, box + 0.15
        groups = two_groups(self.model)
        groups[1]['adapt'] = False
        self.optimizer = LARS(groups, lr=1e-3, weight_decay=1e-5)
        self.whole()    # gradients and momentum buffers exist from here on
        with torch.no_grad():
            self.maps = [self.model.projector(self.model.backbone(view)[-1])
                         for view in self.views]

    def whole(self):
        self.optimizer.zero_grad(set_to_none=False)
        self.model.losses_of(self.views, self.coords)['loss_pixel'].backward()
        self.optimizer.step()

    def passes(self):
        """Backbone and projector: both views through both branches, with backward."""
        model, momentum_encoder = self.model, self.model.momentum
        self.optimizer.zero_grad(set_to_none=False)
        outputs = [model.projector(model.backbone(view)[-1]) for view in self.views]
        with torch.no_grad():
            for view in self.views:
                momentum_encoder.projector(momentum_encoder.backbone(view)[-1])
        sum(x.mean() for x in outputs).backward()

    def own_part(self):
        """Masks, propagation, normalization and loss, with their backward."""
        maps = [x.clone().requires_grad_() for x in self.maps]
        queries = [nn.functional.normalize(self.model.propagation(x), dim=1)
                   for x in maps]
        with torch.no_grad():
            keys = [nn.functional.normalize(x, dim=1) for x in self.maps]
        loss = self.model.loss_module(tuple(queries), tuple(keys), self.coords)
        (loss.one_to_two + loss.two_to_one).backward()

    def momentum_functions(self) -> dict[str, Callable]:
        momentum_encoder = list(self.model.momentum.parameters())
        online = [*self.model.backbone.parameters(), *self.model.projector.parameters()]
        copies = [p.detach().clone() for p in momentum_encoder]

        @torch.no_grad()
        def stream():
            torch._foreach_add_(copies, online, alpha=0.0)

        @torch.no_grad()
        def one_by_one():
            for t, s in zip(momentum_encoder, online, strict=True):
                t.data = t.data * 0.99 + s.data * 0.01

        return {'streaming the tensors once': stream,
                'momentum update': self.model.momentum.update,
                'tensor by tensor into new memory': one_by_one}

    def lars_functions(self) -> dict[str, Callable]:
        params = [p for g in self.optimizer.param_groups for p in g['params']]
        weights = [p.detach().clone() for p in params]
        buffers = [torch.zeros_like(p) for p in params]

        @torch.no_grad()
        def stream():
            # Reads gradients, buffers and weights, writes buffers and weights.
            torch._foreach_add_(buffers, [p.grad for p in params], alpha=0.0)
            torch._foreach_mul_(weights, 1.0)

        @torch.no_grad()
        def one_by_one():
            for w, b, p in zip(weights, buffers, params, strict=True):
                g = p.grad + 1e-5 * w
                if w.ndim > 1 and w.norm() > 0 and g.norm() > 0:
                    g = g * (1e-3 * w.norm() / (g.norm() + 1e-8))
                b.mul_(0.9).add_(g)
                w.add_(b, alpha=-1e-3)

        return {'streaming the tensors once': stream, 'LARS step': self.optimizer.step,
                'tensor by tensor into new memory': one_by_one}


def own_part_rows(step: Step, whole: Comparison, turns: int) -> Iterator[Row]:
    own = time_in_turns(dict(own=step.own_part), turns).times['own']
    yield row('masks, propagation and loss, forward and backward',
              [v * 1e3 for v in own.values], 'ms')
    yield row('their share of the step',
              [100 * v / whole.times['step'].median for v in own.values], '%',
              target='at most 1 %', reference=f'less than 0.2 %, {_RELEASED}')


def update_rows(name: str, functions: dict[str, Callable], turns: int, reference: str
                ) -> Iterator[Row]:
    found = time_in_turns(functions, turns, warmup=2)
    stream, ours, loop = functions
    yield row(f'{name}: {stream}', [v * 1e3 for v in found.times[stream].values], 'ms')
    yield row(ours, [v * 1e3 for v in found.times[ours].values], 'ms',
              reference=f'{reference}, {_RELEASED}')
    yield row(f'{ours} / streaming', found.ratios[ours], 'x', target='at most 1.5')
    yield row(f'{name}: {loop} / streaming', found.ratios[loop], 'x')


def fine_map_rows(images: int = 32, side: int = 28) -> Iterator[Row]:
    """Masks of a pyramid level: 28 x 28 cells, 0.6 million pairs per image."""
    box = torch.tensor([[0.0, 0.0, 0.7, 0.7]]).repeat(images, 1)
    keys = [torch.randn(images, 256, side, side) for _ in range(2)]
    start = time.perf_counter()
    with _LargestTensor() as largest:
        pooled_keys(box, box + 0.15, *keys)
    yield Row(f'matched keys of {images} images at {side} x {side}',
              (time.perf_counter() - start) * 1e3, 'ms')
    yield Row(f'largest tensor made for them, of {images * side ** 4 * 4 / 1e6:.0f} MB '
              'for all masks at once', largest.bytes / 1e6, 'MB')


class _LargestTensor(TorchDispatchMode):
    """Record the size of the largest tensor that an operation returned."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for x in result if isinstance(result, tuple | list) else [result]:
            if isinstance(x, Tensor):
                self.bytes = max(self.bytes, x.numel() * x.element_size())
        return result


def row(name: str, values: Spread | list, unit: str, **more) -> Row:
    return Row(name, values.values if isinstance(values, Spread) else values, unit,
               **more)

