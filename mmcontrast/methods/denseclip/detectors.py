"""DenseCLIP as detectors of mmdet: any one-stage or two-stage one, by its config."""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmengine.registry import DefaultScope
from torch import Tensor

from ...models.text.vocabulary import Vocabulary, read_vocabulary
from ...registry import MODELS
from .box_targets import pixel_text_loss
from .box_texts import map_scale, relabel
from .prompting import TextPrompting
from .widening import widen

# Parts of a RoI head that count classes, whether their config says so or not.
CLASS_HEADS = ('bbox_head', 'mask_head')


class Extracted(NamedTuple):
    """What a batch of pictures gave, to be used by all losses.

    Attributes:
        features: Maps of the neck.
        logits: (B, K, h, w) score map divided by its temperature, at the size of the
            backbone's first map; in testing the score map itself.
    """

    features: tuple[Tensor, ...]
    logits: Tensor


class PromptedDetector(TextPrompting):
    """What both kinds of detectors share; mixed in before mmdet's class.

    The score map goes to the neck and, supervised by the boxes, to a loss of its own.
    Heads and neck are built for the class list: ``num_classes`` of every head, and the
    neck's ``in_channels``, which the config gives without the score map.
    """

    #: Name of the loss on the score map.
    aux_loss_name = 'loss_seg'
    #: What labels the boxes instead of the trained classes, see `label_boxes_by`.
    box_texts: Vocabulary | None = None

    def __init__(self, *, backbone: dict, neck: dict,
                 class_names: str | Sequence | Mapping | Vocabulary,
                 text_encoder: dict, context_decoder: dict, aux_weight: float = 1.0,
                 num_contexts: int = 8, freeze_text: bool = True, gamma: float = 1e-4,
                 temperature: float = 0.07, concat_index: int = 3,
                 prompting: str = 'post', attention_pool: dict | None = None,
                 init_heads: bool = True, **detector) -> None:
        if neck is None:
            raise ValueError(f'{type(self).__name__} needs a neck: it takes the score '
                             "map along with the backbone's maps.")
        vocabulary = read_vocabulary(class_names)
        num_classes = len(vocabulary)
        heads = {name: count_classes(head, num_classes)
                 for name, head in detector.items()
                 if name in ('bbox_head', 'roi_head') and head is not None}
        # Names without a scope are mmdet's, whatever the Runner's default is.
        with DefaultScope.overwrite_default_scope('mmdet'):
            super().__init__(
                backbone=backbone, neck=widen(neck, concat_index, num_classes),
                **detector | heads)
        self.aux_weight = aux_weight
        self.add_prompting(
            vocabulary, text_encoder, context_decoder, num_contexts=num_contexts,
            freeze_text=freeze_text, gamma=gamma, temperature=temperature,
            # The released detectors divide the map before they use it.
            concat_index=concat_index, concat_temperature=temperature,
            prompting=prompting, attention_pool=attention_pool, init_heads=init_heads)

    def set_classes(self, class_names: str | Sequence | Mapping | None) -> None:
        """Reword the classes from now on, without training; None brings them back.

        Raises:
            ValueError: If their number changes, for the boxes are of the trained
                classes, or a name is longer than the text tower has positions.
        """
        names = (self.trained_names if class_names is None
                 else read_vocabulary(class_names))
        if len(names) != len(self.trained_names):
            raise ValueError(
                f'{type(self).__name__} finds boxes of {len(self.trained_names)} '
                f'classes, set_classes got {len(names)} names: they may be reworded, '
                'not added or left out. label_boxes_by (tools/infer.py --classes) '
                'labels the boxes by any number of texts.')
        self.set_names(names)

    @property
    def class_names(self) -> list[str]:
        """One name for each label that a box may have."""
        return super().class_names if self.box_texts is None else self.box_texts.names

    def label_boxes_by(self, texts: str | Sequence | Mapping | None) -> None:
        """Label boxes by any number of other texts from now on, without training.

        The trained classes still find the boxes; the text whose score map is highest
        inside of a box, in the mean, labels it. Objects that are unlike all trained
        classes are not found by that.

        Args:
            texts: The texts, see :func:`read_vocabulary`; None, or the classes as they
                are set, for the labels of the heads.

        Raises:
            ValueError: If a text is longer than the text tower has positions.
        """
        names = None if texts is None else read_vocabulary(texts)
        if names is not None:
            with self.other_names(names):
                pass  # refused now rather than at the first picture
        self.box_texts = None if names == self.vocabulary else names

    def predict(self, batch_inputs: Tensor, batch_data_samples: Sequence,
                rescale: bool = True) -> Sequence:
        """Boxes as mmdet gives them; labeled as :meth:`label_boxes_by` asks."""
        if self.box_texts is None:
            return super().predict(batch_inputs, batch_data_samples, rescale)
        outputs = self.backbone(batch_inputs)
        with self.other_names(self.box_texts):
            scores = self.match_text(outputs).score_map
        extracted = Extracted(self.neck(self.match_text(outputs).features), scores)
        samples = super().predict(extracted, batch_data_samples, rescale)
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
        # mmdet's loss passes it on to extract_feat, which takes the features from it.
        losses = super().loss(extracted, batch_data_samples)
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

    def extract_feat(self, batch_inputs: Tensor | Extracted) -> tuple[Tensor, ...]:
        """Maps of the neck, of pictures or of what was extracted from them before."""
        if isinstance(batch_inputs, Extracted):
            return batch_inputs.features
        return self.neck(self.match_text(self.backbone(batch_inputs)).features)

    def extract(self, images: Tensor) -> Extracted:
        """Everything the losses need, in one pass through the backbone."""
        matched = self.match_text(self.backbone(images))
        logits = F.interpolate(
            matched.score_map / self.temperature, matched.features[0].shape[2:],
            mode='bilinear', align_corners=False)
        return Extracted(self.neck(matched.features), logits)


