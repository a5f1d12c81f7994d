"""Describe configuration errors."""
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ...errors import closest, within_one_edit

ADVICE = (
    'Nothing was built. If the check is wrong: lint=dict(skip=[...]) in the config '
    "takes paths as above ('model.backbone.*' for all below), lint=False switches it "
    'off (also as --cfg-options lint=False).')


@dataclass(frozen=True)
class ConfigIssue:
    """One configuration error.

    Attributes:
        path: Dotted path, ``train_dataloader.dataset.pipeline[2].scale``.
        message: What was found, what is expected and what to do, without the path.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f'{self.path}: {self.message}'


def describe(issues: Sequence[ConfigIssue], source: str | None) -> str:
    """All errors as one text; the same message for several paths comes once.

    Args:
        issues: At least one.
        source: The config file.
    """
    paths_of = {}
    for issue in issues:
        paths_of.setdefault(issue.message, []).append(issue.path)
    lines = [f'  {first}: {message}' + (f' (Also at {", ".join(others)}.)' if others
                                        else '')
             for message, (first, *others) in paths_of.items()]
    count = f'{len(lines)} configuration error' + 's' * (len(lines) > 1)
    return '\n'.join([f'{count} in {source or "the config"}:', *lines, ADVICE])


def is_typo_of(name: str, known: Collection[str], unread: bool = False
               ) -> str | None:
    """The known name that ``name`` is a typo of, where other names are allowed too.

    Stricter than :func:`closest`: names that differ in digits (stage1, stage2) or by a
    final s are different things.

    Args:
        unread: Whether nothing reads ``name``. Then a final s does not excuse it.
    """
    near = closest(name, known, cutoff=0.85) + within_one_edit(name, known)
    return next((one for one in near if _letters(one) != _letters(name)
                 or unread and one == f'{name}s' or unread and f'{one}s' == name), None)


def _letters(name: str) -> str:
    return ''.join(c for c in name.lower() if c.isalpha()).removesuffix('s')


def listed(names: Collection[str], most: int = 14) -> str:
    """``a, b, c`` of the names, shortened."""
    names = sorted(names)
    return ', '.join(names[:most]) + (f', ... ({len(names)})' if names[most:] else '')
