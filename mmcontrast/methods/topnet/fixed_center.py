"""Search the size of an object at a given center: the paper's constrained search."""
from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import UserValueError
from .constraints import Constraints
from .decoding import Placements, decode
from .grid import PlacementGrid
from .sample import PlacementSample, sample_name


def decode_at_centers(heat: Tensor, grid: PlacementGrid,
                      samples: Sequence[PlacementSample], keep_inside: bool = True,
                      **options) -> list[Placements]:
    """The best boxes of every map whose center is that of the sample's positive.

    Only the scale is searched, in the cell that holds the center. Boxes lie exactly
    around it; those that leave the background are ruled out before the best is sought.

    Args:
        heat: (B, S, H, W) scores.
        grid: That of the maps.
        samples: With one positive each; without a positive there is no box.
        keep_inside, options: As of :func:`.decoding.decode_batch`.

    Raises:
        UserValueError: If a sample has several positives, or the center lies outside of
            the background.
    """
    return [_decode_at_center(own, grid, sample, keep_inside, options)
            for own, sample in zip(heat, samples, strict=True)]


def _decode_at_center(heat: Tensor, grid: PlacementGrid, sample: PlacementSample,
                      keep_inside: bool, options: dict) -> Placements:
    positives = sample.get('positives', torch.zeros(0, 4)).cpu()
    if len(positives) > 1:
        raise UserValueError(
            f"fix='center' takes the center of the one positive of a sample, but "
            f'{sample_name(sample)} has {len(positives)}. Give a sample for each: '
            'OPAComposites(group=False, positives_only=True).')
    if not len(positives):
        return Placements(heat.new_zeros(0), heat.new_zeros(0, 3, dtype=torch.int64),
                          heat.new_zeros(0, 4, dtype=torch.float64))
    center = (positives[0, :2] + positives[0, 2:] / 2).tolist()
    try:
        return decode(
            heat, grid, sample.background_wh, sample.object_wh, keep_inside=keep_inside,
            constraints=Constraints(at=center, inside=keep_inside), **options)
    except UserValueError as error:
        raise UserValueError(f'{sample_name(sample)}: {error}') from error
