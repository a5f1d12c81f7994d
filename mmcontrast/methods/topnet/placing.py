"""Place several objects in one background so that they do not collide."""
import heapq
from collections.abc import Sequence

from torch import Tensor

from ...errors import UserValueError
from ...registry import FUNCTIONS
from .decoding import Placements
from .grid import PlacementGrid
from .wishes import Wishes


@FUNCTIONS.register_module()
def place_objects(heats: Sequence[Tensor], grid: PlacementGrid,
                  background_wh: Sequence[int], objects_wh: Sequence[Sequence[int]],
                  names: Sequence[str] = (), overlap: bool = False, at=None, size=None,
                  scale=None, avoid=None, allow=None, **options
                  ) -> tuple[list[Placements], list[int]]:
    """Rank boxes of every object; each keeps out of the best boxes of those before it.

    The object whose best box scores highest is placed first. Then the best of what is
    left is sought for the others, and so on.

    Args:
        heats: (S, H, W) scores of each of O objects.
        grid: That of the maps.
        background_wh: Width and height of the background.
        objects_wh: Those of each object.
        names: Of the objects, for messages.
        overlap: Rank the boxes of every object as if it were alone.
        at, size, scale, avoid, allow, options: What the user wants, see
            :class:`~.wishes.Wishes`.

    Returns:
        Placements of each object, on the CPU, and the order in which the objects were
        placed. An object without a place has no box and is not in the order.

    Raises:
        UserValueError: If a wish does not fit the background, one point is given for
            several objects, or no object has a place.
    """
    wishes = Wishes(at, size, scale, avoid, allow, options)
    names = list(names) or [f'object {i}' for i in range(len(heats))]
    if at is not None and len(heats) > 1 and not overlap:
        raise UserValueError(
            f'at={tuple(at)} is one place, but there are {len(heats)} objects: '
            f'{", ".join(names[:3])}, ... Give one object.')

    def ranked(i: int, taken: Sequence[Tensor]) -> Placements:
        return wishes.decode(
            heats[i], grid, background_wh, objects_wh[i], taken, names[i])

    found = [ranked(i, ()) for i in range(len(heats))]
    # The best score of an object, how many boxes it keeps out of, and its index.
    queue = [(-found[i].scores[0].item(), i, 0) for i in range(len(found))
             if len(found[i])]
    heapq.heapify(queue)
    taken, order = [], []
    while queue:
        _, i, known = heapq.heappop(queue)
        if known < len(taken) and not overlap:
            # Less is left than when it was ranked: compare it with the others again.
            found[i] = ranked(i, taken)
            if len(found[i]):
                score = -found[i].scores[0].item()
                heapq.heappush(queue, (score, i, len(taken)))
            continue
        order.append(i)
        taken.append(found[i].boxes_xywh[0])
    if not order:
        raise UserValueError(_no_place(names, background_wh, wishes))
    return [_on_cpu(own) for own in found], order


def _on_cpu(found: Placements) -> Placements:
    return Placements(found.scores.cpu(), found.cells.cpu(), found.boxes_xywh.cpu())


def _no_place(names: Sequence[str], background_wh: Sequence[int], wishes: Wishes
              ) -> str:
    width, height = background_wh
    inside = ' inside' if (wishes.options or {}).get('keep_inside', True) else ' in'
    named = ', '.join(names[:3]) + ', ...' * (len(names) > 3)
    return (f'no place is left for {named}{wishes.sentence()}: no box{inside} the '
            f'background of {width} x {height} pixels meets all that is asked. Ask for '
            'a smaller size, or allow more of the background.')
