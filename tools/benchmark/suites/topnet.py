"""Measure TopNet's one pass against scoring one composite at a time."""
from collections.abc import Iterator

from timing.frame import Row, suite

from .topnet_pair import PairSizes, pair_rows
from .topnet_places import PlaceSizes, place_rows


@suite('topnet', 'TopNet: all places in one pass', threads=0)
def topnet(turns: int = 3, layers: int = 12, width: int = 384, size: int = 256,
           objects: int = 10, composites: int = 16, pair_size: int = 256,
           device: str = 'cpu'):
    """One pass against one composite at a time; many objects; the unofficial network.

    --turns       turns of each comparison within a run
    --layers      blocks of both ViTs
    --width       channels of both ViTs
    --size        side of backgrounds, and of the map, in pixels
    --objects     objects on one background, and backgrounds of one object
    --composites  composites that are scored; the time of all is computed from it
    --pair-size   side of the unofficial network's input
    --device      'cpu' or 'cuda'
    """
    places = PlaceSizes(layers, width, size, objects, composites, device)
    pair = PairSizes(pair_size, device)

    def run() -> Iterator[Row]:
        yield from place_rows(places, turns)
        yield from pair_rows(pair, turns)
    return run
