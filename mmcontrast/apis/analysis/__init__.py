"""The functions behind `tools/analysis/`."""
