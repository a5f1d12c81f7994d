"""Guide any one-stage or two-stage detector of mmdet by class texts: DenseCLIP."""
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.detectors.base import BaseDetector
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.ops import batched_nms, roi_align

from ...models.text.vocabulary import Vocabulary, read_vocabulary
from ...registry import MODELS
from .box_targets import pixel_text_loss
from .head_configs import add_score_channels, set_num_classes
from .prompting import PixelTextPrompting
from .text_guided import TextGuided

Classes = str | Path | Sequence | Mapping | Vocabulary

# Samples a side at which a box reads the score map, and the IoU from which two boxes of
# one text are one object, as in mmdet's settings.
ROI_SIZE, IOU_THRESHOLD = 7, 0.5


class Extracted(NamedTuple):
    """Features and score map of a batch, shared by all losses.

    Attributes:
        features: Maps of the neck.
        logits: (B, K, h, w) score map divided by its temperature, at the size of the
            backbone's first map.
    """

    features: tuple[Tensor, ...]
    logits: Tensor


class TextGuidedDetector(TextGuided, BaseDetector):
    """Common base of the one-stage and two-stage detectors, beside mmdet's class.

    The score map goes to the neck and, supervised by the boxes, to a loss of its own.
    Heads and neck are built for the class list: ``num_classes`` of every head, and the
    neck's ``in_channels``, which the config gives without the score map.
    """

    #: Name of the loss on the score map.
    aux_loss_name = 'loss_seg'
    #: Labels the boxes instead of the trained classes, see `label_boxes_by`.
    box_vocabulary: Vocabulary | None = None
    _features: tuple[Tensor, ...] | None = None

    def __init__(self, *, backbone: dict, neck: dict, class_names: Classes,
                 bbox_head: dict | None = None, rpn_head: dict | None = None,
                 roi_head: dict | None = None, aux_weight: float = 1.0,
                 concat_index: int = 3, init_heads: bool = True,
                 train_cfg: dict | None = None, test_cfg: dict | None = None,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | list | None = None, **text_options) -> None:
        if neck is None:
            raise ValueError(f'{type(self).__name__} needs a neck: it takes the score '
                             "map along with the backbone's maps.")
        vocabulary = read_vocabulary(class_names)
        num_classes = len(vocabulary)
        heads = dict(bbox_head=set_num_classes(bbox_head, num_classes),
                     rpn_head=rpn_head, roi_head=set_num_classes(roi_head, num_classes))
        # Names without a scope are mmdet's, whatever the Runner's default is.
        with DefaultScope.overwrite_default_scope('mmdet'):
            super().__init__(
                backbone=backbone,
                neck=add_score_channels(neck, concat_index, num_classes),
                **{name: head for name, head in heads.items() if head is not None},
                train_cfg=train_cfg, test_cfg=test_cfg,
                data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.aux_weight, self.init_heads = aux_weight, init_heads
        self.prompting = PixelTextPrompting(
            self.backbone, class_names=vocabulary, concat_index=concat_index,
            # The released detectors divide the map before they use it.
            concat_logits=True, **text_options)

    @property
    def class_names(self) -> list[str]:
        """One name for each label that a box may have."""
        return (self.box_vocabulary or self.class_texts.vocabulary).names

    def set_classes(self, class_names: Classes | None) -> None:
        """Reword the classes from now on, without training; None brings them back.

        Raises:
            ValueError: If their number changes, for the boxes are of the trained
                classes, or a name is longer than the text encoder has positions.
        """
        trained = self.class_texts.trained_vocabulary
        vocabulary = trained if class_names is None else read_vocabulary(class_names)
        if len(vocabulary) != len(trained):
            raise ValueError(
                f'{type(self).__name__} finds boxes of {len(trained)} classes, '
                f'set_classes got {len(vocabulary)} names: they may be reworded, not '
                'added or left out. label_boxes_by (tools/infer.py --classes) labels '
                'the boxes by any number of texts.')
        self.class_texts.set_vocabulary(vocabulary)

    def label_boxes_by(self, texts: Classes | None) -> None:
        """Label boxes by any number of other texts from now on, without training.

        The trained classes still find the boxes; the text with the highest mean score
        inside a box labels it. Objects that are unlike all trained classes are not
        found by that.

        Args:
            texts: The texts, as for :func:`read_vocabulary`; None, or the classes as
                they are set, for the labels of the heads.

        Raises:
            ValueError: If a text is longer than the text encoder has positions.
        """
        vocabulary = None if texts is None else read_vocabulary(texts)
        if vocabulary is not None:
            with self.class_texts.temporarily(vocabulary):
                pass  # refused now rather than at the first image
        unchanged = vocabulary == self.class_texts.vocabulary
        self.box_vocabulary = None if unchanged else vocabulary

    def predict(self, batch_inputs: Tensor, batch_data_samples: Sequence,
                rescale: bool = True) -> Sequence:
        """Boxes as mmdet gives them; labeled as :meth:`label_boxes_by` asks."""
        if self.box_vocabulary is None:
            return super().predict(batch_inputs, batch_data_samples, rescale)
        outputs = self.backbone(batch_inputs)
        with self.class_texts.temporarily(self.box_vocabulary):
            scores = self.match_text(outputs).score_map
        with self._extracted(tuple(self.neck(self.match_text(outputs).features))):
            samples = super().predict(batch_inputs, batch_data_samples, rescale)
        for sample, score in zip(samples, scores, strict=True):
            factor = sample.scale_factor if rescale else (1.0, 1.0)
            sample.pred_instances = relabel(sample.pred_instances, score, map_scale(
                score, batch_inputs.shape[-2:], factor))
        return samples

    def loss(self, batch_inputs: Tensor, batch_data_samples: Sequence) -> dict:
        """Losses of the detector, and that of the score map on the boxes.

        Args:
            batch_inputs: (B, 3, H, W), normalized and padded.
            batch_data_samples: mmdet's ``DetDataSample`` with ``gt_instances``.
        """
        extracted = self.extract(batch_inputs)
        with self._extracted(extracted.features):
            losses = super().loss(batch_inputs, batch_data_samples)
        losses[self.aux_loss_name] = self.aux_loss(
            extracted.logits, batch_data_samples, batch_inputs.shape[-2:])
        return losses

    def aux_loss(self, logits: Tensor, data_samples: Sequence,
                 image_size: tuple[int, int]) -> Tensor:
        """Weighted loss of the score map, see :func:`pixel_text_loss`."""
        truth = [sample.gt_instances for sample in data_samples]
        return self.aux_weight * pixel_text_loss(
            logits, [_coordinates(x.bboxes) for x in truth], [x.labels for x in truth],
            image_size)

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Maps of the neck."""
        if self._features is not None:
            return self._features
        return self.neck(self.match_text(self.backbone(batch_inputs)).features)

    @contextmanager
    def _extracted(self, features: tuple[Tensor, ...]) -> Iterator[None]:
        """Let mmdet's methods get features that are extracted already."""
        self._features = features
        try:
            yield
        finally:
            self._features = None

    def extract(self, images: Tensor) -> Extracted:
        """Features and score map for the losses, in one pass through the backbone."""
        matched = self.match_text(self.backbone(images))
        logits = F.interpolate(matched.logits, matched.features[0].shape[2:],
                               mode='bilinear', align_corners=False)
        return Extracted(tuple(self.neck(matched.features)), logits)


@MODELS.register_module()
class DenseCLIPSingleStage(TextGuidedDetector, SingleStageDetector):
    """A one-stage detector of mmdet, guided by class texts.

    ``bbox_head`` makes it a RetinaNet, FCOS, ATSS, GFL or another.

    Source: DenseCLIP (CVPR 2022); differences from the released code: those of
    :class:`PixelTextPrompting`, a batch without boxes costs 0 instead of NaN, and neck
    and head are initialized as mmdet does (``init_heads=False``: not at all).

    Args:
        backbone: Config of a backbone: CLIP's with its attention pool, or another one
            together with ``attention_pool``.
        neck: Config of a neck. Its ``in_channels`` are the backbone's.
        bbox_head: Config of a head; its ``num_classes`` follows.
        class_names: Class vocabulary, as for :func:`read_vocabulary`.
        aux_weight: Weight of the loss on the score map.
        concat_index: The map of the backbone that the score map is concatenated to.
        init_heads: Whether :meth:`init_weights` initializes neck and heads by their
            ``init_cfg``, as mmdet does. The released code does not.
        train_cfg, test_cfg, data_preprocessor, init_cfg: See mmdet.
        text_options: Further arguments of :class:`PixelTextPrompting`:
            ``text_encoder``, ``context_decoder``, ``prompting`` (``post`` or ``pre``)
            and others.
    """


@MODELS.register_module()
class DenseCLIPTwoStage(TextGuidedDetector, TwoStageDetector):
    """A two-stage detector of mmdet, guided by class texts.

    ``rpn_head`` and ``roi_head`` make it a Faster, Mask or Cascade R-CNN or another;
    the class counts inside of ``roi_head`` follow. Otherwise as
    :class:`DenseCLIPSingleStage`.
    """

    aux_loss_name = 'loss_aux_seg'


def relabel(found: InstanceData, scores: Tensor, scale: Tensor) -> InstanceData:
    """Label each box by the text with the highest mean score inside it.

    Boxes that came as two classes may now be one: they are suppressed as usual. Their
    scores stay those of the trained classes.

    Args:
        found: (N, 4) ``bboxes``, ``scores``, ``labels`` and more, of one image.
        scores: (K, h, w) score map.
        scale: (4, ) factors from the boxes to cells of the map.
    """
    boxes = found.bboxes * scale.to(found.bboxes)
    cells = roi_align(scores[None], [boxes.to(scores)], ROI_SIZE, aligned=True)
    found.labels = cells.mean((2, 3)).argmax(1)
    kept = batched_nms(found.bboxes.float(), found.scores.float(), found.labels,
                       IOU_THRESHOLD)
    return found[kept]


def map_scale(scores: Tensor, input_size: torch.Size, scale_factor: tuple[float, float]
              ) -> Tensor:
    """(4, ) factors from boxes in the original image to cells of its score map.

    Args:
        scores: (..., h, w).
        input_size: (H, W) of the network's input, padding included.
        scale_factor: (x, y) from the original image to the network's input.
    """
    x, y = (cells / pixels * factor for cells, pixels, factor in zip(
        (scores.shape[-1], scores.shape[-2]), (input_size[1], input_size[0]),
        scale_factor, strict=True))
    return scores.new_tensor([x, y, x, y])


def _coordinates(boxes) -> Tensor:
    """Coordinates, also of mmdet's box classes."""
    return getattr(boxes, 'tensor', boxes)
