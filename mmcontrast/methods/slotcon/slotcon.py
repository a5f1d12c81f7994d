"""Pretrain by SlotCon: group pixels into slots that two views of an image share."""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ...errors import UserValueError
from ...io.checkpoint import count_prefixes
from ...models.functional import feature_std, l2_normalize
from ...models.momentum import MomentumEncoder
from ...models.two_views import TwoViewModel, stack_views
from ...registry import MODELS
from .alignment import Aligner, Overlap, overlaps
from .grouping import Slots, agreement, slot_usage
from .losses import Contrast, distillation, slot_contrast, update_center


class Grouped(NamedTuple):
    """One view in one branch.

    Attributes:
        features: (N, C, H, W) of the projector.
        scores: (N, H, W, K) over the whole view.
        aligned: The same over the overlap, upright.
        slots: The slots that are present in the whole view.
    """

    features: Tensor
    scores: Tensor
    aligned: Tensor
    slots: Slots


class Terms(NamedTuple):
    """The four terms of a step before they are weighted, and scalars to log.

    Attributes:
        distill: Student view 1 against teacher view 2, and view 2 against view 1.
        contrast: The same two directions.
        monitored: Scalars without gradient.
    """

    distill: tuple[Tensor, Tensor]
    contrast: list[Contrast]
    monitored: dict[str, Tensor]


