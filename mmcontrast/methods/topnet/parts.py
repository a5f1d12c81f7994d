"""Build parts of a model from configs, and check what it is given."""
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import UserKeyError, UserValueError, did_you_mean
from ...io.config_types import type_name
from ...registry import MODELS
from .decoding import check_ranking


def build_part(config: Mapping | None, **default: Any) -> Any:
    """Build a part, by default ``default``, whose other arguments hold for its type.

    Args:
        config: Replaces some arguments, or names another type, which takes its own.
        default: ``type`` and arguments.
    """
    config = dict(config or {})
    if type_name(config, default['type']) == default['type']:
        config = default | config
    return MODELS.build(config)


def checked_options(test_cfg: Mapping | None, known: Sequence[str], owner: str) -> dict:
    """A copy of a ``test_cfg``.

    Raises:
        UserKeyError: If it has an unknown key.
        UserValueError: If a number of the ranking is out of range.
    """
    for key in test_cfg or {}:
        if key not in known:
            raise UserKeyError(
                f'test_cfg of {owner} has the unknown key {key!r}'
                f'{did_you_mean(key, known)} It may hold {", ".join(known)}.')
    options = dict(test_cfg or {})
    try:
        check_ranking(**{key: options[key] for key in ('k', 'window', 'nms_iou')
                         if key in options})
    except UserValueError as error:
        raise UserValueError(f'test_cfg of {owner}: {error}') from error
    return options


def paired_batch_size(backgrounds: int, objects: int) -> int:
    """Number of pairs of encoded backgrounds and objects.

    Raises:
        UserValueError: If the numbers differ and neither is 1.
    """
    if backgrounds != objects and 1 not in (backgrounds, objects):
        raise UserValueError(
            f'{backgrounds} backgrounds and {objects} objects cannot be paired: give '
            'as many of both, or one of a kind for all of the other.')
    return max(backgrounds, objects)
