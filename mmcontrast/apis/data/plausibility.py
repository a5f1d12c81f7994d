"""Score how plausible an object is where it stands, with the classifier SimOPA."""
from pathlib import Path

import numpy as np
import torch

from ...errors import UserKeyError
from ...io.checkpoint import check_matching_keys, find_state_dict, read_checkpoint
from ...registry import MODELS


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
        weights = find_state_dict(read_checkpoint(checkpoint), checkpoint)
        self._model = MODELS.build(dict(type='SimOPA'))
        note = check_matching_keys(weights, self._model, checkpoint, 'SimOPA')
        if note:
            raise UserKeyError(f'{note} Convert released weights of SimOPA with '
                               'tools/convert/official.py topnet.')
        self._model.load_state_dict(weights)
        self._model.to(device).eval()

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
