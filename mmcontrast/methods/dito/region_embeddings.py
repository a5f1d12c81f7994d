"""Embed regions of all pyramid levels in one batch, and pool those of a level."""
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .roi_targets import with_image_index

#: Pools of (B, N, D) embeddings over the N regions of a level.
POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    'max': lambda embeds: embeds.amax(1), 'mean': lambda embeds: embeds.mean(1)}


def region_embeddings(maps: Sequence[Tensor], boxes: Sequence[Tensor],
                      roi_crop: Callable, box_head: Callable) -> list[Tensor]:
    """Crop each box from the map of its own level and embed it with the box head.

    In detection a box chooses its level by its size; in DITO's pretraining the level
    comes first, and small maps get large boxes as well as small ones. Crops of all
    levels go through the box head together.

    Args:
        maps: (B, C, H_l, W_l) for every level.
        boxes: (B, N_l, 4) x1, y1, x2, y2 in pixels for every level.
        roi_crop: Such as :class:`PyramidRoICrop`.
        box_head: Gives (R, D) embeddings first, such as :class:`TextBoxHead`.

    Returns:
        (B, N_l, D) for every level, not normalized.
    """
    rois = [with_image_index(each) for each in boxes]
    sizes = [len(each) for each in rois]
    levels = torch.cat([
        torch.full((size,), level, device=boxes[0].device)
        for level, size in enumerate(sizes)])
    embeds = box_head(roi_crop(maps, torch.cat(rois), levels))[0]
    return [part.unflatten(0, each.shape[:2])
            for part, each in zip(embeds.split(sizes), boxes, strict=True)]
