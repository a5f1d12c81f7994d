"""Stack and normalize backgrounds and objects on the model's device."""
from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from ...errors import UserValueError
from ...registry import MODELS

_CHANNELS = dict(background=3, object=4)


@MODELS.register_module()
class PlacementPreprocessor(BaseDataPreprocessor):
    """Stack, move and normalize a batch of backgrounds and objects.

    Samples stay where they are: their boxes become cells in float64 on the CPU.

    Args:
        mean, std: Per RGB channel, in gray levels from 0 to 255.
        with_mask: Keep the object's mask as the fourth channel, from 0 to 1. For
            ``TopNetPair``, whose object is a canvas; ``TopNet`` gets objects that are
            masked already.
        channels_last: Whether to return channels-last tensors, which convolutional
            encoders prefer on tensor cores.
        non_blocking: Whether the copy to the device overlaps the computation, which
            needs pinned memory.
    """

    def __init__(self, mean: Sequence[float] = (123.675, 116.28, 103.53),
                 std: Sequence[float] = (58.395, 57.12, 57.375),
                 with_mask: bool = False, channels_last: bool = False,
                 non_blocking: bool = True) -> None:
        super().__init__(non_blocking=non_blocking)
        if len(mean) != 3 or len(std) != 3:
            raise UserValueError(
                f'mean and std need three values (RGB), got {mean} and {std}.')
        self.with_mask = with_mask
        self.memory_format = (
            torch.channels_last if channels_last else torch.contiguous_format)
        # Of values from 0 to 1; a mask of 255 becomes 1.
        for name, values, of_mask in (('mean', mean, 0.), ('std', std, 255.)):
            shares = torch.tensor([*values, of_mask], dtype=torch.float64) / 255
            self.register_buffer(name, shares.float().view(4, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalize a batch; the same in training and in test.

        Args:
            data: ``inputs`` with ``background``, a (B, 3, H, W) uint8 tensor or a list
                of B images (3, H, W), and ``object``, the same of 4 channels, the last
                of which is the mask, or (B, S, 4, h, w) at S scales; either may be left
                out. ``data_samples``, passed on as they are.
            training: Without effect.

        Returns:
            ``inputs`` with ``background`` (B, 3, H, W) and ``object`` (B, 3 or 4, h, w)
            in float32, and ``data_samples``.

        Raises:
            ValueError: If images of a batch differ in size or have other channels.
        """
        inputs = {name: self._on_device(images, name, _CHANNELS[name])
                  for name, images in data['inputs'].items()}
        if 'object' in inputs and not self.with_mask:
            inputs['object'] = inputs['object'][..., :3, :, :]
        return dict(
            inputs={name: self._normalize(images) for name, images in inputs.items()},
            data_samples=data.get('data_samples'))

    def _on_device(self, images: Tensor | Sequence[Tensor], name: str, channels: int
                   ) -> Tensor:
        if not isinstance(images, Tensor):
            shapes = {tuple(image.shape) for image in images}
            if len(shapes) > 1:
                raise UserValueError(
                    f'All images of a batch must have one size, but inputs.{name} has '
                    f'{sorted(shapes)}: the pipeline must resize them.')
            images = torch.stack(list(images))
        scaled = name == 'object' and images.ndim == 5
        if not (images.ndim == 4 or scaled) or images.shape[-3] != channels:
            what = 'RGB' if channels == 3 else 'RGB and mask'
            raise UserValueError(
                f'inputs.{name} must be (B, {channels}, H, W), {what}, got '
                f'{tuple(images.shape)}.')
        return images.to(self.device, non_blocking=self._non_blocking)

    def _normalize(self, images: Tensor) -> Tensor:
        channels, first = images.shape[-3], images.shape[:-3]
        # Always a copy: the loader may reuse its tensors.
        images = images.flatten(0, -4).to(
            torch.float32, memory_format=self.memory_format, copy=True)
        # The order of torchvision's ToTensor and Normalize, so that values are equal to
        # those of the unofficial loader in all bits.
        images.div_(255).sub_(self.mean[:channels]).div_(self.std[:channels])
        return images.unflatten(0, first)
