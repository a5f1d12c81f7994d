"""Load a network with slots for the tools that analyze slots."""
from collections.abc import Mapping

from torch import Tensor, nn

from ...errors import UserValueError
from ...structures.protocols import ChecksSlotWeights, SlotModel
from ..loading import load_model

_WANTED = 'name the config of a method with slots, such as one of configs/slotcon.'


def load_slot_model(config: str, checkpoint: str | None, branch: str = 'momentum',
                    seed: int = 0, device: str = 'cpu') -> tuple[nn.Module, str | None]:
    """Build the model of a config with the weights of a file, or random ones.

    Args:
        config: Config of a method with slots.
        checkpoint: A checkpoint of its training; None draws weights with ``seed``.
        branch: The branch to use, ``momentum`` or ``online``; the file must hold all
            of it.

    Returns:
        The model, and a sentence if parts of the other branch are missing.

    Raises:
        ValueError: If the model has no slots, or the file lacks weights of the branch.
    """
    def check(model: nn.Module, weights: Mapping[str, Tensor] | None) -> None:
        if not isinstance(model, SlotModel):
            raise UserValueError(
                f'{config}: {type(model).__name__} has no slots; {_WANTED}')
        if weights is not None and isinstance(model, ChecksSlotWeights):
            model.check_slot_weights(weights, branch, checkpoint, config)

    loaded = load_model(config, checkpoint, device, complete=False, seed=seed,
                        wanted=_WANTED, check=check)
    return loaded.model, loaded.note
