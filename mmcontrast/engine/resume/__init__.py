"""Exact resume: a run that was killed ends as if it had not been."""
from .loops import EXACT_LOOPS, EpochBasedExactLoop, IterBasedExactLoop
from .rng_state import preserved_rng

__all__ = [
    'EXACT_LOOPS', 'EpochBasedExactLoop', 'IterBasedExactLoop', 'preserved_rng',
]
