"""Predict where and how large to paste an object into a background."""
from collections.abc import Mapping, Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor

from ...errors import UserValueError
from ...registry import MODELS
from .cell_labels import CellLabels
from .decoding import decode_batch
from .encoders import global_token, patch_tokens, token_shape
from .fixed_center import decode_at_centers
from .fusion import check_tokens
from .grid import PlacementGrid
from .parts import build_part, checked_options
from .sample import PlacementSample, check_metainfo, sample_name

TEST_OPTIONS = ('k', 'window', 'keep_inside', 'nms_iou', 'heat', 'fix')


@MODELS.register_module()
class TopNet(BaseModel):
    """Scores of all places and scales of an object in a background, in one pass.

    The background is encoded to a token a patch, the object to one token; a transformer
    compares them, and a decoder gives a heat map over scales, rows and columns. Encoded
    backgrounds and objects can be kept: :meth:`fuse` takes one of a kind with many of
    the other. In eval mode, scores do not depend on what else is in the batch.

    Source: "TopNet: Transformer-based Object Placement Network for Image Compositing"
    (CVPR 2023, arXiv 2304.03372), whose code is not public; sizes and losses
    that are not known from the paper are ours.

    Args:
        background_encoder: Any registered backbone that returns a map or tokens:
            ``mmpretrain.VisionTransformer`` with ``out_type='featmap'``,
            ``mmpretrain.TIMMBackbone``, :class:`PlainViT`, a ResNet. Weights by its
            ``init_cfg``.
        object_encoder: A second backbone, whose class token is used, or the mean over
            patches where there is none.
        fusion: Config of :class:`PlacementFusion`; channels, scales and token grid
            follow from the encoders and the grid. ``dim`` is by default that of the
            background encoder.
        loss: Config of the loss: :class:`SparseContrastiveLoss` (the default),
            :class:`SparseCellBCE` or :class:`GaussianPeakFocalLoss`.
        grid: Arguments of :class:`PlacementGrid`: ``size``, ``scales``, ``binning``.
        image_size: Rows and columns of backgrounds, and of objects, as the pipeline
            makes them.
        test_cfg: ``k``, ``window``, ``keep_inside``, ``nms_iou`` of
            :func:`decode_batch`; ``heat=True`` keeps the map in the predictions;
            ``fix='center'`` searches the size alone, at the center of the positive of
            each sample (:func:`.fixed_center.decode_at_centers`).
        data_preprocessor: Config of the preprocessor.
        init_cfg: Initialization, see mmengine's ``BaseModule``.

    Raises:
        ValueError: If the sizes of the parts do not fit together.
        KeyError, ValueError: If ``test_cfg`` has an unknown key or ``fix``.
    """

    def __init__(self, background_encoder: dict, object_encoder: dict,
                 fusion: dict | None = None, loss: dict | None = None,
                 grid: dict | None = None, image_size: Sequence[int] = (256, 224),
                 test_cfg: dict | None = None, data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        # Built here: mmengine would use the default scope.
        super().__init__(
            build_part(data_preprocessor, type='PlacementPreprocessor'), init_cfg)
        self.grid = PlacementGrid(**grid or {})
        self.background_encoder = MODELS.build(background_encoder)
        self.object_encoder = MODELS.build(object_encoder)
        if not isinstance(image_size, Sequence) or len(image_size) != 2:
            raise UserValueError(
                'image_size must be two numbers, the sides of backgrounds and of '
                f'objects, got {image_size!r}.')
        shapes = [token_shape(*encoder, size) for encoder, size in zip(
            ((patch_tokens, self.background_encoder),
             (global_token, self.object_encoder)), image_size, strict=True)]
        self.fusion = self._build_fusion(dict(fusion or {}), *shapes)
        self.criterion = build_part(loss, type='SparseContrastiveLoss')
        self.test_cfg = checked_options(test_cfg, TEST_OPTIONS, 'TopNet')
        if self.test_cfg.get('fix') not in (None, 'center'):
            raise UserValueError(
                "test_cfg of TopNet: fix must be 'center' or None, got "
                f'{self.test_cfg["fix"]!r}.')

    def _build_fusion(self, config: dict, background: Sequence[int],
                      object_token: Sequence[int]):
        """The fusion of (1, N, C) background tokens and a (1, C') object token."""
        config.setdefault('type', 'PlacementFusion')
        config.setdefault('dim', background[-1])
        config.setdefault('decoder_channels', (256, 128, 64, 32))
        step = 2 ** len(config['decoder_channels'])
        if any(length % step for length in self.grid.size):
            raise UserValueError(
                f'grid: size={self.grid.size} must be multiples of {step}, as the '
                f'{len(config["decoder_channels"])} stages of fusion.decoder_channels '
                'double rows and columns.')
        token_grid = [length // step for length in self.grid.size]
        check_tokens(background, token_grid)
        return MODELS.build(dict(
            config, scales=self.grid.scales, background_dim=background[-1],
            object_dim=object_token[-1], token_grid=token_grid))

    def forward(self, inputs: Mapping[str, Tensor],
                data_samples: Sequence[PlacementSample] | None = None,
                mode: str = 'tensor'):
        """Run the model.

        Args:
            inputs: ``background`` (B, 3, H, W) and ``object`` (B, 3, h, w), normalized;
                either may be of one image for B of the other.
            data_samples: B samples, needed for ``loss`` and ``predict``.
            mode: ``loss`` gives named scalars, ``predict`` the samples with
                ``boxes_xywh``, ``scores``, ``cells``, and ``heat`` if ``test_cfg`` asks
                for it, ``tensor`` the logits (B, S, H, W).
        """
        if mode not in ('loss', 'predict', 'tensor'):
            raise ValueError(
                f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}.")
        logits = self.fuse(self.encode_backgrounds(inputs['background']),
                           self.encode_objects(inputs['object']))
        if mode == 'loss':
            return self.loss(logits, data_samples)
        return self.predict(logits, data_samples) if mode == 'predict' else logits

    def encode_backgrounds(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalized backgrounds -> (B, N, C) tokens."""
        return patch_tokens(self.background_encoder, images)

    def encode_objects(self, images: Tensor) -> Tensor:
        """(B, 3, h, w) normalized objects -> (B, C') tokens."""
        return global_token(self.object_encoder, images)

    def fuse(self, background_tokens: Tensor, object_tokens: Tensor) -> Tensor:
        """Logits of encoded backgrounds and objects.

        Args:
            background_tokens: (B, N, C), or (1, N, C) for one background and B objects.
            object_tokens: (B, C'), or (1, C') for one object and B backgrounds.

        Returns:
            (B, S, H, W).
        """
        return self.fusion(background_tokens, object_tokens)

    @torch.no_grad()
    def score_places(self, background: Tensor, objects: Tensor) -> Tensor:
        """Plausibility (B, S, H, W) of all places; arguments as of :meth:`fuse`."""
        return self.fuse(background, objects).float().sigmoid()

    def loss(self, logits: Tensor, data_samples: Sequence[PlacementSample]
             ) -> dict[str, Tensor]:
        """The named terms of the loss.

        Args:
            logits: (B, S, H, W).
            data_samples: With ``positives``, ``negatives`` or both.

        Raises:
            ValueError: If a sample has neither.
            KeyError: If a sample has no ``background_wh``.
        """
        for sample in data_samples:
            if 'positives' not in sample and 'negatives' not in sample:
                raise UserValueError(
                    'TopNet learns from positives or negatives, boxes (N, 4), but '
                    f'{sample_name(sample)} has {sorted(sample.keys()) or "no data"} '
                    'only.')
        positives, negatives = (self._labels(data_samples, name, logits.device)
                                for name in ('positives', 'negatives'))
        return self.criterion(logits, positives, negatives)

    def _labels(self, samples: Sequence[PlacementSample], name: str,
                device: torch.device) -> CellLabels:
        """The boxes of a field as cells; computed on the CPU, in float64, in one go."""
        boxes = [sample.get(name, torch.zeros(0, 4)).cpu() for sample in samples]
        check_metainfo(samples, 'background_wh')
        counts = [len(part) for part in boxes]
        boxes = torch.cat(boxes)
        backgrounds = torch.tensor([sample.background_wh for sample in samples]
                                   ).repeat_interleave(torch.tensor(counts), 0)
        rows, columns = self.grid.size
        sizes = boxes[:, 2:] / backgrounds * torch.tensor([columns, rows])
        return CellLabels.of(
            self.grid.cells(boxes, backgrounds).split(counts), self.grid.shape,
            sizes.split(counts), device)

    @torch.no_grad()
    def predict(self, logits: Tensor, data_samples: Sequence[PlacementSample]
                ) -> list[PlacementSample]:
        """Ranked boxes of every map, on the CPU, in the samples.

        Samples with labels also get their scores, ``positive_scores`` and
        ``negative_scores``.

        Args:
            logits: (B, S, H, W).
            data_samples: With ``background_wh`` and ``object_wh``.

        Raises:
            KeyError: If a sample lacks one of them.
        """
        check_metainfo(data_samples, 'background_wh', 'object_wh')
        options = dict(self.test_cfg)
        with_heat, fix = options.pop('heat', False), options.pop('fix', None)
        heat = logits.float().sigmoid()
        if fix == 'center':
            placements = decode_at_centers(heat, self.grid, data_samples, **options)
        else:
            sizes = (torch.tensor([getattr(sample, name) for sample in data_samples])
                     for name in ('background_wh', 'object_wh'))
            placements = decode_batch(heat, self.grid, *sizes, **options)
        for sample, found, scores in zip(data_samples, placements, heat, strict=True):
            sample.boxes_xywh = found.boxes_xywh.cpu()
            sample.scores, sample.cells = found.scores.cpu(), found.cells.cpu()
            if with_heat:
                sample.heat = scores.cpu()
        self._score_labels(heat, data_samples)
        return list(data_samples)

    def _score_labels(self, heat: Tensor, samples: Sequence[PlacementSample]) -> None:
        """Write the score of the cell of each labeled box into the samples."""
        for kind in ('positive', 'negative'):
            labels = self._labels(samples, f'{kind}s', heat.device)
            scores = heat.flatten(1).gather(1, labels.index).cpu()
            for sample, found in zip(samples, scores, strict=True):
                if 'positives' in sample or 'negatives' in sample:
                    count = len(sample.get(f'{kind}s', ()))
                    sample.set_field(found[:count], f'{kind}_scores')
