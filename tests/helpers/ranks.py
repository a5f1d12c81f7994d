"""Where tests find :func:`on_ranks`."""
from mmcontrast.testing.ranks import on_ranks

__all__ = ['on_ranks']
