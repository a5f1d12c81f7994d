"""Analyze trained models: the functions behind ``tools/analysis/``."""
