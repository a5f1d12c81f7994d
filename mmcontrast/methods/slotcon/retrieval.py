"""Which images show a slot best, and how much each slot is used."""
import math

import torch
from torch import Tensor

# Keeps the score of a slot that wins no pixel finite: its mean similarity.
_EPS = 1e-6


@torch.no_grad()
def retrieval_scores(similarities: Tensor) -> Tensor:
    """How well each image shows each slot.

    The mean similarity over the pixels that the slot wins; where it wins none, over
    all of them.

    Source: ``viz_slots.py`` of SlotCon's released code: ``sum(s * (m + 1e-6)) /
    sum(m + 1e-6)`` with m the pixels won.

    Args:
        similarities: (N, K, h, w) cosines of prototypes and pixels.

    Returns:
        (N, K).
    """
    similarities = similarities.flatten(2)
    value, winner = similarities.max(1)                                    # (N, P)
    won = torch.zeros_like(similarities[:, :, 0])
    area = won.scatter_add(1, winner, torch.ones_like(value))
    won.scatter_add_(1, winner, value)
    pixels = similarities.shape[2]
    return (won + _EPS * similarities.sum(2)) / (area + _EPS * pixels)


class SlotSurvey:
    """Usage and nearest images of all slots, from batches of score maps.

    Nothing but the figures of the slots is kept, however many images pass.

    Args:
        num_slots: K.
        top: Nearest images to remember of each slot.

    Attributes:
        cells: (K,) map cells won so far.
        images: (K,) images in which the slot won a cell.
        num_images: Images seen.
        scores, nearest: (K, up to ``top``) scores and numbers of the nearest images,
            best first.
    """

    def __init__(self, num_slots: int, top: int = 5) -> None:
        self.top = top
        self.cells = torch.zeros(num_slots, dtype=torch.int64)
        self.images = torch.zeros(num_slots, dtype=torch.int64)
        self.num_images = 0
        self.scores = torch.empty(num_slots, 0)
        self.nearest = torch.empty(num_slots, 0, dtype=torch.int64)

    @torch.no_grad()
    def add(self, similarities: Tensor, numbers: Tensor) -> None:
        """Take in (N, K, h, w) similarities of the images with the (N,) numbers."""
        count, num_slots = similarities.shape[:2]
        winner = similarities.flatten(2).argmax(1)                         # (N, P)
        offset = torch.arange(count, device=winner.device)[:, None] * num_slots
        cells = (winner + offset).flatten().bincount(minlength=count * num_slots)
        cells = cells.view(count, num_slots).cpu()
        self.cells += cells.sum(0)
        self.images += (cells > 0).sum(0)
        scores = torch.cat([self.scores, retrieval_scores(similarities).T.cpu()], 1)
        nearest = torch.cat([self.nearest, numbers.expand(num_slots, -1)], 1)
        self.scores, order = scores.topk(min(self.top, scores.shape[1]), dim=1)
        self.nearest = nearest.gather(1, order)
        self.num_images += count

    @property
    def alive(self) -> Tensor:
        """Slots that won a cell anywhere, the most used first."""
        order = self.cells.argsort(descending=True, stable=True)
        return order[self.cells[order] > 0]

    @property
    def entropy(self) -> float:
        """Of the usage, in units of log K: 1 if all slots are used alike, 0 for one."""
        if len(self.cells) == 1 or not self.cells.sum():
            return 0.0
        share = self.cells[self.cells > 0].double() / self.cells.sum()
        return -(share * share.log()).sum().item() / math.log(len(self.cells))
