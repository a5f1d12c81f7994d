"""Group the pixels of an image into slots by learned prototypes."""
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...models.functional import at_least_float, l2_normalize
from ...registry import MODELS


class Slots(NamedTuple):
    """Pooled features of the slots that are present in each of N images.

    A slot is present if it wins a pixel: is the most similar of all K there.

    Attributes:
        vectors: (N, S, C), not normalized. A slot may stand there more than once.
        place: (N, K) position of each slot among the S; S where it is absent.
        winners: (N, P) the slot that wins each pixel.
    """

    vectors: Tensor
    place: Tensor
    winners: Tensor

    @property
    def present(self) -> Tensor:
        """(N, K) bool."""
        return self.place < self.vectors.shape[1]

    def rows(self, image_idx: Tensor, slot_idx: Tensor) -> Tensor:
        """(R, C) vectors of the present slots that two (R,) tensors name."""
        return self.vectors[image_idx, self.place[image_idx, slot_idx]]


@MODELS.register_module()
class SlotGrouping(nn.Module):
    """Cosine similarities to K prototypes, and features pooled by them.

    ``A[k, p] = softmax_k(cos(prototype_k, x_p) / temperature) + eps``; slot k of an
    image is the mean of its features x_p, not normalized, weighted by ``A[k, p]``. eps
    decides the slot of a prototype that attracts no pixel: close to the plain mean.

    Source: SlotCon (NeurIPS 2022), sections 3.1 and 3.2. As in the released code both
    branches group with the teacher's temperature.

    Scores have the prototypes last, (N, H, W, K): softmax, argmax and the center run
    over them.

    Args:
        channels: Width of the features.
        num_slots: K, number of prototypes.
        temperature: Sharpness of the assignment.
        eps: Added to each assignment.
        init_std: Standard deviation of the prototypes at the start. Their length means
            nothing, but Adam takes steps of a fixed size: the shorter they are, the
            further a step turns them. LARS scales its steps with the length.
    """

    def __init__(self, channels: int, num_slots: int = 256, temperature: float = 0.07,
                 eps: float = 1e-6, init_std: float = 1.0):
        super().__init__()
        if num_slots < 1 or temperature <= 0 or init_std <= 0:
            raise ValueError(
                'SlotGrouping: need num_slots >= 1, temperature > 0 and init_std > 0, '
                f'got {num_slots}, {temperature} and {init_std}.')
        self.temperature, self.eps = temperature, eps
        self.prototypes = nn.Parameter(
            init_std * torch.randn(num_slots, channels))

    def forward(self, features: Tensor, prototypes: Tensor | None = None) -> Tensor:
        """(N, C, H, W) features -> (N, H, W, K) cosine similarities, float32.

        Args:
            prototypes: (K, C) to compare with instead of the learned ones.
        """
        if prototypes is None:
            prototypes = self.prototypes
        with torch.autocast(features.device.type, enabled=False):
            pixels = l2_normalize(features).permute(0, 2, 3, 1).contiguous()
            return pixels @ l2_normalize(prototypes.to(self.prototypes)).t()

    def pool(self, features: Tensor, scores: Tensor, slot_idx: Tensor | None = None
             ) -> Tensor:
        """Slots, pooled from the whole view.

        Args:
            features: (N, C, H, W), as given to :meth:`forward`.
            scores: What it returned.
            slot_idx: (N, S) which slots of each image; all K if None.

        Returns:
            (N, S, C), float32.
        """
        with torch.autocast(features.device.type, enabled=False):
            weights = (scores.flatten(1, 2) / self.temperature).softmax(2)  # (N, P, K)
            if slot_idx is not None:
                weights = weights.gather(
                    2, slot_idx[:, None].expand(-1, weights.shape[1], -1))
            weights = weights + self.eps                                    # (N, P, S)
            weights = weights / weights.sum(1, keepdim=True)
            pixels = at_least_float(features).flatten(2)                    # (N, C, P)
            return weights.transpose(1, 2) @ pixels.transpose(1, 2)

    def present_slots(self, features: Tensor, scores: Tensor) -> Slots:
        """The slots that win a pixel; with many prototypes only these are pooled.

        Of K > P slots at most P are present, so the slot that wins pixel p stands at
        position p. No size depends on the data: nothing waits for the device.
        """
        winners = scores.detach().flatten(1, 2).argmax(2)                   # (N, P)
        place = first_pixel(winners, scores.shape[3])
        num_pixels, num_slots = winners.shape[1], scores.shape[3]
        if num_slots > num_pixels:
            return Slots(self.pool(features, scores, winners), place, winners)
        own = torch.arange(num_slots, device=place.device)
        place = torch.where(place < num_pixels, own, num_slots)
        return Slots(self.pool(features, scores), place, winners)


def first_pixel(winners: Tensor, num_slots: int) -> Tensor:
    """(N, P) winning slots -> (N, K) the first pixel each wins, P if it wins none."""
    images, num_pixels = winners.shape
    pixels = torch.arange(num_pixels, device=winners.device).expand(images, -1)
    return winners.new_full((images, num_slots), num_pixels).scatter_reduce_(
        1, winners, pixels, 'amin')


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
