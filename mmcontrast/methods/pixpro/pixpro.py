"""PixPro: pixel-level consistency between two views of an image."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ...models.backbone import feature_channels
from ...models.momentum import MomentumTwin
from ...registry import MODELS
from ...structures import ViewBatch
from .losses import PixelLosses
from .pairs import published_coords


@MODELS.register_module()
class PixPro(BaseModel):
    """Pretrain a backbone, and optionally a neck, by agreement of pixels.

    Two views of an image pass an online network and its momentum twin. Pixels that show
    the same place must agree, after each online pixel was replaced by a
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
        init_cfg: Initialisation, see mmengine's ``BaseModule``.
    """

    #: The network whose weights are exported.
    export_branch = 'online'

    def __init__(self, backbone: dict, projector: dict, propagation: dict | None,
                 loss: dict, neck: dict | None = None, instance_weight: float = 0.0,
                 data_preprocessor: dict | None = None, init_cfg: dict | None = None):
        # Built here: mmengine would look it up in the default scope.
        super().__init__(
            MODELS.build(data_preprocessor or dict(type='TwoViewPreprocessor')),
            init_cfg)
        if instance_weight < 0:
            raise ValueError(
                f'PixPro: instance_weight must not be negative, got {instance_weight}.')
        self.backbone = MODELS.build(backbone)
        channels = feature_channels(self.backbone)
        twins = dict(backbone=self.backbone)
        self.neck = None
        if neck is not None:
            self.neck = twins['neck'] = MODELS.build(
                dict(neck, in_channels=channels))
        map_channels = self.neck.out_channels if neck is not None else channels[-1]
        self.projector = twins['projector'] = MODELS.build(
            dict(projector, in_channels=map_channels))
        self.propagation = nn.Identity() if propagation is None else MODELS.build(
            dict(propagation, channels=self.projector.out_channels))
        self.loss_module = MODELS.build(loss)
        self.instance_weight = instance_weight
        if instance_weight:
            self.instance_projector = twins['instance_projector'] = MODELS.build(
                dict(projector, in_channels=channels[-1]))
            self.instance_predictor = MODELS.build(
                dict(projector, in_channels=self.instance_projector.out_channels))
        self.momentum = MomentumTwin(**twins)

    def forward(self, inputs: Sequence[Tensor] | Tensor,
                data_samples: Sequence[BaseDataElement] | None = None,
                mode: str = 'tensor'):
        """Run the model.

        Args:
            inputs: Two batches of views, (N, 3, H, W) each, normalised; for ``tensor``
                and ``predict`` also one batch.
            data_samples: N samples with ``views``, needed for ``loss``.
            mode: ``loss`` gives named scalars, ``tensor`` the maps of the online
                backbone (and neck) for the first batch, ``predict`` the samples with
                the last of those maps as ``feature_map`` (C, h, w).
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        maps = self._maps(self, inputs if isinstance(inputs, Tensor) else inputs[0])[0]
        if mode == 'tensor':
            return maps
        if mode == 'predict':
            samples = data_samples or [BaseDataElement() for _ in maps[-1]]
            for sample, feature_map in zip(samples, maps[-1], strict=True):
                sample.feature_map = feature_map
            return samples
        raise ValueError(f"PixPro: mode must be 'loss', 'tensor' or 'predict', "
                         f'got {mode!r}.')

    def loss(self, inputs: Sequence[Tensor], data_samples: Sequence[BaseDataElement]
             ) -> dict[str, Tensor]:
        """One training step up to the loss.

        Returns:
            ``loss_pixel`` and, with the instance branch, ``loss_instance``; to watch,
            without gradient: ``pairs_per_image``, ``no_pair_share`` (share of images
            whose views have no pair), ``feature_std`` (1: spread out, 0: collapsed).
        """
        coords = tuple(
            published_coords(ViewBatch.stack([s.views[v] for s in data_samples],
                                             inputs[0].device)) for v in range(2))
        return self.losses_of(inputs, coords)

    def losses_of(self, views: Sequence[Tensor], coords: tuple[Tensor, Tensor]
                  ) -> dict[str, Tensor]:
        """:meth:`loss` from coordinates, (N, 4) a view as :func:`published_coords`."""
        # Each view passes on its own: batch statistics are per view.
        online = [self._online_branch(view) for view in views]
        # Between the two branches: with the weights before this step's update.
        self.momentum.update()
        with torch.no_grad():
            twin = [self._momentum_branch(view) for view in views]
        levels = [
            self.loss_module((online[0][0][i], online[1][0][i]),
                             (twin[0][0][i], twin[1][0][i]), coords)
            for i in range(len(online[0][0]))]
        losses = dict(loss_pixel=sum(x.one_to_two + x.two_to_one for x in levels)
                      / len(levels))
        if self.instance_weight:
            losses['loss_instance'] = self.instance_weight * sum(
                -2 * (online[a][1] * twin[b][1]).sum(1).mean()
                for a, b in ((0, 1), (1, 0)))
        return losses | _health(levels[-1], online[0][0][-1])

    def _online_branch(self, view: Tensor) -> tuple[list[Tensor], Tensor | None]:
        maps, last = self._maps(self, view)
        queries = [_unit(self.propagation(self.projector(x))) for x in maps]
        if not self.instance_weight:
            return queries, None
        instance = self.instance_predictor(self.instance_projector(last))
        return queries, _unit(instance.mean((2, 3)))

    def _momentum_branch(self, view: Tensor) -> tuple[list[Tensor], Tensor | None]:
        maps, last = self._maps(self.momentum, view)
        keys = [_unit(self.momentum.projector(x)) for x in maps]
        if not self.instance_weight:
            return keys, None
        return keys, _unit(self.momentum.instance_projector(last).mean((2, 3)))

    def _maps(self, branch: nn.Module, view: Tensor
              ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Maps for the pixel loss, and the last map of the backbone."""
        maps = branch.backbone(view)
        maps = (maps,) if isinstance(maps, Tensor) else tuple(maps)
        if self.neck is not None:
            return tuple(branch.neck(maps)), maps[-1]
        return maps[-1:], maps[-1]


def _unit(x: Tensor) -> Tensor:
    """L2-normalise over channels, in float32 also under autocast."""
    with torch.autocast(x.device.type, enabled=False):
        x = x if x.dtype == torch.float64 else x.float()
        return F.normalize(x, dim=1, eps=1e-12)


@torch.no_grad()
def _health(losses: PixelLosses, query: Tensor) -> dict[str, Tensor]:
    features = query.detach().transpose(0, 1).flatten(1)            # (C, N * H * W)
    return dict(
        pairs_per_image=losses.num_pairs.mean(),
        no_pair_share=(losses.num_pairs == 0).float().mean(),
        feature_std=features.std(1).mean() * len(features) ** 0.5)
