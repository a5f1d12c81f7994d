"""Load CLIP's image weights into a backbone and report every key."""
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mmengine.logging import print_log
from torch import Tensor, nn

from .positions import fit_grid, grid_rows, resize_positions


@dataclass(frozen=True)
class ClipLoadReport:
    """Keys of a tower after loading, named as in the module.

    Attributes:
        loaded: Keys with a value in the file.
        resized: Position tables among them that were resized.
        missing: Keys of the module without a value in the file, all of parts that CLIP
            does not have.
        skipped: Keys of the file without a place in the module, all of parts that it
            leaves out on purpose.
    """

    loaded: tuple[str, ...]
    resized: tuple[str, ...]
    missing: tuple[str, ...]
    skipped: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f'{len(self.loaded)} loaded']
        for name in ('resized', 'missing', 'skipped'):
            keys = getattr(self, name)
            if keys:
                parts.append(f'{len(keys)} {name} ({_some(keys)})')
        return ', '.join(parts)


def load_tower(module: nn.Module, state: dict[str, Tensor], prefix: str = 'visual.',
               may_miss: Sequence[str] = (), may_skip: Sequence[str] = (),
               library: str = 'CLIP') -> ClipLoadReport:
    """Load the keys under ``prefix`` of a CLIP state dict with OpenAI's names.

    Position tables of another length are resized as in DenseCLIP: the square grid
    bilinearly, the first row stays. A module whose table has no row for a global token
    gets the square grid, resized by :func:`~.positions.fit_grid`.

    Args:
        module: Its parameters carry CLIP's names.
        state: Keys as in an OpenAI archive or a whole open_clip model; those of the
            text tower are ignored.
        may_miss: Patterns of keys of ``module`` that CLIP does not have.
        may_skip: Patterns of keys below ``prefix`` that ``module`` does not use.
        library: Whose weights these are, for messages: 'CLIP' or 'timm'.

    Raises:
        ValueError: If any other key is missing, left over or of another shape. Nothing
            is loaded then.
    """
    name = type(module).__name__
    own = module.state_dict()
    given = {key[len(prefix):]: value for key, value in state.items()
             if key.startswith(prefix)}
    if not given:
        raise ValueError(
            f'{name}.load_clip: no key starts with {prefix!r}; this state dict has '
            f'{_some(state) or "no keys"}. Read the file with load_clip_state, '
            "which gives OpenAI's names.")
    resized = _fit_tables(given, own)
    # Some files lack the counters, which only a momentum of None reads.
    missing = [key for key in own if key not in given]
    skipped = [key for key in given if key not in own]
    problems = [
        ('without a value in the file',
         _beyond(missing, (*may_miss, '*num_batches_tracked'))),
        ('of the file without a place here', _beyond(skipped, may_skip)),
        ('of another shape', [
            f'{key} {tuple(given[key].shape)} instead of {tuple(own[key].shape)}'
            for key in own if key in given and given[key].shape != own[key].shape])]
    if any(keys for _, keys in problems):
        found = '; '.join(f'{len(keys)} {what}: {_some(keys)}'
                          for what, keys in problems if keys)
        raise ValueError(
            f'{name}.load_{library.lower()}: these weights belong to another tower. '
            f"{found}. Set tower (such as 'RN101', 'ViT-L-14') or the sizes to what "
            'the file holds.')
    module.load_state_dict({k: v for k, v in given.items() if k in own}, strict=False)
    report = ClipLoadReport(tuple(k for k in own if k in given), tuple(resized),
                            tuple(missing), tuple(skipped))
    print_log(f'{name}: {library} weights, {report}.', 'current')
    return report


def _fit_tables(given: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    """Fit position tables of ``given`` to their length in ``own``."""
    resized = []
    for key in own:
        if key.rpartition('.')[2] != 'positional_embedding' or key not in given:
            continue
        length = len(given[key])
        side = math.isqrt(len(own[key]))
        if side * side == len(own[key]):    # No row for a global token.
            grid = grid_rows(given[key].float())
            given[key], length = fit_grid(grid, side, side), len(grid)
        elif length != len(own[key]):
            given[key] = resize_positions(given[key].float(), side, side)
        if length != len(own[key]):
            resized.append(key)
    return resized


def _beyond(keys: Sequence[str], allowed: Sequence[str]) -> list[str]:
    return [k for k in keys if not any(fnmatchcase(k, a) for a in allowed)]


def _some(keys, limit: int = 4) -> str:
    keys = list(keys)
    more = f' and {len(keys) - limit} more' if len(keys) > limit else ''
    return ', '.join(keys[:limit]) + more
