"""Compute softmax and sigmoid losses of image-text pairs over blocks of logits."""
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .logit_blocks import LogitBlocks, LogitGradients
from .world_batch import WorldBatch


def softmax_losses(levels: Sequence[LogitBlocks], gradients: Sequence[LogitGradients],
                   world: WorldBatch) -> Tensor:
    """Cross entropy, mean of both directions, summed over the pairs of this rank.

    One pass over the logits finds the log-sum-exps of rows and, up to an exchange, of
    columns; a second one the gradients.

    Args:
        levels: Logits of each level.
        gradients: Of each level, to add to.
        world: All pairs.

    Returns:
        (L,) sums.
    """
    sums = [_log_sum_exps(blocks) for blocks in levels]
    columns = world.logsumexp(torch.stack([each[1] for each in sums]))     # (L, N)
    own = columns[:, world.start:][:, :len(levels[0].image)]
    for i, (blocks, out) in enumerate(zip(levels, gradients, strict=True)):
        if out.wanted:
            _add_softmax_gradients(blocks, sums[i][0], columns[i], out)
    return torch.stack([((rows + mine) / 2 - matched).sum() for (rows, _, matched), mine
                        in zip(sums, own, strict=True)])


def _log_sum_exps(blocks: LogitBlocks) -> tuple[Tensor, Tensor, Tensor]:
    """(B,) of rows, (N,) of columns over own images, and (B,) matched logits."""
    rows, matched = blocks.image.new_empty(2, len(blocks.image))
    columns = blocks.image.new_full((len(blocks.texts),), -torch.inf)
    spare = blocks.new_buffer()
    for part, logits in blocks:
        matched[part] = blocks.matched(part, logits)
        rows[part] = _logsumexp(logits, 1, spare)
        columns = columns.logaddexp(_logsumexp(logits, 0, spare))
    return rows, columns, matched


def _logsumexp(logits: Tensor, dim: int, spare: Tensor) -> Tensor:
    """``logits.logsumexp(dim)`` of finite logits in the memory of ``spare``."""
    largest = logits.amax(dim, keepdim=True)
    shifted = torch.sub(logits, largest, out=spare[:len(logits)])
    return shifted.exp_().sum(dim).log_().add_(largest.squeeze(dim))


def _add_softmax_gradients(blocks: LogitBlocks, rows: Tensor, columns: Tensor,
                           out: LogitGradients) -> None:
    """Softmax over rows and over columns, each by half, minus the matched pairs."""
    spare = blocks.new_buffer()
    rows, columns = rows + math.log(2), columns + math.log(2)
    for part, logits in blocks:
        over_texts = torch.sub(logits, rows[part, None], out=spare[:len(logits)])
        logits.sub_(columns).exp_().add_(over_texts.exp_())
        blocks.matched(part, logits).sub_(1)
        out.add(blocks, part, logits)


def sigmoid_losses(levels: Sequence[LogitBlocks], gradients: Sequence[LogitGradients],
                   world: WorldBatch, alpha: float = 0.5, gamma: float = 0.) -> Tensor:
    """Sigmoid focal loss, summed over own images and all texts, in one pass.

    ``2 * alpha * (1 - p_t) ** gamma * BCE`` of a matched pair, ``2 * (1 - alpha) *
    ...`` of any other: the binary cross entropy by default.

    Args:
        levels, gradients: As in :func:`softmax_losses`.
        world: All pairs; not needed.
        alpha, gamma: Weight of matched pairs, and how far easy pairs are weighted down.

    Returns:
        (L,) sums.
    """
    return torch.stack([_sum_of_pairs(blocks, out, alpha, gamma)
                        for blocks, out in zip(levels, gradients, strict=True)])


def _sum_of_pairs(blocks: LogitBlocks, out: LogitGradients, alpha: float, gamma: float
                  ) -> Tensor:
    total = blocks.image.new_zeros(())
    positive, negative = 2 * alpha, 2 * (1 - alpha)
    for part, logits in blocks:
        # Logits of the wrong answer: 1 - p_t is their sigmoid, BCE their softplus.
        blocks.matched(part, logits).neg_()
        entropy = F.softplus(logits, threshold=40)
        miss = logits.sigmoid_()
        focus = miss ** gamma if gamma else None
        terms = entropy * focus if gamma else entropy
        total += (negative * terms.sum()
                  + (positive - negative) * blocks.matched(part, terms).sum())
        if out.wanted:
            if gamma:
                miss.addcmul_(entropy, 1 - miss, value=gamma).mul_(focus)
            own = -positive * blocks.matched(part, miss)
            blocks.matched(part, miss.mul_(negative)).copy_(own)
            out.add(blocks, part, miss)
    return total
