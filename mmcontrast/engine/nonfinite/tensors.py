"""Find the tensors in nested inputs and outputs, and summarize their values."""
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

#: How deep containers are searched.
DEPTH = 8


@dataclass(frozen=True)
class TensorStats:
    """A line of a report about one tensor.

    Attributes:
        label: Its path in its container, e.g. ``loss_cls`` or ``[1]``; '' if it
            is in none.
        shape, dtype: As the tensor's.
        low, high, mean: Of its finite values; None without any.
        nan, inf: Number of such values.
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
    def is_finite(self) -> bool:
        """Whether all values are finite."""
        return not (self.nan or self.inf)

    def __str__(self) -> str:
        name = f'{self.label} ' if self.label else ''
        parts = [f'{name}{self.shape} {self.dtype}']
        if self.low is not None:
            parts.append(f'min {self.low:.4g} max {self.high:.4g} mean {self.mean:.4g}')
        parts += [f'{count} {kind}' for count, kind in
                  ((self.nan, 'nan'), (self.inf, 'inf')) if count]
        return ', '.join(parts)


def describe(tensor: Tensor, label: str = '') -> TensorStats:
    """Summarize a floating-point tensor; waits for its device."""
    values = _plain_values(tensor)
    finite = torch.isfinite(values)
    kept = values[finite]
    kept = (kept.abs() if kept.is_complex() else kept).double()
    low, high, mean = torch.stack(
        [kept.min(), kept.max(), kept.mean()]).tolist() if len(kept) else [None] * 3
    nan = int(torch.isnan(values).sum())
    return TensorStats(label, tuple(tensor.shape), str(tensor.dtype).split('.')[-1],
                       low, high, mean, nan, int((~finite).sum()) - nan)


def float_tensors(value: object, label: str = '', depth: int = DEPTH
                  ) -> Iterator[tuple[str, Tensor]]:
    """Floating-point tensors in nested containers and data samples, with paths."""
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
    """The sum of the norms of tensors, finite only if all their values are.

    One pass over the data and no wait for the device. The square of a huge finite value
    overflows: a non-finite result only calls for a check by :func:`nonfinite_names`.
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
    """Names of the tensors with non-finite values; waits for the device."""
    names, flags = [], []
    for name, tensor in named:
        names.append(name)
        flags.append(torch.isfinite(_plain_values(tensor)).all().cpu())
    return [name for name, fine in zip(names, flags, strict=True) if not fine]


def _plain_values(tensor: Tensor) -> Tensor:
    """Detached; the stored values of a sparse tensor, the local part of a shard."""
    tensor = tensor.detach()
    if hasattr(tensor, 'to_local'):
        tensor = tensor.to_local()
    return tensor._values() if tensor.is_sparse else tensor
