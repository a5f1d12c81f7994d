"""Measure the contrastive loss in chunks against its plain formula."""
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from timing.frame import Row, time_in_turns
from timing.memory import peak_memory
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from mmcontrast.models import ContrastiveLoss
from mmcontrast.models.losses.world_batch import WorldBatch

SCALE, BIAS, GAMMA = 1 / 0.07, -10., 1.


@dataclass(frozen=True)
class LossSizes:
    """Pairs of each rank, dimensions, images compared at a time; the device."""

    pairs: int
    dims: int
    chunk_size: int
    device: str
    ranks: int = 1


def loss_rows(sizes: LossSizes, turns: int) -> Iterator[Row]:
    """Each form on one rank; softmax also as one of two and of four ranks."""
    for form in ('softmax', 'focal', 'sigmoid'):
        pair = Pair(form, sizes)
        yield from pair.difference_rows()
        yield from pair.cost_rows(turns, warmup=1)
    for ranks in (2, 4):
        # As many times the work, so in fewer turns.
        pair = Pair('softmax', replace(sizes, ranks=ranks))
        yield from pair.cost_rows(max(1, turns // ranks), warmup=0)


class Pair:
    """Both implementations on the embeddings of the first rank of one, two or four.

    Those of the other ranks are given; no other process takes part.
    """

    def __init__(self, form: str, sizes: LossSizes) -> None:
        generator = torch.Generator().manual_seed(0)
        own = sizes.pairs
        images, texts = (
            torch.randn(own * sizes.ranks, sizes.dims, generator=generator).to(
                sizes.device) for _ in range(2))
        images = F.normalize(images + texts, dim=1)
        texts = F.normalize(texts, dim=1)
        self.form, self.sizes = form, sizes
        factors = [SCALE, BIAS] if form == 'sigmoid' else [SCALE]
        self.factors = [torch.tensor(x, device=sizes.device, requires_grad=True)
                        for x in factors]
        self.all = [images.requires_grad_(), texts.requires_grad_()]
        self.own = [x.detach()[:own].clone().requires_grad_() for x in self.all]
        self.loss = _OneOfRanks(form, sizes.chunk_size, images.detach(),
                                texts.detach(), sizes.ranks)

    def chunked(self) -> Tensor:
        return self.loss(*self.own, *self.factors)

    def plain(self) -> Tensor:
        """As one rank computes it once the embeddings of all ranks are gathered."""
        if self.sizes.ranks == 1:
            return plain_loss(self.form, *self.own, *self.factors)
        # A differentiable gather: embeddings of all ranks receive gradients.
        (images, texts), (scale,) = self.all, self.factors
        own = len(self.own[0])
        labels = torch.arange(own, device=images.device)
        return (F.cross_entropy(scale * images[:own] @ texts.t(), labels)
                + F.cross_entropy(scale * texts[:own] @ images.t(), labels)) / 2

    def step(self, loss: Callable[[], Tensor]) -> Tensor:
        """Forward and backward, gradients held at the end."""
        for x in (*self.all, *self.own, *self.factors):
            x.grad = None
        value = loss()
        value.backward()
        return value.detach()

    def steps(self) -> dict[str, Callable]:
        return {'plain': partial(self.step, self.plain),
                'in chunks': partial(self.step, self.chunked)}

    def difference_rows(self) -> Iterator[Row]:
        found = []
        for step in self.steps().values():
            found.append([step(), *(x.grad for x in (*self.own, *self.factors))])
        theirs, ours = found
        yield Row(f'{self.name}: loss, difference / loss',
                  _relative(ours[0], theirs[0]), '')
        yield Row(f'{self.name}: gradients, largest difference / largest',
                  max(map(_relative, ours[1:], theirs[1:])), '')

    def cost_rows(self, turns: int, warmup: int) -> Iterator[Row]:
        found = time_in_turns(self.steps(), turns, warmup)
        for who, took in found.times.items():
            yield Row(f'{self.name}: {who}', [v * 1e3 for v in took.values], 'ms')
        yield Row(f'{self.name}: in chunks / plain', found.ratios['in chunks'].values,
                  'x', target='at most 1.2')
        peaks = {}
        for who, step in self.steps().items():
            for x in (*self.all, *self.own):
                x.grad = None
            peaks[who] = peak_memory(step, self.sizes.device)
            yield Row(f'{self.name}: peak memory, {who}', peaks[who] / 1e6, 'MB')
        yield Row(f'{self.name}: peak memory, in chunks / plain',
                  peaks['in chunks'] / max(1, peaks['plain']), 'x',
                  target='at most 0.25')

    @property
    def name(self) -> str:
        ranks = self.sizes.ranks
        return self.form if ranks == 1 else f'{self.form}, one of {ranks} ranks'


class _OneOfRanks(ContrastiveLoss):
    """The loss of the first rank, with what the others would send."""

    def __init__(self, form: str, chunk_size: int, images: Tensor, texts: Tensor,
                 ranks: int) -> None:
        super().__init__(form, chunk_size)
        own = len(texts) // ranks
        others = [(SCALE * each @ texts.t()).logsumexp(0)
                  for each in images[own:].split(own)]
        self.simulated = SimulatedWorld([own] * ranks, texts=texts, others=others)

    def world_batch(self, text: Tensor) -> WorldBatch:
        return self.simulated


@dataclass(frozen=True, kw_only=True)
class SimulatedWorld(WorldBatch):
    """Copies and sums as with other ranks, whose share is given.

    Attributes:
        texts: (N, D) of all ranks.
        others: (N,) log-sum-exps of the images of each other rank.
    """

    texts: Tensor
    others: list[Tensor]

    def gather(self, rows: Tensor) -> Tensor:
        return torch.cat([rows, self.texts[len(rows):]]) if self.size > 1 else rows

    def logsumexp(self, partial: Tensor) -> Tensor:
        return torch.stack([partial, *(x[None] for x in self.others)]).logsumexp(0)

    def sum_own(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, (self.size, -1)).sum(0) if self.size > 1 else rows

    def sum(self, values: Tensor) -> Tensor:
        return values


def plain_loss(form: str, image: Tensor, text: Tensor, scale: Tensor,
               bias: Tensor | float = 0.) -> Tensor:
    """The formula written down, with the whole matrix of logits."""
    logits = scale * F.normalize(image, dim=1) @ F.normalize(text, dim=1).t()
    if form == 'softmax':
        labels = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, labels)
                + F.cross_entropy(logits.t(), labels)) / 2
    target = torch.eye(len(logits), device=logits.device)
    if form == 'sigmoid':
        return -F.logsigmoid((2 * target - 1) * (logits + bias)).sum() / len(logits)
    # Without alpha: 0.5 and the factor 2 cancel.
    return sigmoid_focal_loss(logits, target, -1, GAMMA, 'sum') / len(logits)


def _relative(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()
