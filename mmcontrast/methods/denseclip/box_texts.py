"""Boxes that were found, told apart by other texts than those of the training."""
import torch
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.ops import batched_nms, roi_align

# Points a side at which a box looks at the score map, and the overlap from which two
# boxes of one text are one object, as in mmdet's settings.
POINTS, OVERLAP = 7, 0.5


def relabel(found: InstanceData, scores: Tensor, scale: Tensor) -> InstanceData:
    """Give each box the text with the highest mean cosine inside of it.

    Boxes that came as two classes may now be one: they are suppressed as usual. Their
    scores stay those of the trained classes.

    Args:
        found: (N, 4) ``bboxes``, ``scores``, ``labels`` and more, of one picture.
        scores: (K, h, w) score map.
        scale: (4, ) factors from the boxes to cells of the map.
    """
    boxes = found.bboxes * scale.to(found.bboxes)
    cells = roi_align(scores[None], [boxes.to(scores)], POINTS, aligned=True)
    found.labels = cells.mean((2, 3)).argmax(1)
    kept = batched_nms(found.bboxes.float(), found.scores.float(), found.labels,
                       OVERLAP)
    return found[kept]


def map_scale(scores: Tensor, input_size: torch.Size, scale_factor: tuple[float, float]
              ) -> Tensor:
    """(4, ) factors from boxes in the photograph to cells of its score map.

    Args:
        scores: (..., h, w).
        input_size: (H, W) of what the network got, padding included.
        scale_factor: (x, y) from the photograph to that.
    """
    x, y = (cells / pixels * factor for cells, pixels, factor in zip(
        (scores.shape[-1], scores.shape[-2]), (input_size[1], input_size[0]),
        scale_factor, strict=True))
    return scores.new_tensor([x, y, x, y])
