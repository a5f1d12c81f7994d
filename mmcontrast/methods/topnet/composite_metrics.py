"""Score composites: share that a classifier accepts, FID, and diversity by LPIPS.

GracoNet's protocol for generative methods (spec section 6.3). BOOTPLACE (CVPR 2025)
refuses FID and LPIPS, as blind to artifacts at borders and to resolution.
"""
from collections.abc import Mapping

import numpy as np
import torch
from mmengine.logging import MMLogger
from PIL import Image
from torch import Tensor

from ...datasets.image_lists import list_folder
from ...datasets.transforms.loading import read_image
from ...errors import DataError, UserValueError
from ...registry import METRICS
from .composite_networks import build_network, weights_file
from .composites import CompositeMetric, as_jpeg, stacked
from .frechet import frechet_distance
from .sample import boxes_tensor

_FID_SIDE = 299
# Images whose features are computed at once.
_CHUNK = 32


@METRICS.register_module()
class SimOPAAccuracy(CompositeMetric):
    """Share of composites that a placement classifier finds reasonable: ``accuracy``.

    One composite a sample. A sample without a prediction counts as not reasonable.
    Published numbers use a classifier that also compares with five objects detected in
    the background, plain SimOPA does not: compare only numbers of one classifier.

    Args:
        weights: Path of the classifier's weights, converted by
            ``tools/convert/official.py``.
        classifier: Config of the classifier; it needs a method ``scores(images,
            masks)`` -> probabilities, above 0.5 is reasonable.
        kwargs: See :class:`~.composites.CompositeMetric`.
    """

    def __init__(self, weights: str, classifier: dict | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        path = weights_file(weights, 'of SimOPA', "OPA's repository, convert it with "
                            'tools/convert/official.py')
        self.classifier = build_network(
            classifier or dict(type='SimOPA'), self.device, ['scores'], path)

    def measured(self, sample: Mapping) -> bool:
        made = self.composites(sample)
        if not made:
            return False
        image, mask = made[0]
        scores = self.classifier.scores(stacked([image]), stacked([mask]))
        return bool(scores[0] > 0.5)

    def compute_metrics(self, results: list) -> dict[str, float]:
        return dict(accuracy=float(np.mean(_counted(results, 'SimOPAAccuracy'))))


@METRICS.register_module()
class CompositeFID(CompositeMetric):
    """Frechet distance between predicted and true composites: ``fid``, lower is better.

    One composite a sample against those at all positives of the samples, or against the
    images of a folder. All are encoded as JPEG and resized to 299 x 299 pixels.

    With fewer images than the features have channels (2048), the distance grows as
    there are fewer: compare only equal numbers. The log says so.

    Args:
        network: Config of the feature network, (N, 3, 299, 299) uint8 -> (N, C):
            ``dict(type='FIDInception', weights=PATH)`` for FID.
        real_folder: Folder of true composites, such as those of OPA; default: the
            objects pasted at their positives, as the predictions are.
        jpeg_quality: Of Pillow, whose default is 75; None: no JPEG.
        kwargs: See :class:`~.composites.CompositeMetric`.
    """

    def __init__(self, network: dict, real_folder: str | None = None,
                 jpeg_quality: int | None = 75, **kwargs) -> None:
        super().__init__(**kwargs)
        if jpeg_quality is not None and not 1 <= jpeg_quality <= 100:
            raise UserValueError('CompositeFID: jpeg_quality must be from 1 to 100, or '
                                 f'None, got {jpeg_quality}.')
        self.network = build_network(network, self.device)
        self.real_folder, self.jpeg_quality = real_folder, jpeg_quality

    def measured(self, sample: Mapping) -> tuple[Tensor | None, Tensor | None]:
        """Features of the predicted and of the true composites."""
        found = self._features([image for image, _ in self.composites(sample)])
        if self.real_folder is not None:
            return found, None
        true = self.pasted(sample, boxes_tensor(sample['positives']).cpu())
        return found, self._features([image for image, _ in true])

    def _features(self, images: list) -> Tensor | None:
        """(N, C) on the CPU; None without images."""
        if not images:
            return None
        return torch.cat([
            self.network(stacked([self._prepared(image) for image in
                                  images[start:start + _CHUNK]]).to(self.device)).cpu()
            for start in range(0, len(images), _CHUNK)])

    def _prepared(self, image: np.ndarray) -> np.ndarray:
        if self.jpeg_quality is not None:
            image = as_jpeg(image, self.jpeg_quality)
        side = (_FID_SIDE, _FID_SIDE)
        return np.asarray(Image.fromarray(image).resize(side, Image.BILINEAR))

    @torch.no_grad()
    def compute_metrics(self, results: list) -> dict[str, float]:
        columns = zip(*_counted(results, 'CompositeFID'), strict=True)
        found, true = ([part for part in column if part is not None]
                       for column in columns)
        if self.real_folder is not None:
            true = self._of_folder()
        found, true = (torch.cat(parts) if parts else torch.zeros(0, 1)
                       for parts in (found, true))
        fewest, channels = min(len(found), len(true)), true.shape[1]
        if fewest < channels:
            MMLogger.get_current_instance().warning(
                f'FID of {len(found)} and {len(true)} images with {channels} features: '
                'with fewer images than features, compare only with equal numbers.')
        return dict(fid=frechet_distance(found, true), fid_images=len(found))

    def _of_folder(self) -> list[Tensor]:
        """Features of the images of a folder, read a chunk at a time."""
        paths = [info['img_path'] for info in list_folder(self.real_folder)[0]]
        return [self._features([np.asarray(read_image(path))
                                for path in paths[start:start + _CHUNK]])
                for start in range(0, len(paths), _CHUNK)]


@METRICS.register_module()
class CompositeLPIPS(CompositeMetric):
    """Diversity: mean LPIPS between composites of one sample, then over samples.

    ``lpips``, higher is more diverse. Ten composites a sample, at their original size;
    a sample with fewer predictions has fewer, with none or one it counts 0.

    Args:
        network: Config of the network, whose ``mean_distance(images)`` is the mean over
            pairs: ``dict(type='LPIPSAlexNet', weights=PATH)``.
        num: Composites of a sample.
        kwargs: See :class:`~.composites.CompositeMetric`.
    """

    def __init__(self, network: dict, num: int = 10, **kwargs) -> None:
        super().__init__(**kwargs)
        if num < 2:
            raise UserValueError(f'CompositeLPIPS: num must be 2 or more, got {num}.')
        self.num = num
        self.network = build_network(network, self.device, ['mean_distance'])

    def measured(self, sample: Mapping) -> float:
        made = self.composites(sample, self.num)
        if len(made) < 2:
            return 0.0
        images = stacked([image for image, _ in made]).to(self.device)
        return self.network.mean_distance(images)

    def compute_metrics(self, results: list) -> dict[str, float]:
        return dict(lpips=float(np.mean(_counted(results, 'CompositeLPIPS'))))


def _counted(results: list, name: str) -> list:
    """Entries of the samples with a positive.

    Raises:
        DataError: If there is none.
    """
    counted = [entry for entry in results if entry is not None]
    if not counted:
        raise DataError(f'{name}: none of {len(results)} samples has a positive. Test '
                        'on data with boxes of plausible places.')
    return counted
