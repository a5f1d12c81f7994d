"""Measure the cost of the parts of DITO against plain implementations."""
from collections.abc import Iterator

from timing.frame import Row, suite

from .dito_detector import DetectorSizes, detector_rows
from .dito_loss import LossSizes, loss_rows


@suite('dito', 'DITO: what its parts cost', threads=0)
def dito(pairs: int = 4096, dims: int = 512, chunk_size: int = 512, turns: int = 3,
         layers: int = 12, width: int = 768, size: int = 512,
         proposals: int = 1000, device: str = 'cpu'):
    """Contrastive loss in chunks against the plain one; ViT, crops and detector.

    --pairs       pairs of each rank in the contrastive loss
    --dims        dimensions of their embeddings
    --chunk-size  images that it compares at a time
    --turns       turns of each comparison within a run
    --layers      blocks of the detector's ViT
    --width       channels of the detector's ViT
    --size        side of the images in pixels
    --proposals   regions of an image that are classified; 512 at most in training
    --device      'cpu' or 'cuda'
    """
    loss = LossSizes(pairs, dims, chunk_size, device)
    detector = DetectorSizes(layers, width, size, proposals, device)

    def run() -> Iterator[Row]:
        yield from loss_rows(loss, turns)
        yield from detector_rows(detector, turns)
    return run
