"""Define the base class of methods that learn from two views of an image."""
from abc import abstractmethod
from collections.abc import Sequence

from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ..registry import MODELS
from ..structures import ViewBatch
from .inspection import feature_channels


class TwoViewModel(BaseModel):
    """A backbone, and optionally a neck, that learn from two views.

    A subclass adds its heads, builds ``momentum``, the
    :class:`~mmcontrast.models.MomentumEncoder` where needed, and writes :meth:`loss`.

    Args:
        backbone: Any registered backbone that returns feature maps, e.g.
            ``mmpretrain.ResNet`` or ``mmdet.ResNet`` (with ``norm_eval=False``).
        neck: Optional neck to pretrain with the backbone, e.g. ``mmdet.FPN``;
            ``in_channels`` follows from the backbone.
        data_preprocessor: Config of the preprocessor of two views.
        init_cfg: Initialization, see mmengine's ``BaseModule``.

    Attributes:
        backbone_channels: Channels of each map of the backbone.
    """

    #: The network whose weights are exported, 'online' or 'momentum'.
    export_branch = 'online'

    def __init__(self, backbone: dict, neck: dict | None = None,
                 data_preprocessor: dict | None = None, init_cfg: dict | None = None):
        # Built here: mmengine would use the default scope.
        super().__init__(
            MODELS.build(data_preprocessor or dict(type='TwoViewPreprocessor')),
            init_cfg)
        self.backbone = MODELS.build(backbone)
        self.backbone_channels = feature_channels(self.backbone)
        self.neck = None
        if neck is not None:
            self.neck = MODELS.build(dict(neck, in_channels=self.backbone_channels))

    @property
    def map_channels(self) -> int:
        """Channels of the maps that the heads get."""
        return (self.backbone_channels[-1] if self.neck is None
                else self.neck.out_channels)

    def encoders(self) -> dict[str, nn.Module]:
        """Backbone and neck by name, for the momentum encoder."""
        return dict(backbone=self.backbone) | (
            {} if self.neck is None else dict(neck=self.neck))

    def forward(self, inputs: Sequence[Tensor] | Tensor,
                data_samples: Sequence[BaseDataElement] | None = None,
                mode: str = 'tensor'):
        """Run the model.

        Args:
            inputs: Two batches of views, (N, 3, H, W) each, normalized; for ``tensor``
                and ``predict`` also one batch.
            data_samples: N samples with ``views``, needed for ``loss``.
            mode: ``loss`` gives named scalars, ``tensor`` the maps of the exported
                branch's backbone (and neck) for the first batch, ``predict`` the
                samples with the last of those maps as ``feature_map`` (C, h, w).
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        branch = self if self.export_branch == 'online' else self.momentum
        maps = self.feature_maps(
            branch, inputs if isinstance(inputs, Tensor) else inputs[0])[0]
        if mode == 'tensor':
            return maps
        if mode == 'predict':
            samples = data_samples or [BaseDataElement() for _ in maps[-1]]
            for sample, feature_map in zip(samples, maps[-1], strict=True):
                sample.feature_map = feature_map
            return samples
        raise ValueError(f"{type(self).__name__}: mode must be 'loss', 'tensor' or "
                         f"'predict', got {mode!r}.")

    @abstractmethod
    def loss(self, inputs: Sequence[Tensor], data_samples: Sequence[BaseDataElement]
             ) -> dict[str, Tensor]:
        """One training step up to the loss: named scalars."""

    def feature_maps(self, branch: nn.Module, view: Tensor
                     ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Maps for the heads, and the last map of the backbone.

        Args:
            branch: ``self`` or ``self.momentum``.
            view: (N, 3, H, W), normalized.

        Returns:
            All maps of the neck, or only the last one of a backbone without; and the
            last map of the backbone.
        """
        maps = branch.backbone(view)
        maps = (maps,) if isinstance(maps, Tensor) else tuple(maps)
        if self.neck is not None:
            return tuple(branch.neck(maps)), maps[-1]
        return maps[-1:], maps[-1]


def stack_views(data_samples: Sequence[BaseDataElement], like: Tensor
                ) -> tuple[ViewBatch, ViewBatch]:
    """The ``View`` of all first and all second views, on the device of ``like``."""
    first, second = (
        ViewBatch.stack([sample.views[view] for sample in data_samples], like.device)
        for view in range(2))
    return first, second
