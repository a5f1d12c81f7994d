"""Compute the losses of SlotCon: distillation of assignments, slot contrast."""
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine import dist
from torch import Tensor, nn

from ...models.functional import at_least_float, l2_normalize
from .grouping import Slots


def distillation(student: Tensor, teacher: Tensor, center: Tensor,
                 student_temperature: float = 0.1, teacher_temperature: float = 0.07
                 ) -> Tensor:
    """Cross entropy of the student's assignment against the teacher's, cell by cell.

    Rows of disjoint views are zeros on both sides: they add a constant and count in
    the mean, as in the released code.

    Source: SlotCon (NeurIPS 2022), section 3.1.

    Args:
        student: (..., K) aligned scores that receive the gradient.
        teacher: (..., K) aligned scores of the momentum branch; detached here.
        center: (1, K) running mean of the teacher's scores, before this step.
        student_temperature, teacher_temperature: Sharpness of the two.

    Returns:
        Scalar, the mean over all rows.
    """
    with torch.autocast(student.device.type, enabled=False):
        with torch.no_grad():
            target = (at_least_float(teacher) - center).div_(teacher_temperature)
            target = target.softmax(-1)
        logits = (at_least_float(student) / student_temperature).log_softmax(-1)
        return -(target * logits).sum(-1).mean()


@torch.no_grad()
def update_center(center: Tensor, rows: Sequence[Tensor], momentum: float = 0.9):
    """Move ``center`` in place to the mean of scores over rows, views and ranks.

    Args:
        center: (1, K).
        rows: For each view, (..., K) scores of the teacher, not aligned.
        momentum: Weight of the old center.
    """
    mean = torch.stack([scores.flatten(0, -2).mean(0) for scores in rows]).mean(0)
    dist.all_reduce(mean, 'mean')
    center.lerp_(mean[None].to(center.dtype), 1 - momentum)


class Contrast(NamedTuple):
    """Slot contrast of one direction.

    Attributes:
        loss: Scalar.
        logits: (R, M) of R queries against M keys of all ranks; None without a loss.
        labels: (R,) the key of each query; None without a loss.
    """

    loss: Tensor
    logits: Tensor | None = None
    labels: Tensor | None = None


def slot_contrast(pairs: Sequence[tuple[Slots, Slots]], predictor: nn.Module,
                  temperature: float = 0.2) -> list[Contrast]:
    """Each slot of the student must find itself among all slots of the teacher.

    Queries are the slots present in both views of an image, keys all present slots of
    the teacher over all ranks, in the order rank, image, slot. Keys are chosen before
    they are normalized and gathered, and all pairs go in one gather.

    Source: SlotCon (NeurIPS 2022), section 3.2. Unlike the released code, fewer than
    two queries (batch norm needs two) give 0 with a gradient path to the predictor,
    so that every rank takes part in the reduction.

    Args:
        pairs: For each direction, slots of the student and of the teacher in the other
            view; the teacher is detached here.
        predictor: (R, C) -> (R, C), on all queries of a direction at once.
        temperature: Of the logits.

    Returns:
        One :class:`Contrast` a pair; the loss is scaled by ``2 * temperature``.
    """
    directions = len(pairs)
    masks = torch.stack([q.present & k.present for q, k in pairs]
                        + [k.present for _, k in pairs])                # (2 D, N, K)
    counts = gather_counts(masks.flatten(1).sum(1))
    # The host waits here and in gather_counts: batch norm needs exactly these rows.
    rows = masks.nonzero()[:, 1:].split(counts[dist.get_rank()])
    with torch.no_grad():
        own_keys = [l2_normalize(k.rows(*idx.unbind(1)))
                    for (_, k), idx in zip(pairs, rows[directions:], strict=True)]
    all_keys = gather_rows(own_keys, [each[directions:] for each in counts])
    return [
        _contrast(*pair, predictor, rows[i], all_keys[i],
                  # Keys of the ranks before this one.
                  sum(each[directions + i] for each in counts[:dist.get_rank()]),
                  temperature)
        if _enough(predictor, [each[i] for each in counts])
        else Contrast(_nothing(pair[0], predictor))
        for i, pair in enumerate(pairs)]


def _contrast(student: Slots, teacher: Slots, predictor: nn.Module, rows: Tensor,
              keys: Tensor, offset: int, temperature: float) -> Contrast:
    """One direction; ``rows`` (R, 2) names image and slot of each query."""
    image_idx, slot_idx = rows.unbind(1)
    queries = predictor(student.rows(image_idx, slot_idx))
    order = teacher.present.flatten().cumsum(0).view_as(teacher.place) - 1
    labels = order[image_idx, slot_idx] + offset
    with torch.autocast(queries.device.type, enabled=False):
        logits = l2_normalize(queries) @ keys.t() / temperature
        # Not reduction='mean', which is no number on a rank without queries that only
        # takes part in the synchronized batch norm of the others.
        loss = F.cross_entropy(logits, labels, reduction='sum') / max(1, len(labels))
        loss = 2 * temperature * loss + _nothing(student, predictor)
        return Contrast(loss, logits.detach(), labels)


def _enough(predictor: nn.Module, queries: Sequence[int]) -> bool:
    """Whether the predictor's batch norm can run; the same on ranks that share it."""
    synced = any(isinstance(m, nn.SyncBatchNorm) for m in predictor.modules())
    return (sum(queries) if synced else queries[dist.get_rank()]) >= 2


def _nothing(student: Slots, predictor: nn.Module) -> Tensor:
    """0 that gives every parameter of the predictor a gradient, of zeros."""
    return sum((parameter[:0].sum() for parameter in predictor.parameters()),
               at_least_float(student.vectors[:0]).sum())


def gather_counts(counts: Tensor) -> list[list[int]]:
    """(D,) counts of this rank -> D numbers of each rank, on the host."""
    if dist.get_world_size() == 1:
        return [counts.tolist()]
    return torch.stack(dist.all_gather(counts)).tolist()


@torch.no_grad()
def gather_rows(parts: Sequence[Tensor], counts: Sequence[Sequence[int]]
                ) -> list[Tensor]:
    """Rows of all ranks in the order of ranks, without a gradient.

    All parts travel in one exchange, padded to the rank that has most.

    Args:
        parts: D tensors (R_d, C) of this rank.
        counts: Numbers of rows of each part, rank by rank.

    Returns:
        D tensors (sum over ranks of R_d, C).
    """
    if len(counts) == 1:
        return list(parts)
    packed = torch.cat(list(parts))
    longest = max(map(sum, counts))
    padded = packed.new_zeros(longest, packed.shape[1])
    padded[:len(packed)] = packed
    ranks = [rows[:sum(each)].split(list(each))
             for rows, each in zip(dist.all_gather(padded), counts, strict=True)]
    return [torch.cat(part) for part in zip(*ranks, strict=True)]
