"""Score how plausible an object is where it stands, with the classifier SimOPA."""
from pathlib import Path

import numpy as np
import torch

from ...registry import FUNCTIONS


class SimOPAScorer:
    """SimOPA as a scorer of :func:`~.make_placement_pairs.make_placement_pairs`.

    Args:
        checkpoint: Converted weights (tools/convert/official.py topnet).
        device: Where it runs.

    Raises:
        FileNotFoundError: If there is no such file.
        KeyError: If its weights are those of another network.
    """

    def __init__(self, checkpoint: str | Path, device: str = 'cpu') -> None:
        self.checkpoint = str(checkpoint)
        self._model = FUNCTIONS.get('build_placement_classifier')(checkpoint, device)

    @torch.no_grad()
    def __call__(self, image: np.ndarray, mask: np.ndarray) -> float:
        """Probability that an object is plausible in its own image.

        Args:
            image: (H, W, 3) uint8 RGB.
            mask: (H, W) bool.
        """
        images = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
        masks = torch.from_numpy(255 * mask.astype(np.uint8))[None, None]
        return self._model.scores(images, masks).item()
