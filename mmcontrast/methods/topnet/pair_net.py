"""Score all positions of an object of one size: the unofficial TopNet."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor

from ...errors import UserKeyError, UserValueError, did_you_mean
from ...registry import MODELS
from .pair_fusion import PairFusion
from .pair_head import PairDecoder, PairHead
from .pair_labels import LabeledPixels, labeled_pixels, sparse_cross_entropy
from .pair_trunk import FourChannelResNet
from .sample import PlacementSample
from .scales import rank_placements, scale_sizes

# Positives without one negative after which the loss is called pointless.
_MANY = 1000


@dataclass(frozen=True)
class PairTestOptions:
    """``test_cfg`` of :class:`TopNetPair`.

    Attributes:
        k: Number of ranked boxes.
        window: See :func:`.scales.rank_placements`.
        mix_batch: With ``fusion='reference'``, let the images of a batch attend to each
            other, as the released test does. Scores then depend on the batch.
        with_heat: Keep the heat map of each sample.
    """

    k: int = 50
    window: int = 1
    mix_batch: bool = False
    with_heat: bool = False


@MODELS.register_module()
class TopNetPair(BaseModel):
    """Two ResNet-18, a transformer over their last maps, and a decoder.

    One pass scores an object of one size at every pixel of the background; sizes are
    searched by one pass a size, over a background that is encoded once.

    Source: github.com/bcmi/TopNet-Object-Placement (commit 9fef7d6), which is not by
    the authors of TopNet and differs from the paper. Its weights are converted by
    ``tools/convert/official.py topnet``. Differences: logits are one 3x3 convolution
    (:class:`.pair_head.PairHead`); the loss evaluates labeled pixels only, and is 0,
    not NaN, without any; predictions do not depend on what else is in the batch.

    Args:
        fusion: ``'reference'`` as released, ``'fixed'`` for attention over positions;
            see :class:`.pair_fusion.PairFusion`.
        size: Height and width of the input, a multiple of 32: norms and MLPs of the
            fusion have weights for it. 256 in the release.
        layers, heads, mlp_channels: Of the fusion.
        background_init, object_init: ``init_cfg`` of the two trunks. As released:
            ``dict(type='SOPAPretrained', checkpoint='data/SOPA.pth.tar')`` and
            ``dict(type='Pretrained', checkpoint='torchvision://resnet18')``.
        test_cfg: Fields of :class:`PairTestOptions`.
        data_preprocessor, init_cfg: See mmengine's ``BaseModel``.
    """

    def __init__(self, fusion: str = 'reference', size: int = 256, layers: int = 4,
                 heads: int = 8, mlp_channels: int = 128,
                 background_init: dict | None = None, object_init: dict | None = None,
                 test_cfg: dict | None = None, data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if size < 32 or size % 32:
            raise UserValueError(
                f'TopNetPair: size must be a multiple of 32, got {size}.')
        self.size, self.test_options = size, _test_options(test_cfg or {})
        self.background_trunk = FourChannelResNet(background_init)
        self.object_trunk = FourChannelResNet(object_init)
        channels = 2 * FourChannelResNet.out_channels[-1]
        self.fusion = PairFusion(channels, size // 32, fusion, layers, heads,
                                 mlp_channels)
        self.decoder = PairDecoder(channels)
        self.head = PairHead()
        self._positives_alone = 0

    def forward(self, inputs: dict[str, Tensor],
                data_samples: Sequence[PlacementSample] | None = None,
                mode: str = 'tensor'):
        """Run one of the three modes.

        Args:
            inputs: ``background`` (B, 3, H, W) and ``object`` (B, 4, H, W), an object
                of one size in the middle of a black canvas and its mask; ``predict``
                also takes (B, S, 4, H, W), the object at S scales.
            data_samples: B samples; not used by ``tensor``.
            mode: ``'loss'`` -> losses by name; ``'predict'`` -> the samples with
                predictions; ``'tensor'`` -> logits (B, 2, H, W), for
                ``fusion='reference'`` mixed across the batch, as released.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.fuse(self.encode_backgrounds(inputs['background']),
                             self.encode_objects(inputs['object']), mix_batch=True)
        raise UserValueError(
            f"TopNetPair: mode must be 'loss', 'predict' or 'tensor', got {mode!r}.")

    def loss(self, inputs: dict[str, Tensor], data_samples: Sequence[PlacementSample]
             ) -> dict[str, Tensor]:
        """``loss_ce``: cross entropy over the labeled pixels of the batch."""
        x = self.decode(self.encode_backgrounds(inputs['background']),
                        self.encode_objects(inputs['object']), mix_batch=True)
        pixels = labeled_pixels(data_samples, self.size)
        self._warn_without_negatives(data_samples)
        pixels = pixels.to(x.device)
        logits = self.head.at(x, pixels.images, pixels.rows, pixels.cols)
        return dict(loss_ce=sparse_cross_entropy(logits, pixels))

    def predict(self, inputs: dict[str, Tensor],
                data_samples: Sequence[PlacementSample]) -> list[PlacementSample]:
        """Rank boxes, and score the labels of pair files.

        Returns:
            The samples with ``scores``, ``cells``, ``boxes_xywh`` and, if asked for,
            ``heat``. Objects of one size also give ``positive_scores`` and
            ``negative_scores``, the probability 'plausible' at the centers of
            ``positives`` and ``negatives``; their boxes have the size
            ``object_size_wh``. Objects at S scales give boxes of all of them.
        """
        maps, objects = self.encode_backgrounds(inputs['background']), inputs['object']
        if objects.ndim == 5:
            # One image at a time: the maps of S scales are large.
            heats = [self.heat([part[i:i + 1] for part in maps],
                               self.encode_objects(objects[i]))
                     for i in range(len(objects))]
        else:
            heat = self.heat(maps, self.encode_objects(objects),
                             self.test_options.mix_batch)
            heats = list(heat[:, None])
            self._score_labels(heat, data_samples)
        for sample, heat in zip(data_samples, heats, strict=True):
            self._rank(heat, sample, over_scales=objects.ndim == 5)
        return list(data_samples)

    def encode_backgrounds(self, backgrounds: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> maps of strides 2 to 32; once for any number of objects."""
        return self.background_trunk(backgrounds)

    def encode_objects(self, canvases: Tensor) -> Tensor:
        """(B, 4, H, W) -> (B, 512, H / 32, W / 32)."""
        return self.object_trunk(canvases)[-1]

    def decode(self, background_maps: Sequence[Tensor], objects: Tensor,
               mix_batch: bool = False) -> Tensor:
        """The map (B, 64, H, W) that logits are read off.

        Args:
            background_maps: Of B backgrounds, or of one for all objects.
            objects: Of B objects, or of one for all backgrounds.
            mix_batch: See :class:`.pair_fusion.PairFusionLayer`.
        """
        *skips, last = background_maps
        batch = max(len(last), len(objects))
        pair = [x.expand(batch, -1, -1, -1) for x in (last, objects)]
        return self.decoder(self.fusion(torch.cat(pair, 1), mix_batch), skips)

    def fuse(self, background_maps: Sequence[Tensor], objects: Tensor,
             mix_batch: bool = False) -> Tensor:
        """Logits (B, 2, H, W); arguments as of :meth:`decode`."""
        return self.head(self.decode(background_maps, objects, mix_batch))

    def heat(self, background_maps: Sequence[Tensor], objects: Tensor,
             mix_batch: bool = False) -> Tensor:
        """Probability 'plausible' of each pixel, (B, H, W); as :meth:`decode`."""
        return self.fuse(background_maps, objects, mix_batch).float().softmax(1)[:, 1]

    def _rank(self, heat: Tensor, sample: PlacementSample, over_scales: bool) -> None:
        options = self.test_options
        needed = 'object_wh' if over_scales else 'object_size_wh'
        for name in ('background_wh', needed):
            if name not in sample.metainfo:
                raise UserKeyError(
                    f'TopNetPair: a sample has no {name}, which the size of its boxes '
                    f'comes from; it has {sorted(sample.metainfo_keys())}.')
        sizes = (scale_sizes(sample.background_wh, sample.object_wh, len(heat))
                 if over_scales else torch.tensor([sample.object_size_wh]))
        ranked = rank_placements(heat, sizes, sample.background_wh, options.k,
                                 options.window)
        sample.scores, sample.cells = ranked.scores, ranked.cells
        sample.boxes_xywh = ranked.boxes_xywh
        if options.with_heat:
            sample.heat = heat

    def _score_labels(self, heat: Tensor, samples: Sequence[PlacementSample]) -> None:
        pixels = labeled_pixels(samples, self.size)
        scores = heat[_places(pixels.to(heat.device))]
        names = [f'{kind}s' for kind in ('positive', 'negative')]
        parts = scores.split([len(sample.get(name, ())) for name in names
                              for sample in samples])
        for kind, found in zip(('positive', 'negative'), (
                parts[:len(samples)], parts[len(samples):]), strict=True):
            for sample, value in zip(samples, found, strict=True):
                setattr(sample, f'{kind}_scores', value)

    def _warn_without_negatives(self, samples: Sequence[PlacementSample]) -> None:
        """Positives alone teach the network to call every pixel plausible."""
        if self._positives_alone is None:
            return
        if any(len(sample.get('negatives', ())) for sample in samples):
            self._positives_alone = None
            return
        self._positives_alone += sum(len(sample.get('positives', ()))
                                     for sample in samples)
        if self._positives_alone >= _MANY:
            print_log(
                f'TopNetPair: {self._positives_alone} positives so far and not one '
                'negative; cross entropy then makes every map all ones. Train on data '
                'with negatives, or use TopNet with its sparse contrastive loss.',
                'current', 30)
            self._positives_alone = None


def _places(pixels: LabeledPixels) -> tuple[Tensor, Tensor, Tensor]:
    return pixels.images, pixels.rows, pixels.cols


def _test_options(given: dict) -> PairTestOptions:
    known = PairTestOptions.__dataclass_fields__
    for key in given:
        if key not in known:
            raise UserKeyError(
                f'test_cfg of TopNetPair has the unknown key {key!r}'
                f'{did_you_mean(key, known)} It may hold {", ".join(known)}.')
    return PairTestOptions(**given)
