"""Search places of several objects in one background so that they do not collide."""
import heapq
from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import UserValueError
from ...registry import FUNCTIONS
from .candidates import Candidates, Regions
from .constraints import Constraints
from .decoding import Placements, check_ranking, check_scores, rank
from .grid import PlacementGrid


@FUNCTIONS.register_module()
class PlacementSearch:
    """Rank boxes of objects; each keeps out of the best boxes of those before it.

    The object whose best box scores highest is placed first. Then the best of what is
    left is sought for the others, and so on. Boxes that leave the background are ruled
    out first, so that an object has a box wherever one fits.

    Args:
        names: Of the objects, for messages.
        overlap: Rank the boxes of every object as if it were alone.
        k, window, keep_inside, nms_iou: See :func:`~.decoding.decode_batch`.
        constraints: ``at``, ``size``, ``scale``, ``avoid`` and ``allow`` of
            :class:`~.constraints.Constraints`, for all objects.

    Raises:
        UserValueError: If an argument is out of range, or one point is given for
            several objects.
    """

    def __init__(self, names: Sequence[str], overlap: bool = False, k: int = 5,
                 window: int = 3, keep_inside: bool = True,
                 nms_iou: float | None = None, **constraints) -> None:
        check_ranking(k, window, nms_iou)
        self.names, self.overlap = list(names), overlap
        self.ranking = dict(
            k=k, window=window, keep_inside=keep_inside, nms_iou=nms_iou)
        self.constraints = Constraints(**constraints, inside=keep_inside)
        if self.constraints.at is not None and len(self.names) > 1 and not overlap:
            raise UserValueError(
                f'at={tuple(self.constraints.at)} is one place, but there are '
                f'{len(self.names)} objects: {self._listed()}; give one object.')

    def __call__(self, heats: Sequence[Tensor], grid: PlacementGrid,
                 background_wh: Sequence[int], objects_wh: Sequence[Sequence[int]]
                 ) -> tuple[list[Placements], list[int]]:
        """Search one background.

        Args:
            heats: (S, H, W) scores of each of O objects.
            grid: That of the maps.
            background_wh: Width and height of the background.
            objects_wh: Those of each object.

        Returns:
            Placements of each object, on the CPU, and the order in which the objects
            were placed. An object without a place has no box and is not in the order.

        Raises:
            UserValueError: If constraints do not fit the background, scores are NaN, or
                no object has a place.
        """
        for heat in heats:
            check_scores(heat)
        candidates = self._candidates(heats, grid, background_wh, objects_wh)
        found = [self._ranked(single) for single in candidates]
        # Of each object: its best score, negative, its index, and how many of the boxes
        # that are taken it keeps out of. Scores only fall, so the first is the best.
        queue = [(-placements.scores[0].item(), i, 0)
                 for i, placements in enumerate(found) if len(placements)]
        heapq.heapify(queue)
        taken, order = [], []
        while queue:
            _, i, known = heapq.heappop(queue)
            if known < len(taken) and not self.overlap:
                # Less is left than when it was ranked: compare with the others again.
                candidates[i].keep_out_of(torch.stack(taken[known:]))
                found[i] = self._ranked(candidates[i])
                if len(found[i]):
                    score = -found[i].scores[0].item()
                    heapq.heappush(queue, (score, i, len(taken)))
                continue
            order.append(i)
            taken.append(found[i].boxes_xywh[0])
        if not order:
            raise UserValueError(self._no_place(background_wh))
        return [placements.cpu() for placements in found], order

    def _candidates(self, heats: Sequence[Tensor], grid: PlacementGrid,
                    background_wh: Sequence[int], objects_wh: Sequence[Sequence[int]]
                    ) -> list[Candidates]:
        kind = dict(dtype=torch.float64, device=heats[0].device)
        background = torch.tensor([[*background_wh]], **kind)
        regions = Regions(self.constraints, background)
        return [Candidates(
            heat[None], grid, background, torch.tensor([[*size]], **kind),
            self.constraints, regions, name)
            for heat, size, name in zip(heats, objects_wh, self.names, strict=True)]

    def _ranked(self, candidates: Candidates) -> Placements:
        return rank(candidates, **self.ranking)[0]

    def _no_place(self, background_wh: Sequence[int]) -> str:
        width, height = background_wh
        inside = 'inside' if self.constraints.inside else 'in'
        return (f'no place is left for {self._listed()}'
                f'{self.constraints.sentence()}: no box {inside} the background of '
                f'{width} x {height} pixels meets all that is asked. Ask for a smaller '
                'size, another position, or allow more of the background.')

    def _listed(self) -> str:
        """The first names, for a message."""
        return ', '.join(self.names[:3]) + ', ...' * (len(self.names) > 3)
