"""Define the model and the transform that packs its samples."""
import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmcontrast.registry import MODELS, TRANSFORMS


@MODELS.register_module()
class ColorSegmentor(BaseModel):
    """Give each pixel the class whose learned color and height are nearest.

    Args:
        num_classes: K.
        temperature: Divides the squared distances.
        data_preprocessor: Config of the preprocessor of images.
    """

    def __init__(self, num_classes: int, temperature: float = 0.5,
                 data_preprocessor: dict | None = None) -> None:
        super().__init__(data_preprocessor)
        self.num_classes, self.temperature = num_classes, temperature
        # Red, green, blue, and the row: -1 at the top of the image, 1 at its bottom.
        self.prototypes = nn.Parameter(0.01 * torch.randn(num_classes, 4))

    def forward(self, inputs: Tensor, data_samples: list | None = None,
                mode: str = 'tensor') -> Tensor | dict | list:
        """(N, 3, H, W) images to (N, K, H, W) logits, a loss, or data samples."""
        count, _, height, width = inputs.shape
        rows = torch.linspace(-1, 1, height, device=inputs.device)[:, None]
        pixels = torch.cat([inputs, rows.expand(count, 1, height, width)], 1)
        logits = -(pixels[:, None] - self.prototypes[:, :, None, None]).square().sum(2)
        logits = logits / self.temperature
        if mode == 'loss':
            labels = torch.stack([sample.gt_labels for sample in data_samples])
            return dict(loss=F.cross_entropy(logits, labels))
        if mode == 'predict':
            for sample, scores in zip(data_samples, logits, strict=True):
                sample.pred_labels = scores.argmax(0)
            return data_samples
        return logits


@TRANSFORMS.register_module()
class PackLabels(BaseTransform):
    """Pack an RGB image, and its (H, W) labels where there are some."""

    def transform(self, results: dict) -> dict:
        sample = BaseDataElement(metainfo=dict(img_path=results['img_path']))
        if 'gt_seg_map' in results:
            sample.gt_labels = torch.from_numpy(results['gt_seg_map']).long()
        return dict(inputs=torch.from_numpy(results['img']).permute(2, 0, 1),
                    data_samples=sample)
