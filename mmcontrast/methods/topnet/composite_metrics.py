"""Score composites: share that a classifier accepts, FID, and diversity by LPIPS.

The protocol of GracoNet (ECCV 2022) for generative methods. BOOTPLACE (CVPR 2025)
rejects FID and LPIPS, as blind to artifacts at borders and to resolution.
"""
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import MMLogger
from PIL import Image
from torch import Tensor

from ...datasets.image_files import read_image
from ...datasets.image_lists import list_folder
from ...errors import DataError, UserValueError
from ...registry import METRICS
from .composite_networks import build_network, build_placement_classifier
from .composites import CompositeMetric, as_jpeg, fingerprint, stacked
from .frechet import frechet_distance
from .sample import boxes_tensor, sample_name

_FID_SIDE = 299
# Images whose features are computed at once.
_CHUNK = 32
_JPEG = '.jpg', '.jpeg'


@METRICS.register_module()
class SimOPAAccuracy(CompositeMetric):
    """Share of composites that a placement classifier finds reasonable: ``accuracy``.

    One composite a pair, which counts once for each positive of a sample, so that the
    share is one of OPA's 3,588 positive test rows. A sample without a prediction counts
    as not reasonable. Published numbers use a classifier that also compares with five
    objects detected in the background, plain SimOPA does not: compare only numbers of
    one classifier.

    Args:
        weights: Path of the classifier's weights, converted by
            ``tools/convert/official.py``.
        classifier: Config of the classifier; it needs a method ``scores(images,
            masks)`` -> (B,) probabilities, above 0.5 is reasonable, of B composites (3,
            H, W) and masks (1, H, W), uint8, whose sizes differ.
        kwargs: See :class:`~.composites.CompositeMetric`.
    """

    def __init__(self, weights: str, classifier: dict | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.classifier = build_placement_classifier(weights, self.device, classifier)

    def measured(self, samples: Sequence[Mapping]) -> list[tuple[int, int]]:
        """How many composites of each sample count, and how many are accepted."""
        made = [self.composites(sample) for sample in samples]
        images, masks = ([stacked([own[0][part]])[0] for own in made if own]
                         for part in (0, 1))
        scores = self.classifier.scores(images, masks) if images else torch.zeros(0)
        accepted = iter((scores > 0.5).tolist())
        counts = [len(sample['positives']) for sample in samples]
        return [(count, count if own and next(accepted) else 0)
                for count, own in zip(counts, made, strict=True)]

    def compute_metrics(self, results: list) -> dict[str, float]:
        total, accepted = np.sum(_counted(results, 'SimOPAAccuracy'), 0)
        return dict(accuracy=float(accepted / total))


@METRICS.register_module()
class CompositeFID(CompositeMetric):
    """Frechet distance between predicted and true composites: ``fid``, lower is better.

    One composite a pair, which counts once for each positive of a sample, against those
    at all positives of the samples, or against files of true composites. All are JPEGs
    (what was pasted here is encoded as one) and resized to 299 x 299 pixels.

    With fewer images than the features have channels (2048), the distance grows as
    there are fewer: compare only equal numbers. The log says so.

    Args:
        network: Config of the feature network, (N, 3, 299, 299) uint8 -> (N, C):
            ``dict(type='FIDInception', weights=PATH)`` for FID.
        real_folder: Folder of true composites; default: the objects pasted at their
            positives, as the predictions are.
        real_pattern: Which file names of the folder: ``'[0-9]*_1.jpg'`` are those of
            OPA's ``composite/test_set`` with label 1, without ``mask_*``.
        jpeg_quality: Of composites that are pasted here and of files that are no JPEG.
            Pillow's default is 75; None: no JPEG.
        kwargs: See :class:`~.composites.CompositeMetric`.
    """

    def __init__(self, network: dict, real_folder: str | None = None,
                 real_pattern: str = '*', jpeg_quality: int | None = 75, **kwargs
                 ) -> None:
        super().__init__(**kwargs)
        if jpeg_quality is not None and not 1 <= jpeg_quality <= 100:
            raise UserValueError('CompositeFID: jpeg_quality must be from 1 to 100, or '
                                 f'None, got {jpeg_quality}.')
        self.network = build_network(network, self.device)
        self.real_files = None if real_folder is None else _files(
            real_folder, real_pattern)
        self.jpeg_quality = jpeg_quality

    def measured(self, samples: Sequence[Mapping]) -> list[tuple[Tensor, Tensor]]:
        """Features of the predicted and of the true composites of each sample."""
        made = []
        for sample in samples:
            made.append(self.composites(sample))
            made.append([] if self.real_files is not None else self.pasted(
                sample, boxes_tensor(sample['positives']).cpu()))
        features = self._features([
            self._prepared(image) for own in made for image, _ in own])
        parts = features.split([len(own) for own in made])
        return [(found.repeat_interleave(len(sample['positives']), 0), true.clone())
                for sample, found, true in zip(
                    samples, parts[::2], parts[1::2], strict=True)]

    def _features(self, images: list) -> Tensor:
        """(N, C) on the CPU, of N images of one size; (0, 0) without images."""
        if not images:
            return torch.zeros(0, 0)
        return torch.cat([
            self.network(stacked(images[start:start + _CHUNK]).to(self.device))
            for start in range(0, len(images), _CHUNK)]).cpu()

    def _prepared(self, image: np.ndarray, is_jpeg: bool = False) -> np.ndarray:
        if self.jpeg_quality is not None and not is_jpeg:
            image = as_jpeg(image, self.jpeg_quality)
        side = (_FID_SIDE, _FID_SIDE)
        return np.asarray(Image.fromarray(image).resize(side, Image.BILINEAR))

    @torch.no_grad()
    def compute_metrics(self, results: list) -> dict[str, float]:
        columns = zip(*_counted(results, 'CompositeFID'), strict=True)
        found, true = ([part for part in column if len(part)] for column in columns)
        if self.real_files is not None:
            true = self._of_files()
        found, true = (torch.cat(parts) if parts else torch.zeros(0, 1)
                       for parts in (found, true))
        fewest, channels = min(len(found), len(true)), true.shape[1]
        if fewest < channels:
            MMLogger.get_current_instance().warning(
                f'FID of {len(found)} and {len(true)} images with {channels} features: '
                'with fewer images than features, compare only with equal numbers.')
        return dict(fid=frechet_distance(found, true), fid_images=len(found))

    def _of_files(self) -> list[Tensor]:
        """Features of the files of true composites, read a chunk at a time."""
        return [self._features([
            self._prepared(np.asarray(read_image(path)), path.lower().endswith(_JPEG))
            for path in self.real_files[start:start + _CHUNK]])
            for start in range(0, len(self.real_files), _CHUNK)]


@METRICS.register_module()
class CompositeLPIPS(CompositeMetric):
    """Diversity: mean LPIPS between composites of one pair, then over pairs.

    ``lpips``, higher is more diverse. Ten composites a pair, at their original size; a
    pair with fewer predictions has fewer, with none or one it counts 0. Of several
    samples of one pair (rows of OPA's table) the first counts.

    Args:
        network: Config of the network, whose ``mean_distance(images)`` is the mean over
            pairs of images: ``dict(type='LPIPSAlexNet', weights=PATH)``.
        num: Composites of a pair.
        kwargs: See :class:`~.composites.CompositeMetric`.
    """

    def __init__(self, network: dict, num: int = 10, **kwargs) -> None:
        super().__init__(**kwargs)
        if num < 2:
            raise UserValueError(f'CompositeLPIPS: num must be 2 or more, got {num}.')
        self.num = num
        self.network = build_network(network, self.device, ['mean_distance'])

    def measured(self, samples: Sequence[Mapping]) -> list[tuple[int, float]]:
        """What names the pair, and its diversity."""
        found = torch.stack([self._diversity(sample) for sample in samples]).tolist()
        return list(zip(map(fingerprint, samples), found, strict=True))

    def _diversity(self, sample: Mapping) -> Tensor:
        made = self.composites(sample, self.num)
        if len(made) < 2:
            return torch.zeros((), device=self.device)
        images = stacked([image for image, _ in made]).to(self.device)
        try:
            return self.network.mean_distance(images)
        except UserValueError as error:
            raise UserValueError(
                f'CompositeLPIPS: {sample_name(sample)}: {error}') from error

    def compute_metrics(self, results: list) -> dict[str, float]:
        # In reverse: the first of a pair stays.
        pairs = dict(reversed(_counted(results, 'CompositeLPIPS')))
        return dict(lpips=float(np.mean(list(pairs.values()))))


def _files(folder: str, pattern: str) -> list[str]:
    """Paths of the images of a folder whose names match.

    Raises:
        FileNotFoundError: If there is no folder, or no such image.
    """
    paths = [info['img_path'] for info in list_folder(folder)[0]]
    found = [path for path in paths if fnmatch(Path(path).name, pattern)]
    if not found:
        raise FileNotFoundError(
            f'CompositeFID: none of the {len(paths)} images in {folder} has a name '
            f'like real_pattern={pattern!r}; the first is {Path(paths[0]).name}.')
    return found


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
