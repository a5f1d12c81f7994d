"""Compute the logits of image-text pairs block by block, and sum up gradients."""
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LogitBlocks:
    """Logits of B images of this rank with the N texts of all ranks.

    Attributes:
        image: (B, D) embeddings.
        texts: (N, D) embeddings of the same type, float32 or float64.
        scale: Scalar; logits are ``scale * image @ texts.T + bias``.
        bias: Scalar, or None.
        start: Image i belongs to text ``start + i``.
        chunk_size: Rows of a block, None for all.
    """

    image: Tensor
    texts: Tensor
    scale: Tensor
    bias: Tensor | None
    start: int
    chunk_size: int | None

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows of a block and its (C, N) logits, in a buffer that the next one reuses.
        """
        buffer = self.new_buffer()
        for first in range(0, len(self.image), len(buffer)):
            rows = slice(first, min(first + len(buffer), len(self.image)))
            logits = buffer[:rows.stop - first]
            torch.mm(self.image[rows] * self.scale, self.texts.t(), out=logits)
            if self.bias is not None:
                logits += self.bias
            yield rows, logits

    def new_buffer(self) -> Tensor:
        rows = min(len(self.image), self.chunk_size or len(self.image))
        return self.image.new_empty(max(1, rows), len(self.texts))

    def matched(self, rows: slice, block: Tensor) -> Tensor:
        """View of the C elements of a (C, N) block that belong to matched pairs."""
        return block.diagonal(self.start + rows.start)


@dataclass(frozen=True)
class LogitGradients:
    """Sums up what gradients of logits mean for images, texts and bias.

    Each is None if it is not wanted.

    Attributes:
        image: (B, D), set; before the factor ``scale``.
        text: (N, D), added to.
        bias: Scalar, added to.
    """

    image: Tensor | None
    text: Tensor | None
    bias: Tensor | None

    @property
    def wanted(self) -> bool:
        return any(x is not None for x in (self.image, self.text, self.bias))

    def add(self, blocks: LogitBlocks, rows: slice, gradient: Tensor) -> None:
        """Add the (C, N) gradient of the logits of ``rows``."""
        if self.image is not None:
            torch.mm(gradient, blocks.texts, out=self.image[rows])
        if self.text is not None:
            self.text.addmm_(gradient.t(), blocks.image[rows] * blocks.scale)
        if self.bias is not None:
            self.bias.add_(gradient.sum())
