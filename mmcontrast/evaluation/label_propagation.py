"""Propagate the labels of a first frame through a video by feature similarity."""
from collections import deque
from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .probes import CHUNK


@torch.no_grad()
def propagate_labels(features: Iterable[Tensor], first: Tensor, context: int = 7,
                     radius: int | None = 12, topk: int = 5, temperature: float = 0.1
                     ) -> Iterator[Tensor]:
    """Label each frame by the most similar cells of earlier frames.

    A cell takes the mean of the labels of its ``topk`` most similar cells, among those
    at most ``radius`` cells away (in rows and in columns) in the first frame and in the
    last ``context`` frames before this one, weighted by the softmax of cosine /
    ``temperature`` over the ``topk``. Predicted labels serve the next frames.

    Source: "Space-Time Correspondence as a Contrastive Random Walk" (NeurIPS 2020),
    section 4.1; defaults are those of DINO (ICCV 2021).

    Args:
        features: (C, h, w) of each frame, all of one size.
        first: (K, h, w) shares of the labels in the cells of the first frame.
        context: Frames kept besides the first.
        radius: None compares with whole frames.

    Yields:
        (K, h, w) shares of the labels for each frame, ``first`` for the first.

    Raises:
        ValueError: If an option is out of range or ``first`` has another size.
    """
    if context < 0 or topk < 1 or temperature <= 0 or (radius or 0) < 0:
        raise ValueError(
            'context and radius must be 0 or more, topk 1 or more and temperature '
            f'above 0, got {context}, {radius}, {topk} and {temperature}.')
    anchor, recent = None, deque(maxlen=context)
    for frame in features:
        frame = F.normalize(frame.float(), dim=0)
        if anchor is None:
            if frame.shape[-2:] != first.shape[-2:]:
                raise ValueError(
                    f'first is {tuple(first.shape)}, the maps of the frames are '
                    f'{tuple(frame.shape)}: rows and columns must agree.')
            labels = first.to(frame)
            anchor = frame, labels
        else:
            # The first frame is always used, and kept apart from the recent ones.
            maps, known = zip(anchor, *recent, strict=True)
            labels = _propagate(frame, torch.stack(maps), torch.stack(known), radius,
                                topk, temperature)
            recent.append((frame, labels))
        yield labels


def _propagate(frame: Tensor, maps: Tensor, known: Tensor, radius: int | None,
               topk: int, temperature: float) -> Tensor:
    """(K, h, w) labels of ``frame`` (C, h, w) from ``maps`` (T, C, h, w) with ``known``
    (T, K, h, w).

    Computed in blocks of rows, each against the rows within reach.
    """
    rows, cols = frame.shape[-2:]
    reach = max(rows, cols) if radius is None else radius
    block = _rows_at_once(rows, cols, len(maps), reach)
    found = []
    for start in range(0, rows, block):
        stop = min(rows, start + block)
        low, high = max(0, start - reach), min(rows, stop + reach)
        source = maps[:, :, low:high]
        queries = frame[:, start:stop].flatten(1).T                         # (A, C)
        keys = source.transpose(0, 1).flatten(1)                            # (C, B)
        near = _within(range(start, stop), range(low, high), cols, reach, frame.device)
        cosines = (queries @ keys).masked_fill_(~near.repeat(1, len(maps)), -torch.inf)
        best, place = cosines.topk(min(topk, cosines.shape[1]), dim=1)
        weights = (best / temperature).softmax(1)                           # (A, k)
        labels = known[:, :, low:high].transpose(0, 1).flatten(1).T         # (B, K)
        propagated = (weights[:, :, None] * labels[place]).sum(1)
        found.append(propagated.T.unflatten(1, (stop - start, cols)))
    return torch.cat(found, dim=1)


def _within(rows: range, source_rows: range, cols: int, reach: int,
            device: torch.device) -> Tensor:
    """(A, B) bool: whether a cell and a source cell are within reach."""
    def near(a: range, b: range) -> Tensor:
        a, b = (torch.arange(x.start, x.stop, device=device) for x in (a, b))
        return (a[:, None] - b).abs() <= reach
    vertical, horizontal = near(rows, source_rows), near(range(cols), range(cols))
    both = vertical[:, None, :, None] & horizontal[None, :, None, :]
    return both.flatten(2).flatten(0, 1)


def _rows_at_once(rows: int, cols: int, frames: int, reach: int) -> int:
    """Most rows of a frame whose similarities stay within ``CHUNK``."""
    best = 1
    for block in range(1, rows + 1):
        if block * cols * frames * min(rows, block + 2 * reach) * cols > CHUNK:
            break
        best = block
    return best
