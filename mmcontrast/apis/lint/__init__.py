"""Mistakes of a config, found before anything is built."""
from .issue import ConfigIssue, describe
from .options import check_options
from .top_level import misspelled_keys
from .walk import lint_config

__all__ = ['ConfigIssue', 'check_options', 'describe', 'lint_config', 'misspelled_keys']
