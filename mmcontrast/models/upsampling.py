"""Upsample logit maps to pixels strip by strip, in bounded memory.

At 150 classes and 12 million pixels, the upsampled logits of one image have 7 GB; of
what follows from them, labels or a loss, only a strip of rows is needed at a time.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

# Elements of upsampled logits that are alive at a time: 16 MB in float32.
STRIP = 2 ** 22


@torch.no_grad()
def upsampled_argmax(logits: Tensor, size: tuple[int, int], align_corners: bool = False,
                     strip: int = STRIP) -> Tensor:
    """The class or slot with the highest logit at every pixel.

    Logits are interpolated to the pixels first and compared there, which gives
    smoother borders than upsampling a label map.

    Args:
        logits: (N, K, h, w); any scores of which the highest wins.
        size: (H, W) of the result; it may also be smaller than the maps.
        align_corners: As in ``F.interpolate``, bilinear.
        strip: Most elements of upsampled logits that are alive at a time.

    Returns:
        (N, H, W) int64 in [0, K); of equal logits, the first.
    """
    _, classes, height, _ = logits.shape
    images = max(1, strip // (classes * size[0] * size[1]))
    found = []
    for part in logits.split(images):
        labels = []
        for rows in strips(classes * len(part), *size, strip):
            near = rows_needed(rows, height, size[0], align_corners)
            large = upsample_rows(
                part[:, :, near], rows, near.start, height, size, align_corners)
            labels.append(large.argmax(1))
        found.append(torch.cat(labels, 1))
    return torch.cat(found)


def upsample_rows(part: Tensor, rows: slice, first: int, height: int,
                  size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """Rows ``rows`` of maps of ``height`` rows, upsampled bilinearly to ``size``.

    Args:
        part: (B, K, n, w), the rows of these maps from ``first`` on.
        size: (H, W) of the whole upsampled maps.
        align_corners: As in ``F.interpolate``.

    Returns:
        (B, K, number of rows, W).
    """
    above, below, weight = _neighbors(
        rows, height, size[0], align_corners, part.device)
    mixed = torch.lerp(part.index_select(2, above - first),
                       part.index_select(2, below - first),
                       weight.to(part.dtype)[:, None])
    return F.interpolate(mixed, (len(above), size[1]), mode='bilinear',
                         align_corners=align_corners)


def rows_needed(rows: slice, height: int, target: int, align_corners: bool = False
                ) -> slice:
    """The rows of a map of ``height`` rows that ``rows`` of ``target`` depend on."""
    first, last = (int(_source_row(row, height, target, align_corners))
                   for row in (rows.start, max(rows.stop - 1, 0)))
    # One more on either side: float32 on the device may round the other way.
    return slice(max(first - 1, 0), min(last + 3, height))


def strips(channels: int, height: int, width: int, most: int) -> list[slice]:
    """Rows of a (channels, height, width) map in parts of at most ``most`` elements."""
    step = max(1, most // max(1, channels * width))
    return [slice(start, min(start + step, height))
            for start in range(0, height, step)]


def _neighbors(rows: slice, height: int, target: int, align_corners: bool,
               device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each upsampled row the two source rows around it, and the lower's weight."""
    place = torch.arange(rows.start, rows.stop, device=device, dtype=torch.float32)
    place = _source_row(place, height, target, align_corners).clamp(min=0)
    above = place.long().clamp(max=height - 1)
    return above, (above + 1).clamp(max=height - 1), place - above


def _source_row(row: Tensor | int, height: int, target: int, align_corners: bool
                ) -> Tensor | float:
    """Position of an upsampled row among the rows of the map; may be negative."""
    if align_corners:
        return row * ((height - 1) / max(target - 1, 1))
    return (row + 0.5) * (height / target) - 0.5
