"""Classify regions by class texts, refine their boxes and predict masks."""
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures.bbox import get_box_tensor
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from ...errors import UserValueError
from ...registry import MODELS
from .box_coder import DeltaYXHWBoxCoder, clip_boxes, rescale_boxes
from .detections import select_detections
from .mask_targets import sampled_mask_targets, store_masks
from .options import box_limits, check_clip_to, options_of
from .roi_crop import PyramidRoICrop
from .roi_losses import box_loss, class_loss, federated_classes, mask_loss
from .roi_targets import SampledRoIs, sample_rois, with_image_index
from .scores import cosine_logits, fuse_scores, weight_by_objectness


@dataclass(frozen=True)
class TrainOptions:
    """What ``train_cfg.rcnn`` may hold; see :func:`sample_rois`.

    Attributes:
        num_masks: Positive regions of an image that get a mask loss.
        background_weight: Factor of the class loss of background regions.
        federated_classes: Number of classes that take part in the class loss of a
            batch, see :func:`federated_classes`. 0: all, as in DITO.
    """

    LIMITS: ClassVar = dict(
        num_samples=(1, inf), positive_fraction=(0, 1), iou_threshold=(0, 1),
        sample_padding=(0, inf), num_masks=(1, inf), background_weight=(0, inf),
        federated_classes=(0, inf))

    num_samples: int = 512
    positive_fraction: float = 0.25
    iou_threshold: float = 0.5
    sample_padding: int = 0
    fill_with_unsampled: bool = False
    num_masks: int = 128
    background_weight: float = 0.9
    federated_classes: int = 0


@dataclass(frozen=True)
class TestOptions:
    """What ``test_cfg.rcnn`` may hold.

    Attributes:
        score_thr, nms_iou, max_per_img: See :func:`select_detections`.
        base_weight, novel_weight: Exponents of the scores of the frozen model for
            classes with and without labels in training; see :func:`fuse_scores`.
        renormalize, fuse_background: See :func:`fuse_scores`; the protocol of F-ViT
            has False and True.
        vlm_temperature: Divides the cosines of the frozen model.
        objectness_power: Of the score of the region proposal.
        vlm_box_scale: Regions are shrunk to this share of their sides before their
            features of the frozen model are averaged.
        mask_thr_binary: Probability above which a pixel belongs to the mask.
    """

    LIMITS: ClassVar = dict(
        score_thr=(0, 1), nms_iou=(0, 1), max_per_img=(1, inf), base_weight=(0, 1),
        novel_weight=(0, 1), vlm_temperature=(1e-4, inf), objectness_power=(0, inf),
        vlm_box_scale=(1e-4, inf), mask_thr_binary=(0, 1))

    score_thr: float = 0.0
    nms_iou: float = 0.5
    max_per_img: int = 300
    base_weight: float = 0.35
    novel_weight: float = 0.65
    renormalize: bool = True
    fuse_background: bool = False
    vlm_temperature: float = 0.01
    objectness_power: float = 3.0
    vlm_box_scale: float = 0.7
    mask_thr_binary: float = 0.5

    # Not collected by pytest.
    __test__ = False


