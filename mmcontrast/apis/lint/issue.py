"""What the lint says about a mistake, and about all of them together."""
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ...errors import closest

ADVICE = (
    'Nothing was built. Where you know better: lint=dict(skip=[...]) in the config '
    "takes paths as above ('model.backbone.*' for all below), lint=False switches the "
    'check off (also as --cfg-options lint=False).')


@dataclass(frozen=True)
class ConfigIssue:
    """One mistake in a config.

    Attributes:
        path: Dotted place, ``train_dataloader.dataset.pipeline[2].scale``.
        message: What was found, what is expected and what to do, without the place.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f'{self.path}: {self.message}'


def describe(issues: Sequence[ConfigIssue], source: str | None) -> str:
    """All findings as one text; the same mistake at several places comes once.

    Args:
        findings: At least one.
        source: The config file.
    """
    places = {}
    for issue in issues:
        places.setdefault(issue.message, []).append(issue.path)
    lines = [f'  {paths[0]}: {message}' + _others(paths[1:])
             for message, paths in places.items()]
    count = f'{len(lines)} mistakes' if len(lines) > 1 else 'a mistake'
    return '\n'.join([f'{count} in {source or "the config"}:', *lines, ADVICE])


def _others(paths: Sequence[str]) -> str:
    return f' (Also at {", ".join(paths)}.)' if paths else ''


def is_typo_of(name: str, known: Collection[str]) -> str | None:
    """The known name that ``name`` is a typo of, if it must be one.

    Stricter than :func:`closest`, for places where other names are allowed too: names
    that differ in digits (stage1, stage2) or by an ending s are different things.
    """
    near = closest(name, known, cutoff=0.85)
    return near[0] if near and _letters(near[0]) != _letters(name) else None


def _letters(name: str) -> str:
    return ''.join(c for c in name.lower() if c.isalpha()).removesuffix('s')


def shown(names: Collection[str], most: int = 14) -> str:
    """``a, b, c`` of the names, shortened."""
    names = sorted(names)
    return ', '.join(names[:most]) + (f', ... ({len(names)})' if names[most:] else '')
