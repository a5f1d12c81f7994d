"""The functions behind the tools, and inferencers for Python."""
from importlib import import_module

# Imported when they are asked for.
_LAZY = dict.fromkeys(('DenseCLIPInferencer', 'Detection', 'Segmentation'),
                      'mmcontrast.apis.inferencers')

__all__ = list(_LAZY)


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
