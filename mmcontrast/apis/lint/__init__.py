"""Mistakes of a config, found before anything is built."""
from .finding import Finding, describe
from .options import check_options
from .top_level import misspelt_keys
from .walk import lint_config

__all__ = ['Finding', 'check_options', 'describe', 'lint_config', 'misspelt_keys']
