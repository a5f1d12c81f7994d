"""Numbers that tell how the slots are used, for the log."""
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .grouping import Slots


@torch.no_grad()
def slot_usage(directions: Sequence[tuple[Slots, Slots]]) -> dict[str, Tensor]:
    """How many slots there are, and how evenly they share the pixels of this rank.

    Args:
        directions: For each, slots of the student and of the teacher in the other view.

    Returns:
        Scalars: ``slots_per_image``, present teacher slots; ``shared_slots``, those
        that the student has in the other view too; ``slots_alive``, the share of the K
        slots that win a pixel anywhere in the batch; ``slot_entropy``, entropy of
        the pixels won by each slot over log K: 1 even, 0 one slot for all.
    """
    num_slots = directions[0][1].place.shape[1]
    present = torch.stack([teacher.present for _, teacher in directions])  # (2, N, K)
    shared = present & torch.stack([student.present for student, _ in directions])
    winners = torch.cat([teacher.winners.flatten() for _, teacher in directions])
    pixels = torch.zeros(num_slots, device=winners.device).index_add_(
        0, winners, torch.ones_like(winners, dtype=torch.float32))
    entropy = torch.special.entr(pixels / len(winners)).sum()
    return dict(
        slots_per_image=present.sum(2, dtype=torch.float32).mean(),
        shared_slots=shared.sum(2, dtype=torch.float32).mean(),
        slots_alive=(pixels > 0).float().mean(),
        slot_entropy=entropy / math.log(max(num_slots, 2)))


@torch.no_grad()
def agreement(student: Tensor, teacher: Tensor, exists: Tensor) -> Tensor:
    """Share of cells where both branches pick the same slot.

    Args:
        student, teacher: (N, H, W, K) aligned scores.
        exists: (N,) bool, pairs of views that overlap; the others do not count.
    """
    same = (student.argmax(3) == teacher.argmax(3)).float().mean((1, 2))
    return (same * exists).sum() / exists.sum().clamp(min=1)
