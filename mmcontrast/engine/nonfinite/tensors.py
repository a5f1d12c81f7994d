"""Finding the tensors in what modules pass around, and saying what is in them."""
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

#: How deep containers are searched.
DEPTH = 8


@dataclass(frozen=True)
class TensorFacts:
    """What a line of a report says about one tensor.

    Attributes:
        label: Where it stood, e.g. ``loss_cls`` or ``[1]``; '' for a bare tensor.
        shape, dtype: As the tensor's.
        low, high, mean: Of its finite values; None without any.
        nan, inf: How many values are not finite.
    """

    label: str
    shape: tuple[int, ...]
    dtype: str
    low: float | None
    high: float | None
    mean: float | None
    nan: int
    inf: int

    @property
    def finite(self) -> bool:
        """Whether all values are."""
        return not (self.nan or self.inf)

    def __str__(self) -> str:
        name = f'{self.label} ' if self.label else ''
        parts = [f'{name}{self.shape} {self.dtype}']
        if self.low is not None:
            parts.append(f'min {self.low:.4g} max {self.high:.4g} mean {self.mean:.4g}')
        parts += [f'{count} {kind}' for count, kind in
                  ((self.nan, 'nan'), (self.inf, 'inf')) if count]
        return ', '.join(parts)


def describe(tensor: Tensor, label: str = '') -> TensorFacts:
    """Facts on one floating tensor; waits for its device."""
    values = _plain_values(tensor)
    finite = torch.isfinite(values)
    kept = values[finite]
    kept = (kept.abs() if kept.is_complex() else kept).double()
    low, high, mean = torch.stack(
        [kept.min(), kept.max(), kept.mean()]).tolist() if len(kept) else [None] * 3
    nan = int(torch.isnan(values).sum())
    return TensorFacts(label, tuple(tensor.shape), str(tensor.dtype).split('.')[-1],
                       low, high, mean, nan, int((~finite).sum()) - nan)


def float_tensors(value: object, label: str = '', depth: int = DEPTH
                  ) -> Iterator[tuple[str, Tensor]]:
    """Floating tensors in containers, data samples and dataclasses, with places."""
    if isinstance(value, Tensor):
        if value.is_floating_point() or value.is_complex():
            yield label, value
    elif depth:
        for key, item in _items(value):
            yield from float_tensors(item, f'{label}{key}' if label else key.strip('.'),
                                     depth - 1)


def _items(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from ((f'.{key}', item) for key, item in value.items())
    elif isinstance(value, list | tuple):
        yield from ((f'[{i}]', item) for i, item in enumerate(value))
    elif isinstance(value, BaseDataElement):
        yield from ((f'.{key}', item) for key, item in value.all_items())
    elif is_dataclass(value) and not isinstance(value, type):
        yield from ((f'.{f.name}', getattr(value, f.name)) for f in fields(value))
    elif isinstance(getattr(value, 'tensor', None), Tensor):
        yield '.tensor', value.tensor       # boxes of mmdet


def magnitude(tensors: Iterable[Tensor], device: torch.device) -> Tensor:
    """One number that is finite only if every value of every tensor is.

    The sum of their norms: one pass over the data and no wait for the device. The
    square of a huge finite value overflows, so that a number that is not finite is a
    reason to look closer (:func:`nonfinite_names`), and no proof.
    """
    groups = defaultdict(list)
    for tensor in tensors:
        values = _plain_values(tensor)
        if values.numel():
            groups[values.device, values.dtype].append(values)
    total = torch.zeros((), device=device)
    for group in groups.values():
        norms = torch.stack(torch._foreach_norm(group)).float()
        total = total + norms.sum().to(device)
    return total


def nonfinite_names(named: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Names of the tensors with a value that is not finite; one wait for the device."""
    names, flags = [], []
    for name, tensor in named:
        names.append(name)
        flags.append(torch.isfinite(_plain_values(tensor)).all().cpu())
    return [name for name, fine in zip(names, flags, strict=True) if not fine]


def _plain_values(tensor: Tensor) -> Tensor:
    """Without a graph; the stored values of a sparse one, this rank's of a shard."""
    tensor = tensor.detach()
    if hasattr(tensor, 'to_local'):
        tensor = tensor.to_local()
    return tensor._values() if tensor.is_sparse else tensor
