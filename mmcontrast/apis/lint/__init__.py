"""Check a config for errors before anything is built."""
from .issue import ConfigIssue, describe
from .linter import lint_config
from .top_level import misspelled_keys

__all__ = ['ConfigIssue', 'describe', 'lint_config', 'misspelled_keys']
