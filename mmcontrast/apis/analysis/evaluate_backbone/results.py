"""Collect the scores of a protocol as rows, a table and a file."""
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from ....evaluation.features import FrozenBackbone
from ....io.atomic import write_text
from ...loading import has_baseline
from ...machine import describe_machine, git_commit
from .backbones import RANDOM, BackboneChoice, open_backbone


def evaluate(protocol: str, choice: BackboneChoice, settings: Mapping,
             measure: Callable[[FrozenBackbone], dict], baseline: str | None = None,
             out: str | None = None) -> dict:
    """Measure a backbone, and random weights of the same network beside it.

    Args:
        protocol: Its name, for the result.
        settings: What was asked for, noted in the result.
        measure: Gives ``scores`` (name to number, or None), ``notes`` on the data, and
            whatever else belongs to a row.
        baseline: ``random`` or None.
        out: JSON file for the result.

    Returns:
        ``protocol``, ``backbone``, ``settings``, ``rows`` (title to what ``measure``
        gave, with ``seconds``), ``notes`` on weights that did not fit
        and classes that do not occur, ``machine`` with
        the versions of the packages, ``commit``.
    """
    beside = has_baseline(baseline) and choice.weights != RANDOM
    rows, notes = {}, []
    for one in [choice, *[choice.randomly()] * beside]:
        start = time.perf_counter()
        backbone, note = open_backbone(one)
        notes += [note] if note else []
        row = rows[one.title] = measure(backbone)
        # On the data, so the same beside every backbone.
        notes += [text for text in row.pop('notes', ()) if text and text not in notes]
        rows[one.title]['seconds'] = round(time.perf_counter() - start, 1)
    result = dict(protocol=protocol, backbone=asdict(choice), settings=dict(settings),
                  rows=rows, notes=notes, machine=describe_machine(),
                  commit=git_commit())
    if out:
        write_text(Path(out), json.dumps(result, indent=1))
    return result


def result_table(result: Mapping) -> str:
    """Scores of a result in per cent, a row a backbone."""
    rows = result['rows']
    names = list(next(iter(rows.values()))['scores'])
    width = max(len(title) for title in rows) + 2
    lines = [f'{result["protocol"]}, in %:',
             ' ' * width + ''.join(f'{name:>{_room(name)}}' for name in names)]
    for title, row in rows.items():
        cells = (f'{_percent(row["scores"].get(name)):>{_room(name)}}'
                 for name in names)
        lines.append(f'{title:{width}}' + ''.join(cells))
    return '\n'.join([*lines, *result['notes']])


def _room(name: str) -> int:
    return max(8, len(name) + 2)


def _percent(value: float | None) -> str:
    return '-' if value is None else f'{100 * value:.1f}'
