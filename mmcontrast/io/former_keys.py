"""Load weights that were saved when parts of a model had other names."""
from collections.abc import Mapping

from torch import Tensor, nn


def current_keys(state_dict: Mapping[str, Tensor], model: nn.Module, prefix: str = ''
                 ) -> dict[str, Tensor]:
    """A state dict with former keys replaced by those of today.

    A model lists its renamed parts as ``former_keys``, ``{'neck': 'fpn'}``: ``neck``
    becomes ``fpn`` and ``neck.weight`` becomes ``fpn.weight``. Other keys stay, and so
    does the order.

    Args:
        state_dict: Weights of ``model``, of any time.
        model: Without ``former_keys`` nothing is renamed.
        prefix: Of the model's keys in ``state_dict``, such as ``'module.'``.
    """
    return {prefix + current_key(key[len(prefix):], model)
            if key.startswith(prefix) else key: value
            for key, value in state_dict.items()}


def current_key(key: str, model: nn.Module) -> str:
    """One key of :func:`current_keys`."""
    for former, current in getattr(model, 'former_keys', {}).items():
        if key == former or key.startswith(f'{former}.'):
            return current + key[len(former):]
    return key


def rename_former_keys(state_dict: dict[str, Tensor], model: nn.Module, prefix: str = ''
                       ) -> None:
    """:func:`current_keys` in place, for ``_load_from_state_dict`` of ``model``."""
    renamed = current_keys(state_dict, model, prefix)
    if renamed.keys() != state_dict.keys():
        state_dict.clear()
        state_dict.update(renamed)
