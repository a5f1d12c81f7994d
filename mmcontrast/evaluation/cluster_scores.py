"""How well slots cut images into the objects and classes that people see.

Slots have no names. :func:`foreground_ari` asks whether pixels of one object share a
slot and pixels of two do not; :func:`matched_scores` gives each class the slot that
fits it best and scores the result as a segmentation.
"""
import torch
from torch import Tensor


@torch.no_grad()
def foreground_ari(slots: Tensor, instances: Tensor, background: int = 0) -> Tensor:
    """Adjusted Rand index between slots and objects, over the pixels of objects.

    1: pixels share a slot exactly where they share an object; 0: as much as by chance.
    The background counts nowhere, so that it may be cut up in any way. An image with a
    single object scores 1 if one slot covers it and 0 otherwise.

    Source: Hubert and Arabie, "Comparing partitions" (Journal of Classification 1985);
    restricted to the foreground as in "Multi-Object Representation Learning with
    Iterative Variational Inference" (ICML 2019).

    Args:
        slots: (N, H, W) integers, 0 or more.
        instances: (N, H, W) integers, 0 or more.
        background: Id of pixels that belong to no object.

    Returns:
        (N,) float64; nan for an image without two pixels of foreground.
    """
    _check_maps(slots, instances, 'instances')
    count = len(slots)
    keep = instances != background
    image = torch.arange(count, device=slots.device).view(-1, 1, 1).expand_as(keep)
    image, slot, thing = image[keep], slots[keep].long(), instances[keep].long()
    if len(image) == 0:
        return torch.full((count,), torch.nan, dtype=torch.float64)
    num_slots, num_things = int(slot.max()) + 1, int(thing.max()) + 1
    row = image * num_slots + slot
    cells = row * num_things + thing
    columns = image * num_things + thing
    both, by_slot, by_thing = (
        _pairs_by_image(keys, keys_an_image, count) for keys, keys_an_image in (
            (cells, num_slots * num_things), (row, num_slots), (columns, num_things)))
    total = _pairs(image.bincount(minlength=count))
    expected = by_slot * by_thing / total
    spread = (by_slot + by_thing) / 2 - expected
    # No spread: one cluster on both sides, or a cluster a pixel on both.
    ari = torch.where(spread == 0, 1.0, (both - expected) / spread)
    return ari.masked_fill(total == 0, torch.nan).cpu()


def _pairs_by_image(keys: Tensor, keys_an_image: int, count: int) -> Tensor:
    """(count,) pairs of pixels of an image that share their key."""
    keys, counts = keys.unique(return_counts=True)
    pairs = torch.zeros(count, dtype=torch.float64, device=keys.device)
    return pairs.index_add_(0, keys // keys_an_image, _pairs(counts))


def _pairs(counts: Tensor) -> Tensor:
    counts = counts.double()
    return counts * (counts - 1) / 2


class SlotClassCounts:
    """Pixels by class and slot, added up over a set of images.

    Args:
        num_classes, num_slots: C and K.
        ignore_index: Label of pixels that count nowhere.

    Attributes:
        counts: (C, K) int64.
    """

    def __init__(self, num_classes: int, num_slots: int, ignore_index: int = 255
                 ) -> None:
        self.counts = torch.zeros(num_classes, num_slots, dtype=torch.int64)
        self.ignore_index = ignore_index

    @torch.no_grad()
    def add(self, slots: Tensor, labels: Tensor) -> None:
        """Count (N, H, W) slots against labels of the same shape.

        Raises:
            ValueError: If a label lies outside of [0, C), or a slot outside of [0, K).
        """
        _check_maps(slots, labels, 'labels')
        num_classes, num_slots = self.counts.shape
        keep = labels != self.ignore_index
        label, slot = labels[keep].long(), slots[keep].long()
        for name, found, end in (('labels', label, num_classes),
                                 ('slots', slot, num_slots)):
            if len(found) and not 0 <= int(found.min()) <= int(found.max()) < end:
                raise ValueError(
                    f'{name} must lie in [0, {end}), found {int(found.min())} to '
                    f'{int(found.max())}; give the class list of this data, or set '
                    f'ignore_index (now {self.ignore_index}).')
        cells = (label * num_slots + slot).bincount(minlength=self.counts.numel())
        self.counts += cells.view_as(self.counts).to(self.counts.device)


def matched_scores(counts: Tensor) -> dict:
    """One slot for each class, chosen for the most pixels in common.

    The Hungarian matching over the whole set that unsupervised segmentation is scored
    with (PiCIE, CVPR 2021). With more slots than classes some stay without a class, and
    their pixels count as wrong; with fewer, some classes score 0.

    Args:
        counts: (C, K) pixels by class and slot.

    Returns:
        ``miou`` over the classes that occur, ``accuracy`` (share of labeled pixels),
        ``per_class_iou`` (nan for a class that does not occur) and ``slot_of_class``
        (-1 without one).

    Raises:
        ValueError: If nothing was counted.
        ImportError: Without scipy.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise ImportError('Matching slots with classes needs scipy: pip install scipy '
                          "(mmcontrast's extras det and seg bring it).") from error
    classes, slots = map(torch.from_numpy, linear_sum_assignment(
        counts.cpu().numpy(), maximize=True))
    slot_of_class = torch.full((len(counts),), -1)
    slot_of_class[classes] = slots
    hits, predicted = torch.zeros(2, len(counts), dtype=torch.float64)
    hits[classes] = counts[classes, slots].double()
    predicted[classes] = counts.sum(0)[slots].double()
    return _scores(hits, predicted, counts) | dict(slot_of_class=slot_of_class.tolist())


def majority_scores(counts: Tensor) -> dict:
    """Every slot takes the class that most of its pixels have.

    Many slots may share a class, so the score grows with the number of slots, for
    random ones as well: compare at equal K only.

    Returns:
        As :func:`matched_scores`, with ``class_of_slot`` (-1 for a slot without pixel).
    """
    class_of_slot = counts.argmax(0)
    merged = torch.zeros(len(counts), len(counts), dtype=torch.float64)
    merged.index_add_(1, class_of_slot, counts.double())
    class_of_slot[counts.sum(0) == 0] = -1
    return _scores(merged.diag(), merged.sum(0), counts) | dict(
        class_of_slot=class_of_slot.tolist())


def _scores(hits: Tensor, predicted: Tensor, counts: Tensor) -> dict:
    total = counts.sum().item()
    if total == 0:
        raise ValueError(
            'no labeled pixel was counted: all are ignored, or the set is empty.')
    labeled = counts.sum(1).double()
    # A class that is predicted but never labeled is the matching's doing.
    iou = torch.where(labeled > 0, hits / (labeled + predicted - hits), torch.nan)
    return dict(miou=iou.nanmean().item(), accuracy=hits.sum().item() / total,
                per_class_iou=iou.tolist())


def _check_maps(slots: Tensor, truth: Tensor, name: str) -> None:
    if slots.ndim != 3 or slots.shape != truth.shape:
        raise ValueError(
            f'slots and {name} must both be (N, H, W), got {tuple(slots.shape)} and '
            f'{tuple(truth.shape)}; assign_slots(scores, size) gives slots of any size.'
        )
