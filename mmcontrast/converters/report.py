"""Rename the keys of a checkpoint and report every key."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch

from torch import Tensor

#: Target key and value of a source entry; None if there is no place for it.
Rule = Callable[[str, Tensor], tuple[str, Tensor] | None]


@dataclass
class KeyReport:
    """What each key was converted to.

    Attributes:
        title: What was converted into what.
        rows: (source key, target key, shape) of every converted tensor.
        dropped: (source key, reason) of what was dropped on purpose.
        unset: (target key, reason) of what keeps its initial value.
        checks: One line for each comparison of outputs.
    """

    title: str
    rows: list[tuple[str, str, tuple[int, ...]]] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    unset: list[tuple[str, str]] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        width = max((len(row[0]) for row in self.rows), default=0)
        other = max((len(row[1]) for row in self.rows), default=0)
        lines = [self.title]
        lines += [f'  {source:<{width}}  ->  {target:<{other}}  {list(shape)}'
                  for source, target, shape in self.rows]
        lines += [f'  {key:<{width}}  dropped: {why}' for key, why in self.dropped]
        lines += [f'  {key:<{width}}  not in the file: {why}'
                  for key, why in self.unset]
        return '\n'.join([*lines, self.summary()])

    def summary(self) -> str:
        """Counts and equality checks."""
        counts = (f'{len(self.rows)} keys converted, {len(self.dropped)} dropped, '
                  f'{len(self.unset)} not in the file.')
        return '\n'.join([counts, *self.checks])


@dataclass
class Conversion:
    """What the converter of a method returns.

    Attributes:
        state_dict: Weights under our names.
        model: Config of the model they fill strictly.
        report: What each key was converted to, and the equality checks.
        meta: What else goes into the ``meta`` of the written file.
    """

    state_dict: dict[str, Tensor]
    model: dict
    report: KeyReport
    meta: dict = field(default_factory=dict)


def rename_keys(source: Mapping[str, Tensor], rule: Rule, target: Mapping[str, Tensor],
                title: str, drop: Sequence[str] = (), derived: Sequence[str] = ()
                ) -> tuple[dict, KeyReport]:
    """Give every tensor its name in the target; drop none unless asked to.

    Args:
        source: The weights to convert.
        rule: Name (and value) of one entry in the target.
        target: State dict of the model that the result must fill, for its keys and
            shapes.
        title: First line of the report.
        drop: Shell patterns of source keys that may be dropped, and of target keys that
            may stay unset.
        derived: Shell patterns of source keys whose values the target computes itself.

    Raises:
        ValueError: If a key has no target, its shape differs, or a target key is
            missing in the source.
    """
    report, result, problems = KeyReport(title), {}, []
    for key, value in source.items():
        if pattern := _first_match(key, drop):
            report.dropped.append((key, f'--drop {pattern!r}'))
            continue
        if _first_match(key, derived):
            report.dropped.append((key, 'a constant that the target computes'))
            continue
        found = rule(key, value)
        if found is None or found[0] not in target:
            problems.append(f'no place for {key} {list(value.shape)}')
        elif found[0] in result:
            problems.append(f'{key} and another key both become {found[0]}')
        elif found[1].shape != target[found[0]].shape:
            problems.append(f'{key} is {list(value.shape)}, the model wants '
                            f'{list(target[found[0]].shape)} for {found[0]}')
        else:
            result[found[0]] = found[1]
            report.rows.append((key, found[0], tuple(value.shape)))
    for key in target:
        if key in result:
            continue
        if pattern := _first_match(key, drop):
            report.unset.append((key, f'--drop {pattern!r}'))
        else:
            problems.append(f'nothing for {key} {list(target[key].shape)}')
    if problems:
        raise ValueError(_describe_problems(title, problems))
    return result, report


def _first_match(key: str, patterns: Sequence[str]) -> str | None:
    return next((pattern for pattern in patterns if fnmatch(key, pattern)), None)


def _describe_problems(title: str, problems: list[str], shown: int = 40) -> str:
    more = [f'... and {len(problems) - shown} more'] * (len(problems) > shown)
    return '\n  '.join([
        f'{title}: {len(problems)} keys would be lost. Check that the model fits the '
        "file (--config, depth, branches), or allow it with --drop 'PATTERN':",
        *problems[:shown], *more])
