"""From bytes of the loader to what the network sees, on the model's device."""
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
    """Move both views to the device, then recolor and normalize them there.

    Photometric steps happen either here, a whole batch at a time and in training
    only, or in ``TwoViews`` in the loader, which works on one picture after the other;
    views that it has recolored (their samples say so) are left as they are. Both draw
    from the same distributions and give the same pixels for the same choices; they
    differ in which generator decides. Here it is torch's on the CPU, and every rank
    draws for all ranks and keeps its own part: with one seed for all, as mmengine sets
    it, ranks choose differently, and as one process on the joint batch would.

    Args:
        mean, std: Per RGB channel, in gray levels from 0 to 255.
        channels_last: Whether the views leave in channels-last memory format, which
            tensor cores prefer.
        non_blocking: Whether the copy to the device runs beside the computation; it
            does if the loader pins memory.
        photometric: Colors and blur of training views: the name of a recipe
            (``'BYOL'``, see ``datasets/transforms/recipes.py``), or the steps of view
            1 and of view 2 as configs. By default the views come recolored.

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
        self._told = False
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Recolor a training batch, normalize any batch.

        Args:
            data: ``inputs``, one entry per view: an (N, 3, H, W) uint8 tensor or a
                list of N (3, H, W) ones; ``data_samples``, passed on as they are.
            training: Whether the photometric steps happen.

        Returns:
            ``inputs``, a list of (N, 3, H, W) float32 tensors, and ``data_samples``.
        """
        views = [self._on_device(view) for view in data['inputs']]
        samples = data.get('data_samples')
        if training and self.photometric and not self._done_by_loader(samples):
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

    def _done_by_loader(self, samples: Sequence | None) -> bool:
        """Whether the views come recolored; the log says so once."""
        done = bool(samples) and getattr(samples[0], 'photometric_done', False)
        if done and not self._told:
            print_log(
                'The views come recolored from TwoViews in the data pipeline, so '
                'data_preprocessor.photometric is not applied to them.',
                logger='current')
            self._told = True
        return done

    def _augment(self, views: list[Tensor]) -> list[Tensor]:
        if len(views) != len(self.photometric):
            raise ValueError(
                f'photometric holds the steps of {len(self.photometric)} views, the '
                f'batch has {len(views)}.')
        return [steps.apply(view, _own_choices(steps, len(view)))
                for steps, view in zip(self.photometric, views, strict=True)]

    def _normalize(self, view: Tensor) -> Tensor:
        # A copy in any case: the loader's tensors are not ours to change.
        view = view.to(torch.float32, memory_format=self.memory_format, copy=True)
        return view.sub_(self.mean).div_(self.std)


def _own_choices(steps: BatchedSteps, n: int) -> AugmentParams:
    """This rank's rows of the choices for the joint batch of all ranks."""
    first = get_rank() * n
    return steps.draw(get_world_size() * n)[first:first + n]
