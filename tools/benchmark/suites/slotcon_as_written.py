"""Implement parts of SlotCon literally as the paper and its released code have them.

A baseline for the suite ``slotcon_step``, with all maps, all keys and loops over
samples where the published description has them.
"""
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align


def group(maps: Tensor, prototypes: Tensor) -> tuple[Tensor, Tensor]:
    """Slots (N, K, C) and similarities (N, K, H, W) of projector maps (N, C, H, W)."""
    dots = torch.einsum(
        'kc,nchw->nkhw', F.normalize(prototypes, dim=1), F.normalize(maps, dim=1))
    attention = (dots / 0.07).softmax(1) + 1e-6
    slots = torch.einsum('nkhw,nchw->nkc', attention, maps)
    return slots / attention.sum((2, 3)).unsqueeze(-1), dots


def align(dots: Tensor, boxes: Tensor, flipped: Tensor) -> Tensor:
    """Similarities over the overlap, upright; boxes (N, 4) in units of the view."""
    height, width = dots.shape[-2:]
    scaled = boxes * boxes.new_tensor([width, height, width, height])
    regions = roi_align(dots, list(scaled.split(1)), (height, width), aligned=True)
    return torch.stack([region.flip(-1) if flip else region
                        for region, flip in zip(regions, flipped, strict=True)])


def distill(student: Tensor, teacher: Tensor, center: Tensor) -> Tensor:
    """The distillation term between aligned similarities (N, K, H, W)."""
    student = student.permute(0, 2, 3, 1).flatten(0, 2)
    teacher = teacher.permute(0, 2, 3, 1).flatten(0, 2)
    target = ((teacher - center) / 0.07).softmax(-1)
    return -(target * (student / 0.1).log_softmax(-1)).sum(-1).mean()


def present(dots: Tensor) -> Tensor:
    """(N, K) whether a slot wins a pixel."""
    winners = torch.zeros_like(dots).scatter_(1, dots.argmax(1, keepdim=True), 1.0)
    return winners.sum((2, 3)) > 0


def gather(tensor: Tensor) -> Tensor:
    """The tensors of all ranks, concatenated."""
    if not dist.is_initialized():
        return tensor
    out = [torch.zeros_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(out, tensor.contiguous())
    return torch.cat(out)


def contrast(queries: Tensor, keys: Tensor, query_dots: Tensor, key_dots: Tensor,
             predictor: nn.Module) -> tuple[Tensor, Tensor]:
    """The slot contrast and its logits; all keys are gathered, then filtered."""
    key_present = present(key_dots).flatten()
    shared = present(query_dots).flatten() & key_present
    z = F.normalize(predictor(queries.flatten(0, 1)[shared]), dim=1)
    with torch.no_grad():
        u = F.normalize(keys.flatten(0, 1), dim=1)
        everywhere = gather(key_present.long()).bool()
        u = gather(u)[everywhere]
        rank = dist.get_rank() if dist.is_initialized() else 0
        position = everywhere.long().cumsum(0) - 1
        first = rank * len(key_present)
        labels = position[first:first + len(key_present)][shared]
    logits = z @ u.t() / 0.2
    return 2 * 0.2 * F.cross_entropy(logits, labels), logits


def bytes_gathered(images: int, slots: int, channels: int) -> int:
    """What one rank sends for both calls: presence as int64, keys as float32."""
    return 2 * images * slots * (8 + 4 * channels)
