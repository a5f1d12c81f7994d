"""Read the parts of ``train_cfg`` and ``test_cfg`` that mmdet hands to the heads."""
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from ...errors import UserKeyError, UserValueError, did_you_mean

Options = TypeVar('Options')


def options_of(cls: type[Options], given: Mapping | None, where: str) -> Options:
    """Build a dataclass from a part of a config.

    Args:
        cls: The dataclass; its ``LIMITS`` hold the least and the greatest value of
            fields that have some.
        given: Its fields; None for the defaults.
        where: Name of that part in messages, such as ``'train_cfg.rpn'``.

    Raises:
        UserKeyError: If a key is unknown.
        UserValueError: If a value has another type or is out of range.
    """
    known = [field.name for field in fields(cls)]
    for key in given or {}:
        if key not in known:
            raise UserKeyError(
                f'{where} has the unknown key {key!r}{did_you_mean(key, known)} It may '
                f'hold {", ".join(known)}; _delete_=True in it drops what is inherited '
                "from a config of mmdet's.")
    for field in fields(cls):
        if field.name in (given or {}):
            check_number(f'{where}.{field.name}', given[field.name], field.type,
                         *cls.LIMITS.get(field.name, ()))
    return cls(**given or {})


def check_number(name: str, value: Any, kind: type, low: float = -math.inf,
                 high: float = math.inf) -> None:
    """Raise a UserValueError if a value of a config is not what it must be.

    Args:
        name: Of its key, in the message.
        kind: bool, int or float; an int is a float, a bool neither.
        low, high: Least and greatest value.
    """
    kinds = (int, float) if kind is float else kind
    wrong = not isinstance(value, kinds) or (kind is not bool and (
        isinstance(value, bool) or not low <= value <= high))
    if wrong:
        span = '' if kind is bool else (
            f' from {low:g} to {high:g}' if high < math.inf else f' of {low:g} or more')
        what = {bool: 'True or False', int: 'an integer', float: 'a number'}[kind]
        raise UserValueError(f'{name} must be {what}{span}, got {value!r}.')


def box_limits(clip_to: str, meta: Mapping) -> tuple[int, int]:
    """Greatest y and x that a box may have.

    Args:
        clip_to: 'image': the sides of the image, as mmdet clips. 'batch': the last row
            and column of pixels of the padded batch, as DITO's released code clips.
        meta: ``img_shape`` or ``batch_input_shape``.
    """
    if clip_to == 'image':
        return tuple(meta['img_shape'][:2])
    height, width = meta['batch_input_shape'][:2]
    return height - 1, width - 1


def check_clip_to(clip_to: str) -> None:
    """Raise a UserValueError if ``clip_to`` is none of the two."""
    if clip_to not in ('image', 'batch'):
        raise UserValueError(f"clip_to must be 'image' or 'batch', got {clip_to!r}.")
