"""Pretrain by PixPro: pixel-level consistency between two views of an image."""
from collections.abc import Sequence

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ...models.functional import feature_std, l2_normalize
from ...models.momentum import MomentumEncoder
from ...models.two_views import TwoViewModel, stack_views
from ...registry import MODELS
from .losses import PixelLosses
from .pairs import published_coords


@MODELS.register_module()
class PixPro(TwoViewModel):
    """Pretrain a backbone, and optionally a neck, by agreement of pixels.

    Two views of an image pass an online network and its momentum encoder. Pixels that
    show the same place must agree, after each online pixel was replaced by a
    similarity-weighted sum over its map (pixel propagation).

    Source: "Propagate Yourself: Exploring Pixel-Level Consistency for Unsupervised
    Visual Representation Learning" (CVPR 2021). ``propagation=None`` with
    ``loss=dict(type='PixContrastLoss')`` is the paper's PixContrast; a ``neck`` is its
    pretraining of head networks, where projector and propagation are shared by all
    levels and the loss is averaged over them.

    Args:
        backbone: Any registered backbone that returns feature maps, e.g.
            ``mmpretrain.ResNet`` or ``mmdet.ResNet`` (with ``norm_eval=False``).
        projector: Config of a projector over maps; ``in_channels`` follows from the
            backbone or neck.
        propagation: Config of :class:`PixelPropagation`; None leaves it out.
        loss: Config of the loss between maps.
        neck: Optional neck to pretrain with the backbone, e.g. ``mmdet.FPN``;
            ``in_channels`` follows from the backbone.
        instance_weight: Weight of the instance branch (1 in the paper, 0 in the
            released scripts); 0 builds none.
        data_preprocessor: Config of the preprocessor of two views.
        init_cfg: Initialization, see mmengine's ``BaseModule``.
    """

    def __init__(self, backbone: dict, projector: dict, propagation: dict | None,
                 loss: dict, neck: dict | None = None, instance_weight: float = 0.0,
                 data_preprocessor: dict | None = None, init_cfg: dict | None = None):
        super().__init__(backbone, neck, data_preprocessor, init_cfg)
        if instance_weight < 0:
            raise ValueError(
                f'PixPro: instance_weight must not be negative, got {instance_weight}.')
        encoders = self.encoders()
        self.projector = encoders['projector'] = MODELS.build(
            dict(projector, in_channels=self.map_channels))
        self.propagation = nn.Identity() if propagation is None else MODELS.build(
            dict(propagation, channels=self.projector.out_channels))
        self.loss_module = MODELS.build(loss)
        self.instance_weight = instance_weight
        if instance_weight:
            self.instance_projector = encoders['instance_projector'] = (
                MODELS.build(dict(projector, in_channels=self.backbone_channels[-1]))
            )
            self.instance_predictor = MODELS.build(
                dict(projector, in_channels=self.instance_projector.out_channels))
        self.momentum = MomentumEncoder(**encoders)

    def loss(self, inputs: Sequence[Tensor], data_samples: Sequence[BaseDataElement]
             ) -> dict[str, Tensor]:
        """One training step up to the loss.

        Returns:
            ``loss_pixel`` and, with the instance branch, ``loss_instance``; to monitor,
            without gradient: ``pairs_per_image``, ``no_pair_share`` (share of images
            whose views have no pair), ``feature_std`` (1: spread out, 0: collapsed).
        """
        views = stack_views(data_samples, inputs[0])
        return self.losses_of(inputs, tuple(map(published_coords, views)))

    def losses_of(self, views: Sequence[Tensor], coords: tuple[Tensor, Tensor]
                  ) -> dict[str, Tensor]:
        """:meth:`loss` from coordinates, (N, 4) a view as :func:`published_coords`."""
        # Each view passes on its own: batch statistics are per view.
        online = [self._online_branch(view) for view in views]
        # Between the two branches: with the weights before this step's update.
        self.momentum.update()
        with torch.no_grad():
            target = [self._momentum_branch(view) for view in views]
        levels = [
            self.loss_module(
                (online[0][0][i], online[1][0][i]),
                (target[0][0][i], target[1][0][i]),
                coords,
            )
            for i in range(len(online[0][0]))
        ]
        losses = dict(loss_pixel=sum(x.one_to_two + x.two_to_one for x in levels)
                      / len(levels))
        if self.instance_weight:
            losses['loss_instance'] = self.instance_weight * sum(
                -2 * (online[a][1] * target[b][1]).sum(1).mean()
                for a, b in ((0, 1), (1, 0)))
        return losses | _health(levels[-1], online[0][0][-1])

    def _online_branch(self, view: Tensor) -> tuple[list[Tensor], Tensor | None]:
        maps, last = self.feature_maps(self, view)
        queries = [l2_normalize(self.propagation(self.projector(x))) for x in maps]
        if not self.instance_weight:
            return queries, None
        instance = self.instance_predictor(self.instance_projector(last))
        return queries, l2_normalize(instance.mean((2, 3)))

    def _momentum_branch(self, view: Tensor) -> tuple[list[Tensor], Tensor | None]:
        maps, last = self.feature_maps(self.momentum, view)
        keys = [l2_normalize(self.momentum.projector(x)) for x in maps]
        if not self.instance_weight:
            return keys, None
        return keys, l2_normalize(self.momentum.instance_projector(last).mean((2, 3)))


@torch.no_grad()
def _health(losses: PixelLosses, query: Tensor) -> dict[str, Tensor]:
    return dict(
        pairs_per_image=losses.num_pairs.mean(),
        no_pair_share=(losses.num_pairs == 0).float().mean(),
        feature_std=feature_std(query))