@MODELS.register_module()
class SlotCon(TwoViewModel):
    """Pretrain a backbone by grouping pixels and contrasting the groups.

    K learned prototypes group the pixels of each view into slots. Where two views of an
    image overlap, the momentum encoder's grouping teaches the student's (distillation),
    and a slot must find itself in the other view among all slots of the batch
    (contrast).

    Source: "Self-Supervised Visual Representation Learning with Semantic Grouping"
    (NeurIPS 2022). Where paper and released code differ we follow the code. The
    momentum encoder is exported, with batch-norm statistics of its own.

    Args:
        backbone: Config, see :class:`TwoViewModel`.
        projector: Config of a projector over maps; ``in_channels`` follows from the
            backbone or neck.
        predictor: Config of a predictor over rows of slots, which the student alone
            has; its widths follow from the projector.
        grouping: Config of :class:`SlotGrouping`; ``channels`` follows.
        student_temperature, teacher_temperature: Of the distillation. Grouping has a
            temperature of its own, the same in both branches.
        contrast_temperature: Of the slot contrast.
        center_momentum: Weight of the old center of the teacher's scores, which keeps
            one prototype from taking all pixels.
        distill_weight: Weight of the distillation; the contrast has the rest of 1.
        neck: Optional neck; its last map is grouped.
        data_preprocessor, init_cfg: See :class:`TwoViewModel`.
    """

    export_branch = 'momentum'
    #: Read by PretrainMonitorHook, beside feature_std.
    collapse_signs = dict(slot_entropy=dict(
        below=0.1, means='one or two slots take nearly all pixels',
        do='Check that center_momentum is below 1, lower the learning rate or lengthen '
           'its warm-up, and start the momentum nearer to 1.'))

    def __init__(self, backbone: dict, projector: dict, predictor: dict,
                 grouping: dict | None = None, student_temperature: float = 0.1,
                 teacher_temperature: float = 0.07, contrast_temperature: float = 0.2,
                 center_momentum: float = 0.9, distill_weight: float = 0.5,
                 neck: dict | None = None, data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None):
        super().__init__(backbone, neck, data_preprocessor, init_cfg)
        _check(student_temperature, teacher_temperature, contrast_temperature,
               center_momentum, distill_weight)
        self.projector = MODELS.build(dict(projector, in_channels=self.map_channels))
        channels = self.projector.out_channels
        self.grouping = MODELS.build(
            dict(grouping or dict(type='SlotGrouping'), channels=channels))
        self.predictor = MODELS.build(
            dict(predictor, in_channels=channels, out_channels=channels))
        self.register_buffer('center', torch.zeros(1, len(self.grouping.prototypes)))
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.contrast_temperature = contrast_temperature
        self.center_momentum, self.distill_weight = center_momentum, distill_weight
        self.momentum = MomentumEncoder(
            **self.encoders(), projector=self.projector, grouping=self.grouping)

    def loss(self, inputs: Sequence[Tensor], data_samples: Sequence[BaseDataElement]
             ) -> dict[str, Tensor]:
        """One training step up to the loss.

        Returns:
            ``loss_distill`` and ``loss_slot``, weighted; to monitor, without gradient:
            those of :func:`slot_usage`, ``agreement`` (share of aligned cells where
            student and teacher pick the same slot), ``center_norm``,
            ``no_pair_share`` (share of images whose views do not overlap) and
            ``feature_std`` (1: spread out, 0: collapsed).
        """
        return self.losses_of(inputs, overlaps(*stack_views(data_samples, inputs[0])))

    def losses_of(self, views: Sequence[Tensor], regions: tuple[Overlap, Overlap]
                  ) -> dict[str, Tensor]:
        """:meth:`loss` from the overlap as each view sees it."""
        terms = self.terms_of(views, regions)
        return dict(
            loss_distill=self.distill_weight * sum(terms.distill),
            loss_slot=(1 - self.distill_weight) * sum(x.loss for x in terms.contrast),
            **terms.monitored)

    def terms_of(self, views: Sequence[Tensor], regions: tuple[Overlap, Overlap]
                 ) -> Terms:
        """The terms of the loss; updates the momentum encoder and the center."""
        # Each view passes on its own: batch statistics are per view.
        online = [self._features(self, view) for view in views]
        # Between the two branches: with the weights before this step's update.
        self.momentum.update()
        with torch.no_grad():
            targets = [self._features(self.momentum, view) for view in views]
        aligners = [Aligner(region, *features.shape[2:])
                    for region, features in zip(regions, online, strict=True)]
        students = [_group(self.grouping, *x)
                    for x in zip(online, aligners, strict=True)]
        with torch.no_grad():
            teachers = [_group(self.momentum.grouping, *x)
                        for x in zip(targets, aligners, strict=True)]
        directions = [(students[0], teachers[1]), (students[1], teachers[0])]
        distill = tuple(
            distillation(student.aligned, teacher.aligned, self.center,
                         self.student_temperature, self.teacher_temperature)
            for student, teacher in directions)
        # After its use, from the whole views.
        update_center(self.center, [teacher.scores for teacher in teachers],
                      self.center_momentum)
        contrast = slot_contrast(
            [(student.slots, teacher.slots) for student, teacher in directions],
            self.predictor, self.contrast_temperature)
        return Terms(distill, contrast, self._monitored(directions, regions[0].exists))

    @torch.no_grad()
    def slot_scores(self, images: Tensor, branch: str = 'momentum',
                    prototypes: Tensor | None = None) -> Tensor:
        """Cosine of each cell of an image with each prototype.

        The model stays in the mode it is in; use ``eval()`` for single images.

        Args:
            images: (N, 3, H, W), normalized.
            branch: ``momentum`` or ``online``.
            prototypes: (K, C), any number of them to compare with instead of the
                learned ones.

        Returns:
            (N, K, h, w) cosine similarities in [-1, 1].
        """
        network = self._network(branch)
        scores = network.grouping(self._features(network, images), prototypes)
        return scores.permute(0, 3, 1, 2)

    def slot_prototypes(self, branch: str = 'momentum') -> Tensor:
        """(K, C) learned prototypes of a branch, detached."""
        return self._network(branch).grouping.prototypes.detach()

    def check_slot_weights(self, weights: Mapping[str, Tensor], branch: str,
                           checkpoint: str, config: str) -> None:
        """Check that a file holds all that :meth:`slot_scores` of a branch needs.

        Args:
            weights: Of the file, by name.
            checkpoint, config: The file and what this model was built from, for the
                message.

        Raises:
            ValueError: If weights of the branch are missing or of another shape.
        """
        prefix = '' if self._network(branch) is self else f'{branch}.'
        key = f'{prefix}grouping.prototypes'
        if key not in weights:
            raise UserValueError(
                f'{checkpoint} holds no prototypes ({key}); it holds '
                f'{count_prefixes(weights)}. Give a checkpoint of training; a released '
                'file goes through tools/convert/official.py first, and an exported '
                'backbone has no slots.')
        wanted = self.state_dict()
        if weights[key].shape != wanted[key].shape:
            raise UserValueError(
                f'{checkpoint} has prototypes of shape {list(weights[key].shape)}, the '
                f'model of {config} of {list(wanted[key].shape)} (slots, channels); '
                'name the config it was trained with.')
        parts = tuple(f'{prefix}{name}.' for name in ('backbone', 'neck', 'projector'))
        missing = [
            name for name, value in wanted.items() if name.startswith(parts) and (
                name not in weights or weights[name].shape != value.shape)]
        if missing:
            raise UserValueError(
                f'{checkpoint} lacks {len(missing)} weights of the {branch} branch of '
                f'{config}, first {", ".join(missing[:3])}; name the config it was '
                'trained with.')

    def _network(self, branch: str) -> nn.Module:
        """The module that holds the parts of a branch."""
        if branch not in ('momentum', 'online'):
            raise ValueError("SlotCon: branch must be 'momentum' or 'online', got "
                             f'{branch!r}.')
        return self if branch == 'online' else self.momentum

    def _features(self, branch: nn.Module, view: Tensor) -> Tensor:
        return branch.projector(self.feature_maps(branch, view)[0][-1])

    @torch.no_grad()
    def _monitored(self, directions: Sequence[tuple[Grouped, Grouped]], exists: Tensor
                   ) -> dict[str, Tensor]:
        student, teacher = directions[0]
        return dict(
            **slot_usage([(x.slots, y.slots) for x, y in directions]),
            agreement=agreement(student.aligned, teacher.aligned, exists),
            center_norm=self.center.norm(),
            no_pair_share=1 - exists.float().mean(),
            feature_std=feature_std(l2_normalize(student.features)))


def _group(grouping: nn.Module, features: Tensor, align: Aligner) -> Grouped:
    scores = grouping(features)
    return Grouped(features, scores, align(scores),
                   grouping.present_slots(features, scores))


def _check(student_temperature: float, teacher_temperature: float,
           contrast_temperature: float, center_momentum: float, distill_weight: float):
    for name, value in dict(student_temperature=student_temperature,
                            teacher_temperature=teacher_temperature,
                            contrast_temperature=contrast_temperature).items():
        if value <= 0:
            raise ValueError(f'SlotCon: {name} must be positive, got {value}.')
    for name, value in dict(center_momentum=center_momentum,
                            distill_weight=distill_weight).items():
        if not 0 <= value <= 1:
            raise ValueError(f'SlotCon: {name} must be in [0, 1], got {value}.')
