"""Resume exactly: a killed run ends like the uninterrupted one."""
from .loops import EXACT_LOOPS, EpochBasedExactLoop, IterBasedExactLoop
from .rng_state import preserved_rng

__all__ = [
    'EXACT_LOOPS', 'EpochBasedExactLoop', 'IterBasedExactLoop', 'preserved_rng',
]