@MODELS.register_module()
class TextRoIHead(BaseModule):
    """RoI head whose classes are texts, given with each call.

    Source: DITO (arXiv 2310.00161), the released detector. In the place of mmdet's
    RoI heads in :class:`DITODetector`.

    Args:
        bbox_head: Config of a :class:`TextBoxHead`.
        mask_head: Config of a :class:`NormedMaskHead`; None for boxes alone.
        strides: Of the maps of the neck.
        vlm_stride: Of the map of the frozen image-text model.
        class_frequency: (K,) weights of the trained classes in the federated loss, such
            as the roots of their numbers of images; for
            ``train_cfg.rcnn.federated_classes``.
        clip_to: 'image' clips boxes to the image, as mmdet does; 'batch' to the padded
            batch without its last row and column of pixels, as released.
        train_cfg, test_cfg: Options of :class:`TrainOptions` and :class:`TestOptions`.
    """

    def __init__(self, bbox_head: dict, mask_head: dict | None = None,
                 strides: Sequence[int] = (4, 8, 16, 32), vlm_stride: int = 16,
                 class_frequency: Sequence[float] | None = None,
                 clip_to: str = 'image', train_cfg: dict | None = None,
                 test_cfg: dict | None = None, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.train_options = options_of(TrainOptions, train_cfg, 'train_cfg.rcnn')
        self.test_options = options_of(TestOptions, test_cfg, 'test_cfg.rcnn')
        check_clip_to(clip_to)
        if self.train_options.federated_classes and class_frequency is None:
            raise UserValueError(
                'train_cfg.rcnn.federated_classes draws classes by their frequency: '
                'set roi_head.class_frequency, a number for each trained class.')
        self.clip_to = clip_to
        self.bbox_head = MODELS.build(bbox_head)
        self.crop_boxes = PyramidRoICrop(7, strides)
        self.box_coder = DeltaYXHWBoxCoder()
        self.crop_vlm = PyramidRoICrop(14, (vlm_stride,))
        self.mask_head = mask_head and MODELS.build(mask_head)
        self.crop_masks = PyramidRoICrop(14, strides)
        self.register_buffer('class_frequency', None if class_frequency is None else (
            torch.tensor(class_frequency, dtype=torch.float32)), persistent=False)

    @property
    def with_bbox(self) -> bool:
        """Asked for by mmdet's detectors."""
        return True

    @property
    def with_mask(self) -> bool:
        """Whether masks are predicted."""
        return self.mask_head is not None

    def forward(self, x: Sequence[Tensor], rois: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (N, D) and deltas (N, 4) of RoIs (N, 5)."""
        return self.bbox_head(self.crop_boxes(x, rois))

    def loss(self, x: Sequence[Tensor], rpn_results_list: Sequence[InstanceData],
             batch_data_samples: Sequence, text: Tensor) -> dict[str, Tensor]:
        """Losses of sampled regions: ``loss_cls``, ``loss_bbox``, ``loss_mask``.

        Args:
            x: Maps of the neck.
            rpn_results_list: Proposals, with ``bboxes``.
            batch_data_samples: mmdet's samples with ``gt_instances``.
            text: (K + 1, D) embeddings, background last.
        """
        truth, _, _ = unpack_gt_instances(batch_data_samples)
        sampled = self.sample(rpn_results_list, truth, len(text) - 1)
        embeds, deltas = self(x, sampled.rois())
        labels, options = sampled.labels.flatten(), self.train_options
        losses = dict(
            loss_cls=class_loss(self.bbox_head.logits(embeds, text), labels,
                                options.background_weight,
                                self._allowed(labels, sampled.num_classes)),
            loss_bbox=box_loss(deltas, sampled.deltas.flatten(0, 1),
                               sampled.positive.flatten()))
        if self.with_mask:
            losses['loss_mask'] = self._mask_loss(x, sampled, truth)
        return losses

    def sample(self, proposals: Sequence[InstanceData], truth: Sequence[InstanceData],
               num_classes: int, priority: Tensor | None = None) -> SampledRoIs:
        """Draw the regions of a batch that are trained on, see :func:`sample_rois`.
        """
        options = self.train_options
        return sample_rois(
            [found.bboxes for found in proposals],
            [get_box_tensor(real.bboxes) for real in truth],
            [real.labels for real in truth], num_classes, options.num_samples,
            options.positive_fraction, options.iou_threshold, self.box_coder,
            options.sample_padding, options.fill_with_unsampled, priority)

    def predict(self, x: Sequence[Tensor], rpn_results_list: Sequence[InstanceData],
                batch_data_samples: Sequence, text: Tensor,
                vlm_map: Tensor | None = None, base: Tensor | None = None,
                rescale: bool = False) -> list[InstanceData]:
        """Detections of each image.

        Args:
            x, rpn_results_list, batch_data_samples, text: As of :meth:`loss`; proposals
                have ``scores``, too.
            vlm_map: (B, D, h, w) of the frozen model in the space of the texts; None
                for the scores of the detector alone.
            base: (K,) bool, classes with labels in training.
            rescale: Whether boxes and masks are those of the original image.

        Returns:
            ``bboxes``, ``scores``, ``labels`` and, with a mask head, ``masks``
            (N, H, W) bool, in descending order of the scores.
        """
        boxes = [found.bboxes for found in rpn_results_list]
        objectness = torch.cat([found.scores for found in rpn_results_list])
        rois = rois_of(boxes)
        embeds, deltas = self(x, rois)
        logits = self.bbox_head.logits(embeds, text)
        scores = weight_by_objectness(
            self.class_scores(logits, rois, text, vlm_map, base)[:, :-1], objectness,
            self.test_options.objectness_power)
        refined = self.box_coder.decode(rois[:, 1:], deltas)
        counts = [len(part) for part in boxes]
        metas = [sample.metainfo for sample in batch_data_samples]
        results = [self._select(*parts) for parts in zip(
            refined.split(counts), scores.split(counts), metas, strict=True)]
        if self.with_mask:
            self._add_masks(x, results, metas, rescale)
        if rescale:
            for found, meta in zip(results, metas, strict=True):
                found.bboxes /= found.bboxes.new_tensor(meta['scale_factor']).repeat(2)
        return results

    def class_scores(self, logits: Tensor, rois: Tensor, text: Tensor,
                     vlm_map: Tensor | None, base: Tensor | None) -> Tensor:
        """Probabilities (N, K + 1), fused with those of the frozen model."""
        if vlm_map is None:
            return logits.softmax(-1)
        options = self.test_options
        return fuse_scores(logits, self.vlm_logits(vlm_map, rois, text), base,
                           options.base_weight, options.novel_weight,
                           options.renormalize, options.fuse_background)

    def vlm_logits(self, vlm_map: Tensor, rois: Tensor, text: Tensor) -> Tensor:
        """Cosines of the frozen model's features of RoIs with the texts, divided by
        its temperature: (N, K + 1)."""
        # Unclipped, as a smaller box about the same center is inside of the image.
        boxes = rescale_boxes(rois[:, 1:], self.test_options.vlm_box_scale)
        pooled = self.crop_vlm.pooled([vlm_map], torch.cat([rois[:, :1], boxes], 1))
        return cosine_logits(pooled, text, self.test_options.vlm_temperature)

    def _select(self, boxes: Tensor, scores: Tensor, meta: dict) -> InstanceData:
        height, width = box_limits(self.clip_to, meta)
        # `clip_boxes` takes the size of an image whose last pixel is at size - 1.
        boxes = clip_boxes(boxes, (height + 1, width + 1))
        options = self.test_options
        found = select_detections(boxes, scores, options.max_per_img, options.nms_iou,
                                  options.score_thr)
        return InstanceData(bboxes=found.boxes, scores=found.scores,
                            labels=found.labels)

    def _mask_loss(self, x: Sequence[Tensor], sampled: SampledRoIs,
                   truth: Sequence[InstanceData]) -> Tensor:
        index, positive = sampled.first_positives(self.train_options.num_masks)
        boxes = sampled.boxes.gather(1, index[..., None].expand(-1, -1, 4))
        logits = self.mask_head(self.crop_masks(x, with_image_index(boxes)))[:, 0]
        gt_boxes = [get_box_tensor(real.bboxes) for real in truth]
        stored = [store_masks(real.masks, found)
                  for real, found in zip(truth, gt_boxes, strict=True)]
        targets = sampled_mask_targets(sampled, index, stored, gt_boxes,
                                       logits.shape[-1])
        return mask_loss(logits, targets.flatten(0, 1), positive.flatten())

    def _allowed(self, labels: Tensor, num_classes: int) -> Tensor | None:
        count = self.train_options.federated_classes
        if not count:
            return None
        if len(self.class_frequency) != num_classes:
            raise UserValueError(
                f'roi_head.class_frequency has {len(self.class_frequency)} numbers, '
                f'but {num_classes} classes are trained. Give one for each.')
        return federated_classes(labels, self.class_frequency, count)

    def _add_masks(self, x: Sequence[Tensor], results: Sequence[InstanceData],
                   metas: Sequence[dict], rescale: bool) -> None:
        rois = rois_of([found.bboxes for found in results])
        masks = self.mask_head(self.crop_masks(x, rois)).sigmoid()
        for found, part, meta in zip(
                results, masks.split([len(found) for found in results]), metas,
                strict=True):
            found.masks = self._pasted(part, found.bboxes, meta, rescale)

    def _pasted(self, masks: Tensor, boxes: Tensor, meta: dict, rescale: bool
                ) -> Tensor:
        """(N, 1, m, m) probabilities in boxes -> (N, H, W) bool."""
        size = meta['ori_shape' if rescale else 'img_shape'][:2]
        if rescale:
            boxes = boxes / boxes.new_tensor(meta['scale_factor']).repeat(2)
        if not len(masks):
            return masks.new_zeros((0, *size), dtype=torch.bool)
        pasted = paste_masks_in_image(masks.float(), boxes, tuple(size))[:, 0]
        return pasted > self.test_options.mask_thr_binary


def rois_of(boxes: Sequence[Tensor]) -> Tensor:
    """Boxes (N_i, 4) of each image -> (N, 5) RoIs, the image first."""
    return torch.cat([torch.cat([part.new_full((len(part), 1), i), part], 1)
                      for i, part in enumerate(boxes)])
