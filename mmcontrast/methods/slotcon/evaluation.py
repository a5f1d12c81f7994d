"""Score slots as a segmentation of labeled images, beside other prototypes."""
import math
from collections.abc import Callable, Iterable, Mapping
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
from ...evaluation.features import network_input, normalization_of
from ...evaluation.kmeans import kmeans
from ...models.inspection import eval_mode
from ...models.upsampling import upsampled_argmax
from ...registry import FUNCTIONS
from ...structures.protocols import SlotModel

TRAINED, RANDOM, CLUSTERED, UNTRAINED = (
    'trained slots', 'random prototypes', 'k-means prototypes', 'untrained network')


@torch.no_grad()
def slot_scores(model: SlotModel, images: Tensor, branch: str = 'momentum',
                prototypes: Tensor | None = None) -> Tensor:
    """Cosine of every cell with every slot, of a model in eval mode.

    Args:
        model: Modes, statistics and weights are left as they were.
        images: (N, 3, H, W) RGB, in gray levels from 0 to 255, on any device.
        branch: ``momentum`` (the teacher) or ``online``.
        prototypes: (K, C) to compare with instead of the learned ones.

    Returns:
        (N, K, h, w) float32.
    """
    device = next(model.parameters()).device
    mean, std = (torch.as_tensor(x, dtype=torch.float32, device=device).view(3, 1, 1)
                 for x in normalization_of(model))
    with eval_mode(model):
        return model.slot_scores((images.to(device).float() - mean) / std, branch,
                                 prototypes).float()


def check_slot_model(model: nn.Module, hook: str) -> None:
    """Check that a hook can use the model.

    Raises:
        TypeError: If the model has no slots.
    """
    if not isinstance(model, SlotModel):
        raise TypeError(
            f'{hook}: {type(model).__name__} has no slots: it lacks the '
            'methods slot_scores and slot_prototypes or one of them. Remove the hook.')


def slot_labels(model: SlotModel, image: Tensor, branch: str = 'momentum'
                ) -> np.ndarray:
    """(H, W) slot that wins each pixel of a (3, H, W) image in gray levels."""
    scores = slot_scores(model, image[None], branch)
    return upsampled_argmax(scores, image.shape[-2:])[0].cpu().numpy()


@FUNCTIONS.register_module()
def compare_prototypes(model: SlotModel,
                       images: Callable[[str], Iterable[SegmentedImage]],
                       num_classes: int, is_thing: np.ndarray | None = None,
                       size: int | None = None, branch: str = 'momentum',
                       random_draws: int = 3, with_kmeans: bool = False,
                       untrained: nn.Module | None = None, seed: int = 0
                       ) -> tuple[dict[str, dict], list[float]]:
    """Score learned prototypes beside random and clustered ones on the same features.

    Args:
        images: Gives the labeled images; called with what they are read for.
        num_classes: Of the labels.
        is_thing: (C,) bool, which classes are objects, where the set says so.
        size: Short side the images are resized to; their own if None.
        random_draws: So many draws of random prototypes, averaged.
        with_kmeans: Add as many k-means centers, found on these images.
        untrained: The same network with random weights, to be added.
        seed: Of random prototypes and of k-means.

    Returns:
        Row name to :meth:`SlotTally.scores`, and the IoU of each class with the trained
        slots.
    """
    own = model.slot_prototypes(branch)
    tables = {TRAINED: own}
    generator = torch.Generator().manual_seed(seed)
    for draw in range(random_draws):
        tables[f'{RANDOM} {draw}'] = torch.randn(own.shape, generator=generator)
    if with_kmeans:
        pixels = (network_input(image.image, size) for image in images(CLUSTERED))
        tables[CLUSTERED] = cluster_prototypes(model, pixels, len(own), branch, seed)
    settings = dict(num_classes=num_classes, size=size, branch=branch)
    tallies = count_slots(model, tables, images(TRAINED), **settings)
    if untrained is not None:
        table = {UNTRAINED: untrained.slot_prototypes(branch)}
        tallies |= count_slots(untrained, table, images(UNTRAINED), **settings)
    rows = {name: tally.scores(is_thing) for name, tally in tallies.items()}
    matched = matched_scores(tallies[TRAINED].counts.counts)
    return _average_draws(rows), matched['per_class_iou']


