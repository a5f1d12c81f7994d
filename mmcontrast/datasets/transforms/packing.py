"""The end of a two-view pipeline."""
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement
from PIL import Image
from torch import Tensor

from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackViews(BaseTransform):
    """Make what the model gets: ``dict(inputs=[view1, view2], data_samples=sample)``.

    Views are (3, H, W) uint8 RGB tensors: normalizing is cheaper on the device, and
    bytes are a quarter of the traffic. The sample holds ``views``, a pair of
    :class:`~mmcontrast.structures.View`, and what ``meta_keys`` names.

    Args:
        meta_keys: Result keys that become meta information, where they are there.
    """

    def __init__(self, meta_keys: tuple[str, ...] = (
            'img_path', 'sample_idx', 'ori_shape', 'img_shape', 'label',
            'photometric_done')) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        sample = BaseDataElement(
            metainfo={k: results[k] for k in self.meta_keys if k in results})
        sample.views = results['views']
        return dict(inputs=[image_to_tensor(image) for image in results['img']],
                    data_samples=sample)


def image_to_tensor(image: Image.Image | np.ndarray | Tensor) -> Tensor:
    """An RGB picture, or an (H, W, 3) uint8 array or tensor, as a (3, H, W) tensor."""
    if isinstance(image, Image.Image):
        # Twice as fast as an (H, W, 3) array whose axes change places.
        return torch.from_numpy(np.stack(image.split()))
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(np.ascontiguousarray(image))
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != torch.uint8:
        raise ValueError(
            'A view must be an RGB picture or (H, W, 3) uint8, got shape '
            f'{tuple(image.shape)} and {image.dtype}.')
    return image.permute(2, 0, 1).contiguous()
