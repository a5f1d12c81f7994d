"""Prepare backgrounds as the test pipeline of a model that places objects does."""
import numpy as np

from ...datasets.transforms.packing import image_to_tensor
from ...errors import UserValueError
from ...structures.protocols import PreparesPlacements, SearchesPlacements
from ..loading import LoadedModel
from .images import input_pipeline


class BackgroundPipeline:
    """Prepare an image as a background; takes and gives what a test pipeline does."""

    def __init__(self, step: PreparesPlacements) -> None:
        self.step = step

    def __call__(self, results: dict) -> dict:
        image = self.step.prepare_background(results['img'])
        # A copy: Pillow's arrays are read-only.
        return dict(inputs=image_to_tensor(np.array(image)), data_samples=None)


def preparing_step(loaded: LoadedModel) -> PreparesPlacements:
    """The step of a test pipeline that prepares backgrounds, and objects at all sizes.

    Raises:
        ValueError: If there is none.
    """
    for step in input_pipeline(loaded.config).transforms:
        if isinstance(step, SearchesPlacements):
            return step.over_scales()
    raise UserValueError(
        f'{loaded.config.filename}: the test pipeline has no step that prepares '
        'backgrounds and objects, such as PrepareTopNet.')
