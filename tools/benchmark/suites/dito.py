"""Measure the cost of the parts of DITO against plain implementations."""
from collections.abc import Iterator

from timing.frame import Row, suite

from .dito_loss import LossSizes, loss_rows


@suite('dito', 'DITO: what its parts cost', threads=0)
def dito(pairs: int = 4096, dims: int = 512, chunk_size: int = 512, turns: int = 3,
         device: str = 'cpu'):
    """Contrastive loss in chunks against the plain one, forward and backward.

    --pairs       pairs of each rank in the contrastive loss
    --dims        dimensions of their embeddings
    --chunk-size  images that it compares at a time
    --turns       turns of each comparison within a run
    --device      'cpu' or 'cuda'
    """
    sizes = LossSizes(pairs, dims, chunk_size, device)

    def run() -> Iterator[Row]:
        yield from loss_rows(sizes, turns)
    return run
