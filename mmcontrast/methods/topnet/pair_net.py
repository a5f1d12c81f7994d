"""Score all positions of an object of one size: the unofficial TopNet."""
from collections.abc import Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor

from ...errors import UserValueError
from ...registry import MODELS
from .grid import PlacementGrid
from .negatives_watch import NegativesWatch
from .pair_fusion import PairFusion
from .pair_head import PairDecoder, PairHead
from .pair_labels import labeled_pixels, sparse_cross_entropy
from .pair_trunk import FourChannelResNet
from .parts import build_part, checked_options, paired_batch_size
from .sample import PlacementSample, check_metainfo
from .scales import NUM_SCALES, rank_placements, scale_sizes

TEST_OPTIONS = ('k', 'window', 'heat', 'mix_batch')


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
        test_cfg: ``k`` and ``window`` of :func:`.scales.rank_placements`;
            ``heat=True`` keeps the map in the predictions; ``mix_batch=True`` lets the
            images of a batch attend to each other, as the released test does, so that
            scores depend on the batch: only for ``fusion='reference'`` and objects of
            one size.
        data_preprocessor: Config of the preprocessor, by default that of the pair
            network: ``dict(type='PlacementPreprocessor', with_mask=True)``.
        init_cfg: See mmengine's ``BaseModel``.

    Attributes:
        grid: Cells of the sixteen scales, to apply constraints to heat maps; for maps
            of others ``grid.with_scales``. Its boxes are centered in their cells, those
            of predictions are FOPA's.
    """

    def __init__(self, fusion: str = 'reference', size: int = 256, layers: int = 4,
                 heads: int = 8, mlp_channels: int = 128,
                 background_init: dict | None = None, object_init: dict | None = None,
                 test_cfg: dict | None = None, data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        # Built here: mmengine would use the default scope.
        super().__init__(build_part(
            data_preprocessor, type='PlacementPreprocessor', with_mask=True), init_cfg)
        if size < 32 or size % 32:
            raise UserValueError(
                f'TopNetPair: size must be a multiple of 32, got {size}.')
        self.size = size
        self.test_cfg = checked_options(test_cfg, TEST_OPTIONS, 'TopNetPair')
        if self.test_cfg.get('mix_batch') and fusion != 'reference':
            raise UserValueError(
                "TopNetPair: test_cfg.mix_batch needs fusion='reference', the only one "
                'in which images of a batch can attend to each other; got '
                f'{fusion!r}.')
        self.grid = PlacementGrid((size, size), NUM_SCALES, 'fopa')
        self.background_trunk = FourChannelResNet(background_init)
        self.object_trunk = FourChannelResNet(object_init)
        channels = 2 * FourChannelResNet.out_channels[-1]
        self.fusion = PairFusion(channels, size // 32, fusion, layers, heads,
                                 mlp_channels)
        self.decoder = PairDecoder(channels)
        self.head = PairHead()
        self._watch = NegativesWatch(
            'TopNetPair', 'TopNet with its sparse contrastive loss')

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
        self._watch.count(*(sum(len(sample.get(kind, ())) for sample in data_samples)
                            for kind in ('positives', 'negatives')))
        pixels = pixels.to(x.device)
        logits = self.head.at(x, pixels.images, pixels.rows, pixels.cols)
        return dict(loss_ce=sparse_cross_entropy(logits, pixels))

    @torch.no_grad()
    def predict(self, inputs: dict[str, Tensor],
                data_samples: Sequence[PlacementSample]) -> list[PlacementSample]:
        """Rank boxes, and score the labels of pair files.

        Returns:
            The samples with ``scores``, ``cells``, ``boxes_xywh`` and, if asked for,
            ``heat`` (S, H, W), all on the CPU. Objects of one size also give
            ``positive_scores`` and ``negative_scores``, the probability 'plausible' at
            the centers of ``positives`` and ``negatives``, and ``positive_counted`` and
            ``negative_counted``, False where a later label lies on the same pixel;
            their boxes have the size ``object_size_wh``. Objects at S scales give boxes
            of all of them.

        Raises:
            ValueError: If ``test_cfg`` has ``mix_batch`` for objects at S scales.
        """
        maps, objects = self.encode_backgrounds(inputs['background']), inputs['object']
        if objects.ndim == 5:
            if self.test_cfg.get('mix_batch'):
                raise UserValueError(
                    'TopNetPair: test_cfg.mix_batch is for objects of one size '
                    '(PrepareTopNetPair), but inputs.object holds sizes to search, '
                    f'{tuple(objects.shape)}: each is scored by itself. Remove it.')
            # One image at a time: the maps of S scales are large.
            heats = [self.score_places([part[i:i + 1] for part in maps],
                                       self.encode_objects(objects[i:i + 1]))[0]
                     for i in range(len(objects))]
        else:
            heat = self.heat(maps, self.encode_objects(objects),
                             self.test_cfg.get('mix_batch', False))
            heats = list(heat[:, None])
            self._score_labels(heat, data_samples)
        for sample, heat in zip(data_samples, heats, strict=True):
            self._rank(heat, sample, over_scales=objects.ndim == 5)
        return list(data_samples)

    def encode_backgrounds(self, backgrounds: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> maps of strides 2 to 32; once for any number of objects."""
        self._check_shape('background', backgrounds, 3)
        return self.background_trunk(backgrounds)

    def encode_objects(self, canvases: Tensor) -> Tensor:
        """(B, 4, H, W) -> (B, 512, H / 32, W / 32); likewise (B, S, 4, H, W)."""
        self._check_shape('object', canvases, 4)
        encoded = self.object_trunk(canvases.flatten(0, -4))[-1]
        return encoded.unflatten(0, canvases.shape[:-3])

    def decode(self, background_maps: Sequence[Tensor], objects: Tensor,
               mix_batch: bool = False) -> Tensor:
        """The map (B, 64, H, W) that logits are read off.

        Args:
            background_maps: Of B backgrounds, or of one for all objects.
            objects: Of B objects, or of one for all backgrounds.
            mix_batch: See :class:`.pair_fusion.PairFusionLayer`.
        """
        *skips, last = background_maps
        batch = paired_batch_size(len(last), len(objects))
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

    @torch.no_grad()
    def score_places(self, background: Sequence[Tensor], objects: Tensor) -> Tensor:
        """Plausibility of all places of objects in one background, at all sizes.

        Args:
            background: Maps of one background.
            objects: (B, S, C, h, w), each object at S scales.

        Returns:
            (B, S, H, W).
        """
        return torch.stack([self.heat(background, scales) for scales in objects])

    def _check_shape(self, name: str, images: Tensor, channels: int) -> None:
        wanted = channels, self.size, self.size
        if images.ndim < 4 or tuple(images.shape[-3:]) != wanted:
            raise UserValueError(
                f'TopNetPair: {name} must be (B, {", ".join(map(str, wanted))}), got '
                f'{tuple(images.shape)}. The pipeline needs PrepareTopNetPair or '
                f'PrepareTopNetPairScales with size={self.size}, the preprocessor '
                'with_mask=True.')

    def _rank(self, heat: Tensor, sample: PlacementSample, over_scales: bool) -> None:
        check_metainfo([sample], 'background_wh',
                       'object_wh' if over_scales else 'object_size_wh')
        sizes = (scale_sizes(sample.background_wh, sample.object_wh, len(heat))
                 if over_scales else torch.tensor([sample.object_size_wh]))
        ranked = rank_placements(heat, sizes, sample.background_wh, **{
            key: self.test_cfg[key] for key in ('k', 'window') if key in self.test_cfg})
        sample.boxes_xywh = ranked.boxes_xywh.cpu()
        sample.scores, sample.cells = ranked.scores.cpu(), ranked.cells.cpu()
        if self.test_cfg.get('heat'):
            sample.heat = heat.cpu()

    def _score_labels(self, heat: Tensor, samples: Sequence[PlacementSample]) -> None:
        labels = labeled_pixels(samples, self.size)
        pixels = labels.to(heat.device)
        scores = heat[pixels.images, pixels.rows, pixels.cols].cpu()
        kinds = [(sample, kind) for kind in ('positive', 'negative')
                 for sample in samples]
        counts = [len(sample.get(f'{kind}s', ())) for sample, kind in kinds]
        for (sample, kind), found, counted in zip(
                kinds, scores.split(counts), labels.counts.cpu().split(counts),
                strict=True):
            sample.set_field(found, f'{kind}_scores')
            sample.set_field(counted, f'{kind}_counted')
