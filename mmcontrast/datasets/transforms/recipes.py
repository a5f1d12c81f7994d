"""Define photometric recipes by name: the steps of view 1 and of view 2.

``BYOL`` is the published recipe of PixPro and SlotCon. The others treat both views
alike: InstDisc (CVPR 2018), MoCo v2 (arXiv 2003.04297), SimCLR (ICML 2020) and
RandAug (SimCLR's colors with RandAugment, as in InfoMin, NeurIPS 2020) with the
strengths of their papers; NULL has no photometric step.
"""
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import did_you_mean
from ...registry import TRANSFORMS
from .photometric import ViewStep

_GRAY = dict(type='ViewGrayscale', prob=0.2)
_BYOL_JITTER = dict(type='ViewColorJitter', brightness=0.4, contrast=0.4,
                    saturation=0.2, hue=0.1, prob=0.8)
_SIMCLR_JITTER = dict(type='ViewColorJitter', brightness=0.8, contrast=0.8,
                      saturation=0.8, hue=0.2, prob=0.8)


def _blur(prob: float) -> dict:
    return dict(type='ViewGaussianBlur', sigma=(0.1, 2.0), prob=prob)


def _alike(*steps: dict) -> tuple[list, list]:
    return list(steps), list(steps)


RECIPES = dict(
    BYOL=([_BYOL_JITTER, _GRAY, _blur(1.0)],
          [_BYOL_JITTER, _GRAY, _blur(0.1),
           dict(type='ViewSolarize', threshold=128, prob=0.2)]),
    NULL=_alike(),
    InstDisc=_alike(_GRAY, dict(type='ViewColorJitter', brightness=0.4, contrast=0.4,
                                saturation=0.4, hue=0.4)),
    MoCov2=_alike(dict(type='ViewColorJitter', brightness=0.4, contrast=0.4,
                       saturation=0.4, hue=0.1, prob=0.8), _GRAY, _blur(0.5)),
    SimCLR=_alike(_SIMCLR_JITTER, _GRAY, _blur(0.5)),
    RandAug=_alike(_SIMCLR_JITTER,
                   dict(type='ViewRandAugment', num_ops=2, magnitude=10), _GRAY),
)


def view_steps(views: str | Sequence[Sequence[dict]]) -> list[list[ViewStep]]:
    """The steps of view 1 and of view 2, built.

    Args:
        views: A name in ``RECIPES``, or the two lists of configs themselves.

    Raises:
        ValueError: If the name is unknown, or there are not two lists.
    """
    if isinstance(views, str):
        views = look_up(views, RECIPES, 'recipe of views')
    if len(views) != 2:
        raise ValueError(
            f'views must be the steps of view 1 and of view 2, got {len(views)} '
            'lists of steps.')
    return [[TRANSFORMS.build(step) for step in steps] for steps in views]


def look_up(name: str, table: Mapping, what: str) -> Any:
    """``table[name]``, or a ValueError that lists the names."""
    if name not in table:
        hint = did_you_mean(name, table, cutoff=0.5)
        raise ValueError(f'Unknown {what} {name!r}{hint} Known: {sorted(table)}.')
    return table[name]
