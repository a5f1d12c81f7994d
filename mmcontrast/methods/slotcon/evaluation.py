"""Slots as a segmentation of labeled images: counted in one pass, then scored."""
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.segmented_images import UNLABELED, SegmentedImage
from ...evaluation.cluster_scores import (
    ClusterCounts,
    foreground_ari,
    majority_scores,
    matched_scores,
)
from ...evaluation.features import network_input
from ...models.upsampling import upsampled_argmax
from .score_maps import exchanged_prototypes, slot_scores


@dataclass
class SlotTally:
    """What is added up for one table of prototypes.

    Attributes:
        counts: Pixels by class and slot.
        aris: Foreground ARI of every image where objects are told apart.
    """

    counts: ClusterCounts
    aris: list[float] = field(default_factory=list)

    def add(self, scores: Tensor, image: SegmentedImage) -> None:
        """Take in the (1, K, h, w) score maps of an image."""
        labels = torch.from_numpy(image.labels)[None]
        slots = upsampled_argmax(scores, labels.shape[-2:]).cpu()
        self.counts.add(slots, labels)
        if image.instances is not None:
            instances = torch.from_numpy(image.instances)[None]
            self.aris.append(foreground_ari(slots, instances).item())

    def scores(self, is_thing: np.ndarray | None = None) -> dict:
        """All figures so far.

        Returns:
            ``in_use`` (slots that win a labeled pixel), ``fg_ari`` (mean over images;
            None without objects), ``miou`` and ``accuracy`` (one slot a class),
            ``majority_miou`` and ``majority_accuracy`` (each slot its commonest
            class); given ``is_thing``, (C,) bool, the four again as ``things_...``,
            with all objects as one class, and ``object_iou``, that of its slot.
        """
        counts = self.counts.counts
        aris = [ari for ari in self.aris if not math.isnan(ari)]
        found = dict(in_use=int((counts.sum(0) > 0).sum()),
                     fg_ari=sum(aris) / len(aris) if aris else None)
        found |= _class_scores(counts, '')
        if is_thing is not None:
            merged = _things_as_one(counts, is_thing)
            found |= _class_scores(merged, 'things_')
            found['object_iou'] = matched_scores(merged)['per_class_iou'][0]
        return found


def count_slots(model: nn.Module, tables: Mapping[str, Tensor],
                images: Iterable[SegmentedImage], num_classes: int,
                size: int | None = None, branch: str = 'momentum'
                ) -> dict[str, SlotTally]:
    """Count slots against labels for several tables of prototypes at once.

    Args:
        model: With slots, see :func:`~.score_maps.slot_scores`.
        tables: (K, C) prototypes by name; the network runs once for all of them.
        images: Labeled images.
        num_classes: Of their labels.
        size: Short side the images are resized to; their own if None. Labels are
            judged at their own resolution.
    """
    lengths = [len(table) for table in tables.values()]
    tallies = {name: SlotTally(ClusterCounts(num_classes, len(table), UNLABELED))
               for name, table in tables.items()}
    device = next(model.parameters()).device
    joint = torch.cat([table.to(device) for table in tables.values()])
    with exchanged_prototypes(model, joint, branch):
        for image in images:
            pixels = network_input(image.image, size)
            found = slot_scores(model, pixels[None], branch).split(lengths, dim=1)
            for scores, tally in zip(found, tallies.values(), strict=True):
                tally.add(scores, image)
    return tallies


def _class_scores(counts: Tensor, prefix: str) -> dict:
    matched, majority = matched_scores(counts), majority_scores(counts)
    return {f'{prefix}{kind}{key}': found[key]
            for kind, found in (('', matched), ('majority_', majority))
            for key in ('miou', 'accuracy')}


def _things_as_one(counts: Tensor, is_thing: np.ndarray) -> Tensor:
    """Class 0 takes all rows of objects, the other classes follow in their order."""
    groups = torch.from_numpy(np.where(is_thing, 0, np.cumsum(~is_thing)))
    merged = counts.new_zeros(1 + int((~is_thing).sum()), counts.shape[1])
    return merged.index_add_(0, groups, counts)
