"""From bytes of the loader to what the network sees, on the model's device."""
from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmcontrast.registry import MODELS


@MODELS.register_module()
class TwoViewPreprocessor(BaseDataPreprocessor):
    """Move both views to the device, then convert and normalise them there.

    Args:
        mean, std: Per RGB channel, in grey levels from 0 to 255.
        channels_last: Whether the views leave in channels-last memory format, which
            tensor cores prefer.
        non_blocking: Whether the copy to the device runs beside the computation; it
            does if the loader pins memory.
    """

    def __init__(self, mean: Sequence[float] = (123.675, 116.28, 103.53),
                 std: Sequence[float] = (58.395, 57.12, 57.375),
                 channels_last: bool = False, non_blocking: bool = True) -> None:
        super().__init__(non_blocking=non_blocking)
        if len(mean) != 3 or len(std) != 3:
            raise ValueError(
                f'mean and std need three values (RGB), got {mean} and {std}.')
        self.memory_format = (
            torch.channels_last if channels_last else torch.contiguous_format)
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise a batch.

        Args:
            data: ``inputs``, one entry per view: an (N, 3, H, W) uint8 tensor or a
                list of N (3, H, W) ones; ``data_samples``, passed on as they are.

        Returns:
            ``inputs``, a list of (N, 3, H, W) float32 tensors, and ``data_samples``.
        """
        return dict(inputs=[self._normalise(view) for view in data['inputs']],
                    data_samples=data.get('data_samples'))

    def _normalise(self, view: Tensor | Sequence[Tensor]) -> Tensor:
        if not isinstance(view, Tensor):
            view = torch.stack(list(view))
        if view.ndim != 4 or view.shape[1] != 3:
            raise ValueError(
                'Each view must be a batch (N, 3, H, W), got shape '
                f'{tuple(view.shape)}; does the pipeline end in PackViews, and the '
                "loader use collate_fn=dict(type='default_collate')?")
        view = view.to(self.device, non_blocking=self._non_blocking).to(
            torch.float32, memory_format=self.memory_format)
        return view.sub(self.mean).div_(self.std)
