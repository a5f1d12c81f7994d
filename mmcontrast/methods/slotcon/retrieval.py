"""Find the images that show a slot best, and count how much each slot is used."""
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ...datasets.center_crops import CenterCroppedImages
from ...datasets.workers import seed_worker
from ...progress import track
from ...registry import FUNCTIONS
from ...structures.protocols import SlotModel
from .evaluation import slot_scores

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


class SlotStatistics:
    """Usage and nearest images of all slots, from batches of score maps.

    Its size does not depend on the number of images.

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
        """Count (N, K, h, w) similarities of the images with the (N,) numbers."""
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

    def summary(self, paths: Sequence[str]) -> dict:
        """Everything as plain values, for a JSON file; ``paths`` name the images."""
        total = self.cells.sum().item()
        slots = [dict(
            slot=slot, share_of_cells=self.cells[slot].item() / total,
            images=self.images[slot].item(),
            nearest=[paths[i] for i in self.nearest[slot].tolist()],
            scores=self.scores[slot].tolist()) for slot in self.alive.tolist()]
        return dict(num_slots=len(self.cells), alive=len(slots), entropy=self.entropy,
                    num_images=self.num_images, slots=slots)


@FUNCTIONS.register_module()
def slot_statistics(model: SlotModel, crops: CenterCroppedImages, top: int = 5,
                    branch: str = 'momentum', batch_size: int = 32, workers: int = 0,
                    progress: bool = True) -> tuple[SlotStatistics, list[str]]:
    """Pass all images through the network once.

    Returns:
        The statistics, in which images are numbered as in ``crops.paths``, and the
        paths of images that could not be read.

    Raises:
        ValueError: If none could be read.
    """
    loader = DataLoader(crops, batch_size, num_workers=workers, collate_fn=list,
                        worker_init_fn=seed_worker if workers else None)
    statistics, bad, first = None, [], 0
    for batch in track(loader, 'images', progress):
        numbers = [first + i for i, image in enumerate(batch) if image is not None]
        bad += [crops.paths[first + i] for i, x in enumerate(batch) if x is None]
        first += len(batch)
        if not numbers:
            continue
        found = slot_scores(model, torch.stack([x for x in batch if x is not None]),
                            branch)
        statistics = statistics or SlotStatistics(found.shape[1], top)
        statistics.add(found, torch.tensor(numbers))
    if statistics is None:
        raise ValueError(f'none of {len(crops)} images could be read, first {bad[0]}.')
    return statistics, bad
