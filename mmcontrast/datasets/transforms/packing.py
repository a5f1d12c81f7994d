"""Pack two views as inputs of a model."""
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement
from PIL import Image
from torch import Tensor

from ...registry import TRANSFORMS

#: Former names of result keys, which configs may list.
FORMER_META_KEYS = {'recoloured': 'photometric_done'}


@TRANSFORMS.register_module()
class PackViews(BaseTransform):
    """Pack two views for the model: ``dict(inputs=[view1, view2], data_samples=...)``.

    Views are (3, H, W) uint8 RGB tensors: they are normalized on the device, and
    bytes are a quarter of the traffic. The sample holds ``views``, a pair of
    :class:`~mmcontrast.structures.View`, and the ``meta_keys``.

    Args:
        meta_keys: Result keys that become meta information, where they exist.
    """

    def __init__(self, meta_keys: tuple[str, ...] = (
            'img_path', 'sample_idx', 'ori_shape', 'img_shape', 'label',
            'photometric_done')) -> None:
        self.meta_keys = tuple(FORMER_META_KEYS.get(key, key) for key in meta_keys)

    def transform(self, results: dict) -> dict:
        sample = BaseDataElement(
            metainfo={k: results[k] for k in self.meta_keys if k in results})
        sample.views = results['views']
        return dict(inputs=[image_to_tensor(image) for image in results['img']],
                    data_samples=sample)


def image_to_tensor(image: Image.Image | np.ndarray | Tensor) -> Tensor:
    """An RGB image, or an (H, W, 3) uint8 array or tensor, as a (3, H, W) tensor."""
    if isinstance(image, Image.Image):
        # Twice as fast as permuting an (H, W, 3) array.
        return torch.from_numpy(np.stack(image.split()))
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(np.ascontiguousarray(image))
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != torch.uint8:
        raise ValueError(
            'A view must be an RGB image or (H, W, 3) uint8, got shape '
            f'{tuple(image.shape)} and {image.dtype}.')
    return image.permute(2, 0, 1).contiguous()
