"""Provide the Runner that ``tools/train.py`` uses."""
