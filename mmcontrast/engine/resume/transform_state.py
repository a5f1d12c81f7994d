"""Name the transforms that remember earlier samples, which no checkpoint holds."""
import logging
from collections.abc import Iterator

from mmengine.logging import print_log

from .plain_state import fingerprint, is_plain


class TransformWatch:
    """Compares the attributes of transforms before and after they have run.

    Args:
        dataset: With its ``pipeline``, or that of the data sets that it wraps.
    """

    def __init__(self, dataset: object) -> None:
        self._transforms = list(_transforms(dataset))
        self._before = self._marks()

    def warn(self) -> None:
        """Log which transforms have changed."""
        after = self._marks()
        changed = sorted({
            f'{type(self._transforms[k]).__name__} ({name})'
            for (k, name), mark in self._before.items()
            if after.get((k, name), mark) != mark})
        if changed:
            print_log(
                f'{", ".join(changed)} of the training data changes from sample to '
                'sample, and no checkpoint holds it: resuming this run is not exact.',
                'current', logging.WARNING)

    def _marks(self) -> dict[tuple[int, str], object]:
        return {(k, name): mark for k, transform in enumerate(self._transforms)
                for name, value in vars(transform).items()
                if (mark := _mark(value)) is not None}


def _mark(value: object) -> object:
    """What tells a value from an earlier one; None if that is not worth a warning."""
    if value is None:
        return None  # It is set once, as mmseg's LoadAnnotations does with a setting.
    if is_plain(value):
        return fingerprint(value)
    # Of samples the number is enough. A reader that opens files once is no state.
    return len(value) if isinstance(value, list | dict) else None


def _transforms(part: object) -> Iterator[object]:
    """The transforms of a data set, and those that other transforms hold."""
    for name in ('pipeline', 'transforms'):
        inner = getattr(part, name, None)
        inner = getattr(inner, 'transforms', inner)
        for transform in inner if isinstance(inner, list | tuple) else ():
            if hasattr(transform, '__dict__'):
                yield transform
                yield from _transforms(transform)
    wrapped = [getattr(part, 'dataset', None), *(getattr(part, 'datasets', None) or ())]
    for dataset in wrapped:
        if dataset is not None and dataset is not part:
            yield from _transforms(dataset)
