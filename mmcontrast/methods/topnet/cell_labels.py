"""Hold the labeled cells of a batch of heat maps."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


@dataclass(frozen=True)
class CellLabels:
    """Labeled cells of B heat maps, padded to the same number R in each.

    Attributes:
        index: (B, R) int64, flat index (s * H + j) * W + i of the cells.
        valid: (B, R) bool, False for padding.
        total: Number of cells in the batch.
        sizes: (B, R, 2) width and height of the boxes in columns and rows of the map,
            or None if they are not known.
    """

    index: Tensor
    valid: Tensor
    total: int
    sizes: Tensor | None = None

    @classmethod
    def of(cls, cells: Sequence[Tensor], shape: Sequence[int],
           sizes: Sequence[Tensor] | None = None, device='cpu') -> 'CellLabels':
        """Pad the cells of each image.

        Args:
            cells: B tensors (R_b, 3) of scale bin, row, column, on the CPU: nothing
                waits for the device.
            shape: (S, H, W) of a map.
            sizes: B tensors (R_b, 2).
            device: Where the labels are needed.
        """
        _, rows, columns = shape
        flat = [(c[:, 0] * rows + c[:, 1]) * columns + c[:, 2] for c in cells]
        index = pad_sequence(flat, batch_first=True)
        counts = torch.tensor([len(c) for c in cells])
        valid = torch.arange(index.shape[1]) < counts[:, None]
        padded = None if sizes is None else pad_sequence(
            list(sizes), batch_first=True).float().to(device, non_blocking=True)
        return cls(index.to(device, non_blocking=True),
                   valid.to(device, non_blocking=True), int(counts.sum()), padded)

    def mean_per_image(self, values: Tensor) -> Tensor:
        """(B, R) values -> (B,) means over the labels of each image, 0 if none."""
        total = (values * self.valid).sum(1)
        return total / self.valid.sum(1).clamp(min=1)
