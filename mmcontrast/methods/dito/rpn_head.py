"""Predict class-agnostic proposals by localization quality: the RPN of DITO."""
from collections.abc import Sequence

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor, scale_boxes
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d

from ...errors import UserValueError
from ...models.functional import at_least_float
from ...registry import MODELS
from .options import box_limits, check_clip_to, check_number, options_of
from .proposals import Proposals, ProposalSelector, decode
from .rpn_targets import RPNTargetAssigner, RPNTargets


@MODELS.register_module()
class CenternessRPNHead(BaseDenseHead):
    """RPN whose score is the centerness of an anchor instead of objectness.

    As no anchor far from all boxes is called background for its class, objects that
    the labels do not name are proposed, too. One square anchor a cell; the convolutions
    are shared by the levels, their LayerNorms are not. Fits in the place of mmdet's
    ``RPNHead`` in every two-stage detector and in ``mmdet.RPN``.

    Source: DITO (ECCV 2024), released detector; OLN (RA-L 2022).

    Args:
        in_channels: Channels of the maps of the neck.
        feat_channels: Channels of the convolutions.
        num_convs: Number of 3x3 convolutions.
        strides: Pixels a cell of each map; powers of 2.
        anchor_scale: Side of an anchor in cells.
        norm_eps: Of the LayerNorms.
        clip_to: 'image' clips boxes to the image, as mmdet does; 'batch' to the padded
            batch without its last row and column of pixels, as released. Clipped boxes
            enter the loss.
        centerness_weight, iou_weight: Weights of the two losses.
        num_classes: Given by mmdet's detectors; 1.
        train_cfg: Options of :class:`RPNTargetAssigner`.
        test_cfg: Options of :class:`ProposalSelector`. A detector may have others for
            training: its ``train_cfg.rpn_proposal``.
        init_cfg: Defaults to a normal distribution of std 0.01, and a bias of the
            distances of 0.5, so that boxes start as the anchors. Released: 0. Then
            most boxes start inverted along an axis, with IoU 0 and no gradient; where
            few boxes are matched, all may stay so.

    Raises:
        UserKeyError: If ``train_cfg`` or ``test_cfg`` has an unknown key.
        UserValueError: If another argument is none of the above.
    """

    def __init__(self, in_channels: int = 256, feat_channels: int = 256,
                 num_convs: int = 2, strides: Sequence[int] = (4, 8, 16, 32),
                 anchor_scale: float = 8, norm_eps: float = 1e-6,
                 clip_to: str = 'image', centerness_weight: float = 1.0,
                 iou_weight: float = 8.0, num_classes: int = 1,
                 train_cfg: dict | None = None, test_cfg: dict | None = None,
                 init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg or dict(
            type='Normal', layer='Conv2d', std=0.01, override=dict(
                type='Normal', name='reg', std=0.01, bias=0.5)))
        _check(clip_to, strides, num_classes)
        check_number('rpn_head.anchor_scale', anchor_scale, float, 1e-4)
        self.clip_to, self.num_convs = clip_to, num_convs
        self.centerness_weight, self.iou_weight = centerness_weight, iou_weight
        self.assigner = options_of(RPNTargetAssigner, train_cfg, 'train_cfg.rpn')
        self.selector = options_of(ProposalSelector, test_cfg, 'test_cfg.rpn')
        self.prior_generator = AnchorGenerator(
            strides, ratios=[1.0], scales=[anchor_scale], center_offset=0.5)
        self.levels = [f'p{stride.bit_length() - 1}' for stride in strides]
        for i in range(num_convs):
            self.add_module(f'conv{i}', nn.Conv2d(
                feat_channels if i else in_channels, feat_channels, 3, padding=1))
        for level in self.levels:
            self.add_module(level, nn.ModuleDict({
                f'ln{i}': LayerNorm2d(feat_channels, eps=norm_eps)
                for i in range(num_convs)}))
        channels = feat_channels if num_convs else in_channels
        self.cls = nn.Conv2d(channels, 1, 1)
        self.reg = nn.Conv2d(channels, 4, 1)

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Raw outputs of each level.

        Args:
            x: (B, C, h, w) maps, one for each stride.

        Returns:
            (B, 1, h, w) logits of the centerness, and (B, 4, h, w) distances to the
            left, right, top and bottom side, see :func:`decode`; float32 also under
            autocast.
        """
        if len(x) != len(self.levels):
            raise UserValueError(
                f'{type(self).__name__} has strides for {len(self.levels)} maps '
                f'({", ".join(self.levels)}), the neck gives {len(x)}: make strides '
                'of the head fit the neck.')
        outs = [self._forward_level(*level)
                for level in zip(self.levels, x, strict=True)]
        return tuple(map(list, zip(*outs, strict=True)))

    def _forward_level(self, level: str, x: Tensor) -> tuple[Tensor, Tensor]:
        norms = self.get_submodule(level)
        for i in range(self.num_convs):
            x = norms[f'ln{i}'](self.get_submodule(f'conv{i}')(x)).relu()
        # bfloat16 has steps of a pixel on an anchor of 256; x is float32 from its norm.
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.cls.weight.dtype)
            return self.cls(x), self.reg(x)

    def loss_by_feat(self, cls_scores: list[Tensor], bbox_preds: list[Tensor],
                     batch_gt_instances: list[InstanceData],
                     batch_img_metas: list[dict],
                     batch_gt_instances_ignore: list[InstanceData | None] | None = None
                     ) -> dict[str, Tensor]:
        """Losses of the outputs of :meth:`forward`, under mmdet's names.

        Both are divided by the images times ``num_samples`` of ``train_cfg``, not by
        the number of positives.
        """
        anchors = torch.cat(self._anchors(cls_scores))
        targets = self.assigner(anchors, [_boxes(x) for x in batch_gt_instances],
                                _ignored_boxes(batch_gt_instances_ignore, anchors))
        logits, distances = (torch.cat(x, dim=1)
                             for x in flat_levels(cls_scores, bbox_preds))
        limit = self._limit(batch_img_metas, anchors)
        count = len(logits) * self.assigner.num_samples
        return dict(
            loss_rpn_cls=self.centerness_weight / count * centerness_loss(
                logits, targets),
            loss_rpn_bbox=self.iou_weight / count * iou_loss(
                decode(anchors, distances, limit), targets))

    def predict_by_feat(self, cls_scores: list[Tensor], bbox_preds: list[Tensor],
                        batch_img_metas: list[dict], cfg: dict | None = None,
                        rescale: bool = False) -> list[InstanceData]:
        """Proposals of each image from the outputs of :meth:`forward`, detached.

        Args:
            batch_img_metas: With 'img_shape' or 'batch_input_shape', see ``clip_to``,
                and 'scale_factor' for ``rescale``.
            cfg: Replaces ``test_cfg``.
            rescale: Whether boxes are in pixels of the original image.

        Returns:
            ``bboxes`` (P, 4), ``scores`` (P,) the predicted centerness, in descending
            order, and ``labels`` (P,) zeros.
        """
        selector = self.selector if cfg is None else options_of(
            ProposalSelector, cfg, 'train_cfg.rpn_proposal')
        found = self.padded_proposals(cls_scores, bbox_preds, batch_img_metas, selector)
        results = []
        for boxes, scores, num, meta in zip(
                found.boxes, found.scores, found.num.tolist(), batch_img_metas,
                strict=True):
            boxes = boxes[:num]
            if rescale:
                boxes = scale_boxes(boxes, [1 / s for s in meta['scale_factor']])
            results.append(InstanceData(
                bboxes=boxes, scores=scores[:num],
                labels=boxes.new_zeros(num, dtype=torch.long)))
        return results

    def padded_proposals(self, cls_scores: list[Tensor], bbox_preds: list[Tensor],
                         batch_img_metas: list[dict],
                         selector: ProposalSelector | None = None) -> Proposals:
        """Proposals of all images in one tensor, filled up with zeros."""
        anchors = self._anchors(cls_scores)
        return (selector or self.selector)(
            *flat_levels(cls_scores, bbox_preds), anchors,
            self._limit(batch_img_metas, anchors[0]))

    def _anchors(self, maps: list[Tensor]) -> list[Tensor]:
        """(h * w, 4) anchors of each level."""
        return self.prior_generator.grid_priors(
            [x.shape[-2:] for x in maps], device=maps[0].device)

    def _limit(self, metas: list[dict], like: Tensor) -> Tensor:
        """(B, 2) greatest x and y that a box of each image may have."""
        limits = [box_limits(self.clip_to, meta)[::-1] for meta in metas]
        return like.new_tensor(limits)


def flat_levels(cls_scores: list[Tensor], bbox_preds: list[Tensor]
                ) -> tuple[list[Tensor], list[Tensor]]:
    """(B, h * w) logits and (B, h * w, 4) distances of each level."""
    return ([x.flatten(1) for x in cls_scores],
            [x.flatten(2).transpose(1, 2) for x in bbox_preds])


def centerness_loss(logits: Tensor, targets: RPNTargets) -> Tensor:
    """Summed absolute error of the centerness over the sampled anchors.

    Args:
        logits: (B, A).
    """
    error = (at_least_float(logits).sigmoid() - targets.centerness).abs()
    return (error * (targets.centerness >= 0)).sum()


def iou_loss(boxes: Tensor, targets: RPNTargets) -> Tensor:
    """Summed 1 - IoU over all matched anchors, sampled or not.

    Args:
        boxes: (B, A, 4) predicted. One that ends before it starts has IoU 0.
    """
    iou = bbox_overlaps(boxes, targets.boxes, is_aligned=True)
    return ((1 - iou) * targets.matched).sum()


def _boxes(instances: InstanceData) -> Tensor:
    return get_box_tensor(instances.bboxes)


def _ignored_boxes(instances: list[InstanceData | None] | None, like: Tensor
                   ) -> list[Tensor] | None:
    if instances is None:
        return None
    return [like[:0] if some is None else _boxes(some) for some in instances]


def _check(clip_to: str, strides: Sequence[int], num_classes: int) -> None:
    check_clip_to(clip_to)
    if any(stride.bit_count() != 1 for stride in strides):
        raise UserValueError(
            'strides must be powers of 2, for the levels are named by them (p2 has '
            f'stride 4), got {tuple(strides)}.')
    if num_classes != 1:
        raise UserValueError(
            f'CenternessRPNHead proposes objects of any class: num_classes must be 1, '
            f'got {num_classes}.')
