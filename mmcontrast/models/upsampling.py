"""Small logit maps enlarged to pixels, a strip of rows at a time.

At 150 classes and 12 million pixels the enlarged logits of one photograph have 7 GB;
of what is made of them, labels or a loss, only a strip is needed at a time.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

# Elements of the enlarged logits that are alive at a time: 16 MB in float32.
STRIP = 2 ** 22
# Elements of the largest intermediate tensor: 64 MB of float32.
_CHUNK = 1 << 24


def upsampled_argmax(logits: Tensor, size: tuple[int, int], align_corners: bool = False,
                   strip: int = STRIP) -> Tensor:
    """The highest class at every pixel of ``logits`` enlarged bilinearly.

    Args:
        logits: (K, h, w).
        size: (H, W) of the enlargement; it may also be smaller.
        align_corners: As in ``F.interpolate``; True enlarges all at once.
        strip: Most elements of enlarged logits that are alive at a time.

    Returns:
        (H, W) int64.
    """
    if align_corners:
        return F.interpolate(logits[None], size, mode='bilinear', align_corners=True
                             )[0].argmax(0)
    parts = []
    for rows in strips(len(logits), *size, strip):
        near = rows_needed(rows, logits.shape[1], size[0])
        large = upsample_rows(
            logits[None, :, near], rows, near.start, logits.shape[1], size)
        parts.append(large[0].argmax(0))
    return torch.cat(parts)


def upsample_rows(part: Tensor, rows: slice, first: int, height: int,
                  size: tuple[int, int]) -> Tensor:
    """Rows ``rows`` of the (H, W) enlargement of maps of ``height`` rows.

    Args:
        part: (B, K, n, w), the rows of these maps from ``first`` on.
    """
    above, below, weight = _neighbors(rows, height, size[0], part.device)
    mixed = torch.lerp(part.index_select(2, above - first),
                       part.index_select(2, below - first),
                       weight.to(part.dtype)[:, None])
    return F.interpolate(mixed, (len(above), size[1]), mode='bilinear',
                         align_corners=False)


def _neighbors(rows: slice, height: int, target: int, device: torch.device
                ) -> tuple[Tensor, Tensor, Tensor]:
    """For each row of the enlargement the two rows it lies between, and how far."""
    place = torch.arange(rows.start, rows.stop, device=device, dtype=torch.float32)
    place = ((place + 0.5) * (height / target) - 0.5).clamp(min=0)
    above = place.long().clamp(max=height - 1)
    return above, (above + 1).clamp(max=height - 1), place - above


def rows_needed(rows: slice, height: int, target: int) -> slice:
    """The rows of the small map between which ``rows`` of the enlargement lie."""
    first = max(int((rows.start + 0.5) * height / target - 0.5), 0)
    last = int(max(rows.stop - 0.5, 0) * height / target - 0.5) + 2
    # One more on either side: float32 on the device may round the other way.
    return slice(max(first - 1, 0), min(last + 1, height))


def strips(channels: int, height: int, width: int, most: int) -> list[slice]:
    """Rows of a (channels, height, width) map in parts of at most so many elements."""
    step = max(1, most // (channels * width))
    return [slice(start, min(start + step, height))
            for start in range(0, height, step)]


@torch.no_grad()
def assign_slots(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """The slot that wins each pixel.

    Scores are brought to the resolution of the pixels first and compared there, which
    gives smoother borders than a map of winners that is enlarged.

    Args:
        scores: (N, K, h, w), higher is more alike.
        size: (H, W) of the result.

    Returns:
        (N, H, W) int64 in [0, K).
    """
    planes = max(1, _CHUNK // (size[0] * size[1]))
    images = max(1, planes // scores.shape[1])
    return torch.cat([_winners(part, size, planes) for part in scores.split(images)])


def _winners(scores: Tensor, size: tuple[int, int], planes: int) -> Tensor:
    best = winner = None
    for start in range(0, scores.shape[1], planes):
        part = scores[:, start:start + planes]
        value, index = F.interpolate(part, size, mode='bilinear').max(1)
        index += start
        if best is not None:
            earlier = best >= value
            value = torch.where(earlier, best, value)
            index = torch.where(earlier, winner, index)
        best, winner = value, index
    return winner