@MODELS.register_module()
class DenseCLIPSingleStage(PromptedDetector, SingleStageDetector):
    """A one-stage detector of mmdet, guided by class texts.

    ``bbox_head`` makes it a RetinaNet, FCOS, ATSS, GFL or another.

    Source: DenseCLIP (CVPR 2022); differences from the released code: its
    :class:`TextPrompting` says them, a batch without boxes costs 0 instead of NaN, and
    neck and head are initialized as mmdet does (``init_heads=False``: not at all).

    Args:
        backbone: Config of a backbone: CLIP's with its attention pool, or another one
            together with ``attention_pool``.
        neck: Config of a neck. Its ``in_channels`` are the backbone's.
        bbox_head: Config of a head; its ``num_classes`` follows.
        class_names, text_encoder, context_decoder, num_contexts, freeze_text, gamma,
            temperature, concat_index, prompting, attention_pool, init_heads: See
            :meth:`TextPrompting.add_prompting`. ``temperature`` also divides the map
            that is concatenated.
        aux_weight: Weight of the loss on the score map.
        train_cfg, test_cfg, data_preprocessor, init_cfg: See mmdet.
    """


@MODELS.register_module()
class DenseCLIPTwoStage(PromptedDetector, TwoStageDetector):
    """A two-stage detector of mmdet, guided by class texts.

    ``rpn_head`` and ``roi_head`` make it a Faster, Mask or Cascade R-CNN or another;
    the class counts inside of ``roi_head`` follow. Otherwise as
    :class:`DenseCLIPSingleStage`.
    """

    aux_loss_name = 'loss_aux_seg'


def count_classes(head: dict, num_classes: int) -> dict:
    """A head's config with its class counts set.

    Args:
        head: Config of a one-stage head, or of a RoI head with heads inside, each a
            config or a list of them (cascades).
    """
    # A copy of its own kind: mmdet reads configs by attribute.
    head = head.copy()
    if not any(isinstance(head.get(name), dict | list) for name in CLASS_HEADS):
        head['num_classes'] = num_classes
        return head
    for name, part in list(head.items()):
        parts = part if isinstance(part, list) else [part]
        # mask_iou_head and point_head count classes, too; stuff has other ones.
        if name == 'semantic_head' or not all(
                isinstance(x, dict) and (name in CLASS_HEADS or 'num_classes' in x)
                for x in parts):
            continue
        counted = [count_classes(x, num_classes) for x in parts]
        head[name] = counted if parts is part else counted[0]
    return head


def _coordinates(boxes) -> Tensor:
    """Coordinates, also of mmdet's box classes."""
    return getattr(boxes, 'tensor', boxes)
