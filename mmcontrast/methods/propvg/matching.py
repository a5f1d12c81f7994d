"""Match proposals with the objects of their image."""
from collections.abc import Sequence

import numpy as np
import torch
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .targets import GroundingTargets

CLASS_COST, L1_COST, GIOU_COST = 1.0, 5.0, 2.0
# Instead of a cost that is not finite, of which scipy makes an error. The loss is not
# finite either, and what watches the losses names the cause.
NO_COST = 1e6

# Query and object indices of an image, as many of one as of the other.
Match = tuple[Tensor, Tensor]


@torch.no_grad()
def match(logits: Tensor, boxes: Tensor, targets: GroundingTargets) -> list[Match]:
    """One query for every object, at the lowest total cost (Hungarian matching).

    Source: DETR (Carion et al., ECCV 2020), with the costs of PropVG's released code.
    The device is waited for once a batch.

    Args:
        logits: (B, Q, 2) of one layer: object, no object.
        boxes: (B, Q, 4) cxcywh in [0, 1].
        targets: All foreground objects of the images, referred to or not.

    Returns:
        For each image query and object indices, int64, of min(Q, N) pairs on the device
        of the boxes, the queries ascending.
    """
    costs = matching_costs(logits, boxes, targets).nan_to_num(
        NO_COST, NO_COST, -NO_COST).cpu()
    found = [linear_sum_assignment(cost.T) for cost in costs.split(targets.counts)]
    sizes = [len(queries) for queries, _ in found]
    pairs = torch.from_numpy(np.concatenate([np.stack(pair, 1) for pair in found]))
    return [(x[:, 0], x[:, 1]) for x in pairs.to(boxes.device).split(sizes)]


def matching_costs(logits: Tensor, boxes: Tensor, targets: GroundingTargets) -> Tensor:
    """What it costs to match each object with each query of its image.

    Args:
        logits, boxes, targets: See :func:`match`.

    Returns:
        (M, Q) float32, the M objects of all images in order.
    """
    image, own = targets.image_index, torch.cat(targets.boxes).float()[:, None]
    boxes = boxes.float()[image]
    _, giou = overlaps(own, boxes)
    probs = logits.float().softmax(-1)[image, :, 0]
    distance = (own - boxes).abs().sum(-1)
    return L1_COST * distance - CLASS_COST * probs - GIOU_COST * giou


def overlaps(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalized IoU.

    1e-6 is added to the denominators, as in the reference; mmdet's ``bbox_overlaps``
    floors them at 1e-6.

    Args:
        boxes, others: (..., 4) cxcywh; their shapes are broadcast.

    Returns:
        Both (...), IoU in [0, 1], generalized IoU in [-1, 1].
    """
    boxes, others = bbox_cxcywh_to_xyxy(boxes), bbox_cxcywh_to_xyxy(others)
    inner = (torch.minimum(boxes[..., 2:], others[..., 2:])
             - torch.maximum(boxes[..., :2], others[..., :2])).clamp(min=0).prod(-1)
    areas = [(x[..., 2:] - x[..., :2]).prod(-1) for x in (boxes, others)]
    union = areas[0] + areas[1] - inner
    hull = (torch.maximum(boxes[..., 2:], others[..., 2:])
            - torch.minimum(boxes[..., :2], others[..., :2])).prod(-1)
    iou = inner / (union + 1e-6)
    return iou, iou - (hull - union) / (hull + 1e-6)


def referred_queries(matches: Sequence[Match], targets: GroundingTargets,
                     num_queries: int) -> Tensor:
    """(B, Q) float, 1 for queries that are matched with an object of the phrase."""
    flags = [referred[objects] for referred, (_, objects) in
             zip(targets.referred, matches, strict=True)]
    image, query = matched_queries(matches)
    labels = torch.zeros(len(matches), num_queries, device=query.device)
    labels[image, query] = torch.cat(flags).float()
    return labels


def matched_queries(matches: Sequence[Match]) -> tuple[Tensor, Tensor]:
    """Image and query index of all pairs, image by image."""
    queries = torch.cat([query for query, _ in matches])
    sizes = torch.tensor([len(query) for query, _ in matches])
    image = torch.arange(len(matches)).repeat_interleave(sizes)
    return image.to(queries.device), queries