@dataclass
class SlotTally:
    """What is added up for one table of prototypes.

    Attributes:
        counts: Pixels by class and slot.
        aris: Foreground ARI of every image with instances.
    """

    counts: ClusterCounts
    aris: list[float] = field(default_factory=list)

    def add(self, scores: Tensor, image: SegmentedImage) -> None:
        """Count the (1, K, h, w) score maps of an image."""
        labels = torch.from_numpy(image.labels)[None]
        slots = upsampled_argmax(scores, labels.shape[-2:]).cpu()
        self.counts.add(slots, labels)
        if image.instances is not None:
            instances = torch.from_numpy(image.instances)[None]
            self.aris.append(foreground_ari(slots, instances).item())

    def scores(self, is_thing: np.ndarray | None = None) -> dict:
        """All scores so far.

        Returns:
            ``in_use`` (slots that win a labeled pixel), ``fg_ari`` (mean over images;
            None without objects), ``miou`` and ``accuracy`` (one slot per class),
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


def count_slots(model: SlotModel, tables: Mapping[str, Tensor],
                images: Iterable[SegmentedImage], num_classes: int,
                size: int | None = None, branch: str = 'momentum'
                ) -> dict[str, SlotTally]:
    """Count slots against labels for several tables of prototypes at once.

    Args:
        tables: (K, C) prototypes by name; the network runs once for all of them.
        images: Labeled images.
        num_classes: Of their labels.
        size: Short side the images are resized to; their own if None. Labels are
            compared at their own resolution.
    """
    lengths = [len(table) for table in tables.values()]
    tallies = {name: SlotTally(ClusterCounts(num_classes, len(table), UNLABELED))
               for name, table in tables.items()}
    device = next(model.parameters()).device
    joint = torch.cat([table.to(device) for table in tables.values()])
    for image in images:
        pixels = network_input(image.image, size)
        found = slot_scores(model, pixels[None], branch, joint).split(lengths, dim=1)
        for scores, tally in zip(found, tallies.values(), strict=True):
            tally.add(scores, image)
    return tallies


def cluster_prototypes(model: SlotModel, images: Iterable[Tensor], count: int,
                       branch: str = 'momentum', seed: int = 0,
                       max_cells: int = 20_000) -> Tensor:
    """Centers of spherical k-means on the features, to use as prototypes.

    Args:
        images: (3, H, W) gray levels each.
        count: Number of centers.
        seed: Picks cells and first centers.
        max_cells: Most cells to cluster; of more, a random subset.

    Returns:
        (count, C) unit vectors.

    Raises:
        ValueError: If the images have fewer cells than ``count``.
    """
    # Cosines with the unit vectors of the axes are the normalized features.
    axes = torch.eye(model.slot_prototypes(branch).shape[1])
    maps = [slot_scores(model, image[None], branch, axes)[0] for image in images]
    cells = torch.cat([features.flatten(1).T for features in maps]).cpu()
    if len(cells) > max_cells:
        generator = torch.Generator().manual_seed(seed)
        cells = cells[torch.randperm(len(cells), generator=generator)[:max_cells]]
    return kmeans(cells, count, restarts=1, steps=30, seed=seed)


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


def _average_draws(rows: Mapping[str, dict]) -> dict[str, dict]:
    """The draws of random prototypes as one row of means."""
    draws = [row for name, row in rows.items() if name.startswith(RANDOM)]
    averaged = {}
    for name, row in rows.items():
        if not name.startswith(RANDOM):
            averaged[name] = row
        elif RANDOM not in averaged:
            averaged[RANDOM] = {
                key: None if row[key] is None else
                sum(draw[key] for draw in draws) / len(draws) for key in row}
    return averaged
