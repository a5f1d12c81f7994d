"""Augment and normalize two-view batches on the model's device."""
from collections.abc import Sequence

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from ..registry import MODELS
from .photometric import AugmentParams, BatchedSteps, batched_recipe


@MODELS.register_module()
class TwoViewPreprocessor(BaseDataPreprocessor):
    """Move both views to the device, augment them photometrically and normalize them.

    Photometric augmentation runs either here, a whole batch at a time and in training
    only, or in ``TwoViews`` in the workers, image by image; views that it has augmented
    (``photometric_done`` in their samples) are only normalized. Both draw from the same
    distributions and give the same pixels for the same parameters; they differ in the
    random generator. Here it is torch's on the CPU, and every rank draws for all ranks
    and keeps its own part: with one seed for all, as mmengine sets it, ranks draw
    different parameters, the same as one process on the joint batch.

    Args:
        mean, std: Per RGB channel, in gray levels from 0 to 255.
        channels_last: Whether to return views in channels-last memory format, which is
            faster on tensor cores.
        non_blocking: Whether the copy to the device overlaps the computation, which
            needs pinned memory.
        photometric: Photometric augmentation of training views: the name of a recipe
            (``'BYOL'``, see ``datasets/transforms/recipes.py``), or the steps of view
            1 and of view 2 as configs. By default there is none here.

    Raises:
        TypeError: If a step has no batched form (``ViewRandAugment``).
    """

    def __init__(self, mean: Sequence[float] = (123.675, 116.28, 103.53),
                 std: Sequence[float] = (58.395, 57.12, 57.375),
                 channels_last: bool = False, non_blocking: bool = True,
                 photometric: str | Sequence[Sequence[dict]] | None = None) -> None:
        super().__init__(non_blocking=non_blocking)
        if len(mean) != 3 or len(std) != 3:
            raise ValueError(
                f'mean and std need three values (RGB), got {mean} and {std}.')
        self.memory_format = (
            torch.channels_last if channels_last else torch.contiguous_format)
        self.photometric = photometric and batched_recipe(photometric)
        self._logged = False
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Augment a training batch, normalize any batch.

        Args:
            data: ``inputs``, one entry per view: an (N, 3, H, W) uint8 tensor or a
                list of N (3, H, W) ones; ``data_samples``, passed on as they are.
            training: Whether to augment.

        Returns:
            ``inputs``, a list of (N, 3, H, W) float32 tensors, and ``data_samples``.
        """
        views = [self._on_device(view) for view in data['inputs']]
        samples = data.get('data_samples')
        if training and self.photometric and not self._done_in_pipeline(samples):
            views = self._augment(views)
        return dict(inputs=[self._normalize(view) for view in views],
                    data_samples=samples)

    def _on_device(self, view: Tensor | Sequence[Tensor]) -> Tensor:
        if not isinstance(view, Tensor):
            view = torch.stack(list(view))
        if view.ndim != 4 or view.shape[1] != 3:
            raise ValueError(
                'Each view must be a batch (N, 3, H, W), got shape '
                f'{tuple(view.shape)}; does the pipeline end in PackViews, and the '
                "loader use collate_fn=dict(type='default_collate')?")
        return view.to(self.device, non_blocking=self._non_blocking)

    def _done_in_pipeline(self, samples: Sequence | None) -> bool:
        """Whether the data pipeline has augmented the views; logged once."""
        done = bool(samples) and getattr(samples[0], 'photometric_done', False)
        if done and not self._logged:
            print_log(
                'TwoViews in the data pipeline has applied photometric augmentation: '
                'data_preprocessor.photometric is not applied again.',
                logger='current')
            self._logged = True
        return done

    def _augment(self, views: list[Tensor]) -> list[Tensor]:
        if len(views) != len(self.photometric):
            raise ValueError(
                f'photometric holds the steps of {len(self.photometric)} views, the '
                f'batch has {len(views)}.')
        return [steps.apply(view, _params_of_rank(steps, len(view)))
                for steps, view in zip(self.photometric, views, strict=True)]

    def _normalize(self, view: Tensor) -> Tensor:
        # Always a copy: the loader may reuse its tensors.
        view = view.to(torch.float32, memory_format=self.memory_format, copy=True)
        return view.sub_(self.mean).div_(self.std)


def _params_of_rank(steps: BatchedSteps, n: int) -> AugmentParams:
    """This rank's rows of the parameters for the joint batch of all ranks."""
    first = get_rank() * n
    return steps.draw(get_world_size() * n)[first:first + n]
